"""Two sliders for the smallest and the largest diameter, with the histogram of diameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QSlider, QWidget

_BLUE = "#4c8dff"  # seen on napari's light and dark background alike
_BARS = 40
_STEPS = 400


class SizeSliders(QWidget):
    """Lets the user choose a range of diameters."""

    moved = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._top = 1.0
        self._unit = ""
        self._histogram = _Histogram()
        self.smallest = self._slider("Smallest diameter")
        self.largest = self._slider("Largest diameter")
        self._texts = (QLabel(), QLabel())
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self._histogram, 0, 1)
        rows = zip(("Smallest", "Largest"), (self.smallest, self.largest), self._texts, strict=True)
        for row, (name, slider, text) in enumerate(rows, 1):
            text.setMinimumWidth(72)
            grid.addWidget(QLabel(name), row, 0)
            grid.addWidget(slider, row, 1)
            grid.addWidget(text, row, 2)
        self.smallest.valueChanged.connect(self._push_largest)
        self.largest.valueChanged.connect(self._push_smallest)
        self.show_diameters(np.zeros(0), "")

    def range(self) -> tuple[float, float]:
        """Return the smallest and the largest diameter wanted; at an end there is no limit."""
        low, high = self.smallest.value(), self.largest.value()
        smallest = self._top * low / _STEPS if low else 0.0
        return smallest, self._top * high / _STEPS if high < _STEPS else np.inf

    def show_diameters(self, diameters: NDArray[Any], unit: str) -> None:
        """Show the histogram, the sliders staying where they are as far as they can."""
        low, high = self.range()
        self._top = float(diameters.max()) * 1.0001 if len(diameters) else 1.0
        self._unit = unit
        self._histogram.counts = np.histogram(diameters, _BARS, (0, self._top))[0]
        self.setEnabled(len(diameters) > 0)
        self.set_range(low, high)

    def set_range(self, smallest: float, largest: float) -> None:
        """Move the sliders without telling anyone."""
        for slider, value in ((self.smallest, smallest), (self.largest, largest)):
            slider.blockSignals(True)
            slider.setValue(round(_STEPS * min(1.0, value / self._top)))
            slider.blockSignals(False)
        self._show()

    def _slider(self, name: str) -> QSlider:
        slider = QSlider(Qt.Orientation.Horizontal)
        slider.setRange(0, _STEPS)
        slider.setAccessibleName(name)
        slider.setToolTip(
            f"{name} of the objects that are kept. The others go, and come back when the slider "
            "does."
        )
        return slider

    def _push_largest(self, value: int) -> None:
        self._push(self.largest, max(value, self.largest.value()))

    def _push_smallest(self, value: int) -> None:
        self._push(self.smallest, min(value, self.smallest.value()))

    def _push(self, slider: QSlider, value: int) -> None:
        slider.blockSignals(True)
        slider.setValue(value)
        slider.blockSignals(False)
        self._show()
        self.moved.emit()

    def _show(self) -> None:
        low, high = self.range()
        self._histogram.kept = (self.smallest.value() / _STEPS, self.largest.value() / _STEPS)
        self._histogram.update()
        texts = (
            f"{low:.3g} {self._unit}" if low else "any",
            f"{high:.3g} {self._unit}" if np.isfinite(high) else "any",
        )
        for label, text in zip(self._texts, texts, strict=True):
            label.setText(text)


class _Histogram(QWidget):
    """Bars over the sliders' whole range, those within it in colour."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.counts: NDArray[Any] = np.zeros(_BARS, int)
        self.kept = (0.0, 1.0)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("How many objects have which diameter; blue ones are kept.")
        self.setAccessibleName("Histogram of diameters")

    def sizeHint(self) -> QSize:
        """Return a low, wide size."""
        return QSize(200, 64)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the bars."""
        painter = QPainter(self)
        faint = QColor(self.palette().color(QPalette.ColorRole.WindowText))
        faint.setAlpha(70)
        box = QRectF(self.rect()).adjusted(6, 4, -6, -1)  # a slider's handle is so wide
        painter.fillRect(QRectF(box.left(), box.bottom(), box.width(), 1), faint)
        wide, tallest = box.width() / _BARS, max(1, int(self.counts.max()))
        for i, count in enumerate(self.counts.tolist()):
            middle = (i + 0.5) / _BARS
            colour = QColor(_BLUE) if self.kept[0] <= middle <= self.kept[1] else faint
            tall = box.height() * count / tallest
            painter.fillRect(
                QRectF(box.left() + i * wide, box.bottom() - tall, wide - 1, tall), colour
            )
