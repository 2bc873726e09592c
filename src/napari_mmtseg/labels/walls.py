"""Find cells by the walls between them: basins of wall strength, joined where a wall is weak."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from napari_mmtseg.images.frames import neighbours

SCALES = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0)
"""Those that a wall is looked for at, as the deviation of a Gaussian."""
_FINEST = 0.75
"""How much of the scale smooths the strength of walls before it is parted into basins."""
_AS_CLEAR = 0.01


def ridges(
    image: NDArray[np.floating], sigma: float, spacing: tuple[float, ...], *, bright: bool = True
) -> NDArray[np.float32]:
    """Measure how much of a ridge each pixel is at one scale.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array
        Intensities, finite.
    sigma : float
        The scale, the deviation of a Gaussian in the units of spacing, above 0.
    spacing : tuple of float
        Size of a pixel along each axis.
    bright : bool
        Whether ridges are brighter than what they part.

    Returns
    -------
    float32 array
        The strongest curvature across, times sigma squared, 0 where there is no ridge.
    """
    across = [sigma / one for one in spacing]
    n = image.ndim
    hessian = np.empty((*image.shape, n, n), np.float32)
    sign = 1 if bright else -1
    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32) * sign, across)
    firsts = [np.gradient(smooth, one, axis=axis) for axis, one in enumerate(spacing)]
    for i, first in enumerate(firsts):
        for j in range(i, n):
            hessian[..., i, j] = hessian[..., j, i] = np.gradient(first, spacing[j], axis=j)
    curvature = np.linalg.eigvalsh(hessian)[..., 0]
    found: NDArray[np.float32] = np.maximum(-curvature, 0) * np.float32(sigma**2)
    return found


def joined_by_walls(
    basins: NDArray[np.int32], strength: NDArray[np.floating], weakest: float
) -> NDArray[np.int32]:
    """Join touching basins, those with the weakest wall between them first.

    The wall between two basins is as strong as the mean along their border; after each joining
    the borders that have become one are averaged by their lengths.

    Parameters
    ----------
    basins : (Y, X) or (Z, Y, X) int32 array
        Numbered from 1; 0 is ground.
    strength : array of the same shape
        How much of a wall each pixel is.
    weakest : float
        Walls of this strength stay.

    Returns
    -------
    int32 array
        Numbered from 1 without gaps, 0 where basins are.
    """
    into = np.arange(int(basins.max(initial=0)) + 1)
    borders = _borders(basins, strength)
    waiting = [
        (total / length, one, other)
        for one, beside in borders.items()
        for other, (total, length) in beside.items()
        if one < other and total < weakest * length
    ]
    heapq.heapify(waiting)
    while waiting:
        mean, one, other = heapq.heappop(waiting)
        total, length = borders.get(one, {}).get(other, (0.0, 0.0))
        if not length or total / length != mean:
            continue  # one of them is gone, or their border has grown since
        for third, (more, longer) in borders.pop(other).items():
            del borders[third][other]
            if third == one:
                continue
            old, before = borders[one].get(third, (0.0, 0.0))
            whole = (old + more, before + longer)
            borders[one][third] = borders[third][one] = whole
            if whole[0] < weakest * whole[1]:
                pair = (min(one, third), max(one, third))
                heapq.heappush(waiting, (whole[0] / whole[1], *pair))
        into[other] = one
    while (into[into] != into).any():
        into = into[into]
    numbers = np.unique(into[1:])
    renumbered = np.zeros(len(into), np.int32)
    renumbered[numbers] = np.arange(1, len(numbers) + 1)
    found: NDArray[np.int32] = renumbered[into][basins]
    return found


class Walls(NamedTuple):
    """What the walls of an image are like."""

    scale: float
    """The deviation of a Gaussian that shows them, in the units of spacing."""
    weakest: float
    """The strength, as `ridges` gives it, from which a wall parts two cells."""
    clearness: float
    """The share of the variance between borders, 0 to 1, that walls and no walls explain."""


def between_walls(
    image: NDArray[np.floating], spacing: tuple[float, ...], *, bright: bool = True
) -> tuple[NDArray[np.int32], Walls]:
    """Part an image into the cells that its walls enclose.

    The image is parted into basins at several scales. Borders between basins are either walls or
    none: Otsu's threshold of their strength tells which, of its root as strong walls vary more.
    The largest scale is taken at which both differ about as clearly as anywhere.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array
        Intensities, finite.
    spacing : tuple of float
        Size of a pixel along each axis, the smaller side in the plane as 1.
    bright : bool
        Whether walls are brighter than cells.

    Returns
    -------
    cells : int32 array
        Each cell's number from 1; walls are given to the cells beside them. What lies outside of
        a tissue is a cell too.
    walls : Walls
        At the scale that was taken; without any wall all is one cell, and clearness 0.
    """
    looks = [_look(image, scale, spacing, bright) for scale in SCALES]
    clearest = max(look.walls.clearness for look in looks)
    taken = [look for look in looks if look.walls.clearness >= clearest - _AS_CLEAR][-1]
    if clearest == 0:
        return np.ones(image.shape, np.int32), taken.walls
    return joined_by_walls(taken.basins, taken.strength, taken.walls.weakest), taken.walls


class _Look(NamedTuple):
    walls: Walls
    basins: NDArray[np.int32]
    strength: NDArray[np.float32]


def _look(
    image: NDArray[np.floating], scale: float, spacing: tuple[float, ...], bright: bool
) -> _Look:
    strength = ridges(image, scale, spacing, bright=bright)
    smooth = ndimage.gaussian_filter(strength, [scale * _FINEST / one for one in spacing])
    basins = np.asarray(watershed(smooth), np.int32)
    sides = [
        (total / length, length)
        for one, beside in _borders(basins, strength).items()
        for other, (total, length) in beside.items()
        if one < other
    ]
    if not sides:
        return _Look(Walls(scale, 0.0, 0.0), basins, strength)
    means, lengths = np.array(sorted(sides)).T
    _, clearness = _parted(means, lengths)
    root, _ = _parted(np.sqrt(means), lengths)
    return _Look(Walls(scale, root**2, clearness), basins, strength)


def _parted(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Return Otsu's threshold of sorted values, and the share of the variance it explains."""
    weight, total = np.cumsum(weights), np.cumsum(weights * values)
    mean = total[-1] / weight[-1]
    variance = float(np.average((values - mean) ** 2, weights=weights))
    if len(values) < 2 or variance == 0:
        return float(values[0]), 0.0
    below, above = weight[:-1], weight[-1] - weight[:-1]
    apart = total[:-1] / below - (total[-1] - total[:-1]) / above
    between = below * above * apart**2 / weight[-1] ** 2
    best = int(np.argmax(between))
    return float(values[best + 1]), float(between[best]) / variance


def _borders(
    basins: NDArray[np.int32], strength: NDArray[np.floating]
) -> dict[int, dict[int, tuple[float, float]]]:
    """Return, for each basin, what it touches: the strengths' sum along the border, its length."""
    count = int(basins.max(initial=0)) + 1
    codes, values = [], []
    for after, before in neighbours(basins.ndim):
        one, other = basins[after], basins[before]
        here = (one != other) & (one > 0) & (other > 0)
        low = np.minimum(one[here], other[here]).astype(np.int64)
        codes.append(low * count + np.maximum(one[here], other[here]))
        values.append(np.maximum(strength[after], strength[before])[here])
    pairs, which = np.unique(np.concatenate(codes), return_inverse=True)
    totals = np.bincount(which, np.concatenate(values))
    lengths = np.bincount(which)
    found: dict[int, dict[int, tuple[float, float]]] = {
        one: {} for one in np.unique(basins[basins > 0]).tolist()
    }
    for pair, total, length in zip(pairs.tolist(), totals.tolist(), lengths.tolist(), strict=True):
        one, other = divmod(pair, count)
        found[one][other] = found[other][one] = (total, float(length))
    return found
