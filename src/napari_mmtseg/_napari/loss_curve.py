"""A small curve of the training loss."""

from __future__ import annotations

import math

from qtpy.QtCore import QPointF, QSize
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

_BLUE = "#4c8dff"  # seen on napari's light and dark background alike


class LossCurve(QWidget):
    """Draws the loss of each iteration on a logarithmic scale, in the theme's own colours."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._losses: list[float] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Loss of each iteration (logarithmic); it falls while the networks learn.")
        self.setAccessibleName("Loss curve")

    def sizeHint(self) -> QSize:
        """Return a low, wide size."""
        return QSize(200, 64)

    def clear(self) -> None:
        """Forget the curve."""
        self._losses.clear()
        self.update()

    def add(self, loss: float) -> None:
        """Add an iteration."""
        if math.isfinite(loss) and loss > 0:
            self._losses.append(math.log(loss))
            self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the curve, or say that there is none yet."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlpha(70)
        box = self.rect().adjusted(1, 6, -2, -6)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(box.bottomLeft(), box.bottomRight())
        if len(self._losses) < 2:
            painter.drawText(box, 0x84, "The loss curve appears here")
            return
        low, high = min(self._losses), max(self._losses)
        across = box.width() / (len(self._losses) - 1)
        tall = box.height() / max(high - low, 1e-9)
        points = [
            QPointF(box.left() + i * across, box.bottom() - (loss - low) * tall)
            for i, loss in enumerate(self._losses)
        ]
        painter.setPen(QPen(QColor(_BLUE), 2))
        painter.drawPolyline(QPolygonF(points))
        painter.setPen(ink)
        painter.drawText(box, 0x22, f"loss {math.exp(self._losses[-1]):.3g}")
