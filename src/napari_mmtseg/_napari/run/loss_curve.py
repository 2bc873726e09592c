"""A small curve of the training loss."""

from __future__ import annotations

import math
from collections.abc import Iterable

from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

_BLUE = "#4c8dff"  # seen on napari's light and dark background alike
_CAPTION = 18  # pixels


class LossCurve(QWidget):
    """Draws the loss of each iteration, on a logarithmic scale if all are above 0.

    It is hidden until there are two: methods that learn in one go have none.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._losses: list[float] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Loss of each iteration; it falls while the networks learn.")
        self.setAccessibleName("Loss curve")
        self.hide()

    def sizeHint(self) -> QSize:
        """Return a low, wide size."""
        return QSize(200, 72)

    def clear(self) -> None:
        """Forget the curve."""
        self._losses.clear()
        self.hide()

    def add(self, losses: Iterable[float]) -> None:
        """Add iterations."""
        more = [loss for loss in losses if math.isfinite(loss)]
        if more:
            self._losses += more
            self.setVisible(len(self._losses) > 1)
            self.update()

    @property
    def caption(self) -> str:
        """What the curve shows, with its first and last value."""
        if not self._losses:
            return ""
        scale = ", logarithmic" if self._logarithmic else ""
        first, last = self._losses[0], self._losses[-1]
        return f"Training loss by iteration{scale}: {first:.3g} to {last:.3g}"

    @property
    def _logarithmic(self) -> bool:
        return min(self._losses) > 0

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the curve under its caption."""
        if len(self._losses) < 2:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlpha(70)
        box = self.rect().adjusted(1, _CAPTION + 2, -2, -4)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(box.bottomLeft(), box.bottomRight())
        losses = self._losses
        heights = [math.log(loss) for loss in losses] if self._logarithmic else losses
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
        above = self.rect().adjusted(1, 0, -2, _CAPTION - self.height())
        painter.drawText(
            above, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self.caption
        )
