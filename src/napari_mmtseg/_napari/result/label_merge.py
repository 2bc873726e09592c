"""Merge the labels of a large result in a thread, a little at a time, for the window to go on."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_mmtseg._napari.process.label_numbers import counted
from napari_mmtseg._napari.result.label_counts import label_of_pieces
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.model import Labels
from napari_mmtseg.prediction.label_image import Segmentation, labelled

_SLAB = 2**17
"""Pixels looked up at once: what holds Python's lock takes a millisecond."""


class MergedLabels(NamedTuple):
    """The labels of a result, merged to another number."""

    whole: Segmentation
    data: Any
    """What was compared with the labels before."""
    untouched: bool
    """Whether it is the labels before."""
    labels: Labels
    present: NDArray[np.int64]
    pixels: NDArray[np.int64]
    """Of each label that is present."""
    label_of_piece: NDArray[np.int64] | None = None
    """If the labels are numbers of pieces."""


Table = NDArray[np.int64]
"""The label of each cluster."""


class LabelMerge(QObject):
    """Merges labels in a thread, by one table at a time."""

    made = Signal(object)
    """A `MergedLabels`, or the MemoryError that there was instead."""

    _ended = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.busy = False
        self._ended.connect(self._tell)

    def start(self, whole: Segmentation, data: Any, before: Table, after: Table) -> None:
        """Begin with `merged_labels`; only if it is not busy."""
        self.busy = True
        asked = (whole, data, before, after)
        threading.Thread(target=self._work, args=asked, daemon=True).start()

    def _work(self, whole: Segmentation, data: Any, before: Table, after: Table) -> None:
        made: MergedLabels | MemoryError
        try:
            made = merged_labels(whole, data, before, after)
        except MemoryError as error:
            made = error
        with contextlib.suppress(RuntimeError):  # the widget is gone
            self._ended.emit(made)

    def _tell(self, made: MergedLabels | MemoryError) -> None:
        self.busy = False
        self.made.emit(made)


def merged_labels(whole: Segmentation, data: Any, before: Table, after: Table) -> MergedLabels:
    """Give the clusters of a result other labels.

    Parameters
    ----------
    whole : Segmentation
    data : array-like
        A layer's labels, to be compared with those before.
    before, after : (K,) int arrays
        The label of each cluster before, and that wanted.
    """
    clusters = whole.clusters
    same = isinstance(data, np.ndarray) and data.shape == clusters.shape
    if output_of(whole.method) != "classes":  # pieces are not looked up
        made, shown = (
            labelled(clusters, table, whole.method, whole.frame_axes) for table in (after, before)
        )
        same = same and np.array_equal(data, shown)
        kinds = label_of_pieces(made, np.append(after, 0)[clusters])
        return MergedLabels(whole, data, same, made, *counted(made), kinds)
    tables = [
        np.append(table, 0).astype(np.int32)  # the last one is for cluster -1
        for table in (before, after)
    ]
    labels = np.empty(clusters.shape, np.int32)
    source, target = clusters.reshape(-1), labels.reshape(-1)
    shown = data.reshape(-1) if same else None
    sizes = np.zeros(len(tables[0]), np.int64)
    for start in range(0, len(source), _SLAB):
        here = slice(start, start + _SLAB)
        part = source[here]
        np.take(tables[1], part, out=target[here], mode="wrap")
        same = same and shown is not None and np.array_equal(shown[here], tables[0][part])
        sizes += np.roll(np.bincount(part.astype(np.int64) + 1, minlength=len(sizes)), -1)
    every, place = np.unique(tables[1], return_inverse=True)
    pixels = np.bincount(place, weights=sizes).astype(np.int64)
    occurs = pixels > 0
    present = every[occurs].astype(np.int64)
    return MergedLabels(whole, data, same, labels, present, pixels[occurs])
