"""The only way from pixels to clusters: tile by tile, on a grid that belongs to the frame."""

from __future__ import annotations

import math
import uuid
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg import cluster, engine, memory
from napari_mmtseg.arrays import Frames, Region, grid, grown, is_lazy, within
from napari_mmtseg.engine import Run, Step, Tile, Weights
from napari_mmtseg.finding import Known, check_diameter, object_steps
from napari_mmtseg.labels.pieces import pieces
from napari_mmtseg.labels.specks import without_specks
from napari_mmtseg.methods.refining import output_of
from napari_mmtseg.settings import Method

_STRIP_VALUES = 2**18
"""So many scaled values stay in a processor's cache."""
_AT_ONCE = 2
"""So many tiles: one is in the parts that use all processors while the other is not."""

Clusters = NDArray[np.int16]
"""0..K - 1, or -1 where a pixel is not finite or masked."""


class Trained(Known, Protocol):
    """What is asked of a model here."""

    @property
    def method(self) -> Method: ...
    @property
    def weights(self) -> Weights: ...
    def label_of(self, n_labels: int | None = None) -> NDArray[np.int64]: ...


class Found(NamedTuple):
    """What was found in a region of a frame."""

    frame: int
    region: Region
    clusters: Clusters
    uncertainty: NDArray[np.float32] | None


class Labeller:
    """Finds the clusters of images with a model.

    Parameters
    ----------
    model : Model
    weights : mapping of str to array, optional
        Take the place of the model's own.
    label_of : (K,) int array, optional
        The label of each cluster; asks for the uncertainty of these labels, if there is one.
    """

    def __init__(
        self,
        model: Trained,
        *,
        weights: Weights | None = None,
        label_of: NDArray[np.int64] | None = None,
    ) -> None:
        self._scaling = model.scaling
        self._label_of = label_of if model.method.has_uncertainty else None
        self._predictor = engine.predictor(weights or model.weights, model.method)
        self.factor = factor = self._predictor.factor
        self.tile_px = tuple(n * f for n, f in zip(self._predictor.side, factor, strict=True))
        self.halo_px = tuple(n * f for n, f in zip(self._predictor.halo, factor, strict=True))
        least = int(getattr(model.method, "smallest_px", 0))
        self._least_px = least if math.prod(factor) < least else 0  # a vote alone is no speck

    def tiles(self, frames: Frames) -> Iterator[tuple[int, Region]]:
        """List the tiles of all frames."""
        for index in range(len(frames)):
            for region in grid(frames.frame_shape, self.tile_px):
                yield index, region

    def count(self, frames: Frames) -> int:
        """Return the number of tiles of all frames."""
        sides = zip(frames.frame_shape, self.tile_px, strict=True)
        return len(frames) * int(np.prod([-(-n // side) for n, side in sides]))

    def find(self, frames: Frames, index: int, tile: Region, mask: Any = None) -> Found:
        """Find the clusters of a tile, reading it and its halo alone.

        Parameters
        ----------
        frames : Frames
        index : int
            Of the frame.
        tile : Region
            One of `tiles`, or a whole region to be taken for one.
        mask : array-like, optional
            From `frames.side_image`; pixels where it is 0 are left out.
        """
        factor = self.factor
        read = grown(tile, self.halo_px, frames.frame_shape)
        place = within(tile, read)
        inner = tuple(
            slice(one.start // f, -(-one.stop // f)) for one, f in zip(place, factor, strict=True)
        )
        shape = tuple(one.stop - one.start for one in tile)
        lies = Tile(inner, shape, tuple(one.start for one in read))
        with memory.kept():
            pixels, valid = self._reduced(frames.read(index, read))
            found, doubt = self._predictor.find(pixels, lies, self._label_of)
        there = valid[place]
        if mask is not None:
            there = there & (np.asarray(frames.frame_of(mask, index)[tile]) != 0)
        clusters = found.astype(np.int16, copy=False)
        if not there.all():
            clusters[~there] = -1
            if doubt is not None:
                doubt = np.where(there, doubt, np.float32(0))
        ends = [
            (one.start == 0, one.stop == n) for one, n in zip(tile, frames.frame_shape, strict=True)
        ]
        return Found(index, tile, without_specks(clusters, self._least_px, ends), doubt)

    def _reduced(self, part: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scale pixels (C, *spatial) and reduce them, some rows at a time: they take most memory.

        Returns
        -------
        pixels : (C, *votes) float32 array
        valid : (*spatial) bool array
        """
        if max(self.factor) == 1:
            pixels, valid = self._scaling.apply(part)
            return self._predictor.reduce(pixels), valid
        row = part[:, 0].size
        rows = -(-_STRIP_VALUES // (row * self.factor[0])) * self.factor[0]
        small, valid = [], np.empty(part.shape[1:], bool)
        for top in range(0, part.shape[1], rows):
            scaled, valid[top : top + rows] = self._scaling.apply(part[:, top : top + rows])
            small.append(self._predictor.reduce(scaled))
        return np.concatenate(small, axis=1), valid

    def find_all(self, frames: Frames, mask: Any = None) -> Generator[Found]:
        """Find the clusters of all tiles in their order, some of the next ones meanwhile.

        Some of the work on a tile cannot use several processors.
        """
        waiting: deque[Future[Found]] = deque()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for index, tile in self.tiles(frames):
                    waiting.append(pool.submit(self.find, frames, index, tile, mask))
                    if len(waiting) > _AT_ONCE:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for one in waiting:
                    one.cancel()

    def region(
        self, frames: Frames, index: int, region: Region | None = None, mask: Any = None
    ) -> Clusters:
        """Find the clusters of any region of a frame: those of the tiles that it touches."""
        return self.look(frames, index, region, mask).clusters

    def look(
        self, frames: Frames, index: int, region: Region | None = None, mask: Any = None
    ) -> Found:
        """Find the clusters of any region of a frame, with the uncertainty if there is one."""
        region = region or tuple(slice(0, n) for n in frames.frame_shape)
        shape = [one.stop - one.start for one in region]
        clusters = np.empty(shape, np.int16)
        doubt = None if self._label_of is None else np.empty(shape, np.float32)
        with memory.kept():
            for tile in grid(frames.frame_shape, self.tile_px):
                both = tuple(
                    slice(max(a.start, b.start), min(a.stop, b.stop))
                    for a, b in zip(tile, region, strict=True)
                )
                if all(one.start < one.stop for one in both):
                    found = self.find(frames, index, tile, mask)
                    here, there = within(both, region), within(both, tile)
                    clusters[here] = found.clusters[there]
                    if doubt is not None and found.uncertainty is not None:
                        doubt[here] = found.uncertainty[there]
        return Found(index, region, clusters, doubt)


@dataclass(frozen=True)
class Segmentation:
    """An image's labels and where they come from."""

    clusters: Any
    """Cluster of each pixel, of the labels' shape, -1 where it is not finite; a dask array if the
    image is lazy."""
    uncertainty: Any
    method: Method
    frame_axes: tuple[int, ...]
    """Which axes are those of a plane, or of a volume."""
    model: Any
    """The `Model`; None for methods whose regions are local: their clusters are the regions, by
    size."""
    objects: NDArray[np.int32] | None = None
    """The objects, if the method's output is these."""

    def labels(self, n_labels: int | None = None) -> Any:
        """Return the labels, merged to n_labels if given; nothing is computed anew.

        Objects stay as they are, whatever the number of labels.

        Raises
        ------
        ValueError
            If regions without a model are to be merged.
        """
        if self.model is None:
            if n_labels is not None:
                raise ValueError(
                    f"These regions cannot be merged to {n_labels} labels (n_labels): the method "
                    "learns nothing that tells which ones belong together"
                )
            return self.clusters + np.int32(1)
        if self.objects is not None:
            return self.objects
        return labelled(self.clusters, self.model.label_of(n_labels), self.method, self.frame_axes)


def label_steps(
    model: Trained,
    frames: Frames,
    mask: Any = None,
    *,
    label_of: NDArray[np.int64] | None = None,
    uncertain: bool = True,
    spacing: Sequence[float] | None = None,
    client: Any = None,
) -> Run[Segmentation]:
    """Label an image with a model, one tile a step; a lazy image without any.

    Sending True ends it: the tiles that are not reached have label 0.

    Parameters
    ----------
    model : Model
    frames : Frames
        That fit the model.
    mask : array-like, optional
        From `frames.side_image`; pixels where it is 0 get label 0.
    label_of : (K,) int array, optional
        The label of each cluster that the uncertainty is about; by default the model's.
    uncertain : bool
        Whether the uncertainty is wanted.
    spacing : sequence of three numbers, optional
        The voxel's size along Z, Y and X, for objects.
    client : distributed.Client, optional
        Of a cluster that finds the clusters.

    Raises
    ------
    MemoryError
        If the labels do not fit into memory.
    """
    uncertain = uncertain and model.method.has_uncertainty
    label_of = model.label_of() if label_of is None else label_of
    labeller = Labeller(model, label_of=label_of if uncertain else None)
    check_output(model.method, frames.data)
    check_diameter(model.method, frames)
    if is_lazy(frames.data):
        clusters = lazy_clusters(labeller, frames, mask, client)
        doubt = lazy_uncertainty(labeller, frames, mask, client) if uncertain else None
        return Segmentation(clusters, doubt, model.method, frames.frame_axes, model)
    pixels = math.prod(frames.shape)
    memory.require((6 + 4 * uncertain) * pixels, f"Labelling {pixels:,} pixels")
    clusters = np.full(frames.shape, -1, np.int16)
    doubt = np.zeros(frames.shape, np.float32) if uncertain else None
    total = labeller.count(frames)
    stopped: bool | None = None
    if client is None:
        every = labeller.find_all(frames, mask)
    else:
        every = cluster.find_all(client, labeller, frames, mask)
    with memory.kept(), closing(every):
        for number, found in enumerate(every, start=1):
            frames.frame_of(clusters, found.frame)[found.region] = found.clusters
            if doubt is not None:
                frames.frame_of(doubt, found.frame)[found.region] = found.uncertainty
            step = Step("labelling", number, total, (), (model.n_clusters,), lambda: model)
            stopped = yield step
            if stopped:
                break
    objects = None
    if output_of(model.method) == "objects":
        objects = yield from object_steps(model, frames, clusters, spacing, whole=not stopped)
    return Segmentation(clusters, doubt, model.method, frames.frame_axes, model, objects)


def labelled(
    clusters: Any, label_of: NDArray[np.int64], method: Method, frame_axes: tuple[int, ...]
) -> Any:
    """Turn clusters into what the method's output asks for: their labels, or pieces of them."""
    table = np.append(label_of, 0).astype(np.int32)  # the last one is for cluster -1
    if is_lazy(clusters):
        labels = clusters.map_blocks(lambda block: table[block], dtype=np.int32)
    else:
        labels = table[clusters]
    if output_of(method) != "areas":
        return labels
    check_output(method, labels)
    return pieces(labels, frame_axes)


def check_output(method: Method, image: Any) -> None:
    """Refuse to find the areas or objects of a lazy image.

    Raises
    ------
    ValueError
    """
    output = output_of(method)
    if is_lazy(image) and method.trains and output != "classes":
        raise ValueError(
            f"{output.capitalize()} of a lazy image are not known before all of it is labelled: "
            "ask for output='classes', or hand the image over as a numpy array"
        )


def lazy_clusters(labeller: Labeller, frames: Frames, mask: Any = None, client: Any = None) -> Any:
    """Return the clusters as a dask array, whose chunks are the tiles; nothing is computed."""
    return _lazy(_clusters, np.int16, labeller, frames, mask, client)


def lazy_uncertainty(
    labeller: Labeller, frames: Frames, mask: Any = None, client: Any = None
) -> Any:
    """Return the uncertainty as a dask array, whose chunks are the tiles."""
    return _lazy(_uncertainty, np.float32, labeller, frames, mask, client)


class _Whole:
    """Keeps dask from looking into an argument, and computing what it finds there."""

    def __init__(self, *values: Any) -> None:
        self.values = values


def _lazy(work: Any, dtype: Any, labeller: Labeller, frames: Frames, mask: Any, client: Any) -> Any:
    import dask.array as da

    given: Any = _Whole(labeller, frames, mask)
    if client is not None:
        given = cluster.shared(client, _Whole(labeller, cluster.read_there(frames), mask))

    sides = dict(zip(frames.frame_axes, labeller.tile_px, strict=True))
    chunks = tuple(_lengths(n, sides.get(axis, 1)) for axis, n in enumerate(frames.shape))
    return da.map_blocks(
        work,
        name=f"{work.__name__}-{uuid.uuid4().hex}",
        chunks=chunks,
        dtype=dtype,
        meta=np.empty((0,) * len(frames.shape), dtype),
        given=given,
    )


def _lengths(length: int, side: int) -> tuple[int, ...]:
    return tuple(min(side, length - first) for first in range(0, length, side))


def _of_block(block_info: Any, given: _Whole) -> tuple[Found, Any]:
    """Find a chunk, and return it with the way from a tile to the chunk's shape."""
    labeller, frames, mask = getattr(given, "value", given).values
    place = tuple(slice(a, b) for a, b in block_info[None]["array-location"])
    index, tile = frames.tile_of(place)
    found = labeller.find(frames, index, tile, mask)

    def shaped(tile_values: NDArray[Any]) -> NDArray[Any]:
        chunk = np.empty([one.stop - one.start for one in place], tile_values.dtype)
        frames.tile_view(chunk)[...] = tile_values
        return chunk

    return found, shaped


def _clusters(*, given: _Whole, block_info: Any = None) -> NDArray[np.int16]:
    found, shaped = _of_block(block_info, given)
    chunk: NDArray[np.int16] = shaped(found.clusters)
    return chunk


def _uncertainty(*, given: _Whole, block_info: Any = None) -> NDArray[np.float32]:
    found, shaped = _of_block(block_info, given)
    chunk: NDArray[np.float32] = shaped(found.uncertainty)
    return chunk
