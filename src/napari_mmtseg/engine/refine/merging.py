"""Merge small regions across their weakest borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_SMALL_SIDE = 63
"""Side, at half the working resolution, of regions below which their borders count less."""
_ABSORBING = 0.1
"""How much less: the power of their share of that size. So specks are absorbed first."""
_INSIDE = 0.25
"""How much the insides of two regions decide beside their border: a power."""
_ALIKE = 1.02
"""Borders whose strengths differ by less than this factor vanish at once."""


def merged(
    small: NDArray[np.int64],
    responses: NDArray[np.float32],
    strength: NDArray[np.float32],
    weakest_border: float,
    pixel: float = 1.0,
) -> NDArray[np.int64]:
    """Merge small regions across borders, the weakest first, until none is weaker than a limit.

    In each round every region names its weakest border, and the weakest eighth of these vanishes.
    So the order is that of the strengths but for regions that are merged at the same time, and a
    higher limit only adds merges.

    Parameters
    ----------
    small : (*spatial) array
        The regions, numbered from 0 without gaps.
    responses : (K, *spatial) array
        Share of each cluster.
    strength : (*spatial) array
        How strong a border is at each pixel.
    weakest_border : float
        The limit.
    pixel : float
        Area or volume of a pixel.

    Returns
    -------
    (S,) int64 array
        The new number of each small region, from 0 without gaps.
    """
    count = int(small.max()) + 1
    region = np.arange(count)
    sizes = np.bincount(small.ravel(), minlength=count).astype(np.float64)
    sums = np.stack([np.bincount(small.ravel(), one.ravel(), count) for one in responses], 1)
    ends, lengths, totals = _borders(small, strength)
    full = _SMALL_SIDE**small.ndim / pixel
    while len(ends):
        a, b = ends
        means = sums / sizes[:, None]
        inside = chi_squared(means[a], means[b]) / 2
        size = np.minimum(np.minimum(sizes[a], sizes[b]) / full, 1)
        heights = (totals / lengths) ** (1 - _INSIDE) * inside**_INSIDE * size**_ABSORBING
        weakest = np.full(count, np.inf)
        for end in ends:
            np.minimum.at(weakest, end, heights)
        limit = np.minimum(np.minimum(weakest[a], weakest[b]) * _ALIKE, weakest_border)
        vanishing = np.flatnonzero((heights <= limit) & (heights < weakest_border))
        if not len(vanishing):
            break
        a, b = ends[:, vanishing]
        graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(count, count))
        count, into = connected_components(graph, directed=False)
        region = into[region]
        sizes = np.bincount(into, sizes, count)
        sums = np.stack([np.bincount(into, one, count) for one in sums.T], 1)
        ends, lengths, totals = _joined(into[ends], lengths, totals, count)
    return region.astype(np.int64)


def chi_squared(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return twice the chi-squared distance of shares: (..., K) -> (...)."""
    terms: NDArray[np.float64] = ((a - b) ** 2 / (a + b + 1e-6)).sum(-1)
    return terms


def _borders(
    small: NDArray[np.int64], strength: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the pairs of neighbours (2, E), their borders' length, and summed strength (E,)."""
    ends, values = [], []
    for axis in range(small.ndim):
        label, value = np.moveaxis(small, axis, 0), np.moveaxis(strength, axis, 0)
        at = label[:-1] != label[1:]
        ends.append(np.stack([label[:-1][at], label[1:][at]]))
        values.append((value[:-1] + value[1:])[at] / 2)
    totals = np.concatenate(values)
    count = int(small.max()) + 1
    return _joined(np.concatenate(ends, 1), np.ones(len(totals)), totals, count)


def _joined(
    ends: NDArray[np.int64], lengths: NDArray[np.float64], totals: NDArray[np.floating], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Add up the borders between the same two regions, and drop those within one."""
    apart = ends[0] != ends[1]
    low, high = np.sort(ends[:, apart], axis=0)
    keys, which = np.unique(low.astype(np.int64) * count + high, return_inverse=True)
    lengths, totals = (
        np.bincount(which, one[apart], len(keys)) for one in (lengths, totals)
    )
    return np.stack([keys // count, keys % count]), lengths, totals
