"""A small curve of the training loss."""

from __future__ import annotations

import math

from qtpy.QtCore import QPointF, QSize
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

_BLUE = "#4c8dff"  # seen on napari's light and dark background alike


class LossCurve(QWidget):
    """Draws the loss of each iteration, on a logarithmic scale if all are above 0."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._losses: list[float] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Loss of each iteration; it falls while the networks learn.")
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
        if math.isfinite(loss):
            self._losses.append(loss)
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
        losses = self._losses
        heights = [math.log(loss) for loss in losses] if min(losses) > 0 else losses
        low, high = min(heights), max(heights)
        across = box.width() / (len(heights) - 1)
        tall = box.height() / max(high - low, 1e-9)
        points = [
            QPointF(box.left() + i * across, box.bottom() - (height - low) * tall)
            for i, height in enumerate(heights)
        ]
        painter.setPen(QPen(QColor(_BLUE), 2))
        painter.drawPolyline(QPolygonF(points))
        painter.setPen(ink)
        painter.drawText(box, 0x22, f"loss {losses[-1]:.3g}")
