"""Merge clusters that look alike, so that one training gives any number of labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def merges(colours: NDArray[np.floating], sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Order the merges of all clusters into one, least loss of contrast first.

    Ward's criterion: merging a and b raises the within-cluster sum of squares by
    ``size_a * size_b / (size_a + size_b) * |colour_a - colour_b|^2``.

    Parameters
    ----------
    colours : (K, C) array
        Mean scaled intensity of each cluster.
    sizes : (K,) array
        Pixels of each cluster.

    Returns
    -------
    (K - 1, 2) int64 array
        Each row says that the second cluster joins the first.

    References
    ----------
    Ward, "Hierarchical grouping to optimize an objective function", JASA 58, 1963.
    """
    colours, weight = colours.astype(np.float64), sizes.astype(np.float64)
    alive = np.ones(len(sizes), bool)
    order = []
    for _ in range(len(sizes) - 1):
        apart = ((colours[:, None] - colours[None]) ** 2).sum(-1)  # (K, K)
        cost = apart * weight[:, None] * weight / (weight[:, None] + weight)
        cost[~(alive[:, None] & alive)] = np.inf
        np.fill_diagonal(cost, np.inf)
        into, gone = sorted(int(i) for i in np.unravel_index(cost.argmin(), cost.shape))
        total = weight[into] + weight[gone]
        share = weight[[into, gone]] / total
        colours[into] = share[0] * colours[into] + share[1] * colours[gone]
        weight[into] = total
        alive[gone] = False
        order.append((into, gone))
    return np.array(order, np.int64).reshape(-1, 2)


def cut(order: NDArray[np.int64], sizes: NDArray[np.integer], n_labels: int) -> NDArray[np.int64]:
    """Merge until n_labels are left, and number them from 1 by size, the largest first.

    Returns
    -------
    (K,) int64 array
        The label of each cluster.
    """
    group = np.arange(len(sizes))
    for into, gone in order[: max(0, len(sizes) - n_labels)]:
        group[group == gone] = into
    names, group = np.unique(group, return_inverse=True)
    total = np.bincount(group, weights=sizes, minlength=len(names))
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(-total, kind="stable")] = np.arange(1, len(names) + 1)
    labels: NDArray[np.int64] = rank[group]
    return labels
