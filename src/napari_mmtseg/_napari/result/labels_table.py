"""The table of a result's labels: seen or hidden, colour, name, share, mean intensity, sureness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from qtpy.QtCore import (
    QAbstractTableModel,
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QPointF,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import (
    QBrush,
    QColor,
    QFont,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPalette,
    QPen,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QLabel,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

EYE, SWATCH, NAME, SHARE, MEAN, SURE = range(6)
_HEADINGS = ("", "", "Label", "Share", "Mean", "Sure")
_WIDTHS = {EYE: 28, SWATCH: 26, SHARE: 74, MEAN: 66, SURE: 46}
_COUNT = 32
"""More than a share needs if a count stands before it."""
_ROW = 24
_MOST_ROWS = 6
_DISPLAY, _EDIT = Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole
_FLAT = "QHeaderView, QHeaderView::section { border: none; background: transparent; padding: 2px; }"


class Row(NamedTuple):
    """What is shown of a label."""

    label: int
    name: str
    colour: tuple[float, float, float, float] | None
    """None if its pieces have colours of their own."""
    shown: bool
    colours: Sequence[tuple[float, float, float, float]] = ()
    """Four of its pieces', if these have colours of their own."""
    share: float = math.nan
    pixels: float = math.nan
    """Not a number until they are counted."""
    pieces: int | None = None
    """How many, if each is for itself."""
    means: Sequence[float] | None = None
    """Of each channel."""
    tint: tuple[float, float, float] | None = None
    """Its mean colour in the image, 0 to 1."""
    confidence: float | None = None


class LabelsModel(QAbstractTableModel):
    """Shows rows; names are edited in place."""

    named = Signal(int, str)
    """A label is to be called so."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []
        self.channels: list[str] = []

    def show(self, rows: list[Row], channels: list[str]) -> None:
        """Show other rows; the names of the channels are those of the mean intensities."""
        same = [one.label for one in rows] == [one.label for one in self.rows]
        if not same:
            self.beginResetModel()
        self.rows, self.channels = rows, channels
        if same and rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, SURE))
        elif not same:
            self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of labels."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(_HEADINGS)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let names be edited."""
        able = super().flags(index)
        return able | Qt.ItemFlag.ItemIsEditable if index.column() == NAME else able

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY) -> Any:
        """Return a column's name."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == _DISPLAY:
            counted = section == SHARE and any(one.pieces is not None for one in self.rows)
            return "Count · share" if counted else _HEADINGS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            right = section in (SHARE, MEAN, SURE)
            side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: QModelIndex, role: int = _DISPLAY) -> Any:
        """Return a cell's text, or what it means."""
        row, column = self.rows[index.row()], index.column()
        if role == _EDIT and column == NAME:
            return row.name
        if role == _DISPLAY:
            return self._text(row, column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column in (SHARE, MEAN, SURE):
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._help(row, column)
        if role == Qt.ItemDataRole.AccessibleTextRole and column == EYE:
            return f"{row.name} is {'shown' if row.shown else 'hidden'}"
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = _EDIT) -> bool:
        """Take a name."""
        if role != _EDIT or index.column() != NAME:
            return False
        self.named.emit(self.rows[index.row()].label, str(value))
        return True

    def _text(self, row: Row, column: int) -> str:
        if column == NAME:
            return row.name
        if column == SHARE:
            share = percent(row.share)
            return share if row.pieces is None else f"{row.pieces} · {share}"
        if column == MEAN and row.means is not None:
            return number(sum(row.means) / len(row.means))
        if column == SURE and row.confidence is not None and row.confidence == row.confidence:
            return f"{100 * row.confidence:.0f} %"
        return ""

    def _help(self, row: Row, column: int) -> str:
        if column == EYE:
            return "Hide this label or show it (Space). Alt and a click show it alone."
        if column == SWATCH:
            return "Choose another colour." if row.colour is not None else "Each has its own."
        if column == NAME:
            return f"Label {row.label}: double-click to name it (F2)."
        if column == SHARE and row.share == row.share:
            pieces = "" if row.pieces is None else f"{row.pieces:,} pieces, "
            return f"{pieces}{row.pixels:,.0f} pixels, {percent(row.share)} of the image"
        if column == MEAN and row.means is not None:
            values = zip(self.channels, row.means, strict=False)
            return "Mean intensity: " + ", ".join(f"{name} {number(one)}" for name, one in values)
        if column == SURE:
            return "Share of its pixels to which both networks give the same label."
        return ""


class _Painter(QStyledItemDelegate):
    """Paints eyes, swatches, and bars behind shares."""

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        model = index.model()
        if painter is None or not isinstance(model, LabelsModel):
            return
        row, column = model.rows[index.row()], index.column()
        text = QColor(option.palette.color(QPalette.ColorRole.Text))
        if not row.shown:
            text.setAlphaF(0.45)
        option.palette.setColor(QPalette.ColorRole.Text, text)
        option.palette.setColor(QPalette.ColorRole.HighlightedText, text)
        box = QRectF(option.rect)
        if column == SHARE and row.share == row.share:
            self._bar(painter, box, row)
        super().paint(painter, option, index)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if column == EYE:
            paint_eye(painter, box.center(), text, row.shown)
        elif column == SWATCH:
            self._swatch(painter, box, row, text)
        elif column == MEAN and row.tint is not None:
            tint = QRectF(box.left() + 6, box.center().y() - 5, 10, 10)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor.fromRgbF(*row.tint, 1.0 if row.shown else 0.4))
            painter.drawEllipse(tint)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(super().sizeHint(option, index).width(), _ROW)

    def _bar(self, painter: QPainter, box: QRectF, row: Row) -> None:
        colour = QColor("#808891") if row.colour is None else QColor.fromRgbF(*row.colour)
        colour.setAlphaF(0.35 if row.shown else 0.12)
        whole = box.adjusted(4, 4, -2, -4)
        painter.fillRect(
            QRectF(whole.left(), whole.top(), max(1.0, whole.width() * row.share), whole.height()),
            colour,
        )

    def _swatch(self, painter: QPainter, box: QRectF, row: Row, text: QColor) -> None:
        place = QRectF(box.center().x() - 7, box.center().y() - 7, 14, 14)
        path = QPainterPath()
        path.addRoundedRect(place, 3, 3)
        painter.setClipPath(path)
        if row.colour is None:
            for i, colour in enumerate(row.colours):
                corner = QPointF(place.left() + 7 * (i % 2), place.top() + 7 * (i // 2))
                painter.fillRect(QRectF(corner.x(), corner.y(), 7, 7), QColor.fromRgbF(*colour))
        else:
            painter.fillRect(place, QColor.fromRgbF(*row.colour))
        painter.setClipping(False)
        if not row.shown:
            painter.setPen(QPen(text, 1))
            painter.drawRoundedRect(place, 3, 3)
            painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceOver)
        painter.setBrush(QBrush(Qt.BrushStyle.NoBrush))


class LabelsTable(QTableView):
    """The labels of a result, a row each, as high as they need up to a few rows."""

    eye_clicked = Signal(int, bool)
    """Of this label; whether it is to be alone."""
    swatch_clicked = Signal(int)
    chosen = Signal()
    """Other rows are selected."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = LabelsModel(self)
        self.setModel(self.rows)
        self.setItemDelegate(_Painter(self))
        self.setAccessibleName("Labels")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.setShowGrid(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)  # Tab leaves the table
        vertical, horizontal = self.verticalHeader(), self.horizontalHeader()
        assert vertical is not None
        assert horizontal is not None
        vertical.hide()
        vertical.setMinimumSectionSize(_ROW)
        horizontal.setHighlightSections(False)
        horizontal.setStyleSheet(_FLAT)
        horizontal.setSectionsClickable(False)
        horizontal.setMinimumSectionSize(20)
        for column in range(len(_HEADINGS)):
            stretches = column == NAME
            mode = QHeaderView.ResizeMode.Stretch if stretches else QHeaderView.ResizeMode.Fixed
            horizontal.setSectionResizeMode(column, mode)
        selection = self.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(lambda *_: self.chosen.emit())
        self._fit()

    def show_rows(self, rows: list[Row], channels: list[str]) -> None:
        """Show other rows, and select what was selected."""
        before = self.selected_labels()
        self.rows.show(rows, channels)
        self._fit()
        self.setColumnHidden(MEAN, all(one.means is None for one in rows))
        self.setColumnHidden(SURE, all(one.confidence is None for one in rows))
        self.select(before)

    def selected_labels(self) -> list[int]:
        """Return the labels whose rows are selected."""
        selection = self.selectionModel()
        assert selection is not None
        places = sorted({index.row() for index in selection.selectedIndexes()})
        return [self.rows.rows[place].label for place in places if place < len(self.rows.rows)]

    def select(self, labels: Sequence[int]) -> None:
        """Select the rows of labels, without telling anyone."""
        selection = self.selectionModel()
        assert selection is not None
        selection.blockSignals(True)
        selection.clearSelection()
        how = QItemSelectionModel.SelectionFlag
        for place, row in enumerate(self.rows.rows):
            if row.label in labels:
                selection.select(self.rows.index(place, 0), how.Select | how.Rows)
        selection.blockSignals(False)
        viewport = self.viewport()
        assert viewport is not None
        viewport.update()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Take a click on an eye or a swatch; others select."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            index = self.indexAt(event.position().toPoint())
            if index.isValid() and index.column() in (EYE, SWATCH):
                label = self.rows.rows[index.row()].label
                if index.column() == SWATCH:
                    self.swatch_clicked.emit(label)
                else:
                    alone = event.modifiers() & Qt.KeyboardModifier.AltModifier
                    self.eye_clicked.emit(label, bool(alone))
                event.accept()
                return
        super().mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Let Space show or hide the label under the cursor."""
        index = self.currentIndex()
        if event is not None and event.key() == Qt.Key.Key_Space and index.isValid():
            self.eye_clicked.emit(self.rows.rows[index.row()].label, False)
            event.accept()
            return
        super().keyPressEvent(event)

    def changeEvent(self, event: QEvent | None) -> None:
        """Be as high as the rows are in another style."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self._fit()

    def _fit(self) -> None:
        horizontal, vertical = self.horizontalHeader(), self.verticalHeader()
        assert horizontal is not None
        assert vertical is not None
        font = label_font(self)
        for part in (self, horizontal):
            part.setFont(font)
        row = max(_ROW, QFontMetrics(font).height() + 8)
        vertical.setDefaultSectionSize(row)
        counted = any(one.pieces is not None for one in self.rows.rows)
        for column, width in _WIDTHS.items():
            width += _COUNT * (counted and column == SHARE)
            self.setColumnWidth(column, width * row // _ROW)
        rows = max(1, min(_MOST_ROWS, self.rows.rowCount()))
        self.setFixedHeight(horizontal.sizeHint().height() + rows * row + 2)


def label_font(parent: QWidget) -> QFont:
    """Return the font of the labels around, which napari gives to no table."""
    label = QLabel(parent)
    label.ensurePolished()
    font = label.font()
    label.deleteLater()
    return font


def paint_eye(painter: QPainter, centre: QPointF, colour: QColor, is_open: bool) -> None:
    """Paint an eye, or a closed one."""
    x, y = centre.x(), centre.y()
    painter.setPen(QPen(colour, 1.4, cap=Qt.PenCapStyle.RoundCap))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    lids = QPainterPath(QPointF(x - 7, y))
    if is_open:
        lids.quadTo(QPointF(x, y - 8), QPointF(x + 7, y))
    else:
        lids.moveTo(QPointF(x + 7, y))
    lids.quadTo(QPointF(x, y + 8), QPointF(x - 7, y))
    painter.drawPath(lids)
    if is_open:
        painter.setBrush(colour)
        painter.drawEllipse(centre, 1.8, 1.8)


def percent(share: float) -> str:
    """Write a share: 12 %, 3.4 %, < 0.1 %."""
    if share != share:  # not known
        return ""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def number(value: float) -> str:
    """Write a number with three digits or so."""
    if value != value:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
