"""A column of fields that scrolls up and down."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QScrollArea, QWidget


class ScrollColumn(QScrollArea):
    """Scrolls its column up and down, and is as wide as that needs in whatever font."""

    def __init__(self, column: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(column)

    def minimumSizeHint(self) -> QSize:
        """Return what keeps fields from being cut off on the right."""
        hint, column, bar = super().minimumSizeHint(), self.widget(), self.verticalScrollBar()
        assert column is not None
        assert bar is not None
        return QSize(column.minimumSizeHint().width() + bar.sizeHint().width(), hint.height())
