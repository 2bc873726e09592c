"""Bring the planes in view of lazy results from the training process to their layers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal

from napari_mmtseg._napari import layers as napari_layers
from napari_mmtseg._napari.lazy_labels import LazyLabels
from napari_mmtseg._napari.process import TrainingProcess
from napari_mmtseg._napari.serving import Forget, Look, Seen, Serve, Unseen
from napari_mmtseg._napari.worker import Lazily

if TYPE_CHECKING:
    import napari

_NUMBERS = count()


class LazyResults(QObject):
    """The layers whose labels are found where one looks."""

    _wanted = Signal(int, int)

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        process: TrainingProcess,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._process = process
        self._results: dict[int, tuple[Labels, LazyLabels]] = {}
        self._told: set[int] = set()
        self._wanted.connect(self._ask)
        process.seen.connect(self._take)
        process.renewed.connect(self._begin_anew)
        process.ended.connect(self._lose)
        viewer.layers.events.removed.connect(self._removed)

    def layer(
        self,
        result: Lazily,
        order: Serve,
        shape: Sequence[int],
        **placed: Any,
    ) -> tuple[Labels, LazyLabels]:
        """Make the Labels layer of a result.

        Parameters
        ----------
        result : Lazily
        order : Serve
            With any number.
        shape : sequence of int
            Of the labels.
        **placed
            As for a Labels layer.
        """
        number = next(_NUMBERS)
        order = order._replace(number=number)
        labels = LazyLabels(order, tuple(shape))
        labels.put(result.plane, result.clusters)
        layer = Labels(labels, features=napari_layers.sample_features(labels), **placed)
        layer.editable = False  # which napari takes back when it turns to 3D
        layer.events.editable.connect(lambda: setattr(layer, "editable", False))
        self._results[number] = (layer, labels)
        labels.show(result.plane, partial(self._want, number))  # a new layer looks at plane 0
        return layer, labels

    def _want(self, number: int, plane: int) -> None:
        """Ask for a plane; from any thread."""
        with contextlib.suppress(RuntimeError):  # the widget is gone
            self._wanted.emit(number, plane)

    def _ask(self, number: int, plane: int) -> None:
        known = self._results.get(number)
        if known is None:
            return
        self._process.warm_up()
        if number not in self._told:
            self._process.ask(known[1].order)
            self._told.add(number)
        self._process.ask(Look(number, plane))

    def _take(self, answer: Seen | Unseen) -> None:
        known = self._results.get(answer.number)
        if known is None:
            return
        layer, labels = known
        if isinstance(answer, Unseen):
            labels.lack(answer.plane)
            if answer.plane == labels.in_view:
                show_error(answer.text)
            return
        labels.put(answer.plane, answer.clusters)
        if answer.plane == labels.in_view:
            layer.refresh(extent=False)
        if not self._process.busy:
            labels.ask_ahead()

    def _begin_anew(self) -> None:
        """Tell a new process what the one before was asked."""
        self._told.clear()
        for number, (_, labels) in self._results.items():
            if labels.wanted is not None:
                self._ask(number, labels.wanted)

    def _lose(self, why: str) -> None:
        """Ask no more for what a process has died of."""
        wanted = [labels for _, labels in self._results.values() if labels.wanted is not None]
        for labels in wanted:
            labels.lack(labels.wanted or 0)
        if wanted and not self._process.busy:
            show_error(why)

    def _removed(self, event: Any) -> None:
        for number, (layer, _) in list(self._results.items()):
            if layer == event.value:
                del self._results[number]
                if number in self._told:
                    self._told.remove(number)
                    self._process.ask(Forget(number))
