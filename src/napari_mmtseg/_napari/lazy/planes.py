"""Labels, and their uncertainty, of which only the planes are known that were looked at."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg._napari.process.view_server import ViewOrder, lazy_labels
from napari_mmtseg.methods.refined_method import output_of

_KEPT_BYTES = 2**28
_AHEAD = 3


class KnownPlanes:
    """An array-like that is 0 where nothing is known yet. Reading it computes nothing.

    Parameters
    ----------
    shape : tuple of int
        Of the labels, ending in that of a plane.
    dtype : dtype
        Of four bytes.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.int32) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = np.dtype(dtype)
        self.size = math.prod(shape)
        self.in_view: int | None = None
        """The plane that was read last."""
        self._room = max(2, _KEPT_BYTES // (4 * math.prod(shape[-2:])))
        self._known: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, plane: int, values: NDArray[Any]) -> None:
        """Take a plane; those read longest ago are dropped for it."""
        with self._lock:
            self._known[plane] = values
            if self.in_view is not None and self.in_view in self._known:
                self._known.move_to_end(self.in_view)
            while len(self._known) > self._room:
                self._known.popitem(last=False)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read by whole numbers and slices what is known."""
        spans, numbered, look = spans_of(key, self.shape)
        found = np.zeros([len(span) for span in spans], self.dtype)
        if look:
            self._look_at(self._index([span.start for span in spans[:-2]]))
        rows, columns = (slice(one.start, _stop(one), one.step) for one in spans[-2:])
        with self._lock:
            known = list(self._known.items())
        for plane, values in known:
            place = [int(i) for i in np.unravel_index(plane, self.shape[:-2])]
            pairs = list(zip(place, spans[:-2], strict=True))
            if all(i in span for i, span in pairs):
                target = tuple(span.index(i) for i, span in pairs)
                found[target] = self._shown(values[rows, columns])
        return found[tuple(0 if one else slice(None) for one in numbered)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def _index(self, place: list[int]) -> int:
        return int(np.ravel_multi_index(place, self.shape[:-2])) if place else 0

    def _look_at(self, plane: int) -> None:
        self.in_view = plane
        with self._lock:
            if plane in self._known:
                self._known.move_to_end(plane)

    def _shown(self, values: NDArray[Any]) -> NDArray[Any]:
        return values


class LazyPlanes(KnownPlanes):
    """Planes that are found where one looks.

    When a single plane is read that is not known, it is asked for; `put` brings it, and whoever
    shows it reads again.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.int32) -> None:
        super().__init__(shape, dtype)
        self.wanted: int | None = None
        """The plane that was asked for last and is not here yet."""
        self._ask: Callable[[int], None] | None = None
        self._count = math.prod(shape[:-2])
        self._strides = {math.prod(shape[axis + 1 : -2]) for axis in range(len(shape) - 2)}
        self._step = 0
        self._lacking: int | None = None
        self._drafts: set[int] = set()

    @property
    def data(self) -> LazyPlanes:
        """What a layer takes."""
        return self

    def show(self, plane: int, ask: Callable[[int], None]) -> None:
        """Begin to ask for planes that are not known.

        Parameters
        ----------
        plane : int
            The one in view.
        ask : callable
            Called with the index of a plane that is wanted; from any thread.
        """
        self.in_view, self._ask = plane, ask

    def shows(self, plane: int) -> bool:
        """Tell whether a plane is in view."""
        return plane == self.in_view

    def put(self, plane: int, values: NDArray[Any], *, draft: bool = False) -> None:
        """Take a plane, or what it looks like so far."""
        super().put(plane, values)
        if draft:
            self._drafts.add(plane)
            return
        self._drafts.discard(plane)
        if self.wanted == plane:
            self.wanted = None

    def knows(self, plane: int) -> bool:
        """Tell whether a plane is here, and is no draft."""
        return plane in self._known and plane not in self._drafts

    def lack(self, plane: int) -> None:
        """Note that a plane cannot be had; it is asked for when another was in view meanwhile."""
        if self.wanted == plane:
            self.wanted = None
        self._lacking = plane

    def ask_ahead(self) -> None:
        """Ask for the next plane in the direction of scrolling that is not known, if it is near."""
        if self.in_view is None or not self._step or self.wanted is not None:
            return
        for steps in range(1, min(_AHEAD, self._room - 1) + 1):
            plane = self.in_view + steps * self._step
            if not 0 <= plane < self._count:
                return
            if not self.knows(plane):
                self._request(plane)
                return

    def _look_at(self, plane: int) -> None:
        if plane != self.in_view:
            step = 0 if self.in_view is None else plane - self.in_view
            self._step = step if abs(step) in self._strides else 0  # a jump has no direction
            self._lacking = None
        super()._look_at(plane)
        if not self.knows(plane) and plane not in (self.wanted, self._lacking):
            self._request(plane)

    def _request(self, plane: int) -> None:
        if self._ask is not None:
            self.wanted = plane
            self._ask(plane)


class LazyResult:
    """What the labels of lazy results have in common: what they are found with, and their table."""

    shape: tuple[int, ...]

    def take_order(self, order: ViewOrder) -> None:
        """Begin with the model's own labels."""
        self.order = order
        self.of_clusters = output_of(order.model.method) == "classes"
        """Otherwise labels cannot be merged without finding them anew."""
        self.relabel(order.model.label_of())

    def relabel(self, label_of: NDArray[np.int64]) -> None:
        """Give each cluster another label."""
        self.label_of = label_of
        self._table = np.append(label_of, 0).astype(np.int32)  # the last one is for cluster -1

    def _shown(self, values: NDArray[Any]) -> NDArray[Any]:
        if not self.of_clusters:
            return values
        labels: NDArray[np.int32] = self._table[values]
        return labels


class LazyLabels(LazyResult, LazyPlanes):
    """Labels that are found where one looks; `put` takes what the process sends of a plane.

    Parameters
    ----------
    order : ViewOrder
        What the planes are found with.
    shape : tuple of int
        Of the labels.
    """

    def __init__(self, order: ViewOrder, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.take_order(order)

    def __reduce__(self) -> tuple[Any, ...]:
        """Arrive in another process as a dask array of all labels."""
        return lazy_labels, (self.order, self.label_of)


def spans_of(key: Any, shape: tuple[int, ...]) -> tuple[list[range], list[bool], bool]:
    """Return which indices of each axis are read, whether by a bare number, and if it is a look.

    A look is at one plane: of labels napari reads it by its number, of images as a slice of one.
    With no other axis, as in `data[0]`, it only asks for the type of the numbers.
    """
    look = isinstance(key, tuple) or key is Ellipsis
    keys = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, one in enumerate(keys) if one is Ellipsis), len(keys))
    keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + (at < len(keys)))
    spans, numbered = [], []
    for one, size in zip(keys, shape, strict=True):
        if isinstance(one, slice):
            spans.append(range(size)[one])
        else:
            index = range(size)[int(one)]
            spans.append(range(index, index + 1))
        numbered.append(not isinstance(one, slice))
    look = look and all(len(one) == 1 for one in spans[:-2]) and not any(numbered[-2:])
    return spans, numbered, look


def _stop(span: range) -> int | None:
    """Return the end of a range as a slice has it: below 0 means none."""
    return span.stop if span.stop >= 0 else None
