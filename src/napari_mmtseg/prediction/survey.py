"""Look at a trained model's labels in a sample: how large they are, and which are objects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.engine.threads import several
from napari_mmtseg.images.frames import Frames, Region
from napari_mmtseg.images.prominence import Prominence, around
from napari_mmtseg.images.spacing import relative
from napari_mmtseg.labels.object_decision import (
    ImageView,
    ObjectTraits,
    about,
    nothing_sought,
    seek,
)
from napari_mmtseg.prediction.labeller import Labeller, TrainedModel
from napari_mmtseg.system import memory

_SURVEYED_VOTES = 2**20
_SURVEYED_SIDE = {2: 512, 3: 64}
"""Votes along each axis of a window, where not everything is surveyed."""
_VIEWED = {2: 2**19, 3: 2**21}
"""Pixels of planes and of volumes in which objects are sought."""
_MOST_IMAGES, _PLANES = 4, 4
_DEEPEST = 48
_HURRIED, _SHALLOW = 24, 4
"""Who is in a hurry looks at so many times fewer pixels, and at so many planes: of small ones it
takes longer to see what is around them."""
_MOST_LABELS = 5


class SurveyedModel(TrainedModel, Protocol):
    """What is asked of a model here."""

    @property
    def n_channels(self) -> int: ...
    def scaled_for(self, frames: Frames) -> SurveyedModel: ...


def survey(model: SurveyedModel, images: list[Frames], mask: Any) -> NDArray[np.int64]:
    """Count the pixels of each cluster, in everything or in windows spread evenly over it.

    Rare ones that no window shows count as in what was trained on.
    """
    labeller = Labeller(model)
    own = {id(frames): Labeller(model.scaled_for(frames)) for frames in images}
    tiles = [(frames, *one) for frames in images for one in labeller.tiles(frames)]
    factor = math.prod(labeller.factor)
    area = sum(math.prod(s.stop - s.start for s in tile) for _, _, tile in tiles) / factor
    whole = area <= _SURVEYED_VOTES
    if not whole:
        tiles = list(_spread(tiles, labeller.factor, _SURVEYED_VOTES))

    def count(tile: tuple[Frames, int, Region]) -> NDArray[np.int64]:
        clusters = own[id(tile[0])].find(*tile, mask).clusters
        return np.bincount(clusters[clusters >= 0], minlength=len(model.sizes))

    with memory.kept(), several() as pool:
        sizes: NDArray[np.int64] = np.sum([*pool.map(count, tiles)], axis=0, dtype=np.int64)
    if whole or not sizes.any():
        return sizes
    trained = np.ceil(model.sizes * (sizes.sum() / max(model.sizes.sum(), 1))).astype(np.int64)
    return np.where(sizes > 0, sizes, trained)


def seek_objects(
    model: SurveyedModel,
    images: list[Frames],
    mask: Any,
    spacing: Sequence[float] | None,
    *,
    hurried: bool = False,
) -> ObjectTraits:
    """Decide which clusters are objects, and how large these are, in the middle of each image.

    Where there are none, the places are looked at where most stands out.

    Parameters
    ----------
    model : Model
    images : list of Frames
        What it was trained on.
    mask : array-like, optional
        Of the first image; pixels where it is 0 are left out.
    spacing : sequence of three numbers, optional
        The voxel's size along Z, Y and X.
    hurried : bool
        Makes do with a small part of a large image.
    """
    some = images[:: -(-len(images) // _MOST_IMAGES)]
    share, deepest = (_HURRIED, _SHALLOW) if hurried else (1, _DEEPEST)
    tables = tables_of(model)
    prominent = [Prominence(one, mask if one is images[0] else None) for one in some]
    for places in (Prominence.middles, Prominence.richest):
        views: list[ImageView] = []
        for one in prominent:
            scaled = model.scaled_for(one.frames)
            labeller = Labeller(scaled)
            for part in places(one, _viewed(one.frames) // (share * len(some)), deepest):
                views.append(view_of(scaled, labeller, one.frames, part, one.mask))
        if not views or not tables:
            break
        n = views[0].clusters.ndim
        planes = views if n == 2 else [one for view in views for one in _sections(view)]
        members = seek(planes, tables, (1.0, 1.0))
        if members.any():
            return about(views, members, relative(spacing)[-n:])
    return nothing_sought(len(model.sizes), model.n_channels)


def objects_of(
    model: SurveyedModel, frames: Frames, spacing: Sequence[float] | None
) -> ObjectTraits | None:
    """Measure what a model takes for objects in an image: how they stand out, how wide they are.

    Returns
    -------
    ObjectTraits or None
        None if there are none where it looks: in the middle, or where most stands out.
    """
    prominent, labeller = Prominence(frames), Labeller(model)
    for places in (Prominence.middles, Prominence.richest):
        parts = places(prominent, _viewed(frames), _DEEPEST)
        views = [view_of(model, labeller, frames, part) for part in parts]
        if views:
            found = about(views, model.objects != 0, relative(spacing)[-views[0].clusters.ndim :])
            if found.objects.any():
                return found
    return None


def tables_of(model: SurveyedModel) -> list[NDArray[np.int64]]:
    """Return the label of each cluster, from two labels to several."""
    return [model.label_of(count) for count in range(2, min(_MOST_LABELS, model.n_clusters) + 1)]


def part_of(frames: Frames, at: Sequence[int]) -> dict[str, slice]:
    """Return what lies around a pixel: of its plane, or of its volume where there is Z.

    Parameters
    ----------
    frames : Frames
    at : sequence of int
        The pixel, along the labels' axes.

    Returns
    -------
    dict of str to slice
        For each axis of the image.
    """
    sizes = dict(zip(frames.axes, frames.data.shape, strict=True))
    most = {axis: n for axis, n in sizes.items() if axis in "CS"} | {"T": 1, "Z": _DEEPEST}
    depth = min(sizes.get("Z", 1), _DEEPEST)
    side = math.isqrt(_viewed(frames) // depth)
    centre = dict(zip(frames.label_axes, at, strict=True))
    return {
        axis: around(centre.get(axis, n // 2), n, most.get(axis, max(side, 2)))
        for axis, n in sizes.items()
    }


def view_of(
    model: SurveyedModel,
    labeller: Labeller,
    frames: Frames,
    part: dict[str, slice],
    mask: Any = None,
) -> ImageView:
    """Look at a part of an image."""
    pixels = frames.data[tuple(part[axis] for axis in frames.axes)]
    cut = Frames(pixels, frames.axes, volumes=frames.volumes)
    beside = None if mask is None else mask[tuple(part[axis] for axis in frames.label_axes)]
    clusters = np.empty(cut.shape, np.int16)
    whole = tuple(slice(0, n) for n in cut.frame_shape)

    def find(index: int) -> None:
        cut.frame_of(clusters, index)[...] = labeller.find(cut, index, whole, beside).clusters

    with memory.kept(), several() as pool:
        list(pool.map(find, range(len(cut))))
    look = Frames(pixels, frames.axes, volumes=True)
    return ImageView(look.frame_of(clusters, 0), model.scaling.apply(look.read(0))[0])


def _viewed(frames: Frames) -> int:
    return _VIEWED[3 if frames.is_stack else 2]


def _sections(view: ImageView) -> Iterator[ImageView]:
    """Take some planes out of a volume, spread evenly."""
    depth = len(view.clusters)
    for z in sorted({(2 * k + 1) * depth // (2 * _PLANES) for k in range(_PLANES)}):
        yield ImageView(view.clusters[z], view.pixels[:, z])


def _spread(
    tiles: list[tuple[Frames, int, Region]], factor: tuple[int, ...], most: int
) -> Iterator[tuple[Frames, int, Region]]:
    """Cut a window out of each of a few tiles, at its start, middle and end in turn."""
    side = _SURVEYED_SIDE[len(factor)]
    window = math.prod(
        min(side, -(-(s.stop - s.start) // f)) for s, f in zip(tiles[0][2], factor, strict=True)
    )
    count = min(len(tiles), max(1, most // window))
    for number in range(count):
        frames, index, tile = tiles[(2 * number + 1) * len(tiles) // (2 * count)]
        yield (
            frames,
            index,
            tuple(
                _inner(one, side * f, f, (number + axis) % 3)
                for axis, (one, f) in enumerate(zip(tile, factor, strict=True))
            ),
        )


def _inner(whole: slice, length: int, factor: int, third: int) -> slice:
    room = max(0, whole.stop - whole.start - length)
    start = whole.start + room * third // 2 // factor * factor
    return slice(start, min(start + length, whole.stop))
