"""The Correct objects widget: split, join, delete, add, and sift by size; all with undo."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import (
    QGridLayout,
    QGroupBox,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg._napari.fields.objects_choice import ObjectsChoice
from napari_mmtseg._napari.fields.size_sliders import SizeSliders
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.mouse import clicked_value, forget, listen
from napari_mmtseg._napari.widgets.cut_line import CutLine, object_under
from napari_mmtseg._napari.widgets.size_sifter import SizeSifter
from napari_mmtseg.labels.corrections import Change, delete, join, split
from napari_mmtseg.labels.object_numbers import free_numbers
from napari_mmtseg.system import memory
from napari_mmtseg.system.error_text import error_text

if TYPE_CHECKING:
    import napari

_PLACED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_HINTS = {
    "split": "Drag a line across an object, from outside to outside.",
    "join": "Click the object whose number is to stay, then those that belong to it.",
    "delete": "Click the objects to delete.",
}


class CorrectWidget(QWidget):
    """Correct the objects of a Labels layer; every step is undone with Ctrl+Z."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self._links = ExitStack()
        self._layer: Any = None
        self.line = CutLine(self.viewer)
        self._first: int | None = None
        self.picker = ObjectsChoice(self.viewer)
        self.tools = {
            "split": _tool("Split", "Cut an object in two: drag a line across it."),
            "join": _tool("Join", "Make one of several objects: click them in turn."),
            "delete": _tool("Delete", "Turn objects into background: click them."),
        }
        self.new_button = QPushButton("New object")
        self.new_button.setToolTip("Paint an object with napari's brush, under a free number.")
        self.undo_button = QPushButton("Undo")
        self.undo_button.setToolTip("Take back the last step, as Ctrl+Z does in the view.")
        self.redo_button = QPushButton("Redo")
        self.copy_button = QPushButton("Correct a copy")
        self.copy_button.setToolTip(
            "Loads the labels into a new layer, which can be written to; these stay as they are."
        )
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.sliders = SizeSliders()
        self.sifting = SizeSifter(self.sliders, self)
        buttons = QGridLayout()
        every = (*self.tools.values(), self.new_button, self.undo_button, self.redo_button)
        for i, button in enumerate(every):
            buttons.addWidget(button, *divmod(i, 3))
        sizes = QGroupBox("Keep diameters")
        QVBoxLayout(sizes).addWidget(self.sliders)
        column = QVBoxLayout(self)
        column.addWidget(self.picker)
        column.addLayout(buttons)
        for part in (self.copy_button, self.status, sizes):
            column.addWidget(part)
        column.addStretch(1)
        self.setMinimumWidth(380)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        for name, button in self.tools.items():
            button.clicked.connect(lambda on, name=name: self.use(name if on else None))
        self.new_button.clicked.connect(self.start_new)
        self.undo_button.clicked.connect(self.undo)
        self.redo_button.clicked.connect(self.redo)
        self.copy_button.clicked.connect(self.correct_copy)
        self.sifting.said.connect(self.status.setText)
        self.picker.changed.connect(self._take_layer)
        self.destroyed.connect(self._links.close)
        self._take_layer()

    def problem(self) -> str:
        """Say why nothing can be corrected, or return an empty string."""
        problem = self.picker.problem()
        if problem:
            return problem
        layer = self.picker.layer
        if self._is_fixed(layer):
            return f"{layer.name} cannot be written to: press Correct a copy."
        return ""

    def correct_copy(self) -> None:
        """Add a copy of the layer chosen that is in memory, and turn to it."""
        layer = self.picker.layer
        if layer is None:
            return
        data = napari_layers.data_of(layer)
        try:
            size = math.prod(data.shape) * data.dtype.itemsize
            memory.require(2 * size, f"A copy of {layer.name}")
            copied = np.array(data)
        except MemoryError as error:
            self.status.setText(error_text(error))
            return
        placed = {name: getattr(layer, name) for name in _PLACED}
        copy = self.viewer.add_labels(copied, name=f"{layer.name} corrected", **placed)
        layer.visible = False
        self.picker.labels.choose(copy)

    @staticmethod
    def _is_fixed(layer: Any) -> bool:
        """Tell whether a layer's labels cannot be changed where they are."""
        data = napari_layers.data_of(layer)
        if layer.multiscale or not isinstance(data, np.ndarray):
            return True
        return not data.flags.writeable

    def use(self, tool: str | None) -> None:
        """Take a tool in hand ("split", "join", "delete"), or none."""
        if tool is not None and self.problem():
            self.status.setText(self.problem())
            tool = None
        self._put_down()
        if tool is None:
            return
        layer = self._layer
        self.viewer.layers.selection.active = layer
        layer.mode = "pan_zoom"
        self.tools[tool].setChecked(True)
        self.status.setText(_HINTS[tool])
        react = {"split": self._drag, "join": self._join, "delete": self._delete}[tool]
        callback = _callback(react)
        listen(layer, callback)
        self._links.callback(forget, layer, callback)
        active = self.viewer.layers.selection.events.active
        for event, react_too in ((layer.events.mode, self._put_down), (active, self._leave)):
            event.connect(react_too)
            self._links.callback(event.disconnect, react_too)
        if tool == "split":
            layer.mouse_pan = False
            self._links.callback(_let_pan, layer)

    def start_new(self) -> None:
        """Take napari's brush and a number that is free."""
        self.use(None)
        if self.problem():
            self.status.setText(self.problem())
            return
        layer = self._layer
        try:
            layer.selected_label = free_numbers(napari_layers.data_of(layer))[0]
        except ValueError as error:
            self.status.setText(f"{error}.")
            return
        self.viewer.layers.selection.active = layer
        layer.mode = "paint"
        self.status.setText(f"Paint object {layer.selected_label}.")

    def split(self, number: int, line: Any, axes: tuple[int, int], place: list[int | None]) -> None:
        """Split an object of a frame; see `corrections.split` and `Change.placed`."""
        whole, frame = self._frame(place)
        self._correct(lambda: split(frame, number, line, axes=axes, among=whole), place, "split")

    def undo(self) -> None:
        """Take back the last step."""
        self.sifting.settle()
        if self._layer is not None:
            self._layer.undo()
        self.sifting.look()

    def redo(self) -> None:
        """Do again what was taken back."""
        self.sifting.settle()
        if self._layer is not None:
            self._layer.redo()
        self.sifting.look()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Put the tool down: a window that is closed must not delete at a click."""
        self.use(None)
        self.sifting.settle()
        super().hideEvent(event)

    def _frame(self, place: list[int | None]) -> tuple[Any, Any]:
        whole = napari_layers.data_of(self._layer)
        return whole, whole[tuple(slice(None) if at is None else at for at in place)]

    def _correct(self, make: Callable[[], Change], place: list[int | None], done: str) -> None:
        self.sifting.settle()
        try:
            change = make().placed(place)
        except ValueError as error:
            self.status.setText(f"{error}.")
            return
        self._layer.data_setitem(change.indices, change.new)
        self.sifting.look()
        numbers = sorted({*change.old.tolist(), *change.new.tolist()} - {0})
        self.status.setText(f"{', '.join(map(str, numbers))}: {done}. Ctrl+Z takes it back.")

    def _place(self, event: Any) -> list[int | None]:
        """Return the frame of an event: its point in time, and None for the axes of the frame."""
        layer, axes = self._layer, self.picker.label_axes
        at = layer.world_to_data(event.position)
        sizes = napari_layers.data_of(layer).shape
        return [
            int(np.clip(round(at[i]), 0, sizes[i] - 1)) if axis in "TC" else None
            for i, axis in enumerate(axes)
        ]

    def _delete(self, layer: Any, event: Any) -> Iterator[None]:
        place = self._place(event)

        def act(number: int) -> None:
            frame = self._frame(place)[1]
            self._correct(lambda: delete(frame, [number]), place, "deleted")

        yield from clicked_value(layer, event, act)

    def _join(self, layer: Any, event: Any) -> Iterator[None]:
        place = self._place(event)

        def act(number: int) -> None:
            frame = self._frame(place)[1]
            if self._first is None or not (frame == self._first).any():
                self._first = number
                self.status.setText(f"Click the objects that belong to {number}.")
            elif number != self._first:
                first = self._first
                self._correct(lambda: join(frame, [first, number]), place, "joined")

        yield from clicked_value(layer, event, act)

    def _drag(self, layer: Any, event: Any) -> Iterator[None]:
        """Draw a line while the mouse is dragged, and cut along it."""
        if event.button != 1:
            return
        first = self.viewer.dims.ndim - layer.ndim
        shown = tuple(axis - first for axis in event.dims_displayed)
        place = self._place(event)
        if len(shown) != 2 or any(place[axis] is not None for axis in shown):
            self.status.setText("A line is drawn in a plane: turn the 3D view off to split.")
            return
        points = [np.asarray(layer.world_to_data(event.position))]
        yield
        while event.type == "mouse_move":
            point = np.asarray(layer.world_to_data(event.position))
            if np.abs(point - points[-1]).max() >= 1:
                points.append(point)
                self.line.show(self._layer, points)
            yield
        self.line.hide()
        if len(points) > 1:
            self._cut(np.array(points), shown, place)

    def _cut(self, points: Any, shown: tuple[int, ...], place: list[int | None]) -> None:
        """Cut the object that the line covers most of, in the plane in view."""
        whole, _ = self._frame(place)
        number = object_under(whole, points)
        if not number:
            self.status.setText("The line crosses no object: drag it right across one.")
            return
        own = [axis for axis in range(whole.ndim) if place[axis] is None]
        axes = (own.index(shown[0]), own.index(shown[1]))
        self.split(number, points[:, shown], axes, place)

    def _leave(self) -> None:
        """Put the tool down when another layer gets the clicks, but for the line itself."""
        active = self.viewer.layers.selection.active
        if active is not None and active != self._layer and not isinstance(active, Shapes):
            self._put_down()

    def _put_down(self) -> None:
        self._links.close()
        self.line.hide()
        self._first = None
        for button in self.tools.values():
            button.setChecked(False)

    def _take_layer(self) -> None:
        """Turn to the layer that is chosen."""
        problem = self.problem()
        layer = None if problem else self.picker.layer
        if layer != self._layer:
            self._put_down()
            self.sifting.settle()
        if problem or layer != self._layer:
            self.status.setText(problem)
        for button in (*self.tools.values(), self.new_button, self.undo_button, self.redo_button):
            button.setEnabled(not problem)
        fixed = not self.picker.problem() and self._is_fixed(self.picker.layer)
        self.copy_button.setVisible(fixed)
        self._layer = layer
        self.sifting.follow(layer, self.picker)


def _tool(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    button.setCheckable(True)
    return button


def _callback(react: Callable[[Any, Any], Iterator[None]]) -> Callable[[Any, Any], Iterator[None]]:
    def on_press(layer: Any, event: Any) -> Iterator[None]:
        yield from react(layer, event)

    return on_press


def _let_pan(layer: Any) -> None:
    layer.mouse_pan = str(layer.mode) == "pan_zoom"
