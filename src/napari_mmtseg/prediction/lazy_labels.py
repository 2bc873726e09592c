"""The labels of lazy images, of which nothing is found before it is asked for."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.engine import Run, Step, drain
from napari_mmtseg.images.frames import Frames, Region, grid, shared, within
from napari_mmtseg.labels.pieces import TiledPieces
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.prediction import dask_cluster
from napari_mmtseg.prediction.labeller import Labeller, TrainedModel
from napari_mmtseg.prediction.object_search import Find, Objects


class Boxes(Protocol):
    """Labels of which any box can be had."""

    @property
    def sides(self) -> tuple[int, ...]:
        """Of a tile, along the axes of the labels: boxes of these cost least."""
        ...

    def box(self, box: Region) -> NDArray[Any]:
        """Return the labels of a box, in their axes."""
        ...


class Areas:
    """The areas of an image, which are known when all of it has been labelled.

    That happens when the first is asked for, or in `steps`; their numbers are then kept, not the
    areas.

    Parameters
    ----------
    frames : Frames
        The image.
    find : callable
        Gives the clusters of a box of the labels.
    sides : sequence of int
        Of the tiles, along the axes of the labels.
    label_of : (K,) int array
        The label of each cluster.
    """

    def __init__(
        self, frames: Frames, find: Find, sides: Sequence[int], label_of: NDArray[np.int64]
    ) -> None:
        self._frames, self._find, self.sides = frames, find, tuple(sides)
        self._table = np.append(label_of, 0).astype(np.int32)  # the last one is for cluster -1
        self._tile_px = [self.sides[axis] for axis in frames.frame_axes]
        self.pieces: TiledPieces | None = None
        """What is known when all has been labelled."""
        self._lock = threading.Lock()

    def steps(self) -> Run[None]:
        """Label the whole image, one tile a step.

        Raises
        ------
        RuntimeError
            If it is stopped by sending True.
        """
        frames, pieces = self._frames, TiledPieces(self._frames.frame_shape)
        tiles = list(grid(frames.frame_shape, self._tile_px))
        total = len(frames) * len(tiles)
        for number in range(total):
            index, at = divmod(number, len(tiles))
            pieces.add(index, tiles[at], self._labels(index, tiles[at]))
            step = Step("labelling", number + 1, total, (), (len(self._table) - 1,), lambda: None)
            if (yield step) and number + 1 < total:
                raise RuntimeError(
                    "Stopped: areas are known only when all of the image is labelled. Ask for "
                    "classes to see some of it"
                )
        pieces.join()
        self.pieces = pieces

    def box(self, box: Region) -> NDArray[np.int32]:
        """Return the areas of any box of the labels, in their axes."""
        with self._lock:
            if self.pieces is None:
                drain(self.steps())
        assert self.pieces is not None
        found = np.empty([one.stop - one.start for one in box], np.int32)
        for index, region, place in self._frames.parts_of(box):
            part = self._frames.tile_view(found[place])
            for tile in grid(self._frames.frame_shape, self._tile_px, region):
                both = shared(tile, region)
                areas = self.pieces.of(index, tile, self._labels(index, tile))
                part[within(both, region)] = areas[within(both, tile)]
        return found

    def _labels(self, index: int, tile: Region) -> NDArray[np.int32]:
        own = self._find(self._frames.box_of(index, tile))
        labels: NDArray[np.int32] = self._table[self._frames.tile_view(own)]
        return labels

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_lock": threading.Lock()})


def boxes_of(
    model: TrainedModel,
    labeller: Labeller,
    frames: Frames,
    mask: Any,
    spacing: Sequence[float] | None,
    label_of: NDArray[np.int64],
) -> Boxes:
    """Return what a model's output asks for, of which any box can be had.

    Parameters
    ----------
    model : Model
    labeller : Labeller
        Better one that remembers, unless classes are asked for.
    frames : Frames
    mask : array-like or None
        From `frames.side_image`.
    spacing : sequence of three numbers or None
        The voxel's size along Z, Y and X, for objects.
    label_of : (K,) int array
        The label of each cluster, for classes and areas.
    """
    output, clusters = output_of(model.method), _Clusters(labeller, frames, mask)
    if output == "objects":
        return Objects(model, frames, clusters.box, spacing)
    if output == "areas":
        return Areas(frames, clusters.box, clusters.sides, label_of)
    return _Classes(clusters, label_of)


def lazy_clusters(labeller: Labeller, frames: Frames, mask: Any = None, client: Any = None) -> Any:
    """Return the clusters as a dask array, whose chunks are the tiles; nothing is computed."""
    return as_dask(_Clusters(labeller, frames, mask), frames.shape, np.int16, client=client)


def lazy_uncertainty(
    labeller: Labeller, frames: Frames, mask: Any = None, client: Any = None
) -> Any:
    """Return the uncertainty as a dask array, whose chunks are the tiles."""
    return as_dask(_Uncertainty(labeller, frames, mask), frames.shape, np.float32, client=client)


def as_dask(
    boxes: Boxes, shape: Sequence[int], dtype: Any = np.int32, *, client: Any = None
) -> Any:
    """Return an array that knows its boxes as a dask array; nothing is computed.

    Parameters
    ----------
    boxes : Boxes
        Or what else has `sides` and `box`. The sides are those of the chunks.
    shape : sequence of int
        Of the whole.
    dtype : dtype
        Of what `box` returns.
    client : distributed.Client, optional
        Of a cluster, which is handed the boxes at once.
    """
    import dask.array as da

    return da.map_blocks(
        _chunk,
        name=f"{type(boxes).__name__.strip('_').lower()}-{uuid.uuid4().hex}",
        chunks=tuple(_lengths(n, side) for n, side in zip(shape, boxes.sides, strict=True)),
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype),
        boxes=_Opaque(boxes) if client is None else dask_cluster.shared(client, boxes),
    )


class _Opaque:
    """Keeps dask from looking into an argument, and computing what it finds there."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Clusters:
    """The clusters of an image by boxes."""

    def __init__(self, labeller: Labeller, frames: Frames, mask: Any) -> None:
        self._labeller, self._frames, self._mask = labeller, frames, mask
        by_axis = dict(zip(frames.frame_axes, labeller.tile_px, strict=True))
        self.sides = tuple(by_axis.get(axis, 1) for axis in range(len(frames.shape)))

    def box(self, box: Region) -> NDArray[np.int16]:
        return self._labeller.box(self._frames, box, self._mask)


class _Classes:
    """The labels of clusters by boxes."""

    def __init__(self, clusters: _Clusters, label_of: NDArray[np.int64]) -> None:
        self._clusters, self.sides = clusters, clusters.sides
        self._table = np.append(label_of, 0).astype(np.int32)  # the last one is for cluster -1

    def box(self, box: Region) -> NDArray[np.int32]:
        labels: NDArray[np.int32] = self._table[self._clusters.box(box)]
        return labels


class _Uncertainty(_Clusters):
    """The uncertainty of an image by the tile."""

    def box(self, box: Region) -> NDArray[Any]:
        index, tile = self._frames.tile_of(box)
        found = self._labeller.find(self._frames, index, tile, self._mask).uncertainty
        assert found is not None
        made = np.empty([one.stop - one.start for one in box], found.dtype)
        self._frames.tile_view(made)[...] = found
        return made


def _chunk(*, boxes: _Opaque | dask_cluster.Broadcast, block_info: Any = None) -> NDArray[Any]:
    made: NDArray[Any] = boxes.value.box(
        tuple(slice(a, b) for a, b in block_info[None]["array-location"])
    )
    return made


def _lengths(length: int, side: int) -> tuple[int, ...]:
    return tuple(min(side, length - first) for first in range(0, length, side))
