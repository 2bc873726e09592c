"""The only way from pixels to clusters: tile by tile, on a grid that belongs to the frame."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg import engine
from napari_mmtseg.engine import Tile, Weights
from napari_mmtseg.engine.threads import AT_ONCE, several
from napari_mmtseg.images.frames import Frames, Region, grid, grown, shared, within
from napari_mmtseg.labels.specks import without_specks
from napari_mmtseg.prediction.object_search import ObjectModel
from napari_mmtseg.settings import Method
from napari_mmtseg.system import memory

_STRIP_VALUES = 2**18
"""So many scaled values stay in a processor's cache."""
_KEPT_BYTES = 2**29

Clusters = NDArray[np.int16]
"""0..K - 1, or -1 where a pixel is not finite or masked."""


class TrainedModel(ObjectModel, Protocol):
    """What is asked of a model here."""

    @property
    def method(self) -> Method: ...
    @property
    def weights(self) -> Weights: ...
    @property
    def sizes(self) -> NDArray[np.int64]: ...
    @property
    def classes(self) -> NDArray[np.int64]: ...
    def label_of(self, n_labels: int | None = None) -> NDArray[np.int64]: ...


class RegionClusters(NamedTuple):
    """What was found in a region of a frame."""

    frame: int
    region: Region
    clusters: Clusters
    uncertainty: NDArray[np.float32] | None
    voters: tuple[Clusters, Clusters] | None = None
    """What each of two voters would give alone, if the uncertainty is asked for."""


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
        model: TrainedModel,
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

    def tiles(self, frames: Frames, first: int = 0) -> Iterator[tuple[int, Region]]:
        """List the tiles of all frames, from a plane on, that next to it next."""
        at, z = frames.holding(first)
        regions = [*grid(frames.frame_shape, self.tile_px)]
        if frames.volumes:
            regions.sort(key=lambda region: max(region[0].start - z, z - region[0].stop + 1))
        for index in sorted(range(len(frames)), key=lambda index: abs(index - at)):
            for region in regions:
                yield index, region

    def count(self, frames: Frames) -> int:
        """Return the number of tiles of all frames."""
        sides = zip(frames.frame_shape, self.tile_px, strict=True)
        return len(frames) * int(np.prod([-(-n // side) for n, side in sides]))

    def find(
        self,
        frames: Frames,
        index: int,
        tile: Region,
        mask: Any = None,
        draft: Callable[[Clusters], None] | None = None,
    ) -> RegionClusters:
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
        draft : callable, optional
            Called with what the clusters look like so far, before what takes longest.
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
            there = valid[place]
            if mask is not None:
                there = there & (np.asarray(frames.frame_of(mask, index)[tile]) != 0)

            def seen(found: NDArray[np.integer]) -> Clusters:
                clusters: Clusters = found.astype(np.int16, copy=False)
                clusters[~there] = -1
                return clusters

            early = None if draft is None else lambda found: draft(seen(found))
            found, doubt = self._predictor.find(pixels, lies, self._label_of, early)
        clusters = seen(found)
        unsure, voters = (None, None) if doubt is None else doubt
        if unsure is not None and voters is not None and not there.all():
            unsure = np.where(there, unsure, np.float32(0))
            for one in voters:
                one[~there] = -1
        clusters = without_specks(clusters, self._least_px)
        return RegionClusters(index, tile, clusters, unsure, voters)

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

    def find_all(
        self, frames: Frames, mask: Any = None, first: int = 0
    ) -> Generator[RegionClusters]:
        """Find the clusters of all tiles, a plane's first, some of the next ones meanwhile.

        Some of the work on a tile cannot use several processors.
        """
        waiting: deque[Future[RegionClusters]] = deque()
        with several() as pool:
            try:
                for index, tile in self.tiles(frames, first):
                    waiting.append(pool.submit(self.find, frames, index, tile, mask))
                    if len(waiting) > AT_ONCE:
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
        self,
        frames: Frames,
        index: int,
        region: Region | None = None,
        mask: Any = None,
        draft: Callable[[Clusters], None] | None = None,
    ) -> RegionClusters:
        """Find the clusters of any region of a frame, with the uncertainty if there is one.

        A draft is told of as often as more is known, with -1 where nothing is.
        """
        region = region or tuple(slice(0, n) for n in frames.frame_shape)
        shape = [one.stop - one.start for one in region]
        clusters = np.full(shape, -1, np.int16)
        doubt = None if self._label_of is None else np.empty(shape, np.float32)
        with memory.kept():
            for tile in grid(frames.frame_shape, self.tile_px, region):
                both = shared(tile, region)
                here, there = within(both, region), within(both, tile)

                def early(found: Clusters, here: Region = here, there: Region = there) -> None:
                    clusters[here] = found[there]
                    assert draft is not None
                    draft(clusters)

                found = self.find(frames, index, tile, mask, None if draft is None else early)
                clusters[here] = found.clusters[there]
                if doubt is not None and found.uncertainty is not None:
                    doubt[here] = found.uncertainty[there]
        return RegionClusters(index, region, clusters, doubt)

    def glance(self, frames: Frames, index: int, region: Region, mask: Any = None) -> Clusters:
        """Find about what `region` does, from a neighbourhood that may be smaller than a tile."""
        wide = tuple(
            slice(one.start // f * f, one.stop) for one, f in zip(region, self.factor, strict=True)
        )
        return Labeller.find(self, frames, index, wide, mask).clusters[within(region, wide)]

    def box(self, frames: Frames, box: Region, mask: Any = None) -> Clusters:
        """Find the clusters of any box of the labels, in their axes."""
        found = np.empty([one.stop - one.start for one in box], np.int16)
        for index, region, place in frames.parts_of(box):
            part = frames.tile_view(found[place])
            part[...] = self.region(frames, index, region, mask)
        return found


class TileCache(Labeller):
    """Keeps the last tiles, for those who ask for their neighbourhoods. Of one image alone."""

    def __init__(self, model: TrainedModel, *, label_of: NDArray[np.int64] | None = None) -> None:
        super().__init__(model, label_of=label_of)
        self._kept: OrderedDict[tuple[int, ...], RegionClusters] = OrderedDict()
        self._lock = threading.Lock()

    def find(
        self,
        frames: Frames,
        index: int,
        tile: Region,
        mask: Any = None,
        draft: Callable[[Clusters], None] | None = None,
    ) -> RegionClusters:
        """Find the clusters of a tile; image and mask are the same in each call."""
        key = _key(index, tile)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = super().find(frames, index, tile, mask, draft)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > 1:
                if sum(_bytes(one) for one in self._kept.values()) <= _KEPT_BYTES:
                    break
                self._kept.popitem(last=False)
        return found

    def remembers(self, frames: Frames, index: int, region: Region) -> bool:
        """Tell whether all tiles that a region touches are kept."""
        touched = grid(frames.frame_shape, self.tile_px, region)
        return all(_key(index, tile) in self._kept for tile in touched)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": OrderedDict(), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_lock": threading.Lock()})


def _key(index: int, tile: Region) -> tuple[int, ...]:
    return (index, *(one.start for one in tile))


def _bytes(found: RegionClusters) -> int:
    beside = [] if found.uncertainty is None else [found.uncertainty]
    return sum(one.nbytes for one in (found.clusters, *beside, *(found.voters or ())))
