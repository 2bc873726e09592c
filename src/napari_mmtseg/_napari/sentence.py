"""A text that keeps as many lines as it needs, however little room there is."""

from __future__ import annotations

from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel


class Sentence(QLabel):
    """A label that wraps its words. Qt would let its neighbours cut the last lines off."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)

    def setText(self, text: str | None) -> None:
        """Show a text."""
        super().setText(text)
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Take as many lines as the new width needs."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setMinimumHeight(0)  # of which Qt would make the height of a shorter text
        self.setMinimumHeight(max(0, self.heightForWidth(self.width())))
