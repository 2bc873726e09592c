"""Make objects of the pixels that belong to them: smooth, whole, apart from each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import relabel_sequential, watershed

from napari_mmtseg.labels.faint_objects import with_faint_ones
from napari_mmtseg.labels.shapes import size_of
from napari_mmtseg.labels.specks import without_specks
from napari_mmtseg.labels.touching_objects import BLUR, by_distance, depth, parted, smoothed

_SMOOTH = 0.045
"""Smoothing of the outline, as a share of the diameter."""
_LEAST_SMOOTH = 0.7
_HALF, _HALF_ABSORBED = 0.5, 0.6
"""How much of an object's contrast is left at its outline. Where objects absorb light, half of the
optical density is nearer to 0.6 of the step in intensity."""
_FAINTEST, _FAINTEST_ABSORBED = 0.25, 0.35
"""Contrast below which nothing is taken in beyond the given outline."""
_NOISE = 0.1
"""Contrast that an object must have itself: a label holds bits of the ground as well."""
_HOLE = 0.5
_SPECK = 0.03
"""Sizes of the largest hole that is filled and the smallest object, as shares of a typical one."""
_SPECK_PX = 6


def find_objects(
    inside: NDArray[np.bool_],
    contrast: NDArray[np.float32],
    diameter: float,
    spacing: tuple[float, ...],
    *,
    dark: bool = False,
) -> NDArray[np.int32]:
    """Find the objects of a plane or volume.

    The outline is drawn where the contrast falls to half of each object's own, smoothed, and its
    holes are filled; bright ones too faint for the label are added; then what touches is parted.

    Parameters
    ----------
    inside : (Y, X) or (Z, Y, X) bool array
        Pixels that belong to objects.
    contrast : float32 array
        Of the same shape: about 0 on the ground, about 1 on objects.
    diameter : float
        Of a typical object, in the units of spacing.
    spacing : tuple of float
        Size of a pixel along each axis.
    dark : bool
        Whether objects are darker than the ground.

    Returns
    -------
    int32 array
        Objects numbered from 1, 0 elsewhere. None, nor a gap between them, is smaller than 6
        pixels.
    """
    outline = _whole(inside, diameter, spacing)
    if not diameter or not outline.any():
        return np.zeros(inside.shape, np.int32)
    contrast = ndimage.gaussian_filter(contrast, [_LEAST_SMOOTH / one for one in spacing])
    levels = (_HALF_ABSORBED, _FAINTEST_ABSORBED) if dark else (_HALF, _FAINTEST)
    half = _to_half(outline, contrast, diameter, spacing, *levels)
    whole = _whole(half, diameter, spacing)
    if not dark:  # dark spots beside dark nuclei are other things
        whole = with_faint_ones(whole, contrast, diameter, spacing)
    found = parted(whole, contrast, diameter, spacing)
    smallest = max(
        _SPECK * size_of(diameter, inside.shape, spacing) / math.prod(spacing), _SPECK_PX
    )
    kept = np.bincount(found.ravel()) >= smallest
    found = without_specks(np.where(kept[found], found, np.int32(0)), _SPECK_PX)
    numbered: NDArray[np.int32] = relabel_sequential(found)[0]
    return numbered


def _whole(
    inside: NDArray[np.bool_], diameter: float, spacing: tuple[float, ...]
) -> NDArray[np.bool_]:
    """Smooth the outline, and fill the holes that no object has."""
    sigma = max(_SMOOTH * diameter, _LEAST_SMOOTH)
    outline = smoothed(inside, sigma, spacing)
    holes, count = ndimage.label(~outline)
    closed = np.bincount(holes.ravel(), minlength=count + 1) * math.prod(spacing)
    filled = closed <= _HOLE * size_of(diameter, inside.shape, spacing)
    for axis in (-2, -1):  # what reaches the edge of the image is open
        for end in (0, -1):
            filled[np.take(holes, end, axis)] = False
    filled[0] = False
    whole: NDArray[np.bool_] = outline | filled[holes]
    return whole


def _to_half(
    inside: NDArray[np.bool_],
    contrast: NDArray[np.float32],
    diameter: float,
    spacing: tuple[float, ...],
    half: float,
    faintest: float,
) -> NDArray[np.bool_]:
    """Draw each object to where the contrast is half of its own, since faint ones are cut."""
    parts = by_distance(depth(inside, spacing), inside, BLUR * diameter, spacing)
    count = int(parts.max(initial=0))
    if not count:
        return inside
    zones = watershed(-contrast, parts, mask=inside | (contrast > faintest))
    own = np.asarray(ndimage.median(contrast, parts, np.arange(1, count + 1)))
    least = np.append(np.inf, np.where(own > _NOISE, half * own, np.inf)).astype(np.float32)
    found: NDArray[np.bool_] = contrast > least[zones]
    return found
