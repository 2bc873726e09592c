"""Ways from an image to objects: thresholds, labels with scikit-image after them, and ours."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.morphology import local_minima
from skimage.segmentation import watershed

from benchmarks.quality.contenders import Contender, canonical, parse
from napari_mmtseg import segment
from napari_mmtseg.images.spacing import relative
from napari_mmtseg.labels.pieces import pieces
from napari_mmtseg.labels.walls import between_walls
from napari_mmtseg.methods import method_from_dict

Labels = NDArray[np.int32]

NUCLEI = "MMT:nuclei,n_labels=2,output=classes"
_CLASSICAL = ("otsu", "smoothed", "minima", "minima3", "walls")
OURS = ("MMT:nuclei,output=objects", "KMeans:nuclei,output=objects")
DEFAULT = (*_CLASSICAL, NUCLEI, f"{NUCLEI}+watershed", *OURS)
NAMES = {
    "otsu": "Otsu, connected pieces (side: oracle)",
    "smoothed": "smoothed Otsu, holes filled, watershed (side: oracle)",
    "minima": "watershed from minima, smoothed by 1, 2, 3, 5 or 8 px (smoothing and side: oracle)",
    "minima3": "watershed from minima, smoothed by 3 px (side: oracle)",
    "walls": "cells between walls (side: oracle)",
    NUCLEI: "MMT:nuclei, pieces of a label (label: oracle)",
    f"{NUCLEI}+watershed": "the same, median 5, holes filled, watershed (label: oracle)",
}
"""How the table calls them; “oracle”: which label the object is was decided by the truth."""

MINIMA_PX = {"minima": (1.0, 2.0, 3.0, 5.0, 8.0), "minima3": (3.0,)}
SMOOTHING_PX = 2.0
MEDIAN_PX = 5
PEAK_PX = 7
"""Objects' centres are farther apart."""


def contender(text: str) -> Contender:
    """Read ``otsu`` or another classical one, or a method as `quality.contenders.parse` does.

    ``+watershed`` after a method's name cleans the pieces of its labels and splits them.

    Raises
    ------
    ValueError, TypeError
        If there is no such method, preset, setting or value.
    """
    name = NAMES.get(text, text)
    if text in _CLASSICAL:
        return Contender(name, (canonical({"method": text}),))
    method, _, then = text.partition("+")
    if then not in ("", "watershed"):
        raise ValueError(f"After a method may come +watershed, got +{then}")
    settings = json.loads(parse(method).variants[0])
    return Contender(name, (canonical({**settings, "then": then}),))


def outcome(
    variant: str, image: NDArray[Any], axes: str, voxel: Sequence[float] | None
) -> tuple[Labels, list[Labels]]:
    """Return what a contender gives, and the objects in it, one image for each label.

    Output ``objects`` and ``areas`` are objects as they are; of thresholds and classes, each label
    could be the objects: the one that fits the truth best is scored. 0 is background.
    """
    settings = json.loads(variant)
    then = settings.pop("then", "")
    if settings["method"] in ("otsu", "smoothed"):
        gray, size = _gray(image, axes), _size(axes, voxel)
        way = _pieces
        if settings["method"] == "smoothed":
            across = [0.0] * (gray.ndim - len(size)) + [SMOOTHING_PX / one for one in size]
            gray, way = ndimage.gaussian_filter(gray, across), _filled_and_split
        sides = _sides(gray)
        return sides[0].astype(np.int32), [_frames(side, axes, size, way) for side in sides]
    if settings["method"] in _CLASSICAL:
        between = _walled(settings["method"], _gray(image, axes), _size(axes, voxel))
        return between[0], between
    labels = _labels(settings, image, axes, voxel)
    if settings.get("output") != "classes":
        return labels, [labels]
    way = _smoothed_and_split if then else _pieces
    size, values = _size(axes, voxel), np.unique(labels[labels != 0])
    return labels, [_frames(labels == one, axes, size, way) for one in values]


def specks(labels: NDArray[Any], axes: str, largest_px: int = 5) -> int:
    """Count the connected pieces of so few pixels, the background's holes included."""
    n = 3 if "Z" in axes else 2
    coded = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32) + 1
    sizes = np.bincount(pieces(coded, tuple(range(-n, 0))).ravel())
    return int(((sizes > 0) & (sizes <= largest_px)).sum())


def _labels(
    settings: dict[str, Any], image: NDArray[Any], axes: str, voxel: Sequence[float] | None
) -> Labels:
    with warnings.catch_warnings():  # an image of one colour is no news here
        warnings.simplefilter("ignore", UserWarning)
        method = method_from_dict(settings)
        return np.asarray(segment(image, method, axes=axes, spacing=voxel))


def _gray(image: NDArray[Any], axes: str) -> NDArray[np.float64]:
    if "S" in axes:
        image = rgb2gray(np.moveaxis(image, axes.index("S"), -1)[..., :3])
    elif "C" in axes:
        image = image.mean(axis=axes.index("C"))
    return np.asarray(image, np.float64)


def _size(axes: str, voxel: Sequence[float] | None) -> tuple[float, ...]:
    """Return the pixel's or voxel's size along the axes of a frame, the smaller side as 1."""
    return relative(voxel) if "Z" in axes else (1.0, 1.0)


def _sides(gray: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    if gray.min() == gray.max():
        return [np.ones(gray.shape, bool)]
    bright = np.asarray(gray > threshold_otsu(gray))
    return [bright, ~bright]


def _frames(mask: NDArray[np.bool_], axes: str, size: tuple[float, ...], way: Any) -> Labels:
    """Make objects of each plane or volume; no two frames share a number."""
    frames = mask.reshape(-1, *mask.shape[-len(size) :])
    found = np.zeros(frames.shape, np.int32)
    last = 0
    for target, frame in zip(found, frames, strict=True):
        objects = way(frame, size)
        target[:] = np.where(objects, objects + last, 0)
        last = int(target.max(initial=last))
    return found.reshape(mask.shape)


def _pieces(mask: NDArray[np.bool_], size: tuple[float, ...]) -> Labels:
    return np.asarray(ndimage.label(mask)[0], np.int32)


def _walled(way: str, gray: NDArray[np.float64], size: tuple[float, ...]) -> list[Labels]:
    """Return the cells between bright and between dark walls, for each smoothing of minima."""
    found = []
    for side in (gray, -gray):
        for sigma in MINIMA_PX.get(way, (0.0,)):
            frames = side.reshape(-1, *side.shape[-len(size) :])
            last, cells = 0, np.zeros(frames.shape, np.int32)
            for target, frame in zip(cells, frames, strict=True):
                if way == "walls":
                    target[:] = between_walls(frame, size)[0]
                else:
                    across = [sigma / one for one in size]
                    smooth = ndimage.gaussian_filter(frame, across)
                    target[:] = watershed(frame, ndimage.label(local_minima(smooth))[0])
                target += last
                last = int(target.max())
            found.append(cells.reshape(gray.shape))
    return found


def _smoothed_and_split(mask: NDArray[np.bool_], size: tuple[float, ...]) -> Labels:
    across = [max(1, round(MEDIAN_PX / one) // 2 * 2 + 1) for one in size]
    return _filled_and_split(ndimage.median_filter(mask, across), size)


def _filled_and_split(mask: NDArray[np.bool_], size: tuple[float, ...]) -> Labels:
    """Fill holes, then flood from the peaks of the distance to the outside."""
    filled = ndimage.binary_fill_holes(mask)
    distance = ndimage.distance_transform_edt(filled, sampling=size)
    distance = ndimage.gaussian_filter(distance, [1 / one for one in size])
    reach = [int(PEAK_PX / one) for one in size]
    grid = np.indices([2 * one + 1 for one in reach], sparse=True)
    ball = sum(((g - r) * s) ** 2 for g, r, s in zip(grid, reach, size, strict=True))
    peaks = peak_local_max(
        distance,
        footprint=ball <= PEAK_PX**2,
        labels=ndimage.label(filled)[0],
        exclude_border=False,
    )
    tops = np.zeros(mask.shape, bool)
    tops[tuple(peaks.T)] = True
    markers, _ = ndimage.label(tops, np.ones([3] * mask.ndim))  # a flat top is one peak
    return np.asarray(watershed(-distance, markers, mask=filled), np.int32)
