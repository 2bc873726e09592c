"""Regions: connected pieces whose borders part what the clusters tell apart."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed
from torch import Tensor

from napari_mmtseg.engine.refine.region_merges import merged
from napari_mmtseg.engine.refine.window_means import interpolated, window_sum

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
_STRIP_VALUES = 32_768
"""So many pixels at a time stay in a processor's cache."""


class Regions(NamedTuple):
    """The regions of a tile."""

    labels: NDArray[np.int64]  # (*half), numbered from 0 without gaps
    votes: NDArray[np.float32]  # (R, K): mean share of each cluster in each region


def halving(ndim: int, spacing: tuple[float, ...] | None) -> tuple[int, ...]:
    """Return by what to reduce each axis for regions: 2, or 1 where pixels are large already."""
    return tuple(2 if size < 2 else 1 for size in spacing or (1.0,) * ndim)


def regions(
    responses: Tensor, weakest_border: float, spacing: tuple[float, ...] | None = None
) -> Regions:
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
    # Threads that each take a part need not wait for each other after every operation.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        # Large windows would leave no valley inside of small things.
        fine = [_strength(shares, unit, radius, pool) for radius in _RADII[:_FINE]]
        valleys = pool.submit(_valleys, np.stack(fine).mean(axis=0), unit)  # one thread's work
        wide = [_strength(shares, unit, radius, pool) for radius in _RADII[_FINE:]]
        small = valleys.result()
    strength = np.stack([*fine, *wide]).mean(axis=0)
    into, votes = merged(small, shares, strength, weakest_border, math.prod(unit))
    return Regions(into[small], votes.astype(np.float32))


def _valleys(strength: NDArray[np.float32], unit: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the number, from 0, of the valley that each pixel lies in."""
    sigma = [_SMOOTHING / size for size in unit]
    fine = ndimage.gaussian_filter(strength, sigma, mode="nearest")
    small: NDArray[np.int64] = watershed(fine).astype(np.int64)
    return np.maximum(small - 1, 0)  # a flat plane has no valley


def _strength(
    responses: NDArray[np.float32], unit: tuple[float, ...], radius: int, pool: ThreadPoolExecutor
) -> NDArray[np.float32]:
    """Return how much the sides of each pixel differ in windows of a size, 0 to 1.

    Parameters
    ----------
    responses : (K, *half) array
    unit : tuple of float
        Size of a pixel along each axis, where 1 is what radii are counted in.
    radius : int
    pool : ThreadPoolExecutor
        Does the work.

    Returns
    -------
    (*half) array
    """
    steps = _steps(radius, unit)
    every = tuple(max(1, round(radius / size / _SAMPLES)) for size in unit)
    margins = [
        -(-n // by) * by + by for n, by in zip(np.abs(steps).max(axis=0), every, strict=True)
    ]
    shape = [n + 2 * margin for n, margin in zip(responses.shape[1:], margins, strict=True)]
    wide = np.empty((len(responses), *shape), np.float32)
    reach = [_reach(radius, size) for size in unit]
    list(pool.map(partial(_put_means, reach=reach, margins=margins), responses, wide))
    strongest = _strongest(wide, steps, margins, every, pool)
    return interpolated(strongest, every, responses.shape[1:])


def _put_means(
    plane: NDArray[np.float32], into: NDArray[np.float32], reach: list[int], margins: list[int]
) -> None:
    """Put the means over boxes into a wider plane, whose margins repeat those at the border."""
    inner = tuple(slice(m, m + n) for m, n in zip(margins, plane.shape, strict=True))
    sums = plane
    for axis, r in enumerate(reach):
        sums = window_sum(sums, r, axis)
    np.multiply(sums, np.float32(1 / math.prod(2 * r + 1 for r in reach)), out=into[inner])
    into[inner] += _TINY
    for axis, (margin, n) in enumerate(zip(margins, plane.shape, strict=True)):
        # Of the axes that follow, the margins are not there yet.
        across = np.moveaxis(into[(*(slice(None),) * (axis + 1), *inner[axis + 1 :])], axis, 0)
        across[:margin] = across[margin]
        across[margin + n :] = across[margin + n - 1]


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
    wide: NDArray[np.float32],
    steps: list[tuple[int, ...]],
    margins: list[int],
    every: tuple[int, ...],
    pool: ThreadPoolExecutor,
) -> NDArray[np.float32]:
    """Return the largest chi-squared distance between the two means a step to either side.

    Parameters
    ----------
    wide : (K, *wider) array
        The means, with margins at least as wide as the steps.
    steps : list of tuple of int
        Along each axis.
    margins : list of int
        Multiples of `every`.
    every : tuple of int
        Distance of the places looked at along each axis.
    pool : ThreadPoolExecutor
        Does the work.

    Returns
    -------
    (*samples) array
    """
    shape = [n - 2 * margin for n, margin in zip(wide.shape[1:], margins, strict=True)]
    counts = [1 - (1 - n) // by for n, by in zip(shape, every, strict=True)]  # reach the last one
    # Places that lie in steps of `every` are put side by side: then a step is a distance in memory.
    lattice = [-(-n // by) for n, by in zip(wide.shape[1:], every, strict=True)]
    strides = np.append(np.cumprod(lattice[:0:-1])[::-1], 1).astype(int)
    lattices: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def shifted(step: NDArray[np.int64]) -> tuple[NDArray[np.float32], int]:
        """Return the flat planes (K, n) that a step leads to, and how far on."""
        phase = tuple((step % every).tolist())
        if phase not in lattices:
            within = tuple(slice(first, None, by) for first, by in zip(phase, every, strict=True))
            part = wide[:, *within]
            if part.shape[1:] != tuple(lattice):
                lacking = [(0, n - have) for n, have in zip(lattice, part.shape[1:], strict=True)]
                part = np.pad(part, [(0, 0), *lacking], mode="edge")
            lattices[phase] = np.ascontiguousarray(part).reshape(len(wide), -1)
        return lattices[phase], int((step // every) @ strides)

    ways = [[shifted(sign * np.array(step)) for sign in (1, -1)] for step in steps]
    first = int((np.array(margins) // every) @ strides)
    row = int(strides[0])
    last = first + int((np.array(counts) - 1) @ strides) + 1
    rows = max(1, _STRIP_VALUES // row)
    found = np.zeros(counts[0] * row, np.float32)

    def fill(top: int) -> None:
        start = first + top * row
        stop = min(start + rows * row, last)
        strip = found[start - first : stop - first]
        total, terms, sums = (np.empty_like(strip) for _ in range(3))
        for (one, there), (other, back) in ways:
            total[...] = 0
            for a, b in zip(one, other, strict=True):  # cluster by cluster: little memory
                a, b = a[start + there : stop + there], b[start + back : stop + back]
                np.subtract(a, b, out=terms)
                np.add(a, b, out=sums)
                terms *= terms
                terms /= sums
                total += terms
            np.maximum(strip, total, out=strip)

    list(pool.map(fill, range(0, counts[0], rows)))
    found /= 2
    whole = found.reshape(counts[0], *lattice[1:])
    return np.ascontiguousarray(whole[:, *(slice(n) for n in counts[1:])])
