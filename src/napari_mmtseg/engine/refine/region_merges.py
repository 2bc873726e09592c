"""Merge small regions across their weakest borders."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_mmtseg.images.frames import neighbours

_SMALL_PX = 4000
"""Pixels, at half the working resolution, of a region below which its borders count less; of a
region with the same side in a volume."""
_ABSORBING = 0.1
"""How much less: the power of their share of that size. So specks are absorbed first."""
_INSIDE = 0.25
"""How much the insides of two regions decide beside their border: a power."""
_AT_ONCE = 0.25
"""Share of the borders that are the weakest of both their regions which vanishes at once."""
_LARGER, _ALIKE = 8, 1.1
"""So many times larger regions hardly change by small ones: they absorb several at once whose
borders are so alike in strength."""


def merged(
    small: NDArray[np.int64],
    responses: NDArray[np.float32],
    strength: NDArray[np.float32],
    weakest_border: float,
    pixel: float = 1.0,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Merge small regions across borders, the weakest first, until none is weaker than a limit.

    One after the other would be slow. In each round the weaker ones of those borders vanish that
    are the weakest of both their regions: others hardly change what these two would do next.

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
    into : (S,) int64 array
        The new number of each small region, from 0 without gaps.
    means : (R, K) array
        Share of each cluster in each new region.
    """
    count = int(small.max()) + 1
    region = np.arange(count)
    flat = small.ravel()
    sizes = np.bincount(flat, minlength=count).astype(np.float64)
    sums = np.stack([np.bincount(flat, one.ravel(), count) for one in responses], 1)
    ends, lengths, totals = _borders(small, strength)
    while ends.size:
        a, b = ends
        means = sums / sizes[:, None]
        inside = chi_squared(means[a], means[b]) / 2
        area = (np.minimum(sizes[a], sizes[b]) * pixel) ** (2 / small.ndim)
        size = np.minimum(area / _SMALL_PX, 1)
        heights = (totals / lengths) ** (1 - _INSIDE) * inside**_INSIDE * size**_ABSORBING
        weakest = _weakest(ends, heights, count)
        both = np.flatnonzero((weakest[a] == weakest[b]) & (weakest[a] == np.arange(len(a))))
        mutual = both[np.argsort(heights[both], kind="stable")]
        vanishing = mutual[: math.ceil(len(mutual) * _AT_ONCE)]
        named = np.flatnonzero(weakest < len(a))
        weakest = weakest[named]
        beside = ends[:, weakest].sum(0) - named
        absorbed = sizes[named] * _LARGER <= sizes[beside]
        absorbed &= heights[weakest] <= heights[vanishing[-1]] * _ALIKE
        vanishing = np.concatenate([vanishing, weakest[absorbed]])
        vanishing = vanishing[heights[vanishing] < weakest_border]
        if not len(vanishing):
            break
        a, b = ends[:, vanishing]
        graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(count, count))
        count, into = connected_components(graph, directed=False)
        region = into[region]
        sizes = np.bincount(into, sizes, count).astype(np.float64)
        sums = np.stack([np.bincount(into, one, count) for one in sums.T], 1)
        ends, lengths, totals = _joined(into[ends], lengths, totals, count)
    return region.astype(np.int64), sums / sizes[:, None]


def chi_squared(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return twice the chi-squared distance of shares: (..., K) -> (...)."""
    terms: NDArray[np.float64] = ((a - b) ** 2 / (a + b + 1e-6)).sum(-1)
    return terms


def _weakest(
    ends: NDArray[np.int64], heights: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Return the weakest border of each region, the first of equal ones, E if it has none."""
    lowest = np.full(count, np.inf)
    found = np.full(count, len(heights))
    for end in ends:
        np.minimum.at(lowest, end, heights)
    for end in ends:
        at = np.flatnonzero(heights == lowest[end])
        np.minimum.at(found, end[at], at)
    return found


def _borders(
    small: NDArray[np.int64], strength: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the pairs of neighbours (2, E), their borders' length, and summed strength (E,)."""
    ends, values = [], []
    for after, before in neighbours(small.ndim):
        at = small[before] != small[after]
        ends.append(np.stack([small[before][at], small[after][at]]))
        values.append((strength[before][at] + strength[after][at]) / 2)
    totals = np.concatenate(values)
    count = int(small.max()) + 1
    return _joined(np.concatenate(ends, 1), np.ones(len(totals)), totals, count)


def _joined(
    ends: NDArray[np.int64], lengths: NDArray[np.float64], totals: NDArray[np.floating], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Add up the borders between the same two regions, and drop those within one."""
    apart = ends[0] != ends[1]
    a, b = ends[:, apart]
    pairs = np.minimum(a, b), np.maximum(a, b)
    # A sparse matrix sorts them in time that grows with their number alone.
    both = lengths[apart] + 1j * totals[apart]
    matrix = coo_array((both, pairs), shape=(count, count)).tocsr()
    matrix.sort_indices()
    low = np.repeat(np.arange(count), np.diff(matrix.indptr))
    joined = np.stack([low, matrix.indices]).astype(np.int64)
    return joined, matrix.data.real.copy(), matrix.data.imag.copy()
