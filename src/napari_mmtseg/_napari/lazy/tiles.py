"""Labels of planes too large to be looked at whole: tile by tile, at several levels."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg._napari.lazy.planes import LazyResult, spans_of
from napari_mmtseg._napari.process.view_places import SIDE_PX, Places
from napari_mmtseg._napari.process.view_server import ViewOrder, lazy_labels
from napari_mmtseg.images.frames import Region

_KEPT_BYTES = 2**28
_OVERVIEW = 4
"""Every fourth row and column of a tile is kept longer than the tile itself."""
_COARSEST_PX = 2048
_FEW = 12
"""From so near that no more tiles are missing, drafts of all come before the first is exact."""


class LazyTiles:
    """Tiles that are found where one looks, and shown at several levels.

    A coarser level has every n-th row and column. What has been looked at from near is kept for a
    look from afar, which asks for the other tiles one by one, from the middle on.

    Parameters
    ----------
    shape : tuple of int
        Of the labels, ending in that of a plane.
    dtype : dtype
        Of four bytes.

    Attributes
    ----------
    data : list of array-like
        The levels, for a layer: 0 where nothing is known yet. Reading them computes nothing.
    wanted : int or None
        The place (see `Places`) that was asked for last and is not here yet.
    exact : bool
        Whether a draft of it would not do.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.int32) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._places = Places(shape)
        self._fine = _ArrayCache()
        self._coarse = _ArrayCache()
        self._lock = threading.Lock()
        self._ask: Callable[[int], None] | None = None
        self._lacking: set[int] = set()
        self._plane: int | None = None
        self._drafts: set[int] = set()
        self.wanted: int | None = None
        self.exact = False
        step = 1
        self.data = [TiledLevel(self, step)]
        while max(shape[-2:]) > step * _COARSEST_PX and step < SIDE_PX:
            step *= 2
            self.data.append(TiledLevel(self, step))

    def show(self, plane: int, ask: Callable[[int], None]) -> None:
        """Begin to ask for tiles; see `LazyPlanes.show`."""
        self._plane, self._ask = plane, ask

    def shows(self, place: int) -> bool:
        """Tell whether a place is in the plane in view."""
        return self._places.box(place)[0] == self._plane

    def put(self, place: int, values: NDArray[Any], *, draft: bool = False) -> None:
        """Take a tile, or about what it looks like."""
        with self._lock:
            self._fine.put(place, values)
            if draft:
                self._drafts.add(place)
            else:
                self._drafts.discard(place)
                self._coarse.put(place, values[::_OVERVIEW, ::_OVERVIEW].copy())
        if self.wanted == place:
            self.wanted = None

    def lack(self, place: int) -> None:
        """Note that a tile cannot be had, until another plane is in view."""
        if self.wanted == place:
            self.wanted = None
        self._lacking.add(place)

    def ask_ahead(self) -> None:
        """Do nothing: who shows the tiles reads again after each, and so asks for the next."""

    def read(self, step: int, plane: int, region: Region, *, ask: bool) -> NDArray[Any]:
        """Return a region of a plane, in pixels of it, by every so many rows and columns.

        What is missing is asked for if it is to be.
        """
        rows, columns = (range(-(-one.start // step), -(-one.stop // step)) for one in region)
        found = np.zeros((len(rows), len(columns)), self.dtype)
        missing = []
        if ask and plane != self._plane:
            self._plane, self.wanted = plane, None
            self._lacking.clear()
        for place in self._places.touched(plane, region):
            with self._lock:
                values, known = self._known(place, step)
            if not known and place not in self._lacking:
                missing.append(place)
            if values is None:
                continue
            here, there = [], []
            for span, one in zip((rows, columns), self._places.box(place)[1], strict=True):
                first, last = (
                    max(span.start, one.start // step),
                    min(span.stop, -(-one.stop // step)),
                )
                here.append(slice(first - span.start, last - span.start))
                there.append(slice(first - one.start // step, last - one.start // step))
            found[tuple(here)] = self._shown(values[tuple(there)])
        # The small picture of the layer is read after what is in view, and must not come first.
        free = self.wanted is None or step < self.data[-1].step
        if ask and free and missing and self.wanted not in missing:
            missing.sort(key=self._drafts.__contains__)
            self.exact = missing[0] in self._drafts or len(missing) > _FEW
            self._request(missing[0])
        return found

    def _known(self, place: int, step: int) -> tuple[NDArray[Any] | None, bool]:
        """Return a tile by every so many rows and columns, and whether that is all of it."""
        values = self._fine.get(place)
        if values is not None:
            return values[::step, ::step], place not in self._drafts
        values = self._coarse.get(place)
        if values is None:
            return None, False
        if step >= _OVERVIEW:
            return values[:: step // _OVERVIEW, :: step // _OVERVIEW], True
        return values.repeat(_OVERVIEW // step, 0).repeat(_OVERVIEW // step, 1), False

    def _request(self, place: int) -> None:
        if self._ask is not None:
            self.wanted = place
            self._ask(place)

    def _shown(self, values: NDArray[Any]) -> NDArray[Any]:
        return values


class LazyTiledLabels(LazyResult, LazyTiles):
    """Labels that are found where one looks; `put` takes what the process sends of a tile.

    Parameters
    ----------
    order : ViewOrder
        What the tiles are found with.
    shape : tuple of int
        Of the labels.
    """

    def __init__(self, order: ViewOrder, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.take_order(order)


class TiledLevel:
    """An array-like of the labels by every so many rows and columns."""

    def __init__(self, tiles: LazyTiles, step: int) -> None:
        self.tiles, self.step = tiles, step
        rows, columns = tiles.shape[-2:]
        self.shape = (*tiles.shape[:-2], -(-rows // step), -(-columns // step))
        self.ndim = len(self.shape)
        self.dtype = tiles.dtype
        self.size = math.prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read by whole numbers and slices what is known."""
        spans, numbered, ask = spans_of(key, self.shape)
        found = np.zeros([len(span) for span in spans], self.dtype)
        if found.size:
            box = tuple(
                slice(min(one) * self.step, min(max(one) * self.step + 1, n))
                for one, n in zip(spans[-2:], self.tiles.shape[-2:], strict=True)
            )
            for place in np.ndindex(*found.shape[:-2]):
                at = [span[i] for span, i in zip(spans[:-2], place, strict=True)]
                plane = int(np.ravel_multi_index(at, self.shape[:-2])) if at else 0
                values = self.tiles.read(self.step, plane, box, ask=ask)
                found[place] = values[tuple(slice(None, None, one.step) for one in spans[-2:])]
        return found[tuple(0 if one else slice(None) for one in numbered)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Arrive in another process as a dask array of all labels."""
        tiles = self.tiles
        assert isinstance(tiles, LazyTiledLabels)
        return lazy_labels, (tiles.order, tiles.label_of)


class _ArrayCache:
    """Arrays by number, of which those used longest ago go when they are too large together."""

    def __init__(self) -> None:
        self._arrays: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._bytes = 0

    def get(self, number: int) -> NDArray[Any] | None:
        if number in self._arrays:
            self._arrays.move_to_end(number)
        return self._arrays.get(number)

    def put(self, number: int, values: NDArray[Any]) -> None:
        before = self._arrays.pop(number, None)
        self._bytes += values.nbytes - (0 if before is None else before.nbytes)
        self._arrays[number] = values
        while self._bytes > _KEPT_BYTES and len(self._arrays) > 1:
            self._bytes -= self._arrays.popitem(last=False)[1].nbytes
