"""Find the objects that are too faint for the label of the others: round spots beside these."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from napari_mmtseg.images.frames import neighbours
from napari_mmtseg.labels.shapes import size_of, sizes_and_roundness
from napari_mmtseg.labels.touching_objects import peaks_of

_BLUR = 0.1
_APART = 0.25
"""Smoothing, and how near two of them may be, as shares of the diameter."""
_FAINTEST = 0.2
"""Contrast of the faintest, where that of a typical object is 1."""
_ROUND = 0.9
_SIZES = 0.1, 2.0
"""Of what is taken for an object, as shares of a typical one."""
_CUT = 0.1
"""Share of its outline along which something as bright goes on."""


def with_faint_ones(
    inside: NDArray[np.bool_],
    contrast: NDArray[np.float32],
    diameter: float,
    spacing: tuple[float, ...],
) -> NDArray[np.bool_]:
    """Add what stands out alone, is round and has the size of an object.

    Parameters
    ----------
    inside, contrast, diameter, spacing
        As for `touching_objects.parted`.

    Returns
    -------
    bool array
        Each that is added is drawn to half of its own contrast.
    """
    smooth = ndimage.gaussian_filter(contrast, [max(_BLUR * diameter, 1) / one for one in spacing])
    near = ndimage.binary_dilation(inside)
    peaks = peaks_of(smooth, ~near, _APART * diameter / min(spacing), least=_FAINTEST)
    top = ndimage.maximum_filter(smooth, 3)
    peaks = peaks[smooth[tuple(peaks.T)] >= top[tuple(peaks.T)]]  # and no slope of what is inside
    if not len(peaks):
        return inside
    pieces, count = ndimage.label(inside)
    seeds = pieces.astype(np.int32)
    seeds[tuple(peaks.T)] = np.arange(count + 1, count + 1 + len(peaks))
    zones = watershed(-smooth, seeds, mask=inside | (smooth > _FAINTEST / 2)) - count  # from 1 on
    zones = np.maximum(zones, 0)
    half = np.append(np.inf, smooth[tuple(peaks.T)] / 2).astype(np.float32)
    spots = np.where((contrast > half[zones]) & ~near, zones, 0)
    pieces = ndimage.label(spots)[0]
    spots[pieces != np.append(0, pieces[tuple(peaks.T)])[spots]] = 0  # what the peak is not in
    sizes, roundness = sizes_and_roundness(spots, spacing)
    shares = sizes / size_of(diameter, inside.shape, spacing)
    kept = (shares > _SIZES[0]) & (shares < _SIZES[1]) & (roundness > _ROUND)
    kept &= _cut(spots, contrast, half)[1 : len(kept) + 1] < _CUT
    added: NDArray[np.bool_] = inside | np.append(False, kept)[spots]
    return added


def _cut(
    spots: NDArray[np.int32], contrast: NDArray[np.float32], half: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the share of each spot's outline along which something as bright goes on."""
    outline, bright = np.zeros(len(half)), np.zeros(len(half))
    for one, other in neighbours(spots.ndim):
        for here, there in ((one, other), (other, one)):
            edge = (spots[here] > 0) & (spots[there] != spots[here])
            own = spots[here][edge]
            outline += np.bincount(own, minlength=len(half))
            bright += np.bincount(own, contrast[there][edge] > half[own], len(half))
    return bright / np.maximum(outline, 1)
