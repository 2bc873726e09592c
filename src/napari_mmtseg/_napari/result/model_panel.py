"""The model behind a result: keep it, take another, name its labels by strokes, repeat the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg._napari.fields.form_rows import FoldedRows
from napari_mmtseg._napari.fields.layer_choice import LayerChoice
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.model import Model

if TYPE_CHECKING:
    import napari

_SUFFIX = ".safetensors"
_MODEL_FILES = f"Models (*{_SUFFIX})"
_YES = QMessageBox.StandardButton.Yes


class ModelPanel(QWidget):
    """What can be done with a model; whoever owns the panel does it."""

    strokes_changed = Signal()
    save_wanted = Signal(str)
    """The model is to be written to this path; what is there may be replaced."""
    store_wanted = Signal(str, bool)
    """The result is to be written to this path; whether what is there may be replaced."""
    load_wanted = Signal(str)

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.strokes = LayerChoice(viewer, results=False)
        self.strokes.setAccessibleName("Strokes")
        self.strokes.setToolTip("A Labels layer with a few strokes of each class.")
        self.name_button = _button(
            "Name labels",
            "Label the ticked images with the model, each label taking the class that it meets "
            "most in the strokes; nothing is trained.",
        )
        self._naming = QWidget()
        line = QHBoxLayout(self._naming)
        line.setContentsMargins(0, 0, 0, 0)
        for part in (QLabel("Strokes"), self.strokes, self.name_button):
            line.addWidget(part, 1 if part is self.strokes else 0)
        self._naming.hide()
        self.store_button = _button(
            "Save result…",
            "Write the labels to OME-Zarr, block by block. If that is stopped or killed, saving "
            "under the same name goes on with it.",
        )
        self.library_button = _button(
            "Models…", "Keep the model under a name, and take one that was kept."
        )
        self.save_button = _button(
            "Save model…", "Keep what was learned in a file, to label other images with."
        )
        self.load_button = _button("Load model…", "Take a model from a file.")
        self.apply_button = _button(
            "Apply model", "Label the ticked images with the model, without training."
        )
        self.copy_button = _button(
            "Copy as Python", "Put the script that repeats this run on the clipboard."
        )
        self.settings_button = _button(
            "Take its settings", "Show the settings that this result was made with."
        )
        self.text = QLabel("No model yet: run, or load one.")
        self.text.setWordWrap(True)
        inner = QWidget()
        rows = QVBoxLayout(inner)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.text)
        rows.addWidget(self._naming)
        grid = QGridLayout()
        for i, button in enumerate(
            (
                self.apply_button,
                self.library_button,
                self.settings_button,
                self.save_button,
                self.load_button,
                self.copy_button,
                self.store_button,
            )
        ):
            grid.addWidget(button, *divmod(i, 3))
        rows.addLayout(grid)
        self.keep = FoldedRows("Model and script", inner)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.keep)
        self.save_button.clicked.connect(self._ask_and_save)
        self.store_button.clicked.connect(self._ask_and_store)
        self.load_button.clicked.connect(self._ask_and_load)
        self.strokes.currentIndexChanged.connect(lambda: self.strokes_changed.emit())

    def show_model(self, model: Model, origin: str) -> None:
        """Say what model there is, and where it comes from."""
        # Strokes name kinds of things, and objects are of one kind.
        self._naming.setVisible(model.n_clusters > 1 and output_of(model.method) != "objects")
        self.text.setText(f"{model.method.title}, {model.n_clusters} labels, {origin}.")

    def _ask_and_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save model", "model.safetensors", _MODEL_FILES)
        named = path if not path or path.endswith(_SUFFIX) else path + _SUFFIX
        question = f"{named} exists. Replace it?"  # of this name the dialog has not asked
        taken = named != path and Path(named).exists()
        if named and not (taken and QMessageBox.question(self, "Save model", question) != _YES):
            self.save_wanted.emit(named)

    def _ask_and_store(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self,
            "Save result",
            "labels.zarr",
            "OME-Zarr (*.zarr)",
            options=QFileDialog.Option.DontConfirmOverwrite,  # asked below: it is a folder
        )
        if not path:
            return
        taken = Path(path).exists()
        question = f"{path} exists. Replace it when the new labels are complete?"
        if taken and QMessageBox.question(self, "Save result", question) != _YES:
            return
        self.store_wanted.emit(path, taken)

    def _ask_and_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load model", "", _MODEL_FILES)
        if path:
            self.load_wanted.emit(path)


def _button(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button
