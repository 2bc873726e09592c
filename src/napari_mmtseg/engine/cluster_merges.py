"""Merge clusters that look alike, so that one training gives any number of labels."""

from __future__ import annotations

import bisect
import itertools

import numpy as np
from numpy.typing import NDArray

_FIRST, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def merges(
    colours: NDArray[np.floating],
    sizes: NDArray[np.integer],
    classes: NDArray[np.integer],
    groups: NDArray[np.integer] | None = None,
) -> NDArray[np.int64]:
    """Order the merges of clusters: those of one class, of one group, of least loss of contrast.

    Ward's criterion: merging a and b raises the within-cluster sum of squares by
    ``size_a * size_b / (size_a + size_b) * |colour_a - colour_b|^2``. Clusters of different
    classes never merge.

    Parameters
    ----------
    colours : (K, C) array
        Mean scaled intensity of each cluster.
    sizes : (K,) array
        Pixels of each cluster.
    classes : (K,) array
        The user's class of each cluster, 0 for none.
    groups : (K,) array, optional
        Clusters with the same number belong together.

    Returns
    -------
    (M, 2) int64 array
        Each row says that the second cluster joins the first. M is at most K - 1.

    References
    ----------
    Ward, "Hierarchical grouping to optimize an objective function", JASA 58, 1963.
    """
    colours, weight = colours.astype(np.float64), np.maximum(sizes, 1e-9).astype(np.float64)
    classes = classes.copy()
    count = len(sizes)
    groups = np.arange(count) if groups is None else groups
    alive = np.ones(count, bool)

    def keys(one: int) -> NDArray[np.int64]:
        """Rank the merges of one cluster: what comes first has the smaller number."""
        apart = ((colours - colours[one]) ** 2).sum(1)
        cost = apart * (weight * weight[one]) / (weight + weight[one])
        rank: NDArray[np.int64] = cost.view(
            np.int64
        )  # the bits of positive numbers have the order of the numbers
        rank = np.where(groups == groups[one], rank + (_FIRST + 1), rank)
        if classes[one] > 0:
            alike = np.where(classes == classes[one], _FIRST, _NEVER)
            rank = np.where(classes > 0, alike, rank)
        rank[~alive] = _NEVER
        rank[one] = _NEVER
        return rank

    # Of each pair the key stands in the row of the first; each row remembers its smallest.
    table = np.triu(np.stack([keys(one) for one in range(count)]))
    table[np.tril_indices(count)] = _NEVER
    place, rows = table.argmin(1), np.arange(count)
    least = table[rows, place]
    order: list[tuple[int, int]] = []
    while least[into := int(least.argmin())] != _NEVER:
        gone = int(place[into])
        share = weight[[into, gone]] / (weight[into] + weight[gone])
        colours[into] = share[0] * colours[into] + share[1] * colours[gone]
        weight[into] += weight[gone]
        classes[into] = max(classes[into], classes[gone])
        alive[gone] = False
        order.append((into, gone))

        rank = keys(into)
        table[gone], table[:, gone] = _NEVER, _NEVER
        table[into, into + 1 :], table[:into, into] = rank[into + 1 :], rank[:into]
        stale = (place == into) | (place == gone)
        stale[[into, gone]] = True
        nearer = (rank[:into] < least[:into]) | (
            (rank[:into] == least[:into]) & (place[:into] > into)
        )
        stale[:into] |= nearer
        again = np.flatnonzero(stale)
        place[again] = table[again].argmin(1)
        least[again] = table[again, place[again]]
    return np.array(order, np.int64).reshape(-1, 2)


def cut(
    order: NDArray[np.int64],
    sizes: NDArray[np.integer],
    classes: NDArray[np.integer],
    n_labels: int,
) -> NDArray[np.int64]:
    """Merge until n_labels are left; classes keep their numbers, the others are sorted by size.

    Returns
    -------
    (K,) int64 array
        The label of each cluster: its class, or else the smallest numbers that are free, from 1,
        the largest label first.
    """
    group = np.arange(len(sizes))
    left, merged, classed = len(sizes), [], classes.tolist()
    for into, gone in order.tolist():
        if left > n_labels or classed[gone] == classed[into] > 0:
            merged.append((into, gone))
            classed[into] = max(classed[into], classed[gone])
            left -= 1
    for into, gone in reversed(merged):
        group[gone] = group[into]
    names, group = np.unique(group, return_inverse=True)
    total = np.bincount(group, weights=sizes, minlength=len(names))
    number = np.zeros(len(names), np.int64)
    np.maximum.at(number, group, classes)
    taken = set(number.tolist())
    free = (label for label in itertools.count(1) if label not in taken)
    for name in np.argsort(-total, kind="stable"):
        if number[name] == 0:
            number[name] = next(free)
    labels: NDArray[np.int64] = number[group]
    return labels


def fewest(
    order: NDArray[np.int64],
    colours: NDArray[np.floating],
    sizes: NDArray[np.integer],
    classes: NDArray[np.integer],
    share: float,
) -> int:
    """Find the smallest number of labels that explain a share of the variance between clusters.

    Parameters
    ----------
    order : (M, 2) array
        From `merges`.
    colours, sizes, classes
        As for `merges`.
    share : float
        0 to 1. The variance is that of the clusters' mean intensities, weighted by their sizes.

    Returns
    -------
    int
        2 or more, if there are as many clusters.
    """
    count = len(sizes)
    if share >= 1:
        return count

    def explained(n_labels: int) -> bool:
        within = _scatter(colours, sizes, cut(order, sizes, classes, n_labels))
        return within <= (1 - share) * total

    total = _scatter(colours, sizes, np.zeros(count, np.int64))
    some = range(min(2, count), count)
    return some.start + bisect.bisect_left(some, True, key=explained)


def _scatter(
    colours: NDArray[np.floating], sizes: NDArray[np.integer], labels: NDArray[np.int64]
) -> float:
    """Return the sum of squares of the clusters' colours around their labels' means."""
    names, own = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(names), colours.shape[1]))
    np.add.at(sums, own, colours * sizes[:, None])
    means = sums / np.maximum(np.bincount(own, sizes), 1e-9)[:, None]
    return float((sizes[:, None] * (colours - means[own]) ** 2).sum())
