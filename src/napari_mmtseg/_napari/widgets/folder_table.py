"""A table of the images of a folder: how each stands, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget

from napari_mmtseg.folders.image_list import Source
from napari_mmtseg.folders.image_task import Outcome

_DISPLAY = Qt.ItemDataRole.DisplayRole
_COLUMNS = ("File", "State", "Time", "Count", "Note")
_STATES = {
    "waiting": "waiting",
    "working": "working…",
    "done": "done",
    "kept": "there already",
    "failed": "failed",
    "left": "not reached",
}
_RED, _AMBER = QColor("#e5484d"), QColor("#d98a1f")


class FolderTable(QAbstractTableModel):
    """The rows are in the order of the names; a change touches its own row alone."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sources: list[Source] = []
        self._outcomes: list[Outcome] = []
        self._row_of: dict[str, int] = {}
        self._odd: dict[str, str] = {}

    def show(self, sources: Sequence[Source]) -> None:
        """Show images of which none is done yet."""
        self.beginResetModel()
        self.sources = list(sources)
        self._outcomes = [Outcome(one.name, "waiting") for one in sources]
        self._odd = {}
        self._row_of = {one.name: row for row, one in enumerate(sources)}
        self.endResetModel()

    def put(self, outcome: Outcome) -> int:
        """Show what has become of an image, and return its row."""
        row = self._row_of[outcome.name]
        self._outcomes[row] = outcome
        self.dataChanged.emit(self.index(row, 0), self.index(row, len(_COLUMNS) - 1))
        return row

    def mark(self, odd: Mapping[str, str]) -> None:
        """Say of some images, by name, why their result should be looked at."""
        self._odd = dict(odd)
        for row in range(len(self._outcomes)):
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(_COLUMNS) - 1))

    def outcome(self, row: int) -> Outcome:
        """Return how an image stands."""
        return self._outcomes[row]

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of images."""
        return 0 if parent is not None and parent.isValid() else len(self.sources)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(_COLUMNS)

    def data(self, index: QModelIndex, role: int = _DISPLAY) -> Any:
        """Return a cell's text, colour or tooltip."""
        one = self._outcomes[index.row()]
        if role == _DISPLAY:
            return self._cells(index.row())[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return one.error or self._odd.get(one.name) or str(self.sources[index.row()].path)
        if role == Qt.ItemDataRole.ForegroundRole:
            if one.state == "failed":
                return _RED
            if one.name in self._odd:
                return _AMBER
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY) -> Any:
        """Return a column's name."""
        if orientation == Qt.Orientation.Horizontal and role == _DISPLAY:
            return _COLUMNS[section]
        return None

    def _cells(self, row: int) -> tuple[str, ...]:
        one = self._outcomes[row]
        error = one.error.removeprefix(str(self.sources[row].path)).strip()  # the file is named
        time = f"{one.seconds:.1f} s" if one.seconds else ""
        count = "" if one.count is None else str(one.count)
        return one.name, _STATES[one.state], time, count, error or self._odd.get(one.name, "")
