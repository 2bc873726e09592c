"""Correct the objects of a label image: split, join, delete. The other objects' numbers stay."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt
from skimage.draw import line as straight
from skimage.measure import label

from napari_mmtseg.labels.object_numbers import free_numbers

_SPECK = 5
"""Pixels that a cut leaves behind beside the parts; they go to the nearest part."""


class Change(NamedTuple):
    """What a correction changes, and nothing else."""

    indices: tuple[NDArray[np.intp], ...]
    """One (N,) array an axis, as numpy indexes with them."""
    old: NDArray[Any]
    """(N,) numbers there before, of the labels' dtype."""
    new: NDArray[Any]
    """(N,) numbers there after."""

    def applied(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of the labels with the change."""
        changed = labels.copy()
        changed[self.indices] = self.new
        return changed

    def placed(self, place: Sequence[int | None]) -> Change:
        """Return the change of a larger array of which the labels were a part.

        Parameters
        ----------
        place : sequence of int or None
            For each axis of the larger array where the part lay, None for the part's own axes.
        """
        own = iter(self.indices)
        indices = tuple(
            next(own) if at is None else np.full(len(self.old), at, np.intp) for at in place
        )
        return self._replace(indices=indices)


def split(
    labels: NDArray[Any],
    number: int,
    line: ArrayLike,
    *,
    axes: tuple[int, int] = (-2, -1),
    among: NDArray[Any] | None = None,
) -> Change:
    """Split an object along a line.

    An end of the line that lies within the object is drawn on, straight, until it leaves it. In a
    volume the line cuts through all planes. The largest part keeps the number.

    Parameters
    ----------
    labels : (Y, X) or (Z, Y, X) integer array
    number : int
        The object's.
    line : (N, 2) array
        At least two points in pixels along `axes`, joined by straight pieces.
    axes : tuple of two ints
        The axes that the line was drawn in.
    among : integer array, optional
        Where new numbers must be free, by default the labels.

    Raises
    ------
    ValueError
        If there is no such object, the line does not cut it in two, or no number is free.
    """
    points = np.asarray(line, float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2 or not np.isfinite(points).all():
        raise ValueError(
            f"A line must be at least two points of two coordinates, got shape {points.shape}"
        )
    box = _box(labels, number)
    mask = labels[box] == number
    first, second = (axis % labels.ndim for axis in axes)
    corner = [box[first].start, box[second].start]
    shadow = mask.any(axis=tuple(i for i in range(mask.ndim) if i not in (first, second)))
    if first > second:
        shadow = shadow.T
    wall = _drawn(_drawn_on(points - corner, shadow), shadow.shape)
    if first > second:
        wall = wall.T
    rest = [i for i in range(mask.ndim) if i not in (first, second)]
    cut = mask & np.expand_dims(wall, tuple(rest))
    parts = _parts(mask, cut)
    if parts.max() < 2:
        raise ValueError(
            f"The line does not cut object {number} in two: draw it right across the object"
        )
    new = [number, *free_numbers(labels if among is None else among, int(parts.max()) - 1)]
    indices = np.nonzero(parts > 1)
    return _change(
        labels,
        tuple(one + span.start for one, span in zip(indices, box, strict=True)),
        np.asarray(new)[parts[indices] - 1],
    )


def join(labels: NDArray[Any], numbers: Sequence[int]) -> Change:
    """Join objects to one, under the number of the first.

    Raises
    ------
    ValueError
        If there are fewer than two, or one of them does not exist.
    """
    first, *others = list(dict.fromkeys(map(int, numbers))) or [0]
    if not others:
        raise ValueError(f"Joining needs two different objects, got {list(numbers)}: choose two")
    _check_there(labels, [first, *others])
    indices = np.nonzero(np.isin(labels, others))
    return _change(labels, indices, np.full(len(indices[0]), first))


def delete(labels: NDArray[Any], numbers: Sequence[int]) -> Change:
    """Turn objects into background.

    Raises
    ------
    ValueError
        If one of them does not exist.
    """
    _check_there(labels, numbers)
    indices = np.nonzero(np.isin(labels, list(numbers)))
    return _change(labels, indices, np.zeros(len(indices[0])))


def _change(labels: NDArray[Any], indices: tuple[Any, ...], new: NDArray[Any]) -> Change:
    return Change(indices, labels[indices], new.astype(labels.dtype))


def _check_there(labels: NDArray[Any], numbers: Sequence[int]) -> None:
    for number in numbers:
        if number == 0 or not (labels == number).any():
            raise _no_object(number)


def _no_object(number: int) -> ValueError:
    what = "0 is the background" if number == 0 else f"There is no object {number}"
    return ValueError(f"{what}: choose an object of these labels")


def _box(labels: NDArray[Any], number: int) -> tuple[slice, ...]:
    """Return the smallest box around an object."""
    mask = labels == number
    if number == 0 or not mask.any():
        raise _no_object(number)
    spans = []
    for axis in range(labels.ndim):
        others = tuple(i for i in range(labels.ndim) if i != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        spans.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(spans)


def _drawn_on(points: NDArray[np.float64], shadow: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Lengthen a line at both ends until it has left the object."""
    before = _beyond(points[0], points[0] - points[1], shadow)
    after = _beyond(points[-1], points[-1] - points[-2], shadow)
    return np.concatenate([before[None], points, after[None]])


def _beyond(
    end: NDArray[np.float64], direction: NDArray[np.float64], shadow: NDArray[np.bool_]
) -> NDArray[np.float64]:
    length = float(np.hypot(*direction))
    if length == 0:
        return end
    step = direction / length / 2
    while True:
        row, column = np.rint(end).astype(int)
        inside = 0 <= row < shadow.shape[0] and 0 <= column < shadow.shape[1]
        if not (inside and shadow[row, column]):
            return end
        end = end + step


def _drawn(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw a line whose pixels leave no gap between those of its two sides."""
    wall = np.zeros(shape, bool)
    corners = np.rint(points).astype(int)
    for start, end in pairwise(corners):
        rows, columns = straight(*start, *end)
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        wall[rows[inside], columns[inside]] = True
    return wall


def _parts(mask: NDArray[np.bool_], cut: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number what a cut makes of an object from 1, the largest first; 0 is outside of it.

    What the cut does not touch is part of the largest.
    """
    before = label(mask, connectivity=1)
    touched = np.isin(before, np.unique(before[cut])) & mask
    after = label(touched & ~cut, connectivity=1)
    sizes = np.bincount(after.ravel())
    sizes[0] = 0
    least = min(_SPECK, int(touched.sum()) // 10)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > least]
    number = np.zeros(len(sizes), np.int32)
    number[order] = np.arange(1, len(order) + 1)
    parts = number[after]
    # The cut itself and specks beside it go to the nearest part.
    if len(order):
        nearest = distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
        parts = np.where(touched, parts[tuple(nearest)], 0)
    whole: NDArray[np.int32] = np.where(mask & ~touched, 1, parts).astype(np.int32)
    return whole
