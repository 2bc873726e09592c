"""Take objects out of a label image by their size, so that they can come back."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from napari_mmtseg.labels.corrections import Change
from napari_mmtseg.labels.object_numbers import check_numbers, coded


class _Object(NamedTuple):
    number: int
    size: int  # pixels
    place: tuple[int, ...]
    """Index of its frame along the axes that are not a frame's."""
    box: tuple[slice, ...]


class SizeFilter:
    """Knows the size of each object, and where those are that it has taken out.

    Parameters
    ----------
    labels : integer array
        Left as it is; `change` says what to write into it.
    frame_axes : tuple of int
        The axes of a plane or of a volume. An object is one number in one frame.

    Raises
    ------
    ValueError
        If a number is below 0 or above 2^31 - 1.
    """

    def __init__(self, labels: NDArray[Any], frame_axes: tuple[int, ...] = (-2, -1)) -> None:
        self._labels = labels
        self._frame_axes = tuple(axis % labels.ndim for axis in frame_axes)
        self._there: list[_Object] = []
        self._out: list[tuple[int, tuple[NDArray[np.intp], ...]]] = []
        self.look()

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Pixels of each object, those that are out included."""
        out = [len(indices[0]) for _, indices in self._out]
        return np.array([one.size for one in self._there] + out, np.int64)

    @property
    def n_out(self) -> int:
        """Number of objects that are out."""
        return len(self._out)

    def came_back(self) -> bool:
        """Tell whether an object that is out has pixels in the labels again."""
        return any((self._labels[at] == number).any() for number, at in self._out)

    def limits(self) -> tuple[float, float]:
        """Return the sizes of the smallest and the largest object that is there.

        Where none that is out is smaller, or larger, that is 0, or infinite.
        """
        there = [one.size for one in self._there]
        out = [len(at[0]) for _, at in self._out]
        if not there or not out:
            return 0.0, math.inf
        low, high = min(there), max(there)
        return (
            float(low) if min(out) < low else 0.0,
            float(high) if max(out) > high else math.inf,
        )

    def look(self) -> None:
        """Look at the labels anew, after anyone else has changed them.

        An object that is out and of which some is there again counts as there: an undo has
        brought it back.
        """
        check_numbers(self._labels)
        self._there = []
        last = tuple(range(-len(self._frame_axes), 0))
        frames = np.moveaxis(self._labels, self._frame_axes, last)
        for place in np.ndindex(frames.shape[: -len(last)]):
            ids, objects = coded(frames[place])
            sizes = np.bincount(objects.ravel(), minlength=len(ids) + 1)[1:]
            boxes = find_objects(objects)
            for number, size, box in zip(ids.tolist(), sizes.tolist(), boxes, strict=True):
                self._there.append(_Object(number, size, place, box))
        self._out = [(n, at) for n, at in self._out if not (self._labels[at] == n).any()]

    def change(self, smallest: float, largest: float) -> Change:
        """Return what to write into the labels so that objects of these sizes are there.

        Parameters
        ----------
        smallest, largest : float
            In pixels, both included.

        Returns
        -------
        Change
            It must be applied, with whatever means, before the filter is asked again.
        """
        back = [one for one in self._out if smallest <= len(one[1][0]) <= largest]
        out = [one for one in self._there if not smallest <= one.size <= largest]
        indices, new = [], []
        for number, at in back:
            free = self._labels[at] == 0  # elsewhere something was painted meanwhile
            indices.append(tuple(axis[free] for axis in at))
            new.append(np.full(int(free.sum()), number))
            self._there.append(self._found(number, at))
        self._out = [one for one in self._out if not smallest <= len(one[1][0]) <= largest]
        for one in out:
            at = self._pixels(one)
            if not len(at[0]):
                continue  # gone since the last look
            self._out.append((one.number, at))
            indices.append(at)
            new.append(np.zeros(len(at[0]), int))
        gone = set(map(id, out))
        self._there = [one for one in self._there if id(one) not in gone]
        if not indices:
            nothing = (np.zeros(0, np.intp),) * self._labels.ndim
            return Change(nothing, self._labels[nothing], self._labels[nothing])
        together = tuple(np.concatenate(axis) for axis in zip(*indices, strict=True))
        values = np.concatenate(new).astype(self._labels.dtype)
        return Change(together, self._labels[together], values)

    def _pixels(self, one: _Object) -> tuple[NDArray[np.intp], ...]:
        """Find an object's pixels in the labels' own axes."""
        key: list[Any] = [None] * self._labels.ndim
        for axis, span in zip(self._frame_axes, one.box, strict=True):
            key[axis] = span
        others = [axis for axis in range(self._labels.ndim) if axis not in self._frame_axes]
        for axis, at in zip(others, one.place, strict=True):
            key[axis] = slice(at, at + 1)
        found = np.nonzero(self._labels[tuple(key)] == one.number)
        return tuple(index + span.start for index, span in zip(found, key, strict=True))

    def _found(self, number: int, at: tuple[NDArray[np.intp], ...]) -> _Object:
        box = tuple(slice(int(at[a].min()), int(at[a].max()) + 1) for a in self._frame_axes)
        others = [axis for axis in range(self._labels.ndim) if axis not in self._frame_axes]
        place = tuple(int(at[axis][0]) for axis in others)
        return _Object(number, len(at[0]), place, box)
