"""Part touching objects where their outline has necks or their brightness has valleys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import relabel_sequential, watershed

from napari_mmtseg.labels.shapes import diameter_of, size_of, sizes_and_roundness, weighted_median

BLUR = 0.1
"""Smoothing of the distance to the edge that suits most objects, as a share of the diameter."""
_BLURS = (0.06, BLUR, 0.15)
"""The same for proposals, from many parts to few."""
_BRIGHTNESS_BLUR = 0.2
_BRIGHTEST = 1.2
_A_PART_MORE = 0.02
"""How much rounder the parts must be for each part more, where a diameter's size is parted."""
_OTHER_SIZE = 0.15
_AT_ONCE = 2
_ROUND = 0.9
_OUTLINES = (1.0, 2.0, 4.0)
_SMOOTH_ENOUGH = 0.85


def parted(
    inside: NDArray[np.bool_],
    contrast: NDArray[np.float32],
    diameter: float,
    spacing: tuple[float, ...],
) -> NDArray[np.int32]:
    """Part what touches: for each connected piece, the proposal with the roundest parts wins.

    The proposals are watersheds of the smoothed distance to the edge, at several scales, and of
    the smoothed brightness.

    Parameters
    ----------
    inside : (Y, X) or (Z, Y, X) bool array
        Where objects are.
    contrast : float32 array
        Of the same shape: about 0 on the ground, about 1 on objects.
    diameter : float
        Of a typical object, in the units of spacing.
    spacing : tuple of float
        Size of a pixel along each axis.

    Returns
    -------
    int32 array
        Objects numbered from 1; 0 is ground.
    """
    pieces, count = ndimage.label(inside)
    best = np.full(count + 1, -np.inf)
    found = np.zeros(inside.shape, np.int32)
    last = 0
    for proposal in _proposals(inside, contrast, diameter, spacing):
        score = _scores(proposal, pieces, count, diameter, spacing)
        better = score > best
        best[better] = score[better]
        found[better[pieces]] = proposal[better[pieces]] + last
        last += int(proposal.max(initial=0))
    whole = np.isneginf(best)  # too near to a larger piece for a peak of its own
    alone = whole[pieces] & inside
    found[alone] = pieces[alone] + last
    numbered: NDArray[np.int32] = relabel_sequential(found)[0]
    return numbered


def by_distance(
    distance: NDArray[np.float32],
    inside: NDArray[np.bool_],
    blur: float,
    spacing: tuple[float, ...],
) -> NDArray[np.int32]:
    """Part objects by the watershed of the distance to their edge, smoothed by `blur`."""
    height = ndimage.gaussian_filter(distance, [max(blur, 1) / one for one in spacing])
    return _watershed(height, inside, 2 * blur / min(spacing))


def depth(inside: NDArray[np.bool_], spacing: tuple[float, ...]) -> NDArray[np.float32]:
    """Return each pixel's distance to the edge, 0 outside."""
    found = ndimage.distance_transform_edt(inside, sampling=spacing)
    return np.asarray(found, np.float32)


def smoothed(
    inside: NDArray[np.bool_], sigma: float, spacing: tuple[float, ...]
) -> NDArray[np.bool_]:
    """Smooth an outline by a Gaussian of so many units of spacing."""
    near = ndimage.gaussian_filter(inside.astype(np.float32), [sigma / one for one in spacing])
    found: NDArray[np.bool_] = near > 0.5
    return found


class Seen(NamedTuple):
    """What the objects of a mask look like before anything is known about them."""

    diameter: float
    """Of a typical one, in the units of spacing: the median of the round ones, by size."""
    sizes: NDArray[np.float64]
    roundness: NDArray[np.float64]


def first_look(inside: NDArray[np.bool_], spacing: tuple[float, ...]) -> Seen | None:
    """Measure how large and how round objects are, whether they touch or not.

    Noise frays their outline, so it is smoothed as far as they need to be round.

    Returns
    -------
    Seen or None
        None if nothing is left inside.
    """
    found = None
    for sigma in _OUTLINES:
        smooth = smoothed(inside, sigma, spacing)
        if not smooth.any():
            break
        found = _look(smooth, spacing)
        if np.average(found.roundness, weights=found.sizes) > _SMOOTH_ENOUGH:
            break
    return found


def _look(inside: NDArray[np.bool_], spacing: tuple[float, ...]) -> Seen:
    distance = depth(inside, spacing)
    # In a ball of n dimensions the mean distance to the edge is a part of n + 1 of the radius.
    diameter = 2 * (inside.ndim + 1) * float(distance[inside].mean())
    for _ in range(2):
        parts = by_distance(distance, inside, BLUR * diameter, spacing)
        sizes, roundness = sizes_and_roundness(parts, spacing)
        weights = sizes * np.where(roundness > _ROUND, 1, 1e-6)
        diameter = weighted_median(diameter_of(sizes, inside.ndim), weights)
    return Seen(diameter, sizes, roundness)


def _proposals(
    inside: NDArray[np.bool_],
    contrast: NDArray[np.float32],
    diameter: float,
    spacing: tuple[float, ...],
) -> list[NDArray[np.int32]]:
    distance = depth(inside, spacing)

    def by_brightness(blur: float) -> NDArray[np.int32]:
        bright = np.clip(contrast, 0, _BRIGHTEST) * inside
        height = ndimage.gaussian_filter(bright, [blur / one for one in spacing])
        return _watershed(height, inside, blur / min(spacing))

    with ThreadPoolExecutor(_AT_ONCE) as pool:  # SciPy and scikit-image let other threads run
        asked = [
            pool.submit(by_distance, distance, inside, blur * diameter, spacing) for blur in _BLURS
        ]
        asked.append(pool.submit(by_brightness, _BRIGHTNESS_BLUR * diameter))
        return [one.result() for one in asked]


def _watershed(
    height: NDArray[np.float32], inside: NDArray[np.bool_], apart: float
) -> NDArray[np.int32]:
    peaks = peak_local_max(
        height,
        min_distance=max(1, round(apart)),
        labels=inside.astype(np.int8),
        exclude_border=False,
    )
    seeds = np.zeros(inside.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    parts: NDArray[np.int32] = watershed(-height, seeds, mask=inside)
    return parts


def _scores(
    proposal: NDArray[np.int32],
    pieces: NDArray[np.int32],
    count: int,
    diameter: float,
    spacing: tuple[float, ...],
) -> NDArray[np.float64]:
    """Return how round and how alike in size the parts of each piece are, less what they cost."""
    sizes, roundness = sizes_and_roundness(proposal, spacing)
    score = np.full(count + 1, -np.inf)
    if not len(sizes):
        return score
    piece = np.zeros(len(sizes) + 1, np.int64)
    piece[proposal.ravel()] = pieces.ravel()
    n = proposal.ndim
    other = np.log(np.maximum(diameter_of(sizes, n), 1e-9) / diameter)
    worth = roundness * np.exp(-_OTHER_SIZE * other**2)
    total = np.bincount(piece[1:], sizes, count + 1)
    some = total > 0
    parts = np.bincount(piece[1:], minlength=count + 1)
    cost = _A_PART_MORE * (parts - 1) * size_of(diameter, n)
    gain = np.bincount(piece[1:], sizes * worth, count + 1) - cost
    score[some] = gain[some] / total[some]
    return score
