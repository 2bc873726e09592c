"""Parting clusters into foreground and background."""

import numpy as np
from numpy.testing import assert_array_equal

from napari_mmtseg.engine.foreground import halves


def test_nuclei_of_two_brightnesses_stay_together():
    values = np.random.default_rng(0).normal(0.05, 0.01, (60, 60))
    clusters = np.zeros((60, 60), int)
    clusters[values > 0.05] = 1  # the ground, cut in two by noise
    for number, (row, brightness) in enumerate(((10, 0.6), (35, 0.9)), start=2):
        here = np.s_[row : row + 15, 10:50]
        values[here] += brightness
        clusters[here] = number
    found = halves([clusters], [values[None].astype(np.float32)], 4)
    assert_array_equal(found, [0, 0, 1, 1])


def test_a_single_cluster_has_one_half():
    assert_array_equal(halves([np.zeros((4, 4), int)], [np.ones((1, 4, 4))], 1), [0])


def test_pixels_that_do_not_count_have_no_say():
    clusters = np.repeat([[0, 1, 2, -1]], 8, axis=0).repeat(8, axis=1)
    values = np.array([0.1, 0.2, 0.9, 0.0])[clusters][None]
    before = halves([clusters], [values], 3)
    values[:, clusters < 0] = 50
    assert_array_equal(halves([clusters], [values], 3), before)
