"""The Compare widget: how well a result agrees with a ground truth, or with another result."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.qt.threading import thread_worker
from napari.utils import DirectLabelColormap
from napari.utils.notifications import show_error, show_info
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg._napari.fields.form_rows import rows_of
from napari_mmtseg._napari.fields.layer_choice import LayerChoice
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.lazy.planes import LazyLabels
from napari_mmtseg._napari.lazy.tiles import TiledLevel
from napari_mmtseg._napari.process.layer_pixels import take
from napari_mmtseg._napari.widgets.label_comparison import (
    KINDS,
    OBJECT_MEANINGS,
    Comparison,
    LabelScore,
    compare,
)
from napari_mmtseg.metrics.objects import EXTRA, MATCHED, MERGED, MISSED

if TYPE_CHECKING:
    import napari

_ERROR_COLOURS = {
    None: "transparent",
    0: "transparent",
    MATCHED: "#009E73",
    MISSED: "#D55E00",
    EXTRA: "#F0E442",
    MERGED: "#CC79A7",
}
_SCORES = {
    "object_f1_50": "F1, IoU 0.5",
    "object_f1_75": "F1, IoU 0.75",
    "object_ap_50": "AP, IoU 0.5",
    "object_ap_mean": "AP, 0.5 to 0.95",
    "panoptic_quality": "Panoptic quality",
    "segmentation_quality": "Mean IoU of pairs",
    "n_objects": "Objects found",
    "n_true": "Objects in the truth",
    "n_matched": "Objects matched",
    "n_missed": "Objects missed",
    "n_extra": "Objects extra",
    "n_merged": "Objects merged",
    "hungarian_accuracy": "Accuracy, one to one",
    "many_to_one_accuracy": "Accuracy, many to one",
    "foreground_iou": "Foreground IoU, best label",
    "covering": "Covering",
    "rand_index": "Rand index",
    "adjusted_rand": "Adjusted Rand index",
    "variation_of_information": "Variation of information, bits",
    "kim_miou": "Kim's mIoU",
    "boundary_f": "Boundary F, 2 px",
}
_MOST_ROWS = 1000
_MEANING = LabelScore._fields.index("meaning")


class CompareWidget(QWidget):
    """Compare a result with a ground truth, or two results with each other."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.comparison: Comparison | None = None
        self._compared: tuple[Labels, Labels] | None = None
        self.result = LayerChoice(self.viewer)
        self.result.setToolTip("The Labels layer to judge.")
        self.truth = LayerChoice(self.viewer)
        self.truth.setToolTip("The Labels layer to judge it by: a ground truth, or another result.")
        self.foreground = QCheckBox("Truth as foreground and background")
        self.foreground.setToolTip(
            "Take all objects of the truth as one: for results that tell kinds apart, not objects."
        )
        self.kind = QComboBox()
        self.kind.addItems(KINDS)
        self.kind.setToolTip(
            "classes: a label is one kind of thing, wherever it is. objects: each id is a thing of "
            "its own and 0 is background. automatic: objects if both layers look like it."
        )
        self.compare_button = QPushButton("Compare")
        self.scores = _table(["Score", "Value"])
        self.labels = _table(["Label", "Pixels", "True", "IoU", "Is"])
        self.labels.horizontalHeader().setSectionResizeMode(
            _MEANING, QHeaderView.ResizeMode.ResizeToContents
        )
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.error_button = QPushButton("Show errors")
        self.error_button.setToolTip(
            "Add a layer: green agrees, orange is missed, yellow is extra; pink is an object that "
            "covers several true ones."
        )
        self.colours_button = QPushButton("Match colours")
        self.colours_button.setToolTip(
            "Add a copy of the result in the truth's numbers, so that partners share a colour."
        )
        self.export_button = QPushButton("Export CSV…")
        self.export_button.setToolTip("Save the scores and the table of labels.")
        form = rows_of()
        form.addRow("Result", self.result)
        form.addRow("Truth", self.truth)
        form.addRow("Compare as", self.kind)
        column = QVBoxLayout(self)
        column.addLayout(form)
        for part in (self.foreground, self.compare_button, self.status, self.scores, self.labels):
            column.addWidget(part)
        buttons = QHBoxLayout()
        for button in (self.error_button, self.colours_button, self.export_button):
            buttons.addWidget(button)
        column.addLayout(buttons)
        self.compare_button.clicked.connect(self.start)
        self.error_button.clicked.connect(self.show_errors)
        self.colours_button.clicked.connect(self.match_colours)
        self.export_button.clicked.connect(self._ask_and_export)
        for choice in (self.result, self.truth):
            choice.currentIndexChanged.connect(self._refresh)
        self.viewer.layers.events.inserted.connect(self._choose_apart)
        self.viewer.layers.events.removed.connect(self._refresh)
        self._choose_apart()
        self._refresh()

    def problem(self) -> str:
        """Say why the two cannot be compared, or return an empty string."""
        result, truth = self.result.layer, self.truth.layer
        if result is None or truth is None or result == truth:
            return "Choose two Labels layers: a result and a truth."
        if result.data.shape != truth.data.shape:
            return (
                f"The layers must have one shape, got {result.data.shape} and {truth.data.shape}: "
                "choose layers of the same image."
            )
        for layer in (result, truth):
            if isinstance(napari_layers.data_of(layer), LazyLabels | TiledLevel):
                return (
                    f"{layer.name} is known only where you looked: save the result, and compare "
                    "the layer that then appears."
                )
        return ""

    def start(self) -> None:
        """Compare the chosen layers, without holding up the window."""
        if self.problem():
            self.status.setText(self.problem())
            return
        self._compared = (self.result.layer, self.truth.layer)
        self.compare_button.setEnabled(False)
        self.status.setText("Comparing…")
        # As they are now; what is not in memory is read in the thread.
        sources = [take(napari_layers.data_of(one), one.name) for one in self._compared]
        result, truth = (source.open() for source in sources)
        worker = thread_worker(compare)(
            result, truth, foreground=self.foreground.isChecked(), kind=self.kind.currentText()
        )
        worker.returned.connect(self._show)
        worker.errored.connect(self._fail)
        worker.start()

    def show_errors(self) -> None:
        """Add a layer of where the result agrees, misses and adds."""
        if self.comparison is None or self._compared is None:
            return
        meanings = self.comparison.meanings
        self._add(
            self.comparison.errors,
            "errors",
            colormap=DirectLabelColormap(color_dict=_ERROR_COLOURS),
            features={"index": [*meanings], "meaning": [*meanings.values()]},
        )

    def match_colours(self) -> None:
        """Add a copy of the result in the truth's numbers."""
        if self.comparison is None or self._compared is None:
            return
        matched, truth = self.comparison.matched, self.comparison.truth
        free = int(max(matched.max(), truth.max())) + 1
        labels = np.where(matched < 0, free, matched)
        self._add(labels, "in true colours", colormap=self._compared[1].colormap)

    def export(self, path: str | Path) -> None:
        """Save the scores and the table of labels as CSV."""
        if self.comparison is None or self._compared is None:
            return
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["result", self._compared[0].name])
            writer.writerow(["truth", self._compared[1].name])
            writer.writerows(self.comparison.scores.items())
            writer.writerow([])
            writer.writerow(LabelScore._fields)
            writer.writerows(self.comparison.rows)

    def _add(self, data: NDArray[Any], what: str, **options: Any) -> None:
        assert self._compared is not None
        layer = self._compared[0]
        placed = napari_layers.placement(layer, "Y" * layer.ndim)
        self.viewer.add_layer(Labels(data, name=f"{layer.name} {what}", **options, **placed))

    def _show(self, comparison: Comparison) -> None:
        self.comparison = comparison
        _fill(self.scores, [(_SCORES[k], _shown(v)) for k, v in comparison.scores.items()])
        rows = comparison.rows[:_MOST_ROWS]
        _fill(self.labels, [tuple(map(_shown, row)) for row in rows])
        more = len(comparison.rows) - len(rows)
        note = f"; {more} smaller ones are in the CSV" if more else ""
        objects = comparison.meanings is OBJECT_MEANINGS
        self.labels.setColumnHidden(_MEANING, not objects)
        what = "objects" if objects else "labels"
        self.status.setText(f"{len(comparison.rows)} {what} compared{note}.")
        self._refresh()

    def _fail(self, error: Exception) -> None:
        self.status.setText(str(error))
        self._compared = None
        self._refresh()

    def _choose_apart(self) -> None:
        if self.result.layer == self.truth.layer:
            others = [one for one in self.result.offered() if one != self.truth.layer]
            if others:
                self.result.choose(others[-1])

    def _refresh(self) -> None:
        problem = self.problem()
        self.compare_button.setEnabled(not problem)
        self.compare_button.setToolTip(problem or "Score the result and match its labels.")
        if problem:
            self.status.setText(problem)
        for button in (self.error_button, self.colours_button, self.export_button):
            button.setEnabled(self.comparison is not None)

    def _ask_and_export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Export", "comparison.csv", "CSV (*.csv)")
        if path:
            try:
                self.export(path)
                show_info(f"Saved {Path(path).name}.")
            except OSError as error:
                show_error(f"The comparison could not be saved: {error}")


def _table(columns: list[str]) -> QTableWidget:
    table = QTableWidget(0, len(columns))
    table.setHorizontalHeaderLabels(columns)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.verticalHeader().hide()
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    return table


def _shown(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "none" if value is None else str(value)


def _fill(table: QTableWidget, rows: list[tuple[Any, ...]]) -> None:
    table.setRowCount(len(rows))
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            item = QTableWidgetItem(str(value))
            if j:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            table.setItem(i, j, item)
