"""Regions: connected pieces whose borders part what the network's clusters tell apart."""

from __future__ import annotations

import heapq
import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed
from torch import Tensor
from torch.nn import functional

_BLOCK = 1024
_RADII = (1, 2, 4, 8)
"""Of the windows, at half the working resolution: small ones place a border, large see texture."""
_FINE = 2
"""How many of them show where the small regions lie."""
_ORIENTATIONS = 8
_SMALL_PX = 4000
"""Pixels, at half the working resolution too, below which a region's borders count less."""
_ABSORBING = 0.1
"""How much less: the power of its share of that size. So specks are absorbed first."""
_INSIDE = 0.25
"""How much the insides of two regions decide beside their border: a power."""


def regions(responses: Tensor, weakest_border: float) -> Tensor:
    """Find the regions that borders of a given strength leave; none crosses a block's border.

    A border is strong where the clusters on both sides differ: chi-squared distance of the mean
    responses in two windows that touch there, over eight directions and four window sizes, as in
    gPb. Valleys of that strength are small regions (watershed), which merge across the weakest
    border first. The strength of a border is its mean over the border's whole length, so a gap
    does not leak, and gradual shading, which has no strong place, is not split; it counts less
    where the two regions are alike inside, or one of them is small. All happens at half
    resolution.

    Blocks lie on a grid that belongs to the image: they bound the memory, and make the regions
    independent of how a large image is cut into chunks.

    Parameters
    ----------
    responses : (K, Y, X) tensor
        Share of each cluster in each pixel, 0 to 1, that sum to 1. Hard ones would cut gradual
        shading into bands.
    weakest_border : float
        Borders weaker than this vanish, 0 to 1.

    Returns
    -------
    (Y, X) tensor of int64
        Numbered from 0 without gaps.

    References
    ----------
    Arbeláez, Maire, Fowlkes and Malik, "Contour detection and hierarchical image segmentation",
    IEEE TPAMI 33, 2011. Martin, Fowlkes and Malik, "Learning to detect natural image boundaries
    using local brightness, color, and texture cues", IEEE TPAMI 26, 2004.
    """
    shape = responses.shape[1:]
    found = np.empty(shape, np.int64)
    count = 0
    for top, left in itertools.product(*(range(0, n, _BLOCK) for n in shape)):
        here = np.s_[top : top + _BLOCK, left : left + _BLOCK]
        found[here] = _of_block(responses[:, *here].float(), weakest_border) + count
        count = int(found[here].max()) + 1
    return torch.from_numpy(found).to(responses.device)


def _of_block(responses: Tensor, weakest_border: float) -> NDArray[np.int64]:
    """Return the regions (Y, X) of a block of responses (K, Y, X)."""
    pooled = functional.avg_pool2d(responses, 2, ceil_mode=True, count_include_pad=False)
    half = pooled.cpu().numpy()  # (K, y, x)
    strengths = _strengths(half)  # (R, y, x)
    # Large windows would leave no valley inside of small things.
    fine = strengths[:_FINE].mean(axis=0)
    small = watershed(ndimage.gaussian_filter(fine, 1.2, mode="nearest")).astype(np.int64)
    small = np.maximum(small - 1, 0)  # a flat plane has no valley
    merged = _merged(small, half, strengths.mean(axis=0), weakest_border)[small]
    whole: NDArray[np.int64] = merged.repeat(2, axis=0).repeat(2, axis=1)
    return whole[: responses.shape[1], : responses.shape[2]]


def _strengths(responses: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much the sides of each pixel differ in each window, (R, Y, X) in 0..1."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return np.stack(list(pool.map(partial(_strength, responses), _RADII)))


def _strength(responses: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    _, height, width = responses.shape
    angles = np.pi * np.arange(_ORIENTATIONS) / _ORIENTATIONS
    along = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    steps: list[list[int]] = np.rint((radius + 0.5) * along).astype(int).tolist()
    reach = radius + 1
    apart = np.zeros((_ORIENTATIONS, height, width), np.float32)
    for plane in responses:  # one at a time: memory does not grow with the clusters
        mean = ndimage.uniform_filter(plane, 2 * radius + 1, mode="nearest")
        mean = np.pad(mean, reach, mode="edge")
        for (dy, dx), total in zip(steps, apart, strict=True):
            a = mean[reach + dy : reach + dy + height, reach + dx : reach + dx + width]
            b = mean[reach - dy : reach - dy + height, reach - dx : reach - dx + width]
            total += _chi_squared(a, b)
    return np.asarray(apart.max(axis=0) / 2)


def _borders(
    small: NDArray[np.int64], strength: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of neighbours (E, 2), and their borders' length and summed strength (E, 2).

    A pair has the smaller number first.
    """
    n = int(small.max()) + 1
    keys, values = [], []
    for axis in (0, 1):
        label, value = np.moveaxis(small, axis, 0), np.moveaxis(strength, axis, 0)
        one, other = label[:-1], label[1:]
        at = one != other
        keys.append(np.minimum(one, other)[at] * n + np.maximum(one, other)[at])
        values.append((value[:-1] + value[1:])[at] / 2)
    pairs, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    sums = np.bincount(inverse, np.concatenate(values), minlength=len(pairs)).astype(np.float64)
    lengths = np.bincount(inverse, minlength=len(pairs)).astype(np.float64)
    ends = np.stack([pairs // n, pairs % n], axis=1).astype(np.int64)
    return ends, np.stack([lengths, sums], axis=1)


def _merged(
    small: NDArray[np.int64],
    responses: NDArray[np.float32],
    strength: NDArray[np.float32],
    weakest_border: float,
) -> NDArray[np.int64]:
    """Merge small regions across borders, the weakest first, and return each one's region (S,)."""
    n = int(small.max()) + 1
    # Merged regions get numbers from n on.
    sizes = np.zeros(2 * n)
    sizes[:n] = np.bincount(small.ravel())
    means = np.zeros((2 * n, len(responses)))
    for mean, plane in zip(means.T, responses, strict=True):
        mean[:n] = np.bincount(small.ravel(), plane.ravel()) / sizes[:n]

    def height(
        a: int | NDArray[np.int64], b: NDArray[np.int64], border: NDArray[np.float64]
    ) -> list[float]:
        length, total = border.T
        inside = _chi_squared(means[a], means[b]).sum(-1) / 2
        size = np.minimum(np.minimum(sizes[a], sizes[b]) / _SMALL_PX, 1)
        found: list[float] = (
            (total / length) ** (1 - _INSIDE) * inside**_INSIDE * size**_ABSORBING
        ).tolist()
        return found

    pairs, border = _borders(small, strength)
    borders: list[dict[int, tuple[float, float]]] = [{} for _ in range(n)]
    for (a, b), (length, total) in zip(pairs.tolist(), border.tolist(), strict=True):
        borders[a][b] = borders[b][a] = (length, total)
    heights = height(pairs[:, 0], pairs[:, 1], border)
    heap = [(at, a, b) for at, (a, b) in zip(heights, pairs.tolist(), strict=True)]
    heapq.heapify(heap)
    joined_into = list(range(n))
    while heap:
        at, a, b = heapq.heappop(heap)
        if at >= weakest_border:
            break
        if joined_into[a] != a or joined_into[b] != b:
            continue
        both = len(joined_into)
        joined_into[a] = joined_into[b] = both
        joined_into.append(both)
        sizes[both] = sizes[a] + sizes[b]
        means[both] = (sizes[a] * means[a] + sizes[b] * means[b]) / sizes[both]
        joined = borders[a]
        for other, (length, total) in borders[b].items():
            known = joined.get(other, (0.0, 0.0))
            joined[other] = (known[0] + length, known[1] + total)
        del joined[a], joined[b]
        borders.append(joined)
        borders[a] = borders[b] = {}
        for other, one in joined.items():
            for part in (a, b):
                borders[other].pop(part, None)
            borders[other][both] = one
        if joined:
            others = list(joined)
            heights = height(both, np.array(others), np.array(list(joined.values())))
            for at, other in zip(heights, others, strict=True):
                if at < weakest_border:
                    heapq.heappush(heap, (at, other, both))
    for region in reversed(range(len(joined_into))):
        joined_into[region] = joined_into[joined_into[region]]
    numbered: NDArray[np.int64] = np.unique(joined_into[:n], return_inverse=True)[1]
    return numbered


def _chi_squared(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return the terms that sum up to twice the chi-squared distance of shares."""
    terms: NDArray[Any] = a - b
    terms *= terms
    terms /= a + b + 1e-6
    return terms
