"""What students make of examples."""

import numpy as np
import pytest

from napari_mmtseg.engine.students import Lesson, beginners, teach
from napari_mmtseg.engine.taught import told
from napari_mmtseg.methods import Taught


def share_of_the_rare_class(counts):
    """Teach classes that overlap, one in ten of the second; return how often it is told."""
    random = np.random.default_rng(0)
    classes = (np.arange(3000) % 10 == 0).astype(np.int64)
    rows = random.normal(0, 1, (3000, 1)) + 1.5 * classes[:, np.newaxis]
    method = Taught(width=4)
    lesson = Lesson(rows, classes, rows[:0], counts=counts)
    weights = [*teach(lesson, method, beginners(1, 2, method), 40)][-1].weights
    standard = {"mean": np.zeros(1, np.float32), "spread": np.ones(1, np.float32)}
    return told({**weights, **standard}, rows.astype(np.float32)).mean()


def test_a_class_known_to_be_rare_is_told_less_often_and_not_missed():
    alike = share_of_the_rare_class(None)
    assert alike > 0.25
    assert share_of_the_rare_class(np.array([5, 5])) == pytest.approx(alike, abs=1e-3)
    assert 0.05 < share_of_the_rare_class(np.array([2700, 300])) < 0.2
