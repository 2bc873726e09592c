"""Bring images to objects of one size, and find the objects that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import relabel_sequential
from skimage.transform import resize

N = TypeVar("N", bound=np.generic)

OBJECT_PX = 16
"""Diameter of a typical object in a scene: all networks see objects of this size."""
_ROUNDEST, _AGREEING, _SAME = 0.93, 0.75, 0.8
_SIZES = (0.45, 2.2)
_CONTRAST = (-1.0, 3.0)


class Scene(NamedTuple):
    """An image at the scale of the networks, with what the classical split makes of it."""

    contrast: NDArray[np.float32]
    """(Y, X): 0 in the background, about 1 in objects."""
    foreground: NDArray[np.bool_]
    """(Y, X): in some object."""
    labels: NDArray[np.int32]
    """(Y, X): the classical objects, 1 to N."""
    trusted: NDArray[np.bool_]
    """(N + 1,): the objects that teach; never 0."""


def scene(
    contrast: NDArray[np.float32],
    foreground: NDArray[np.bool_],
    splits: Sequence[NDArray[np.int32]],
    diameter_px: float,
) -> Scene:
    """Scale an image so that its objects measure `OBJECT_PX`.

    Parameters
    ----------
    contrast : (Y, X) float32 array
        The image as one number a pixel: 0 in the background, 1 in a typical object.
    foreground : (Y, X) bool array
        The objects together.
    splits : sequence of (Y, X) int arrays
        Ways to split the foreground, the best first: an object on which most of them agree is
        trusted.
    diameter_px : float
        Diameter of a typical object.

    Raises
    ------
    ValueError
        If the diameter is not above 0, or there is no split.
    """
    if not diameter_px > 0:
        raise ValueError(f"The diameter must be above 0 px, got {diameter_px:g}")
    if not splits:
        raise ValueError("A scene needs at least one split of its foreground, got none")
    sides = foreground.shape
    factor = float(np.clip(OBJECT_PX / diameter_px, 0.15, 2))
    factor = max(factor, 4 * OBJECT_PX / min(sides))
    shape = (round(sides[0] * factor), round(sides[1] * factor))
    values = np.clip(contrast, *_CONTRAST)
    if factor < 1:
        values = ndimage.gaussian_filter(values, 0.4 / factor)
    labels, *others = (_nearest(split, shape) for split in splits)
    labels = relabel_sequential(labels.astype(np.int64))[0].astype(np.int32)
    return Scene(
        resize(values, shape, order=1, mode="reflect", anti_aliasing=False).astype(np.float32),
        _nearest(foreground, shape),
        labels,
        certain(labels, [labels, *others]),
    )


def certain(
    labels: NDArray[np.int32], splits: Sequence[NDArray[np.int32]], diameter_px: float = OBJECT_PX
) -> NDArray[np.bool_]:
    """Tell the objects to trust: of usual size, convex as an ellipse is, and found by most splits.

    Returns
    -------
    (N + 1,) bool array
        One for each number in `labels`, False for 0.
    """
    areas, roundness = ellipses(labels)
    count = len(areas)
    votes = np.zeros(count)
    for split in splits:
        width = int(split.max()) + 1
        cells = labels.ravel().astype(np.int64) * width + split.ravel()
        shared = np.bincount(cells, minlength=count * width).reshape(count, width)
        union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
        best: NDArray[np.float64] = (shared / np.maximum(union, 1))[:, 1:].max(1, initial=0.0)
        votes += best > _SAME
    relative = np.sqrt(areas * 4 / np.pi) / diameter_px
    usual = (relative > _SIZES[0]) & (relative < _SIZES[1])
    trusted: NDArray[np.bool_] = (
        usual & (roundness >= _ROUNDEST) & (votes >= _AGREEING * len(splits))
    )
    trusted[0] = False
    return trusted


def ellipses(labels: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the areas of objects, and these as shares of the ellipses with the same moments.

    Returns
    -------
    areas, roundness : (N + 1,) float64 arrays
        In pixels; roundness is area / (4 pi sqrt(det covariance)), 1 for an ellipse, less for
        clumps and for what has bays or holes.
    """
    inside = np.flatnonzero(labels)
    numbers, count = labels.ravel()[inside], int(labels.max(initial=0)) + 1
    y, x = (axis.astype(np.float64) for axis in np.divmod(inside, labels.shape[1]))
    areas: NDArray[np.float64] = np.bincount(numbers, minlength=count).astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(numbers, weights=values, minlength=count) / np.maximum(areas, 1)

    my, mx = mean(y), mean(x)
    yy, xx = mean(y * y) - my**2 + 1 / 12, mean(x * x) - mx**2 + 1 / 12  # a pixel has an extent
    determinant = np.maximum(yy * xx - (mean(x * y) - my * mx) ** 2, 1e-12)
    return areas, areas / (4 * np.pi * np.sqrt(determinant))


def _nearest(values: NDArray[N], shape: tuple[int, int]) -> NDArray[N]:
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for new, old in zip(shape, values.shape, strict=True)
    )
    scaled: NDArray[N] = values[rows][:, columns]
    return scaled
