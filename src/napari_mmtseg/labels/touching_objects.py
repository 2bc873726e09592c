"""Part touching objects where their outline has necks or their brightness has valleys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.measure import label
from skimage.segmentation import relabel_sequential, watershed

from napari_mmtseg.labels.oversplit_objects import joined
from napari_mmtseg.labels.shapes import (
    diameter_of,
    is_thin,
    sizes_and_roundness,
    weighted_median,
)

BLUR = 0.1
"""Smoothing of the distance to the edge that suits most objects, as a share of the diameter."""
_FINE_BLUR = 0.06
"""The same for parts that are too many rather than too few."""
_BRIGHTNESS_BLUR = 0.1
_BRIGHTEST = 1.2
_AT_ONCE = 2
_ROUND = 0.9
_OUTLINES = (1.0, 2.0, 4.0)
_SMOOTH_ENOUGH = 0.85
_PLANES = 3
_THROUGH = 0.2
"""Smoothing along Z where a stack is thin, as a share of its depth."""


def parted(
    inside: NDArray[np.bool_],
    contrast: NDArray[np.float32],
    diameter: float,
    spacing: tuple[float, ...],
) -> NDArray[np.int32]:
    """Part what touches: too finely at first, then the parts are joined that make round objects.

    Borders between parts are those of two watersheds: of the distance to the edge, for necks, and
    of the brightness, for valleys.

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
    numbered: NDArray[np.int32] = relabel_sequential(
        joined(_finely(inside, contrast, diameter, spacing), diameter, spacing)
    )[0]
    return numbered


def by_distance(
    distance: NDArray[np.float32],
    inside: NDArray[np.bool_],
    blur: float,
    spacing: tuple[float, ...],
    along: float = 0.0,
) -> NDArray[np.int32]:
    """Part objects by the watershed of the distance to their edge, smoothed by `blur`.

    Along Z it is smoothed by `along` if that is more.
    """
    height = _blurred(distance, max(blur, 1), spacing, along)
    return _watershed(height, inside, 2 * blur / min(spacing))


def peaks_of(
    height: NDArray[np.float32],
    inside: NDArray[np.bool_],
    apart: float,
    *,
    least: float | None = None,
) -> NDArray[np.int64]:
    """Return the places (N, axes) of peaks so many pixels apart, at least so high if that is given.

    Without `least` only the lowest value of all is too low.
    """
    peaks: NDArray[np.int64] = peak_local_max(
        height,
        min_distance=max(1, round(apart)),
        threshold_abs=least,
        labels=inside.astype(np.int8),
        exclude_border=False,
    )
    return peaks


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


class FirstLook(NamedTuple):
    """What the objects of a mask look like before anything is known about them."""

    diameter: float
    """Of a typical one, in the units of spacing: the median of the round ones, by size."""
    sizes: NDArray[np.float64]
    roundness: NDArray[np.float64]


def first_look(inside: NDArray[np.bool_], spacing: tuple[float, ...]) -> FirstLook | None:
    """Measure how large and how round objects are, whether they touch or not.

    Noise frays their outline, so it is smoothed as far as they need to be round.

    Returns
    -------
    FirstLook or None
        None if nothing is left inside.
    """
    if inside.ndim == 3:
        cut = _cut_twice(inside, spacing)
        if cut is not None:
            return cut
    found = None
    for sigma in _OUTLINES:
        smooth = smoothed(inside, sigma, spacing)
        if not smooth.any():
            break
        found = _look(smooth, spacing)
        if np.average(found.roundness, weights=found.sizes) > _SMOOTH_ENOUGH:
            break
    return found


def _cut_twice(inside: NDArray[np.bool_], spacing: tuple[float, ...]) -> FirstLook | None:
    """Measure objects in the planes of a thin stack, if most of them go through it.

    Returns
    -------
    FirstLook or None
        None if the stack is deep, or few of them do.
    """
    pieces, count = ndimage.label(inside)
    through = np.zeros(count + 1, bool)
    through[np.intersect1d(pieces[0], pieces[-1])] = True
    through[0] = False
    if through[pieces].sum() <= inside.sum() / 2:
        return None
    depth = len(inside)
    planes = sorted({(2 * k + 1) * depth // (2 * _PLANES) for k in range(_PLANES)})
    found = [first_look(inside[z], spacing[1:]) for z in planes]
    seen = [one for one in found if one is not None]
    if not seen:
        return None
    sizes = np.array([one.sizes.sum() for one in seen])
    diameter = weighted_median(np.array([one.diameter for one in seen]), sizes)
    if not is_thin(inside.shape, spacing, diameter):
        return None
    joined = (np.concatenate(part) for part in zip(*(one[1:] for one in seen), strict=True))
    return FirstLook(diameter, *joined)


def _look(inside: NDArray[np.bool_], spacing: tuple[float, ...]) -> FirstLook:
    distance = depth(inside, spacing)
    # In a ball of n dimensions the mean distance to the edge is a part of n + 1 of the radius.
    diameter = 2 * (inside.ndim + 1) * float(distance[inside].mean())
    for _ in range(2):
        parts = by_distance(distance, inside, BLUR * diameter, spacing)
        sizes, roundness = sizes_and_roundness(parts, spacing)
        weights = sizes * np.where(roundness > _ROUND, 1, 1e-6)
        diameter = weighted_median(diameter_of(sizes, inside.ndim), weights)
    return FirstLook(diameter, sizes, roundness)


def _finely(
    inside: NDArray[np.bool_],
    contrast: NDArray[np.float32],
    diameter: float,
    spacing: tuple[float, ...],
) -> NDArray[np.int32]:
    """Part objects wherever there is a neck or a valley: connected, numbered without gaps."""
    # Through a thin stack objects are as wide in all planes, and only noise has peaks along Z.
    thin = inside.ndim == 3 and is_thin(inside.shape, spacing, diameter)
    along = _THROUGH * inside.shape[0] * spacing[0] if thin else 0.0

    def by_brightness(blur: float) -> NDArray[np.int32]:
        bright = np.clip(contrast, 0, _BRIGHTEST) * inside
        height = _blurred(bright, blur, spacing, along)
        return _watershed(height, inside, blur / min(spacing))

    with ThreadPoolExecutor(_AT_ONCE) as pool:  # SciPy and scikit-image let other threads run
        near = pool.submit(
            by_distance, depth(inside, spacing), inside, _FINE_BLUR * diameter, spacing, along
        )
        bright = pool.submit(by_brightness, _BRIGHTNESS_BLUR * diameter)
        necks, valleys = near.result(), bright.result()
    # A piece too near to a larger one for a peak of its own has number 0 in one or both.
    codes = necks * (np.int64(valleys.max(initial=0)) + 1) + valleys
    codes[~inside] = -1
    parts: NDArray[np.int32] = label(codes, background=-1, connectivity=1).astype(np.int32)
    return parts


def _blurred(
    image: NDArray[np.float32], blur: float, spacing: tuple[float, ...], along: float
) -> NDArray[np.float32]:
    sigmas = [blur / one for one in spacing]
    if image.ndim == 3:
        sigmas[0] = max(sigmas[0], along / spacing[0])
    found: NDArray[np.float32] = ndimage.gaussian_filter(image, sigmas)
    return found


def _watershed(
    height: NDArray[np.float32], inside: NDArray[np.bool_], apart: float
) -> NDArray[np.int32]:
    peaks = peaks_of(height, inside, apart)
    seeds = np.zeros(inside.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    parts: NDArray[np.int32] = watershed(-height, seeds, mask=inside)
    return parts
