"""Rows of forms: labels of one width in all forms, and rows that a click opens."""

from __future__ import annotations

from qtpy.QtCore import QSize
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget
from superqt import QCollapsible

_LONGEST = "See the surroundings"
"""Of the labels of basic settings: all are as wide."""
_GAP = 6


def rows_of(parent: QWidget | None = None) -> QFormLayout:
    """Make a form whose labels are as wide as those of the other forms in the widget."""
    rows = QFormLayout(parent) if parent is not None else QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setHorizontalSpacing(_GAP)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return rows


class _RowLabel(QLabel):
    """As wide as the widest of all forms, in whatever font."""

    def minimumSizeHint(self) -> QSize:
        own = super().minimumSizeHint()
        return own.expandedTo(QSize(self.fontMetrics().horizontalAdvance(_LONGEST) + _GAP, 0))

    def sizeHint(self) -> QSize:
        return super().sizeHint().expandedTo(self.minimumSizeHint())


def label_of(text: str, tooltip: str = "") -> QLabel:
    """Make the label of a row."""
    label = _RowLabel(text)
    label.setToolTip(tooltip)
    return label


class FoldedRows(QCollapsible):
    """Something that a click opens, as wide as the rows around it.

    Parameters
    ----------
    title : str
    inner : QWidget
    """

    def __init__(self, title: str, inner: QWidget, parent: QWidget | None = None) -> None:
        # An icon would be drawn once, in the colour of whatever theme there is by then.
        super().__init__(title, parent, QIcon(), QIcon())
        self._title = title
        self.addWidget(inner)
        for box, top in ((self, 0), (self.content(), _GAP)):
            layout = box.layout()
            assert layout is not None
            layout.setContentsMargins(0, top, 0, 0)
        self.toggled.connect(self._turn)
        self._turn(False)

    def _turn(self, is_open: bool) -> None:
        self.setText(f"{'▾' if is_open else '▸'}  {self._title}")
