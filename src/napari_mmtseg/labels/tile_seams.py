"""Join objects that were found tile by tile: one that lies across a border gets one number."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.images.frames import Region, grown, within
from napari_mmtseg.labels.object_numbers import LARGEST

A_TILE = 100_000
"""The objects of the second tile are numbered from here on, those of the third from twice this."""
_LEAST_PX = 6
_KEPT_BYTES = 2**28


class TileObjects(NamedTuple):
    """The objects of a tile, as they look from it."""

    wide: NDArray[np.integer]
    """(*spatial): the tile and the pixels next to it; 1 to n where an object has a pixel in the
    tile, numbers above where it has none."""
    inner: Region
    """Where the tile lies in it."""
    sizes: NDArray[np.int64]
    """(n + 1,): pixels in the tile."""

    @classmethod
    def of(cls, found: NDArray[np.int32], tile: Region) -> TileObjects:
        """Take what was found in a tile and around it.

        Parameters
        ----------
        found : (*spatial) int32 array
            Objects numbered from 1, 0 elsewhere.
        tile : Region
            Where the tile lies in it.
        """
        near = grown(tile, (1,) * found.ndim, found.shape)
        sizes = np.bincount(found[tile].ravel(), minlength=int(found.max(initial=0)) + 1)
        sizes[0] = 0
        members = np.flatnonzero(sizes)
        others = np.setdiff1d(np.flatnonzero(np.bincount(found[near].ravel()))[1:], members)
        number = np.zeros(len(sizes), np.min_scalar_type(len(members) + len(others)))
        number[members] = np.arange(1, len(members) + 1)
        number[others] = np.arange(len(members) + 1, len(members) + 1 + len(others))
        return cls(number[found[near]], within(tile, near), np.append(0, sizes[members]))


class StitchedObjects:
    """The objects of all tiles of all frames, each with one number.

    An object is what the tiles on both sides of a border take for the same: those of which each
    covers the other most, along the border. Its number is that in the first of its tiles, plus
    100,000 for each tile before; so numbers are known without looking at all tiles, and the same
    in whatever order tiles are asked for. Of what is cut by a border that only one side sees,
    less than 6 pixels are left out.

    Parameters
    ----------
    counts : sequence of int
        Tiles of a frame along each axis.
    n_frames : int
    see : callable
        Gives what is seen of a tile. Tiles are numbered row by row, one frame after the other.
    """

    def __init__(
        self, counts: Sequence[int], n_frames: int, see: Callable[[int], TileObjects]
    ) -> None:
        self._counts, self._see = tuple(counts), see
        self._a_frame = math.prod(counts)
        self._several = self._a_frame * n_frames > 1
        self._strides = [math.prod(self._counts[axis + 1 :]) for axis in range(len(self._counts))]
        self._forget()

    def tile(self, tile: int) -> NDArray[np.int32]:
        """Return the objects of a tile.

        Raises
        ------
        ValueError
            If there are too many to be numbered.
        """
        with self._lock:
            seen = self._look(tile)
            found: NDArray[np.int32] = self._numbers(tile, seen)[seen.wide[seen.inner]]
        return found

    def __getstate__(self) -> dict[str, object]:
        kept = ("_counts", "_see", "_a_frame", "_several", "_strides")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.RLock()
        self._kept: OrderedDict[int, TileObjects] = OrderedDict()
        self._matches: dict[tuple[int, int], tuple[dict[int, int], dict[int, int]]] = {}
        self._sizes: dict[int, dict[int, int]] = {}

    def _look(self, tile: int) -> TileObjects:
        if tile not in self._kept:
            self._kept[tile] = self._see(tile)
        self._kept.move_to_end(tile)
        while len(self._kept) > 1:
            if sum(one.wide.nbytes for one in self._kept.values()) <= _KEPT_BYTES:
                break
            self._kept.popitem(last=False)
        return self._kept[tile]

    def _numbers(self, tile: int, seen: TileObjects) -> NDArray[np.int32]:
        """Return the number of each of a tile's objects: (n + 1,), 0 for none."""
        count = len(seen.sizes) - 1
        if self._several and count >= A_TILE:
            raise ValueError(
                f"There are {count:,} objects in a tile of {seen.wide[seen.inner].shape} pixels, "
                f"and fewer than {A_TILE:,} can be numbered: give a larger diameter (diameter_px), "
                "or ask for areas"
            )
        numbers = np.arange(count + 1, dtype=np.int32) + np.int32(tile * A_TILE)
        numbers[0] = 0
        own = seen.wide[seen.inner]
        cut = [np.take(own, end, axis) for axis, end, _ in self._borders(tile)]
        for one in np.unique(np.concatenate([face.ravel() for face in cut])) if cut else []:
            if one:
                parts = self._parts_of(tile, int(one))
                size = sum(self._size(*part) for part in parts)
                first, number = min(parts)
                numbers[one] = first * A_TILE + number if size >= _LEAST_PX else 0
        return numbers

    def _borders(self, tile: int) -> list[tuple[int, int, int]]:
        """List a tile's neighbours: the axis, the end of the tile along it, the neighbour."""
        place = np.unravel_index(tile % self._a_frame, self._counts)
        found = []
        for axis, (i, n, stride) in enumerate(zip(place, self._counts, self._strides, strict=True)):
            if i > 0:
                found.append((axis, 0, tile - stride))
            if i < n - 1:
                found.append((axis, -1, tile + stride))
        return found

    def _parts_of(self, tile: int, number: int) -> set[tuple[int, int]]:
        """Return the parts of an object, each as a tile and its number there."""
        parts, new = {(tile, number)}, [(tile, number)]
        while new:
            tile, number = new.pop()
            for axis, end, other in self._borders(tile):
                up, down = self._matched(min(tile, other), axis)
                match = (down if end == 0 else up).get(number)
                if match is not None and (other, match) not in parts:
                    parts.add((other, match))
                    new.append((other, match))
        return parts

    def _size(self, tile: int, number: int) -> int:
        if tile not in self._sizes:
            self._sizes[tile] = {}
        if number not in self._sizes[tile]:
            self._sizes[tile][number] = int(self._look(tile).sizes[number])
        return self._sizes[tile][number]

    def _matched(self, tile: int, axis: int) -> tuple[dict[int, int], dict[int, int]]:
        """Return the objects of the next tile that those of a tile are, and the other way round."""
        if (tile, axis) not in self._matches:
            one, other = self._look(tile), self._look(tile + self._strides[axis])
            up = _alike(
                _face(one, axis, -1),
                _face(other, axis, 0),
                (len(one.sizes) - 1, len(other.sizes) - 1),
            )
            self._matches[tile, axis] = up, {there: here for here, there in up.items()}
        return self._matches[tile, axis]


def check_tiles(n_tiles: int) -> None:
    """Refuse images of which the objects cannot be numbered.

    Raises
    ------
    ValueError
    """
    if n_tiles * A_TILE > LARGEST:
        raise ValueError(
            f"Objects of so large an image need numbers above {LARGEST:,}: it has {n_tiles:,} "
            f"tiles, and {LARGEST // A_TILE:,} can be numbered. Hand over a part of it at a time, "
            "or a coarser level; classes have no such limit"
        )


def _face(seen: TileObjects, axis: int, end: int) -> NDArray[np.integer]:
    """Return the two layers at a border: the tile's last one, and the neighbour's first."""
    layers = slice(0, 2) if end == 0 else slice(seen.wide.shape[axis] - 2, None)
    return seen.wide[(*seen.inner[:axis], layers, *seen.inner[axis + 1 :])]


def _alike(
    one: NDArray[np.integer], other: NDArray[np.integer], counts: tuple[int, int]
) -> dict[int, int]:
    """Match the numbers of which each covers the other most, up to so many on each side."""
    both = (one > 0) & (other > 0)
    wide = int(other.max(initial=0)) + 1
    codes, pixels = np.unique(one[both].astype(np.int64) * wide + other[both], return_counts=True)
    mine: dict[int, int] = {}
    theirs: dict[int, int] = {}
    for code in codes[np.argsort(-pixels, kind="stable")].tolist():
        here, there = divmod(code, wide)
        mine.setdefault(here, there)
        theirs.setdefault(there, here)
    return {
        here: there
        for here, there in mine.items()
        if theirs[there] == here and here <= counts[0] and there <= counts[1]
    }
