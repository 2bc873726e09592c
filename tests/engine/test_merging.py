"""How many labels are enough."""

import numpy as np
import pytest

from napari_mmtseg.engine.merging import cut, fewest, merges

COLOURS = np.array([[0.0], [0.02], [0.5], [1.0], [0.98]])
SIZES = np.array([100, 50, 60, 40, 80])
FREE = np.zeros(5, np.int64)


@pytest.mark.parametrize(
    ("share", "n_labels"), [(0.0, 2), (0.8, 2), (0.95, 3), (0.9997, 4), (1.0, 5)]
)
def test_labels_merge_while_the_others_explain_enough(share, n_labels):
    order = merges(COLOURS, SIZES, FREE)
    assert fewest(order, COLOURS, SIZES, FREE, share) == n_labels


def test_one_or_two_clusters_stay():
    for count in (1, 2):
        colours, sizes, classes = COLOURS[:count], SIZES[:count], FREE[:count]
        order = merges(colours, sizes, classes)
        assert fewest(order, colours, sizes, classes, 0.5) == count


def test_painted_classes_are_never_merged():
    painted = np.array([1, 2, 0, 3, 4])
    order = merges(COLOURS, SIZES, painted)
    n_labels = fewest(order, COLOURS, SIZES, painted, 0.0)
    assert set(cut(order, SIZES, painted, n_labels)) == {1, 2, 3, 4}
