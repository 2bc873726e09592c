"""The Folders widget: the same settings on many files, done in the training process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg._napari.fields.duration import duration
from napari_mmtseg._napari.fields.form_rows import label_of, rows_of
from napari_mmtseg._napari.fields.scroll_column import ScrollColumn
from napari_mmtseg._napari.process.messages import Done, FileNote, FolderJob
from napari_mmtseg._napari.run.method_panel import MethodPanel
from napari_mmtseg._napari.run.run_panel import JobWidget
from napari_mmtseg._napari.widgets.folder_table import FolderTable
from napari_mmtseg.folders import Batch
from napari_mmtseg.folders.batch import Summary
from napari_mmtseg.folders.image_list import find
from napari_mmtseg.images.image_files import ImageFile, open_image
from napari_mmtseg.methods import MMT
from napari_mmtseg.system.error_text import error_text

if TYPE_CHECKING:
    import napari

_MODELS = {
    "one": ("One for all", "Train one model on a sample of the images, and label all with it."),
    "each": ("One for each", "Train on each image by itself; labels of two images are unrelated."),
    "file": ("From a file…", "Label all with a model that was saved."),
}


class FoldersWidget(JobWidget):
    """Segment many files: what is missing or changed is done, one bad file leaves the others."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.methods = MethodPanel(MMT)
        self.sources, source_row = self._path("A folder, or a pattern such as data/**/*.tif")
        self.results, result_row = self._path("Beside each image")
        self.model = QComboBox()
        for row, (name, (title, tip)) in enumerate(_MODELS.items()):
            self.model.addItem(title, name)
            self.model.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
        self.model_file, self._model_row = self._path("model.safetensors", a_file=True)
        self.sample = QSpinBox()
        self.sample.setRange(1, 1000)
        self.sample.setValue(Batch(sources=[]).sample)
        self.sample.setToolTip("So many images, drawn at random, train the model for all.")
        self.measured = QCheckBox("A table of the objects for each image")
        self.overwrite = QCheckBox("Replace results of other settings")
        self.overwrite.setToolTip(
            "Also files that are there under the names of results. Otherwise nothing that is there "
            "is replaced, but for results whose image has changed."
        )
        self.rows = FolderTable(self)
        self.table = QTableView()
        self.open_button = QPushButton("Open the chosen row")
        self.open_button.setToolTip("Its image and its labels, as layers.")
        self._lay_out(source_row, result_row)
        self.model.currentIndexChanged.connect(self.refresh)
        for one in (self.sources, self.results, self.model_file):
            one.textChanged.connect(self.refresh)
        self.methods.changed.connect(self.refresh)
        self.methods.method_changed.connect(self.refresh)
        self.panel.run_wanted.connect(self.run)
        self.panel.process.said.connect(self._hear)
        self.panel.finished.connect(self._finish)
        self.table.doubleClicked.connect(self.open_row)
        self.open_button.clicked.connect(self._open_chosen)
        self.refresh()

    def _lay_out(self, source_row: QWidget, result_row: QWidget) -> None:
        self.table.setModel(self.rows)
        self.table.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self.table.setAccessibleName("Images of the folder")
        self.table.setMinimumHeight(170)
        header = self.table.horizontalHeader()
        assert header is not None
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        rows_beside = self.table.verticalHeader()
        assert rows_beside is not None
        rows_beside.hide()
        inner = QWidget()
        column = QVBoxLayout(inner)
        rows = rows_of()
        rows.addRow(label_of("Images", self.sources.placeholderText()), source_row)
        rows.addRow(label_of("Results", "The folder that the labels go to."), result_row)
        rows.addRow(label_of("Model"), self.model)
        rows.addRow(label_of("Trained on"), self.sample)
        rows.addRow(label_of("Model's file"), self._model_row)
        self._form = rows
        column.addLayout(rows)
        for part in (self.measured, self.overwrite, self.methods, self.panel.curve):
            column.addWidget(part)
        column.addStretch(1)
        outer = QVBoxLayout(self)
        outer.addWidget(ScrollColumn(inner), 1)
        outer.addWidget(self.panel)
        outer.addWidget(self.table, 1)
        outer.addWidget(self.open_button)

    def problem(self) -> str:
        """Say why Run cannot be pressed now, or return an empty string."""
        if not self.sources.text().strip():
            return "Choose a folder of images."
        if self._model() == "file" and not Path(self.model_file.text().strip()).is_file():
            return "Choose the file of a model."
        try:
            self.methods.form.method()
        except (ValueError, TypeError) as error:
            return f"{error}."
        return ""

    def refresh(self) -> None:
        """Enable what can be pressed."""
        of_file = self._model() == "file"
        self._form.setRowVisible(self._model_row, of_file)
        self._form.setRowVisible(self.sample, self._model() == "one")
        self.methods.setEnabled(not of_file)
        self.panel.allow(self.problem())
        self.open_button.setEnabled(self.rows.rowCount() > 0)

    def batch(self) -> Batch:
        """Return what is to be done, as Python and the command line know it."""
        results = self.results.text().strip()
        kind = self._model()
        return Batch(
            sources=[self.sources.text().strip()],
            output=Path(results) if results else None,
            method=self.methods.form.method(),
            model=Path(self.model_file.text().strip()) if kind == "file" else kind,
            sample=self.sample.value(),
            measured=self.measured.isChecked(),
            overwrite=self.overwrite.isChecked(),
        )

    def run(self) -> None:
        """Do what is missing or has changed."""
        problem = self.problem()
        if problem or self.running:
            self.panel.say(problem or "A run is under way; stop or discard it first.")
            return
        batch = self.batch()
        try:
            self.rows.show(find(batch.sources, batch.output))
        except (OSError, ValueError) as error:
            self.panel.fail(error_text(error))
            return
        self._fit_columns()
        self.panel.start(FolderJob(batch))
        self.refresh()

    def open_row(self, index: QModelIndex) -> None:
        """Open the image of a row and its labels, as layers."""
        source = self.rows.sources[index.row()]
        try:
            file = open_image(source.path)
            result = source.result(store=file.is_store or file.is_lazy)
            labels = open_image(result) if result.exists() else None
            self.viewer.add_image(file.read(), name=source.name, **_placed(file, image=True))
            if labels is not None:
                placed = _placed(labels, image=False)
                self.viewer.add_labels(labels.read(), name=result.name, **placed)
        except (OSError, ValueError, MemoryError) as error:
            show_error(error_text(error))

    def _open_chosen(self) -> None:
        index = self.table.currentIndex()
        if index.isValid():
            self.open_row(index)

    def _model(self) -> Any:
        return self.model.currentData()

    def _hear(self, message: Any) -> None:
        if isinstance(message, FileNote):
            row = self.rows.put(message.outcome)
            if message.outcome.state == "working":
                self.table.scrollTo(self.rows.index(row, 0))

    def _finish(self, done: Done) -> None:
        if not isinstance(done.result, Summary):
            return
        for one in done.result.outcomes:
            self.rows.put(one)
        self._fit_columns()
        counts = done.result.counts
        made, kept = counts.get("done", 0), counts.get("kept", 0)
        parts = [f"{made} done", f"{kept} there already"]
        parts += [f"{counts[state]} {state}" for state in ("failed", "left") if state in counts]
        odd = done.result.odd
        self.rows.mark(odd)
        look = f" Look at {', '.join(odd)}: none, or far from the others." if odd else ""
        self.panel.say(
            f"{', '.join(parts)}, in {duration(done.seconds)}.{look} {done.result.table.name}, "
            "with the results, tells of settings and measures."
        )
        self.refresh()

    def _fit_columns(self) -> None:
        for column in range(self.rows.columnCount() - 1):  # the sentence takes what is left
            self.table.resizeColumnToContents(column)

    def _path(self, hint: str, *, a_file: bool = False) -> tuple[QLineEdit, QWidget]:
        """Make a field for a path, with a button to look for it."""
        field, button, row = QLineEdit(), QPushButton("…"), QWidget()
        field.setPlaceholderText(hint)
        button.setFixedWidth(28)
        button.setToolTip("Choose")
        cells = QHBoxLayout(row)
        cells.setContentsMargins(0, 0, 0, 0)
        cells.addWidget(field)
        cells.addWidget(button)

        def ask() -> None:
            if a_file:
                path, _ = QFileDialog.getOpenFileName(self, "Model", "", "Model (*.safetensors)")
            else:
                path = QFileDialog.getExistingDirectory(self, "Folder", field.text())
            if path:
                field.setText(path)

        button.clicked.connect(ask)
        return field, row


def _placed(file: ImageFile, *, image: bool) -> dict[str, Any]:
    """Return how a layer of an image, or of labels, lies in the world."""
    axes = [axis for axis in file.axes if axis not in "CS"]
    placed: dict[str, Any] = {"scale": [file.pixel_um.get(axis, 1.0) for axis in axes]}
    placed["units"] = ["um" if axis in file.pixel_um else "pixel" for axis in axes]
    placed["axis_labels"] = [axis.lower() for axis in axes]
    if image and "C" in file.axes:
        placed["channel_axis"] = file.axes.index("C")
    if image and file.axes.endswith("S"):
        placed["rgb"] = True
    return placed
