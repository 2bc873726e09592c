"""Count a result's labels in a thread, while the window goes on."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_mmtseg._napari.result.label_counts import (
    LARGEST_NUMBER,
    ClusterCounts,
    count,
    groups_in,
    label_of_pieces,
    sample_counts,
    table_counts,
)
from napari_mmtseg._napari.result.state import ResultState


class CountThread(QObject):
    """Counts in a thread, one thing after the other."""

    made = Signal(object, object)
    """What was asked for, and what came of it."""

    def ask(self, about: Any, work: Callable[[], Any]) -> None:
        """Do work in a thread; `made` tells of it with what it was about."""
        threading.Thread(target=self._do, args=(about, work), daemon=True).start()

    def _do(self, about: Any, work: Callable[[], Any]) -> None:
        made = None
        with contextlib.suppress(MemoryError, ValueError, TypeError, OSError):
            made = work()
        with contextlib.suppress(RuntimeError):  # the widget is gone
            self.made.emit(about, made)


def count_work(kept: ResultState, layer: Any) -> Callable[[], ClusterCounts] | None:
    """Return the work that counts a result; None if it cannot be counted."""
    result, data, kind = kept.result, layer.data, kept.kind
    if result.lazy is not None:
        if kind == "objects":
            if "pixels" not in layer.features:
                return None  # nobody has measured them
            size = math.prod(result.lazy.shape)
            return partial(table_counts, layer.features.copy(), size, groups_in(layer))
        return partial(sample_counts, result.lazy)
    if not isinstance(data, np.ndarray) or layer.multiscale:
        return None
    whole, origin = result.whole, result.origin
    voters = None if whole is None else whole.voters
    member = np.append(np.zeros(0, bool) if result.model is None else result.model.objects, 0) != 0
    table, groups = kept.shown.table(), groups_in(layer) if kind == "objects" else None

    def work() -> ClusterCounts:
        clusters, pieces = result.clusters, None
        if clusters is not None and kind == "areas":
            pieces = label_of_pieces(data, np.append(table, 0)[clusters])
        elif clusters is None:
            pieces = _present(data)
            if groups is not None:
                there = np.zeros(len(pieces), np.int64)
                there[: len(groups)] = groups[: len(pieces)]
                pieces = pieces * there
            clusters = pieces[np.minimum(data, len(pieces) - 1)] - 1
        agreeing = voters
        if voters is not None and clusters is not result.clusters:
            # Both agree on an object where both would find one.
            first, second = (np.where(member[one], clusters, -1) for one in voters)
            agreeing = first, second
        return count(clusters, len(table), origin.layers, origin.axes, agreeing, pieces)

    return work


def _present(data: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return 1 for each number that occurs, and 0 for the others and for 0."""
    most = int(data.max(initial=0))
    if most > LARGEST_NUMBER:
        raise ValueError(f"Numbers up to {most} are not counted")
    there = (np.bincount(np.maximum(data.reshape(-1), 0), minlength=1) > 0).astype(np.int64)
    there[0] = 0
    return there
