"""The Labels panel of a result: name, show, join and part its labels, each step undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QColorDialog,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg._napari.result.labels_table import LabelsTable
from napari_mmtseg._napari.result.state import ResultState
from napari_mmtseg.labels.legend import Legend
from napari_mmtseg.labels.palettes import PALETTES

_FIGURE_SPACE = "\u2007"
_SLIDER = "slider"
_TITLE_PX = 180


class LabelsPanel(QWidget):
    """Shows the labels of a result, and takes the steps of the user into its history."""

    stepped = Signal()
    """The legend of the result shown is another one."""
    turned = Signal(int)
    """An earlier result is wanted (-1), or a later one (1)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kept: ResultState | None = None
        self.table = LabelsTable()
        self.title = QLabel()
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        self.title.setMinimumWidth(60)
        self.palette_choice = QComboBox()
        self.palette_choice.setAccessibleName("Colours")
        self.palette_choice.setToolTip(
            "Colours of the labels. The colour-blind tell those of Okabe-Ito and of Tol apart; for "
            "all new results they are a preference, under File > Preferences > Plugins."
        )
        for name in ("", *PALETTES):
            self.palette_choice.addItem(name or "napari's colours", name)
        self.earlier = _turn("◂", "Show the result before this one instead.")
        self.later = _turn("▸", "Show the result after this one instead.")
        self.join_button = _push("Merge", "Make one label of the selected ones (Ctrl or Shift).")
        self.part_button = _push(
            "Split", "Part the selected label: into those that were merged, or its two halves."
        )
        self.alone_button = _push("Only", "Show the selected labels alone.")
        self.all_button = _push("Show all", "Show every label.")
        self.undo_button = _turn("↶", "Take back the last step (Ctrl+Z).")
        self.redo_button = _turn("↷", "Do again what was taken back (Ctrl+Shift+Z).")
        self.n_labels = QSlider(Qt.Orientation.Horizontal)
        self.n_labels.setAccessibleName("Number of labels")
        self.n_labels.setToolTip("Merge labels that look alike, at once and without training.")
        self.count = QLabel()
        self.count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        heading = QHBoxLayout()
        for part in (self.title, self.palette_choice, self.earlier, self.later):
            heading.addWidget(part, 1 if part is self.title else 0)
        self._merging = QWidget()
        row = QHBoxLayout(self._merging)
        row.setContentsMargins(0, 0, 0, 0)
        for part in (QLabel("Number"), self.n_labels, self.count):
            row.addWidget(part)
        self.actions = QWidget()
        line = QHBoxLayout(self.actions)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        for button in (self.join_button, self.part_button, self.alone_button, self.all_button):
            line.addWidget(button, 1)
        for tool in (self.undo_button, self.redo_button):
            line.addWidget(tool)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(heading)
        for part in (self.table, self.actions, self._merging):
            column.addWidget(part)
        self._able = True
        self._connect()

    def allow(self, able: bool) -> None:
        """Let labels be joined and parted, or not, where that is a run."""
        self._able = able
        self._enable()

    def _connect(self) -> None:
        self.table.chosen.connect(self._enable)
        self.table.eye_clicked.connect(self._click_eye)
        self.table.swatch_clicked.connect(self._ask_colour)
        self.table.rows.named.connect(
            lambda one, name: self._step(lambda old: old.named(one, name))
        )
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._open_menu)
        self.join_button.clicked.connect(self.join)
        self.part_button.clicked.connect(self.part)
        self.alone_button.clicked.connect(self.show_alone)
        self.all_button.clicked.connect(self.show_all)
        self.undo_button.clicked.connect(self.undo)
        self.redo_button.clicked.connect(self.redo)
        self.earlier.clicked.connect(lambda: self.turned.emit(-1))
        self.later.clicked.connect(lambda: self.turned.emit(1))
        self.n_labels.valueChanged.connect(self._cut)
        self.palette_choice.activated.connect(
            lambda row: self.paint(str(self.palette_choice.itemData(row)))
        )
        for keys, react in (
            (QKeySequence.StandardKey.Undo, self.undo),
            (QKeySequence.StandardKey.Redo, self.redo),
        ):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(react)

    def show_result(
        self, kept: ResultState | None, name: str = "", place: tuple[int, int] = (0, 1)
    ) -> None:
        """Show a result.

        Parameters
        ----------
        kept : ResultState, optional
        name : str
            Of its layer.
        place : (int, int)
            Which of how many results it is.
        """
        self.kept = kept
        self.setVisible(kept is not None)
        if kept is None:
            return
        at, many = place
        self.title.setText(
            self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, _TITLE_PX)
        )
        self.title.setToolTip(name)
        for button, more in ((self.earlier, at > 0), (self.later, at + 1 < many)):
            button.setVisible(many > 1)
            button.setEnabled(more)
        self.refresh()

    def refresh(self) -> None:
        """Show the rows as they are by now."""
        kept = self.kept
        if kept is None:
            return
        counted = kept.counted
        self.table.show_rows(kept.rows(), [] if counted is None else [*counted.channels])
        most = kept.most_labels
        self._merging.setVisible(most > 2)
        self.n_labels.blockSignals(True)
        self.n_labels.setRange(min(2, most), most)
        self.n_labels.setValue(len(kept.legend.labels))
        self.n_labels.blockSignals(False)
        self.palette_choice.setCurrentIndex(self.palette_choice.findData(kept.legend.palette))
        number = str(len(kept.legend.labels)).rjust(len(str(most)), _FIGURE_SPACE)
        self.count.setText(f"{number} of {most}")  # as wide for each, or the slider would move
        self._enable()

    def join(self) -> None:
        """Make one label of those that are selected."""
        labels = self.table.selected_labels()
        self._step(lambda old: old.joined(labels))
        self.table.select(labels[:1])
        self._enable()

    def part(self) -> None:
        """Part each label that is selected."""
        labels = self.table.selected_labels()
        tree = None if self.kept is None else self.kept.tree

        def parted(old: Legend) -> Legend:
            for one in labels:
                old = old.parted(one, tree) if old.can_part(one, tree) else old
            return old

        self._step(parted)

    def show_alone(self) -> None:
        """Show the selected labels alone, or all again."""
        labels = self.table.selected_labels()
        self._step(lambda old: old.only(labels))

    def show_all(self) -> None:
        """Show every label."""
        self._step(lambda old: old.hiding(old.labels, hide=False))

    def undo(self) -> None:
        """Take back the last step."""
        self._go(lambda kept: kept.history.undo())

    def redo(self) -> None:
        """Do again what was taken back."""
        self._go(lambda kept: kept.history.redo())

    def _step(self, change: Callable[[Legend], Legend], kind: str = "") -> None:
        def step(kept: ResultState) -> None:
            try:
                kept.history.step(change(kept.legend), kind)
            except ValueError:
                return  # the selection is of another result by now

        self._go(step)

    def _go(self, move: Callable[[ResultState], Any]) -> None:
        if self.kept is None:
            return
        before = self.kept.legend
        move(self.kept)
        if self.kept.legend != before:
            self.refresh()
            self.stepped.emit()

    def _cut(self, count: int) -> None:
        kept = self.kept
        if kept is not None and kept.most_labels:
            self._step(lambda old: kept.recut(count), _SLIDER)

    def hide_label(self, label: int) -> None:
        """Hide a label, or show it again."""
        self._step(lambda old: old.hiding([label], hide=label not in old.hidden))

    def _click_eye(self, label: int, alone: bool) -> None:
        if alone:
            self._step(lambda old: old.only([label]))
        else:
            self.hide_label(label)

    def _ask_colour(self, label: int) -> None:
        row = next((one for one in self.table.rows.rows if one.label == label), None)
        if row is None or row.colour is None:
            return
        now = QColor.fromRgbF(*row.colour)
        colour = QColorDialog.getColor(now, self, f"Colour of {row.name}")
        if colour.isValid():
            self.colour(label, (colour.redF(), colour.greenF(), colour.blueF(), 1.0))

    def rename(self, label: int, name: str) -> None:
        """Call a label something."""
        self._step(lambda old: old.named(label, name))

    def colour(self, label: int, colour: tuple[float, float, float, float] | None) -> None:
        """Give a label a colour, or its first one back."""
        self._step(lambda old: old.coloured(label, colour))

    def paint(self, palette: str) -> None:
        """Give the labels the colours of a palette, or with "" the viewer's."""
        self._step(lambda old: old.painted(palette))

    def choose(self, label: int) -> None:
        """Select the row of a label, unless it is one of those that are selected."""
        if label not in self.table.selected_labels():
            self.table.select([label])
            self._enable()

    def _enable(self) -> None:
        kept = self.kept
        if kept is None:
            return
        labels, legend = self.table.selected_labels(), kept.legend
        self.join_button.setEnabled(kept.can_join and len(labels) > 1)
        can_part = any(legend.can_part(one, kept.tree) for one in labels)
        self.part_button.setEnabled(kept.can_join and can_part)
        self.alone_button.setEnabled(bool(labels) and len(legend.labels) > 1)
        self.all_button.setEnabled(bool(legend.hidden))
        self.undo_button.setEnabled(kept.history.can_undo)
        self.redo_button.setEnabled(kept.history.can_redo)
        self.actions.setVisible(len(legend.labels) > 1 or kept.can_join)
        for part in (self.actions, self._merging):
            part.setEnabled(self._able or not kept.joins_slowly)

    def _open_menu(self, place: Any) -> None:
        index = self.table.indexAt(place)
        if not index.isValid():
            return
        label = self.table.rows.rows[index.row()].label
        menu = QMenu(self)
        for button in (self.join_button, self.part_button, self.alone_button, self.all_button):
            action = menu.addAction(button.text())
            assert action is not None
            action.setEnabled(button.isEnabled())
            action.triggered.connect(button.click)
        colour = menu.addAction("Colour…")
        back = menu.addAction("Colour as before")
        assert colour is not None
        assert back is not None
        colour.triggered.connect(lambda: self._ask_colour(label))
        back.triggered.connect(lambda: self.colour(label, None))
        viewport = self.table.viewport()
        assert viewport is not None
        menu.exec(viewport.mapToGlobal(place))


def _push(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button


def _turn(text: str, tooltip: str) -> QPushButton:
    button = _push(text, tooltip)
    button.setAccessibleName(tooltip)
    button.setFixedWidth(28)
    return button
