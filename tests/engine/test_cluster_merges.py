"""How many labels are enough."""

import itertools
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg.engine.cluster_merges import cut, fewest, merges

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


def merges_by_a_full_table(colours, sizes, classes, groups):
    """Find the cheapest of all pairs anew for each merge."""
    colours, sizes, classes = colours.astype(float), sizes.astype(float), classes.copy()
    alive, order = set(range(len(sizes))), []
    while True:
        pairs = []
        for a, b in itertools.combinations(sorted(alive), 2):
            if classes[a] > 0 and classes[b] > 0:
                if classes[a] == classes[b]:
                    pairs.append((0, 0, a, b))
                continue
            cost = ((colours[a] - colours[b]) ** 2).sum() * sizes[a] * sizes[b]
            pairs.append((1 + (groups[a] != groups[b]), cost / (sizes[a] + sizes[b]), a, b))
        if not pairs:
            return np.array(order, int).reshape(-1, 2)
        *_, a, b = min(pairs)
        colours[a] = (sizes[a] * colours[a] + sizes[b] * colours[b]) / (sizes[a] + sizes[b])
        sizes[a] += sizes[b]
        classes[a] = max(classes[a], classes[b])
        alive.remove(b)
        order.append((a, b))


@pytest.mark.parametrize("seed", range(20))
def test_the_cheapest_pair_merges_first(seed):
    random = np.random.default_rng(seed)
    count = random.integers(1, 25)
    clusters = (
        random.random((count, 2)),
        random.integers(1, 1000, count),
        np.where(random.random(count) < 0.3, random.integers(0, 4, count), 0),
        random.integers(0, 4, count) if seed % 2 else np.arange(count),
    )
    assert_array_equal(merges(*clusters), merges_by_a_full_table(*clusters))


def test_many_clusters_and_large_classes_merge_at_once():
    random = np.random.default_rng(0)
    colours, sizes = random.random((512, 3)), random.integers(1, 9999, 512)
    classes = np.zeros(512, np.int64)
    classes[:3] = (1, 2, 2**62)
    started = time.perf_counter()
    order = merges(colours, sizes, classes)
    n_labels = fewest(order, colours, sizes, classes, 0.9)
    labels = cut(order, sizes, classes, n_labels)
    assert time.perf_counter() - started < 2  # a fraction of what a table anew for each merge takes
    assert len(np.unique(labels)) == n_labels
    assert set(labels[:3]) == {1, 2, 2**62}
