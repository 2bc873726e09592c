"""Decide from an image which of its labels are objects, and how large they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_mmtseg.labels.shapes import weighted_median
from napari_mmtseg.labels.touching_objects import BLUR, by_distance, depth, first_look

_LEAST, _MOST = 0.001, 0.7
"""Share of the image that objects may cover."""
_COVER, _MUCH = 0.05, 0.35
_RIM = 0.1
"""What covering more than this of the image, and more of its rim than of it, costs in roundness."""
_CLEARLY, _LOST = 0.015, 0.1
"""How much better more labels must do than fewer ones, and how much better still if all that these
had found were gone: pieces that hold nothing of more labels."""
_FAINT = 0.75
"""What stands out by less, in standard deviations of its pixels and those around, is noise."""
_AS_CLEAR = 0.6
"""How much of the step at the rim of what fewer labels found must be left."""
_LIT, _BRIGHTER = 0.25, 0.025
"""The median above which an image is not dark, so that objects absorb and what is bright are gaps;
and what being bright costs there in roundness."""
_NEAR_PX = 3
_FEWEST_PX = 20


class ObjectTraits(NamedTuple):
    """What is to be an object."""

    objects: NDArray[np.int64]  # (K,), 1 for the clusters that are objects
    contrast: NDArray[np.float64]  # (C + 1,): weight of each channel, and what is added
    diameter: NDArray[np.float64]  # (1,), in pixels of the plane


class ImageView(NamedTuple):
    """A part of an image that was looked at."""

    clusters: NDArray[np.int16]  # (*spatial), -1 for none
    pixels: NDArray[np.float32]  # (C, *spatial), scaled


def nothing_sought(n_clusters: int, n_channels: int) -> ObjectTraits:
    """Return that no cluster is an object."""
    return ObjectTraits(np.zeros(n_clusters, np.int64), np.zeros(n_channels + 1), np.zeros(1))


def seek(
    views: Sequence[ImageView], tables: Sequence[NDArray[np.int64]], spacing: tuple[float, ...]
) -> NDArray[np.bool_]:
    """Decide which label is that of objects: the one whose pieces are the roundest.

    Each label of each table is tried, and all but the largest together if they are all darker than
    it or all brighter, since objects may be pale and dark: the pieces are parted, and judged by how
    well ellipses fill them, weighted by size. What covers much of the image or of its rim counts
    less, and so does what is brighter than the rest where the image is not dark. More labels must
    do clearly better than fewer, the more so the less is left of what these found, and what they
    find must stand out about as much. What hardly does is noise.

    Parameters
    ----------
    views : sequence of ImageView
        What to decide by.
    tables : sequence of (K,) int64 arrays
        The label of each cluster, from few labels to many.
    spacing : tuple of float
        Size of a pixel along each axis.

    Returns
    -------
    (K,) bool array
        The clusters of that label, or of all but the largest; none if no label has pieces that
        stand out.
    """
    lit = float(np.mean([np.median(view.pixels) for view in views])) > _LIT
    best, most, clear = np.zeros(len(tables[0]), np.bool_), -np.inf, 0.0
    tried: set[bytes] = set()
    light = _light(views, len(best))
    for table in tables:
        fewer, before, least = best, clear, most + _CLEARLY
        for members in _choices(table, light):
            if members.tobytes() in tried:
                continue
            tried.add(members.tobytes())
            worth = _worth(views, members, spacing)
            if lit and light.of(members) > light.of(~members):
                worth -= _BRIGHTER
            if worth <= max(least, most):
                continue
            stands_out = _standing_out(views, members)
            if stands_out < max(_FAINT, _AS_CLEAR * before) or _is_noise(views, members):
                continue
            if worth > least + _LOST * _lost(views, fewer, members, spacing):
                best, most, clear = members, worth, stands_out
    return best


def about(
    views: Sequence[ImageView], members: NDArray[np.bool_], spacing: tuple[float, ...]
) -> ObjectTraits:
    """Measure the objects that some clusters make: how they stand out, and their diameter.

    Parameters
    ----------
    views : sequence of ImageView
    members : (K,) bool array
        The clusters that are objects.
    spacing : tuple of float
    """
    weights = _contrast(views, members)
    sizes: list[float] = []
    diameters: list[float] = []
    for view in views:
        seen = first_look(_inside(view, members), spacing)
        if seen is not None:
            diameters.append(seen.diameter)
            sizes.append(float(seen.sizes.sum()))
    if not sizes:
        return nothing_sought(len(members), len(views[0].pixels))
    diameter = weighted_median(np.array(diameters), np.array(sizes))
    return ObjectTraits(members.astype(np.int64), weights, np.array([diameter]))


def contrast_of(pixels: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (*spatial) float32: about 0 on the ground, about 1 on objects."""
    found = np.tensordot(weights[:-1].astype(np.float32), pixels, 1)
    found += np.float32(weights[-1])
    return found


class _Light(NamedTuple):
    """How many pixels each cluster has, and the sum of their means over the channels."""

    pixels: NDArray[np.float64]
    summed: NDArray[np.float64]

    def of(self, members: NDArray[np.bool_]) -> float:
        """Return the mean of some clusters."""
        return float(self.summed[members].sum() / max(self.pixels[members].sum(), 1))


def _light(views: Sequence[ImageView], n_clusters: int) -> _Light:
    pixels, summed = np.zeros(n_clusters), np.zeros(n_clusters)
    for view in views:
        seen = view.clusters >= 0
        clusters = view.clusters[seen]
        pixels += np.bincount(clusters, minlength=n_clusters)
        summed += np.bincount(clusters, view.pixels.mean(0)[seen], n_clusters)
    return _Light(pixels, summed)


def _choices(table: NDArray[np.int64], light: _Light) -> Iterator[NDArray[np.bool_]]:
    """Return the clusters of each label, and of all but the largest if these lie to one side of it.

    One function of the channels tells objects from ground: it cannot tell darker and brighter ones.
    """
    labels = np.unique(table[table > 0])
    for label in labels:
        yield table == label
    if len(labels) > 2:
        largest = 1 + np.bincount(table, light.pixels)[1:].argmax()
        brighter = [
            light.of(table == one) > light.of(table == largest) for one in labels if one != largest
        ]
        if all(brighter) or not any(brighter):
            yield (table > 0) & (table != largest)


def _lost(
    views: Sequence[ImageView],
    before: NDArray[np.bool_],
    members: NDArray[np.bool_],
    spacing: tuple[float, ...],
) -> float:
    """Return the share of what there was before in pieces that hold nothing of a part of it."""
    gone = whole = 0
    if (members & ~before).any():  # another thing
        return 0.0
    for view in views:
        inside, now = _inside(view, before), _inside(view, members)
        seen = first_look(inside, spacing)
        if seen is not None:
            parts = by_distance(depth(inside, spacing), inside, BLUR * seen.diameter, spacing)
            sizes = np.bincount(parts.ravel())[1:]
            held = np.bincount(parts[now], minlength=len(sizes) + 1)[1:]
            gone, whole = gone + int(sizes[held == 0].sum()), whole + int(sizes.sum())
    return gone / max(whole, 1)


def _inside(view: ImageView, members: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.append(members, False)[view.clusters]  # the last is for -1
    return found


def _worth(
    views: Sequence[ImageView], members: NDArray[np.bool_], spacing: tuple[float, ...]
) -> float:
    """Return the mean roundness of a label's pieces, less what speaks against objects."""
    insides = [_inside(view, members) for view in views]
    share = float(np.mean([inside.mean() for inside in insides]))
    if not _LEAST < share < _MOST:
        return -np.inf
    sizes, round_ones, rim = [], [], []
    for inside in insides:
        edges = [np.take(inside, end, axis) for axis in (-2, -1) for end in (0, -1)]
        rim.append(np.mean([edge.mean() for edge in edges]))
        if inside.sum() < _FEWEST_PX:
            continue
        seen = first_look(inside, spacing)
        if seen is not None:
            sizes.append(seen.sizes)
            round_ones.append(seen.roundness)
    if not sizes:
        return -np.inf
    mean = np.average(np.concatenate(round_ones), weights=np.concatenate(sizes))
    return (
        float(mean)
        - _COVER * max(0.0, share - _MUCH)
        - _RIM * max(0.0, float(np.mean(rim)) - share)
    )


def _standing_out(views: Sequence[ImageView], members: NDArray[np.bool_]) -> float:
    """Return the step between objects and the ground around them, in standard deviations."""
    weights = _contrast(views, members)
    kinds: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    for view in views:
        inside, seen = _inside(view, members), view.clusters >= 0
        wide = ndimage.binary_dilation(inside, iterations=_NEAR_PX)
        around = wide & ~ndimage.binary_dilation(inside) & seen
        contrast = contrast_of(view.pixels, weights)
        for kind, mask in zip(kinds, (inside, around), strict=True):
            kind.append(contrast[mask])
    objects, ground = (np.concatenate(kind) for kind in kinds)
    if not objects.size or not ground.size:
        return 0.0
    spread = math.sqrt((float(objects.var()) + float(ground.var())) / 2)
    return float(objects.mean() - ground.mean()) / max(spread, 1e-6)


def _is_noise(views: Sequence[ImageView], members: NDArray[np.bool_]) -> bool:
    """Tell whether the pixels around those of objects know nothing of them.

    Where a label is cut out of noise by its brightness, its pixels stand out, and the ones beside
    them do not.
    """
    weights = _contrast(views, members)
    kinds: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    spread: list[NDArray[np.float32]] = []
    for view in views:
        inside, seen = _inside(view, members), view.clusters >= 0
        contrast = contrast_of(view.pixels, weights)
        contrast[~seen] = 0
        beside = _beside(contrast)
        for kind, mask in zip(kinds, (inside, seen & ~inside), strict=True):
            kind.append(beside[mask])
        spread.append(contrast[seen & ~inside])
    objects, ground = (np.concatenate(kind) for kind in kinds)
    if not objects.size or not ground.size:
        return True
    apart = float(objects.mean() - ground.mean())
    return apart < _FAINT * float(np.concatenate(spread).std())


def _beside(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the pixels around each in its plane, itself left out."""
    side = (*(1,) * (image.ndim - 2), 3, 3)
    found: NDArray[np.float32] = (9 * ndimage.uniform_filter(image, side) - image) / 8
    return found


def _contrast(views: Sequence[ImageView], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the linear function of the channels that parts objects and ground best (Fisher)."""
    kinds: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for view in views:
        inside, seen = _inside(view, members), view.clusters >= 0
        for kind, mask in enumerate((seen & ~inside, inside)):
            kinds[kind].append(view.pixels[:, mask].astype(np.float64))
    ground, objects = (np.concatenate(parts, axis=1) for parts in kinds)
    weights = np.zeros(len(views[0].pixels) + 1)
    if not ground.size or not objects.size:
        return weights
    apart = objects.mean(1) - ground.mean(1)
    share = objects.shape[1] / (objects.shape[1] + ground.shape[1])
    spread = share * _covariance(objects) + (1 - share) * _covariance(ground)
    spread += (1e-3 * np.trace(spread) / len(apart) + 1e-12) * np.eye(len(apart))
    along = np.linalg.solve(spread, apart)
    low, high = float(np.median(along @ ground)), float(np.median(along @ objects))
    scale = max(high - low, 1e-9)
    weights[:-1], weights[-1] = along / scale, -low / scale
    return weights


def _covariance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean(1, keepdims=True)
    found: NDArray[np.float64] = centred @ centred.T / values.shape[1]
    return found
