"""Regions: connected pieces whose borders part what the clusters tell apart."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed
from torch import Tensor

from napari_mmtseg.engine.refine.merging import merged
from napari_mmtseg.engine.refine.windows import interpolated

_RADII = (1, 2, 4, 8)
"""Of the windows, at half the working resolution: small ones place a border, large see texture."""
_FINE = 2
"""How many of them show where the small regions lie."""
_SAMPLES = 4
"""Strengths of large windows change slowly: so many places a radius do."""
_ORIENTATIONS = 8
_SMOOTHING = 1.2
_TINY = 5e-7
"""Added to shares, so that those of absent clusters can be divided by."""
_STRIP_VALUES = 65_536
"""So many pixels at a time stay in a processor's cache."""


def halving(ndim: int, spacing: tuple[float, ...] | None) -> tuple[int, ...]:
    """Return by what to reduce each axis for regions: 2, or 1 where pixels are large already."""
    return tuple(2 if size < 2 else 1 for size in spacing or (1.0,) * ndim)


def regions(
    responses: Tensor, weakest_border: float, spacing: tuple[float, ...] | None = None
) -> Tensor:
    """Find the regions that borders of a given strength leave, in one tile.

    A border is strong where the clusters on both sides differ: chi-squared distance of the mean
    responses in two windows that touch there, over several directions and four window sizes, as in
    gPb. Valleys of that strength are small regions (watershed), which merge across the weakest
    border first. The strength of a border is its mean over the border's whole length, so a gap
    does not leak, and gradual shading, which has no strong place, is not split; it counts less
    where the two regions are alike inside, or one of them is small.

    Parameters
    ----------
    responses : (K, *half) tensor
        Share of each cluster in each pixel, 0 to 1, that sum to 1; reduced by `halving`. Hard ones
        would cut gradual shading into bands.
    weakest_border : float
        Borders weaker than this vanish, 0 to 1.
    spacing : tuple of float, optional
        Size of a pixel along each axis before it was reduced, 1 in the plane; by default all are 1.

    Returns
    -------
    (*half) tensor of int64
        On the processor; numbered from 0 without gaps.

    References
    ----------
    Arbeláez, Maire, Fowlkes and Malik, "Contour detection and hierarchical image segmentation",
    IEEE TPAMI 33, 2011. Martin, Fowlkes and Malik, "Learning to detect natural image boundaries
    using local brightness, color, and texture cues", IEEE TPAMI 26, 2004.
    """
    ndim = responses.ndim - 1
    factors = halving(ndim, spacing)
    unit = tuple(
        size * factor / 2 for size, factor in zip(spacing or (1.0,) * ndim, factors, strict=True)
    )
    shares = responses.float().cpu().numpy()
    strengths = _strengths(shares, unit)  # (R, *half)
    # Large windows would leave no valley inside of small things.
    sigma = [_SMOOTHING / size for size in unit]
    fine = ndimage.gaussian_filter(strengths[:_FINE].mean(axis=0), sigma, mode="nearest")
    small = watershed(fine).astype(np.int64)
    small = np.maximum(small - 1, 0)  # a flat plane has no valley
    into = merged(small, shares, strengths.mean(axis=0), weakest_border, math.prod(unit))
    return torch.from_numpy(into[small])


def _strengths(responses: NDArray[np.float32], unit: tuple[float, ...]) -> NDArray[np.float32]:
    """Return how much the sides of each pixel differ in windows of each size, 0 to 1.

    Parameters
    ----------
    responses : (K, *half) array
    unit : tuple of float
        Size of a pixel along each axis, where 1 is what radii are counted in.

    Returns
    -------
    (R, *half) array
    """
    found = []
    for radius in _RADII:
        sides = [2 * _reach(radius, size) + 1 for size in unit]
        # Threads that each take a plane need not wait for each other after every operation.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            planes = pool.map(
                partial(ndimage.uniform_filter, size=sides, mode="nearest"), responses
            )
            mean = np.stack(list(planes))
        every = tuple(max(1, round(radius / size / _SAMPLES)) for size in unit)
        found.append(_strongest(mean, _steps(radius, unit), every))
    return np.stack(found)


def _reach(radius: int, size: float) -> int:
    """Return a window's half side in pixels of a size: 0 where one is larger than the window."""
    return max(1, round(radius / size)) if size <= 2 * radius + 1 else 0


def _steps(radius: int, size: tuple[float, ...]) -> list[tuple[int, ...]]:
    """Return from where to where the sides of a pixel lie, one step for each direction."""
    directions: list[tuple[float, ...]]
    if len(size) == 2:
        angles = np.pi * np.arange(_ORIENTATIONS) / _ORIENTATIONS
        directions = list(zip(np.sin(angles), np.cos(angles), strict=True))
    else:  # the axes, and the diagonals of two of them
        signs = itertools.product((-1, 0, 1), repeat=len(size))
        chosen = [one for one in signs if 0 < np.abs(one).sum() <= 2 and one > (0,) * len(size)]
        directions = [tuple(np.divide(one, np.linalg.norm(one))) for one in chosen]
    steps = [
        tuple(
            round((radius + 0.5) * along / n) or (round(along) if n > radius else 0)
            for along, n in zip(direction, size, strict=True)
        )
        for direction in directions
    ]
    return [step for step in dict.fromkeys(steps) if any(step)]


def _strongest(
    mean: NDArray[np.float32], steps: list[tuple[int, ...]], every: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return the largest chi-squared distance between the two means a step to either side.

    Parameters
    ----------
    mean : (K, *half) array
    steps : list of tuple of int
        Along each axis.
    every : tuple of int
        Distance of the places looked at along each axis; between them it is interpolated.

    Returns
    -------
    (*half) array
    """
    shape = mean.shape[1:]
    counts = [1 - (1 - n) // by for n, by in zip(shape, every, strict=True)]  # reach the last one
    pads = np.abs(steps).max(axis=0) + np.array(every)
    wide = np.pad(mean, [(0, 0), *((n, n) for n in pads)], mode="edge")
    wide += _TINY
    found = np.zeros(counts, np.float32)
    rows = max(1, _STRIP_VALUES // math.prod(counts[1:]))

    def fill(top: int) -> None:
        strip = found[top : top + rows]
        total, terms, sums = (np.empty_like(strip) for _ in range(3))
        first = np.multiply((top, *(0,) * (len(shape) - 1)), every) + pads
        for step in steps:
            one, other = (
                tuple(
                    slice(start, start + by * (n - 1) + 1, by)
                    for start, by, n in zip(
                        first + sign * np.array(step), every, strip.shape, strict=True
                    )
                )
                for sign in (1, -1)
            )
            total[...] = 0
            for plane in wide:  # one at a time: memory does not grow with the clusters
                np.subtract(plane[one], plane[other], out=terms)
                np.add(plane[one], plane[other], out=sums)
                terms *= terms
                terms /= sums
                total += terms
            np.maximum(strip, total, out=strip)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(fill, range(0, counts[0], rows)))
    found /= 2
    return interpolated(found, every, shape)
