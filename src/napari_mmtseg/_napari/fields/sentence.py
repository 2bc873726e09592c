"""A text that keeps as many lines as it needs, however little room there is."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

_BELOW_PX = 3
"""Room for what hangs below the last line."""


class Sentence(QWidget):
    """A label that wraps its words.

    A label alone lets its neighbours cut the last lines off, and has the window laid out and drawn
    anew at each text, the canvas too, though nothing else has changed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._label = QLabel(self)
        self._label.setWordWrap(True)
        self._label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def text(self) -> str:
        """Return what is shown."""
        return str(self._label.text())

    def setText(self, text: str) -> None:
        """Show a text."""
        self._label.setText(text)
        self._fit()

    def heightForWidth(self, width: int) -> int:
        """Return how high all lines are, of so many pixels."""
        return max(0, int(self._label.heightForWidth(width)) + _BELOW_PX)

    def sizeHint(self) -> QSize:
        """Ask for no more than is needed."""
        return QSize(self.minimumSize())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Take as many lines as the new width needs."""
        super().resizeEvent(event)
        self._label.resize(self.size())
        self._fit()

    def _fit(self) -> None:
        height = self.heightForWidth(self.width())
        self.setMinimumHeight(height)
        # The layout comes to it later, or not at all where it has had the room before.
        self._label.resize(self.width(), max(height, self.height()))
