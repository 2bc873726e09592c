"""Give each connected piece of a label a number of its own, at once or tile by tile."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from napari_mmtseg.images.frames import Region
from napari_mmtseg.labels.object_numbers import LARGEST


def pieces(labels: NDArray[np.int32], frame_axes: tuple[int, ...] = (-2, -1)) -> NDArray[np.int32]:
    """Number the connected pieces (4 neighbours, in volumes 6) of each frame by size, from 1.

    Parameters
    ----------
    labels : int32 array
        0 stays 0.
    frame_axes : tuple of int
        The axes of a plane or of a volume; pieces end where others begin.

    Returns
    -------
    int32 array
        Of the same shape. No two frames share a number.
    """
    found = np.empty(labels.shape, np.int32)
    count, last = 0, tuple(range(-len(frame_axes), 0))
    frames, targets = (np.moveaxis(one, frame_axes, last) for one in (labels, found))
    for place in np.ndindex(frames.shape[: -len(frame_axes)]):
        numbered, many = _numbered(frames[place])
        targets[place] = np.where(numbered, numbered + count, 0)
        count += many
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    number = np.zeros(count + 1, np.int32)
    number[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1, dtype=np.int32)
    return number[found]


class TiledPieces:
    """The pieces of labels that come tile by tile, numbered as `pieces` numbers those of the whole.

    Parameters
    ----------
    frame_shape : sequence of int

    Attributes
    ----------
    pixels : (P + 1,) int64 array
        Of each piece by its number, once they are joined; 0 for number 0, which is none.
    label_of : (P + 1,) int64 array
        The label that each is a piece of; 0 for number 0.
    """

    def __init__(self, frame_shape: Sequence[int]) -> None:
        self.pixels = self.label_of = np.zeros(1, np.int64)
        self._frame_shape = tuple(frame_shape)
        self._first: dict[tuple[int, ...], int] = {}
        """For each tile (frame, *corner) how many parts there are in those before."""
        self._count = 0
        self._sizes: list[NDArray[np.int64]] = []
        self._places: list[NDArray[np.int64]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._pairs: list[NDArray[np.int64]] = []
        self._faces: dict[tuple[int, ...], tuple[NDArray[np.int32], NDArray[np.int64]]] = {}
        self._number = np.zeros(0, np.int32)

    def add(self, frame: int, tile: Region, labels: NDArray[np.int32]) -> None:
        """Take the labels of a tile; a frame's tiles come row by row, one frame after the other."""
        parts, count = _numbered(labels)
        corner = tuple(one.start for one in tile)
        self._first[frame, *corner] = self._count
        self._sizes.append(np.bincount(parts.ravel(), minlength=count + 1)[1:])
        flat = parts.ravel()[::-1]
        first = np.zeros(count + 1, np.int64)
        first[flat] = np.arange(flat.size)[::-1]  # of several, the last one stays
        self._labels.append(labels.ravel()[first[1:]].astype(np.int64))
        at = np.unravel_index(first[1:], parts.shape)
        place = np.ravel_multi_index(
            tuple(a + c for a, c in zip(at, corner, strict=True)), self._frame_shape
        )
        self._places.append(place + frame * math.prod(self._frame_shape))
        whole = parts.astype(np.int64) + self._count
        for axis, (one, n) in enumerate(zip(tile, self._frame_shape, strict=True)):
            before = self._faces.pop((axis, *corner), None)
            if before is not None:
                mine = np.take(labels, 0, axis)
                same = (mine == before[0]) & (mine != 0)
                pairs = np.stack([before[1][same], np.take(whole, 0, axis)[same]], 1)
                self._pairs.append(np.unique(pairs, axis=0))
            if one.stop < n:
                after = (*corner[:axis], one.stop, *corner[axis + 1 :])
                face = np.take(labels, -1, axis), np.take(whole, -1, axis)
                self._faces[axis, *after] = face
        self._count += count

    def join(self) -> None:
        """Number the pieces; all tiles are there.

        Raises
        ------
        ValueError
            If there are too many.
        """
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *self._pairs]) - 1
        graph = coo_array((np.ones(len(pairs), np.bool_), pairs.T), (self._count, self._count))
        count, piece = connected_components(graph, directed=False)
        if count > LARGEST:
            raise ValueError(
                f"There are {count:,} areas, and up to {LARGEST:,} can be numbered: hand over a "
                "part of the image at a time, or ask for classes"
            )
        sizes = np.zeros(count, np.int64)
        np.add.at(sizes, piece, np.concatenate([np.zeros(0, np.int64), *self._sizes]))
        places = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(places, piece, np.concatenate([np.zeros(0, np.int64), *self._places]))
        number = np.empty(count, np.int32)
        number[np.lexsort((places, -sizes))] = np.arange(1, count + 1, dtype=np.int32)
        self._number = number[piece]
        self.pixels, self.label_of = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
        self.pixels[number] = sizes
        self.label_of[self._number] = np.concatenate([np.zeros(0, np.int64), *self._labels])
        self._sizes, self._places, self._pairs, self._labels = [], [], [], []

    def of(self, frame: int, tile: Region, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the pieces of a tile, after `join`, from the labels that were added."""
        parts, count = _numbered(labels)
        first = self._first[frame, *(one.start for one in tile)]
        table = np.append(np.int32(0), self._number[first : first + count])
        return table[parts]


def _numbered(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Number the pieces in the order of their first pixels."""
    found, count = label(labels, background=0, connectivity=1, return_num=True)
    return found.astype(np.int32, copy=False), int(count)
