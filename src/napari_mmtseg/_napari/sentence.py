"""A text that keeps as many lines as it needs, however little room there is."""

from __future__ import annotations

from qtpy.QtCore import QSize
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget


class Sentence(QWidget):
    """A label that wraps its words.

    A label alone lets its neighbours cut the last lines off, and has the window laid out and drawn
    anew at each text, the canvas too, though nothing else has changed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._label = QLabel(self)
        self._label.setWordWrap(True)
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
        return max(0, int(self._label.heightForWidth(width)))

    def sizeHint(self) -> QSize:
        """Ask for no more than is needed."""
        return QSize(self.minimumSize())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Take as many lines as the new width needs."""
        super().resizeEvent(event)
        self._label.resize(self.size())
        self._fit()

    def _fit(self) -> None:
        self.setMinimumHeight(self.heightForWidth(self.width()))
