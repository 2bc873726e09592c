"""Find the objects of an image: plane by plane or through Z, large ones tile by tile."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import relabel_sequential

from napari_mmtseg.engine import Run, Step
from napari_mmtseg.images.frames import Frames, Region, grid, grown, is_lazy, shared, within
from napari_mmtseg.images.scaling import Scaling
from napari_mmtseg.images.spacing import relative
from napari_mmtseg.labels.frame_links import renumbered
from napari_mmtseg.labels.object_decision import contrast_of
from napari_mmtseg.labels.objects import find_objects
from napari_mmtseg.labels.tile_seams import StitchedObjects, TileObjects, check_tiles
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.settings import Method
from napari_mmtseg.system import memory

_BYTES_A_PIXEL = 100
"""What finding objects takes, as measured."""
_ONE_PIECE = {2: 2**22, 3: 2**24}
"""Planes and volumes of so many pixels are looked at whole."""
_SIDES = {2: (1024, 1024), 3: (64, 512, 512)}
"""Of the tiles of larger ones, at most."""
_HALO = 2.0
"""How far beyond a tile one looks, in diameters."""
_LEAST_HALO = 16.0
_FOUND_AT_ONCE = 2**19
"""So many voxels take half a second."""

Find = Callable[[Region], NDArray[np.int16]]
"""Gives the clusters of a box of the labels."""


class ObjectModel(Protocol):
    """What is asked of a model here."""

    @property
    def scaling(self) -> Scaling: ...
    @property
    def method(self) -> Method: ...
    @property
    def n_clusters(self) -> int: ...
    @property
    def objects(self) -> NDArray[np.int64]: ...
    @property
    def objects_are_dark(self) -> bool: ...
    @property
    def contrast(self) -> NDArray[np.float64]: ...
    @property
    def diameter_px(self) -> float: ...


def check_objects(method: Method, frames: Frames) -> None:
    """Refuse objects that cannot be found, before any work.

    Raises
    ------
    ValueError
        If objects are wider than a plane, the image is too large for their numbers, or they are to
        be linked over time in an image that is not in memory.
    """
    if output_of(method) != "objects":
        return
    if is_lazy(frames.data) and getattr(method, "over_time", "apart") == "linked":
        raise ValueError(
            "Objects of a lazy image cannot be linked over time (over_time='linked'), since each "
            "frame would need all before it: hand the image over as a numpy array, or leave them "
            "apart (over_time='apart')"
        )
    diameter = getattr(method, "diameter_px", 0.0)
    rows, columns = (frames.shape[frames.label_axes.index(axis)] for axis in "YX")
    if diameter > max(rows, columns):
        raise ValueError(
            f"Objects as wide as the image or wider cannot be found: the diameter (diameter_px) is "
            f"{diameter:g} px, the image {rows} x {columns}. Give that of one object, or 0 to have "
            "it measured"
        )
    wholes = Frames(frames.data, frames.axes, volumes=True)
    check_tiles(len(wholes) * math.prod(_counts(wholes.frame_shape)))


def warn_of_cubes(frames: Frames, spacing: Sequence[float] | None) -> None:
    """Say so if objects are joined through Z without knowing how deep voxels are."""
    if frames.is_stack and spacing is None:
        warnings.warn(
            "The voxels' size is not known: objects are joined through Z as if voxels were cubes. "
            "Give it as spacing=(z, y, x), or as the scale of the layer",
            stacklevel=3,
        )


class Objects:
    """The objects of an image, each found in one tile of a grid that belongs to the image.

    A tile is always looked at whole, with a halo of two diameters, and what crosses its border is
    joined; so a pixel's object is the same however much of the image is asked for, and in
    whatever order.

    Parameters
    ----------
    model : Model
    frames : Frames
        The image.
    find : callable
        See `Find`.
    spacing : sequence of three numbers, optional
        The voxel's size along Z, Y and X.
    near : int, optional
        The plane that was labelled first if not all is: what is not takes no time, nor does in a
        volume what is too far from that plane to be found at once.

    Attributes
    ----------
    sides : tuple of int
        Of a tile, along the axes of the labels.
    complete : bool
        Whether nothing is left out so far.

    Raises
    ------
    MemoryError
        If a tile is too large to be looked at.
    """

    def __init__(
        self,
        model: ObjectModel,
        frames: Frames,
        find: Find,
        spacing: Sequence[float] | None = None,
        *,
        near: int | None = None,
    ) -> None:
        self._near, self.complete = near, True
        self._frames = wholes = Frames(frames.data, frames.axes, volumes=True)
        shape = wholes.frame_shape
        self._find, self._scaling, self._weights = find, model.scaling, model.contrast
        self._dark = model.objects_are_dark
        self._diameter, self._spacing = model.diameter_px, relative(spacing)[-len(shape) :]
        self._member = np.append(model.objects != 0, False)  # the last is for cluster -1
        halo = max(_HALO * self._diameter, _LEAST_HALO)
        self._halo = tuple(math.ceil(halo / one) for one in self._spacing)
        tile_px = tuple(-(-n // count) for n, count in zip(shape, _counts(shape), strict=True))
        self._tile_px, self._tiles = tile_px, list(grid(shape, tile_px))
        self._counts = tuple(-(-n // side) for n, side in zip(shape, tile_px, strict=True))
        by_axis = dict(zip(wholes.frame_axes, tile_px, strict=True))
        self.sides = tuple(by_axis.get(axis, 1) for axis in range(len(wholes.shape)))
        seen = (min(n, side + 2 * h) for n, side, h in zip(shape, tile_px, self._halo, strict=True))
        what = "Finding objects in a " + ("volume" if wholes.volumes else "plane")
        memory.require(_BYTES_A_PIXEL * math.prod(seen), what)
        self._stitched = StitchedObjects(self._counts, len(wholes), self._see)

    def __len__(self) -> int:
        return len(self._frames) * len(self._tiles)

    def tiles(self) -> Iterator[tuple[Region, NDArray[np.int32]]]:
        """Find the objects of all tiles, each with its box of the labels."""
        for number in range(len(self)):
            index, at = divmod(number, len(self._tiles))
            box = self._frames.box_of(index, self._tiles[at])
            yield box, self.box(box)

    def box(self, box: Region) -> NDArray[np.int32]:
        """Return the objects of any box of the labels, in their axes."""
        found = np.zeros([one.stop - one.start for one in box], np.int32)
        for index, region, place in self._frames.parts_of(box):
            part = self._frames.tile_view(found[place])
            for tile in grid(self._frames.frame_shape, self._tile_px, region):
                both = shared(tile, region)
                objects = self._stitched.tile(self._number(index, tile))
                part[within(both, region)] = objects[within(both, tile)]
        return found

    def _number(self, index: int, tile: Region) -> int:
        place = [one.start // side for one, side in zip(tile, self._tile_px, strict=True)]
        return index * len(self._tiles) + int(np.ravel_multi_index(place, self._counts))

    def _see(self, number: int) -> TileObjects:
        """Find the objects of a tile and its halo."""
        index, at = divmod(number, len(self._tiles))
        tile = self._tiles[at]
        read = grown(tile, self._halo, self._frames.frame_shape)
        every = self._frames.tile_view(self._find(self._frames.box_of(index, read)))
        found = np.zeros(every.shape, np.int32)
        part = slice(0, len(every))
        if self._near is not None:
            part = _reached(every, self._frames.holding(self._near)[1] - read[0].start)
            self.complete = self.complete and part == slice(0, len(every))
        own = every[part]
        inside = self._member[own]
        if inside.any():
            first = read[0].start
            rows = slice(first + part.start, first + part.stop)
            pixels, _ = self._scaling.apply(self._frames.read(index, (rows, *read[1:])))
            contrast = contrast_of(pixels, self._weights)
            contrast[own < 0] = 0
            here = find_objects(inside, contrast, self._diameter, self._spacing, dark=self._dark)
            here[own < 0] = 0
            found[part] = here
        return TileObjects.of(found, within(tile, read))


def object_steps(
    model: ObjectModel,
    frames: Frames,
    clusters: NDArray[np.int16],
    spacing: Sequence[float] | None = None,
    *,
    near: int | None = None,
) -> Run[tuple[NDArray[np.int32], bool]]:
    """Find the objects of an image whose clusters are known, one tile a step.

    Sending True ends it: what is not reached has no objects.

    Parameters
    ----------
    model : Model
    frames : Frames
        The image.
    clusters : int16 array
        Of the labels' shape, -1 where there is none.
    spacing : sequence of three numbers, optional
        The voxel's size along Z, Y and X.
    near : int, optional
        As for `Objects`.

    Returns
    -------
    objects : int32 array
        Of the labels' shape: numbered from 1, each in one time frame alone unless the method links
        them; 0 elsewhere.
    complete : bool
        Whether it came to its end.

    Raises
    ------
    MemoryError
        If a tile is too large to be looked at.
    """
    warn_of_cubes(frames, spacing)
    objects = Objects(model, frames, clusters.__getitem__, spacing, near=near)
    found = np.zeros(clusters.shape, np.int32)
    links = getattr(model.method, "over_time", "apart") == "linked"
    wholes = Frames(frames.data, frames.axes, volumes=True)
    a_frame = len(objects) // len(wholes)
    before, last = np.zeros(wholes.frame_shape, np.int32), 0
    number = 0
    for number, (box, here) in enumerate(objects.tiles(), start=1):
        found[box] = here
        if links and number % a_frame == 0:
            own = wholes.frame_of(found, number // a_frame - 1)
            own[...] = before = renumbered(relabel_sequential(own)[0], before, last)
            last = max(last, int(before.max(initial=0)))
        step = Step("objects", number, len(objects), (), (model.n_clusters,), lambda: model)
        if (yield step):
            break
    return found, number == len(objects) and objects.complete


def _counts(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many tiles a frame has along each axis."""
    n = len(shape)
    if math.prod(shape) <= _ONE_PIECE[n]:
        return (1,) * n
    return tuple(-(-length // side) for length, side in zip(shape, _SIDES[n], strict=True))


def _reached(clusters: NDArray[np.int16], near: int) -> slice:
    """Return the part along the first axis that has clusters, of a volume about a plane's depth."""
    there = np.flatnonzero((clusters >= 0).any(axis=tuple(range(1, clusters.ndim))))
    if not len(there):
        return slice(0, 0)
    first, last = int(there[0]), int(there[-1]) + 1
    if clusters.ndim == 2:
        return slice(first, last)
    most = max(1, _FOUND_AT_ONCE // clusters[0].size)
    first = min(max(first, near - most // 2), max(first, last - most))
    return slice(first, min(last, first + most))
