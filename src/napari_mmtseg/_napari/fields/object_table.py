"""A table of objects: sortable at any length, with a row to choose."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableView, QWidget

from napari_mmtseg.labels.measurement_table import Table

_DISPLAY = Qt.ItemDataRole.DisplayRole
_HELP = {
    "label": "The object's number in the Labels layer",
    "frame": "Point in time, from 0",
    "plane": "Plane of the stack, from 0",
    "diameter": "Of the disc or ball of the same size",
    "major_axis": "Of the ellipse or ellipsoid with the same moments",
    "minor_axis": "Of the ellipse or ellipsoid with the same moments",
    "eccentricity": "0 a circle, near 1 a line",
    "orientation": "Of the major axis, from Y towards X",
    "circularity": "4 π area / perimeter², 1 for a disc",
    "solidity": "Share of its convex hull that the object fills",
    "extent": "Share of its box that the object fills",
    "touches_border": "The object may go on beyond the image",
}


class TableModel(QAbstractTableModel):
    """Shows a `Table`; rows keep their number whatever they are sorted by."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.table = Table({})
        self._names: list[str] = []
        self._order = np.zeros(0, np.intp)

    def show(self, table: Table) -> None:
        """Show a table in its own order."""
        self.beginResetModel()
        self.table, self._names = table, list(table)
        self._order = np.arange(table.n_rows)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self._names)

    def data(self, index: QModelIndex, role: int = _DISPLAY) -> Any:
        """Return a cell's text or place."""
        if role == _DISPLAY:
            return _text(self.table[self._names[index.column()]][self._order[index.row()]])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY) -> Any:
        """Return a column's name, its unit below, and what it means."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self._names):
            return None
        name = self._names[section]
        if role == _DISPLAY:
            return self.table.heading(name).replace(" (", "\n(")
        return _HELP.get(name) if role == Qt.ItemDataRole.ToolTipRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; what is not a number comes last."""
        if not 0 <= column < len(self._names):
            return
        values = self.table[self._names[column]]
        values = values.astype(np.int64 if values.dtype.kind == "b" else values.dtype)
        keys = values if order == Qt.SortOrder.AscendingOrder else -values
        self.layoutAboutToBeChanged.emit()
        self._order = np.argsort(keys, kind="stable")
        self.layoutChanged.emit()

    def row_of(self, shown: int) -> int:
        """Return which row of the table is shown at a place."""
        return int(self._order[shown])

    def place_of(self, row: int) -> int:
        """Return where a row of the table is shown."""
        return int(np.flatnonzero(self._order == row)[0])


class ObjectTable(QTableView):
    """The view of a `TableModel`."""

    chosen = Signal(int)
    """The row of the table that the user has chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = TableModel(self)
        self._row: int | None = None
        self.setModel(self.rows)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSortingEnabled(True)
        self.setAccessibleName("Objects measured")
        vertical, horizontal = self.verticalHeader(), self.horizontalHeader()
        assert vertical is not None
        assert horizontal is not None
        vertical.hide()
        horizontal.setResizeContentsPrecision(50)
        horizontal.sortIndicatorChanged.connect(self._keep_choice)
        selection = self.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._choose)

    def show_table(self, table: Table) -> None:
        """Show a table, sorted by its first column."""
        self._row = None
        self.rows.show(table)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.resizeColumnsToContents()

    def choose(self, row: int | None) -> None:
        """Mark a row of the table and bring it into view, without telling anyone."""
        self._row = row
        selection = self.selectionModel()
        assert selection is not None
        selection.blockSignals(True)
        if row is None:
            selection.clear()
        else:
            index = self.rows.index(self.rows.place_of(row), 0)
            how = QItemSelectionModel.SelectionFlag
            selection.setCurrentIndex(index, how.ClearAndSelect | how.Rows)
            self.scrollTo(index)
        selection.blockSignals(False)
        viewport = self.viewport()
        assert viewport is not None
        viewport.update()

    def _choose(self, current: QModelIndex) -> None:
        if current.isValid():
            self._row = self.rows.row_of(current.row())
            self.chosen.emit(self._row)

    def _keep_choice(self) -> None:
        self.choose(self._row)


def _text(value: Any) -> str:
    if isinstance(value, np.bool_):
        return "yes" if value else ""
    if isinstance(value, np.integer):
        return str(value)
    return "" if value != value else f"{value:.4g}"
