"""Sift the objects of a layer by size while sliders move; one drag is one step to undo."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
from napari.qt.threading import thread_worker
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_mmtseg._napari.fields.objects_choice import ObjectsChoice
from napari_mmtseg._napari.fields.size_sliders import SizeSliders
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg.labels.corrections import Change
from napari_mmtseg.labels.size_filter import SizeFilter

_REST_MS = 400


class _Counted(NamedTuple):
    data: NDArray[Any]
    sizes: SizeFilter | None
    problem: str = ""


class SizeSifter(QObject):
    """Connects a layer, its `SizeFilter` and the sliders."""

    said = Signal(str)

    def __init__(self, sliders: SizeSliders, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._sliders = sliders
        self._layer: Any = None
        self._key: Any = None
        self._filter: SizeFilter | None = None
        self._counting: Any = None
        self._pixel = 1.0
        self._n_axes = 2
        self._unit = "px"
        self._moves: list[Change] = []
        self._busy = False
        self._drawn_anew = False
        self._links = ExitStack()
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self.settle)
        self._looking = QTimer(self)
        self._looking.setSingleShot(True)
        self._looking.setInterval(_REST_MS)
        self._looking.timeout.connect(self.look)
        sliders.moved.connect(self._sift)
        for slider in (sliders.smallest, sliders.largest):
            slider.sliderReleased.connect(self.settle)
        self.destroyed.connect(self._links.close)

    @property
    def ready(self) -> bool:
        """Whether the sizes are known."""
        return self._filter is not None

    def follow(self, layer: Any, picker: ObjectsChoice) -> None:
        """Turn to a layer and count its objects' sizes in a thread, or to none."""
        axes = picker.label_axes if layer is not None else ""
        data = None if layer is None else napari_layers.data_of(layer)
        if layer is not None:
            sizes, self._unit = picker.size()
            self._n_axes = len(picker.frame_axes)
            self._pixel = math.prod(sizes or (1.0,))
        key = (layer, axes, id(data))
        if key == self._key:
            if self._filter is not None:
                self._show()
            return
        self._links.close()
        self._rest.stop()
        self._moves = []  # of data that the layer has no more
        self._key, self._layer, self._filter = key, layer, None
        self._sliders.show_diameters(np.zeros(0), "")
        self._sliders.set_range(0, math.inf)
        if layer is None:
            return
        for event, react in (
            (layer.events.paint, self._note_edit),
            (layer.events.set_data, self._note_undo),
        ):
            event.connect(react)
            self._links.callback(event.disconnect, react)
        frame = tuple(axes.index(one) for one in picker.frame_axes)
        self._counting = data
        worker = thread_worker(_count)(data, frame)
        worker.returned.connect(self._take)
        worker.start()

    def look(self) -> None:
        """Count anew after someone else has changed the labels."""
        if self._filter is None or self._moves:
            return
        out = self._filter.n_out
        self._filter.look()
        if self._filter.n_out < out:  # an undo has brought objects back
            self._sliders.set_range(*map(self._diameter, self._filter.limits()))
        self._show()

    def settle(self) -> None:
        """Make one step of the history of all moves since the last one."""
        self._rest.stop()
        moves, self._moves = self._moves, []
        if not moves or self._layer is None:
            return
        data = napari_layers.data_of(self._layer)
        self._busy = True
        for change in reversed(moves):
            data[change.indices] = change.old
        with self._layer.block_history():
            for change in moves:
                self._layer.data_setitem(change.indices, change.new, refresh=False)
        self._layer.refresh(extent=False)
        self._busy = False

    def _sift(self) -> None:
        if self._filter is None:
            return
        if self._drawn_anew and not self._moves:  # perhaps by an undo, which tells nobody
            self._drawn_anew = False
            self._looking.stop()
            self._filter.look()
        smallest, largest = (self._pixels(one) for one in self._sliders.range())
        change = self._filter.change(smallest, largest)
        self._say()
        self._rest.start()
        if not len(change.new):
            return
        self._moves.append(change)
        self._busy = True
        napari_layers.data_of(self._layer)[change.indices] = change.new
        self._layer.refresh(extent=False)
        self._busy = False

    def _take(self, found: _Counted) -> None:
        if found.data is not self._counting:
            return  # of a layer that is chosen no more
        self._filter = found.sizes
        if found.sizes is None:
            self.said.emit(f"{found.problem}.")
        else:
            self._show()

    def _show(self) -> None:
        assert self._filter is not None
        diameters = np.array([self._diameter(one) for one in self._filter.sizes.tolist()])
        self._sliders.show_diameters(diameters, self._unit)

    def _say(self) -> None:
        assert self._filter is not None
        every, out = len(self._filter.sizes), self._filter.n_out
        self.said.emit(f"{every - out} of {every} objects kept. Ctrl+Z takes it back.")

    def _note_edit(self) -> None:
        if not self._busy:
            self._looking.start()

    def _note_undo(self) -> None:
        """Move the sliders back if the layer was drawn anew because objects came back."""
        sizes = self._filter
        if self._busy or self._moves or sizes is None:
            return
        self._drawn_anew = True
        if sizes.came_back():
            self._looking.start()

    def _diameter(self, pixels: float) -> float:
        return float((2 * self._n_axes * pixels * self._pixel / math.pi) ** (1 / self._n_axes))

    def _pixels(self, diameter: float) -> float:
        return diameter**self._n_axes * math.pi / (2 * self._n_axes * self._pixel)


def _count(data: NDArray[Any], frame: tuple[int, ...]) -> _Counted:
    try:
        return _Counted(data, SizeFilter(data, frame))
    except ValueError as error:
        return _Counted(data, None, str(error))
