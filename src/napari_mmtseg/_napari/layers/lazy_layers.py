"""Bring the planes in view of lazy results from the training process to their layers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.lazy.planes import LazyLabels, LazyPlanes, LazyResult
from napari_mmtseg._napari.lazy.tiles import LazyTiledLabels, LazyTiles
from napari_mmtseg._napari.process.messages import LazyTraining
from napari_mmtseg._napari.process.training_process import TrainingProcess
from napari_mmtseg._napari.process.view_places import Places
from napari_mmtseg._napari.process.view_server import (
    PlaceFailure,
    PlaceLabels,
    ViewEnd,
    ViewOrder,
    ViewRequest,
)

if TYPE_CHECKING:
    import napari

_NUMBERS = count()


class LazyLayers(QObject):
    """The layers whose labels are found where one looks, as long as they or the window last.

    Parameters
    ----------
    viewer : napari.Viewer
    process : TrainingProcess
        What finds them, until `outlive` is called.
    parent : QObject
    """

    _wanted = Signal(int, int)

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        process: TrainingProcess,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._alone = False
        self._results: dict[int, _LazyLayer] = {}
        self._told: set[int] = set()
        self._wanted.connect(self._ask)
        self._use(process)
        viewer.layers.events.removed.connect(self._removed)

    def layers(
        self,
        result: LazyTraining,
        order: ViewOrder,
        shape: tuple[int, ...],
        name: str,
        placed: dict[str, Any],
        metadata: dict[str, Any],
    ) -> tuple[Labels, LazyLabels | LazyTiledLabels, Image | None]:
        """Make the Labels layer of a result, and the uncertainty layer if it is wanted.

        Parameters
        ----------
        result : LazyTraining
        order : ViewOrder
            With any number.
        shape : sequence of int
            Of the labels.
        name, placed, metadata
            As for `layers.result_layers`.
        """
        cut = Places(shape).cut
        labels = self._labels(result, order, shape)
        opacity = napari_layers.OPACITY[napari_layers.shows(order.model.method)]
        layer = Labels(
            labels.data, multiscale=cut, name=name, metadata=metadata, opacity=opacity, **placed
        )
        layer.features = napari_layers.known_features(labels)
        layer.editable = False  # which napari takes back when it turns to 3D
        layer.events.editable.connect(lambda: setattr(layer, "editable", False))
        self._begin(result, layer, labels)
        uncertainty = None
        if result.uncertainty is not None:
            doubts = LazyTiles(shape, np.float32) if cut else LazyPlanes(shape, np.float32)
            uncertainty = napari_layers.uncertainty_layer(doubts.data, name, placed, metadata)
            self._show(labels.order.number, result, uncertainty, doubts, result.uncertainty)
        return layer, labels, uncertainty

    def renew(
        self, result: LazyTraining, order: ViewOrder, layer: Labels
    ) -> LazyLabels | LazyTiledLabels:
        """Show what was found anew in the layer of a lazy result; its uncertainty stays.

        Parameters
        ----------
        result : LazyTraining
        order : ViewOrder
            With any number.
        layer : napari Labels
        """
        before = napari_layers.data_of(layer)
        labels = self._labels(result._replace(uncertainty=None), order, before.shape)
        self._let_go(layer)
        self._begin(result, layer, labels)
        layer.data = labels.data
        layer.features = napari_layers.known_features(labels)
        return labels

    def _labels(
        self, result: LazyTraining, order: ViewOrder, shape: tuple[int, ...]
    ) -> LazyLabels | LazyTiledLabels:
        uncertain = result.uncertainty is not None
        order = order._replace(number=next(_NUMBERS), uncertain=uncertain, areas=result.areas)
        return LazyTiledLabels(order, shape) if Places(shape).cut else LazyLabels(order, shape)

    def _begin(
        self, result: LazyTraining, layer: Labels, labels: LazyLabels | LazyTiledLabels
    ) -> None:
        """Begin to bring labels to a layer."""
        self.setParent(_window_of(self))
        self._results[labels.order.number] = _LazyLayer(labels.order, [])
        self._show(labels.order.number, result, layer, labels, result.values)

    def _show(
        self,
        number: int,
        result: LazyTraining,
        layer: Labels | Image,
        planes: LazyPlanes | LazyTiles,
        values: NDArray[Any],
    ) -> None:
        self._results[number].shown.append((layer, planes))
        planes.put(result.place, values, draft=result.draft)
        planes.show(result.plane, partial(self._want, number))  # a new layer looks at plane 0

    def outlive(self) -> None:
        """Go on in a process of one's own; nothing more can be added.

        It starts when a plane is wanted, and ends with the last layer or with the window.
        """
        self._alone = True
        for signal, slot in self._listening:
            signal.disconnect(slot)
        if not self._results:
            self.deleteLater()
            return
        self._use(TrainingProcess(self))
        self._begin_anew()

    def _use(self, process: TrainingProcess) -> None:
        self._process = process
        self._listening = [
            (process.seen, self._take),
            (process.renewed, self._begin_anew),
            (process.ended, self._lose),
        ]
        for signal, slot in self._listening:
            signal.connect(slot)

    def _want(self, number: int, plane: int) -> None:
        """Ask for a plane; from any thread."""
        with contextlib.suppress(RuntimeError):  # the widget is gone
            self._wanted.emit(number, plane)

    def _ask(self, number: int, place: int) -> None:
        looked = self._results.get(number)
        if looked is None or looked.asked == place:  # for another layer
            return
        self._process.warm_up()
        if number not in self._told:
            self._process.ask(looked.order)
            self._told.add(number)
        looked.asked = place
        exact = any(isinstance(one, LazyTiles) and one.exact for _, one in looked.shown)
        self._process.ask(ViewRequest(number, place, exact))
        for _, planes in looked.shown:
            if planes.wanted != place:
                planes.wanted = None  # this look takes its place

    def _take(self, answer: PlaceLabels | PlaceFailure) -> None:
        looked = self._results.get(answer.number)
        if looked is None:
            return
        if isinstance(answer, PlaceLabels) and answer.draft:
            self._show_draft(answer, looked)
            return
        if looked.asked == answer.place:
            looked.asked = None
        if isinstance(answer, PlaceFailure):
            for _, planes in looked.shown:
                planes.lack(answer.place)
            if any(planes.shows(answer.place) for _, planes in looked.shown):
                show_error(answer.text)
            return
        for layer, planes in looked.shown:
            values = answer.values if isinstance(planes, LazyResult) else answer.uncertainty
            assert values is not None
            planes.put(answer.place, values)
            if planes.shows(answer.place):
                _read_anew(layer)
        for _, planes in looked.shown:
            if not self._process.busy and looked.asked is None:
                planes.ask_ahead()

    def _show_draft(self, answer: PlaceLabels, looked: _LazyLayer) -> None:
        for layer, planes in looked.shown:
            if isinstance(planes, LazyTiledLabels) and looked.asked == answer.place:
                looked.asked = None  # what it is exactly is asked for when all in view has a draft
            if isinstance(planes, LazyResult) and planes.shows(answer.place):
                planes.put(answer.place, answer.values, draft=True)
                _read_anew(layer)

    def _begin_anew(self) -> None:
        """Tell a new process what the one before was asked."""
        self._told.clear()
        for number, looked in self._results.items():
            looked.asked = None
            for _, planes in looked.shown:
                if planes.wanted is not None:
                    self._ask(number, planes.wanted)

    def _lose(self, why: str) -> None:
        """Ask no more for what a process has died of."""
        wanted = False
        for looked in self._results.values():
            looked.asked = None
            for _, planes in looked.shown:
                if planes.wanted is not None:
                    planes.lack(planes.wanted)
                    wanted = True
        if wanted and not self._process.busy:
            show_error(why)

    def _removed(self, event: Any) -> None:
        self._let_go(event.value)
        if self._alone and not self._results:
            self._process.discard()
            self.deleteLater()

    def _let_go(self, layer: Any) -> None:
        for number, looked in list(self._results.items()):
            looked.shown = [one for one in looked.shown if one[0] != layer]
            if not looked.shown:
                del self._results[number]
                if number in self._told:
                    self._told.remove(number)
                    self._process.ask(ViewEnd(number))


@dataclass
class _LazyLayer:
    """A result, and what shows it."""

    order: ViewOrder
    shown: list[tuple[Labels | Image, LazyPlanes | LazyTiles]]
    asked: int | None = None
    """The place that the process was asked for last and has not answered."""


def _read_anew(layer: Labels | Image) -> None:
    """Read what is in view again; napari (0.9) would keep the coarsest level of a plane."""
    if getattr(layer, "_level_materializer", None) is not None:
        layer._level_materializer = None
    layer.refresh(extent=False)


def _window_of(one: QObject) -> QObject | None:
    """Return the outermost thing that holds an object."""
    holder = one.parent()
    while holder is not None and holder.parent() is not None:
        holder = holder.parent()
    return holder
