"""The objects of a result: how wide they are, and which label they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QHideEvent, QKeyEvent
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.mouse import clicked_place, forget, listen
from napari_mmtseg.model import Model

if TYPE_CHECKING:
    import napari

_WRONG = "Wrong thing?"
_POINT = "Click on an object in the image…"


class ObjectsPanel(QWidget):
    """Asks for another diameter, or for a click on what is an object."""

    diameter_wanted = Signal(float)
    """Find the objects anew with this diameter in pixels, 0 to measure it."""
    object_wanted = Signal(object)
    """What objects are made of is at this place, in pixels along the labels' axes."""
    said = Signal(str)
    """Why a click is none, in one sentence."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._layer: Any = None
        self._pixel: tuple[float, str] | None = None
        self._measured = 0.0
        self.diameter = _Diameter()
        self.diameter.setRange(0, 10_000)
        self.diameter.setSuffix(" px")
        self.diameter.setAccessibleName("Diameter of an object")
        self.diameter.setToolTip(
            "How wide a typical object is. Another value and Enter part them anew, at once and "
            "without training: a larger one joins, a smaller one splits. 0 measures it."
        )
        self.diameter.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self._says = QLabel()
        self._says.setWordWrap(True)
        self.part_button = QPushButton("Part again")
        self.part_button.setToolTip(self.diameter.toolTip())
        self.point_button = QPushButton(_WRONG)
        self.point_button.setCheckable(True)
        self.point_button.setToolTip(
            "If the background was taken for objects, or others are meant: press, then click on "
            "one in the image. Nothing is trained."
        )
        row = QHBoxLayout()
        row.addWidget(QLabel("Diameter"))
        row.addWidget(self.diameter)
        row.addWidget(self._says, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.part_button)
        buttons.addWidget(self.point_button, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addLayout(buttons)
        self.diameter.entered.connect(self._ask)
        self.diameter.valueChanged.connect(self._explain)
        self.part_button.clicked.connect(self._ask)
        self.point_button.toggled.connect(self._point)

    def show_model(self, model: Model, layer: Any, pixel: tuple[float, str] | None) -> None:
        """Show how wide the objects of a result are.

        Parameters
        ----------
        model : Model
        layer : napari Labels
            Of the objects.
        pixel : (float, str), optional
            A pixel's width and its unit, if they are known.
        """
        self.point_button.setChecked(False)
        self._layer, self._pixel = layer, pixel
        self._measured = round(float(model.diameter[0]), 1)
        self.diameter.setValue(model.diameter_px)
        self._explain()

    def allow(self, able: bool) -> None:
        """Enable what can be asked for, or not."""
        for part in (self.part_button, self.diameter, self.point_button):
            part.setEnabled(able)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Wait for a click no longer."""
        self.point_button.setChecked(False)
        super().hideEvent(event)

    def _ask(self) -> None:
        self.diameter_wanted.emit(self.diameter.value())

    def _explain(self) -> None:
        value = self.diameter.value()
        if not value:
            self._says.setText("to be measured")
            return
        known = "measured" if round(value, 1) == self._measured else "chosen"
        if self._pixel is not None:
            width, unit = self._pixel
            known = f"{value * width:.3g} {unit}, {known}"
        self._says.setText(known)

    def _point(self, on: bool) -> None:
        self.point_button.setText(_POINT if on else _WRONG)
        if on:
            listen(self.viewer, self._take_click)
        else:
            forget(self.viewer, self._take_click)

    def _take_click(self, viewer: Any, event: Any) -> Any:
        yield from clicked_place(event, self._take_place)

    def _take_place(self, event: Any) -> None:
        layer = self._layer
        if len(event.dims_displayed) != 2:
            self.said.emit("A click in 3D has no depth: turn to 2D (Ctrl+Y) and click again.")
            return
        place = np.round(np.asarray(layer.world_to_data(event.position), float)).astype(int)
        if (place < 0).any() or (place >= napari_layers.data_of(layer).shape).any():
            self.said.emit("That is outside of the image: click on an object.")
            return
        self.point_button.setChecked(False)
        self.object_wanted.emit(tuple(int(one) for one in place))


class _Diameter(QDoubleSpinBox):
    """A number that says when it was entered with the Enter key."""

    entered = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setDecimals(1)
        self.setKeyboardTracking(False)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        super().keyPressEvent(event)
        if event is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            event.accept()
            self.entered.emit()
