"""What can be done with a result: fewer labels, keep the model, apply it, copy the script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_mmtseg._napari import layers as napari_layers
from napari_mmtseg._napari.again import Origin
from napari_mmtseg._napari.layer_choice import LayerChoice
from napari_mmtseg._napari.lazy_labels import LazyLabels
from napari_mmtseg._napari.lazy_tiles import LazyTiledLabels
from napari_mmtseg._napari.measure import open_measure
from napari_mmtseg._napari.objects_panel import ObjectsPanel
from napari_mmtseg._napari.recolouring import Recoloured, Recolouring, recoloured
from napari_mmtseg._napari.sources import take
from napari_mmtseg._napari.storing import Save
from napari_mmtseg._napari.words import words_for
from napari_mmtseg._napari.worker import Shown
from napari_mmtseg.labelling import Segmentation
from napari_mmtseg.methods.refining import output_of
from napari_mmtseg.model import Model, load

if TYPE_CHECKING:
    import napari

_MODEL_FILES = "Models (*.safetensors)"
_AT_ONCE = 2**20
"""Pixels that are recoloured before the window goes on; more are left to a thread."""
_YES = QMessageBox.StandardButton.Yes


class Result(NamedTuple):
    """A result in the viewer."""

    layer: Labels
    model: Model | None
    placed: dict[str, Any]
    about: dict[str, Any]
    """What tells the image from others. JSON."""
    origin: Origin
    whole: Segmentation | None = None
    lazy: LazyLabels | LazyTiledLabels | None = None
    """One of the two."""

    def save(self, path: str, *, overwrite: bool) -> Save:
        """Make the job that writes the labels shown.

        Raises
        ------
        MemoryError
            If there is no room for a copy.
        """
        scale = tuple(float(one) for one in self.placed["scale"])
        units = tuple(str(one) for one in self.placed["units"])
        told = set(scale) != {1.0} or set(units) != {"pixel"}
        place = {
            "scale": scale if told else None,
            "units": units,
            "translate": tuple(float(one) for one in self.placed["translate"]),
        }
        axes = self.origin.axes.replace("C", "")
        if self.lazy is not None:
            order, label_of = self.lazy.order, self.lazy.label_of
            shape = self.lazy.shape
            return Save(path, overwrite, axes, shape, place, self.about, None, order, label_of)
        labels = self.layer.data
        return Save(
            path, overwrite, axes, labels.shape, place, self.about, take(labels, self.layer.name)
        )


class ResultPanel(QWidget):
    """A slider that merges labels at once, and the model behind the last result."""

    changed = Signal()
    save_wanted = Signal(str, bool)
    """The result is to be written to this path; whether what is there may be replaced."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.model: Model | None = None
        self.result: Result | None = None
        self._shown = 0  # labels
        self._painted = False
        self._recolouring = Recolouring(self)
        self._recolouring.made.connect(self._take_merged)
        self.n_labels = QSlider(Qt.Orientation.Horizontal)
        self.n_labels.setAccessibleName("Number of labels")
        self.n_labels.setToolTip("Merge labels that look alike, at once and without training.")
        self._count = QLabel()
        self._count.setMinimumWidth(56)
        self._merging = QWidget()
        row = QHBoxLayout(self._merging)
        row.setContentsMargins(0, 0, 0, 0)
        for part in (QLabel("Labels"), self.n_labels, self._count):
            row.addWidget(part)
        self._merging.hide()

        self.objects = ObjectsPanel(viewer)
        self.objects.hide()

        self.strokes = LayerChoice(viewer, results=False)
        self.strokes.setAccessibleName("Strokes")
        self.strokes.setToolTip("A Labels layer with a few strokes of each class.")
        self.name_button = QPushButton("Name labels")
        self.name_button.setToolTip(
            "Label the ticked images with the model, each label taking the class that it meets "
            "most in the strokes; nothing is trained."
        )
        self._naming = QWidget()
        line = QHBoxLayout(self._naming)
        line.setContentsMargins(0, 0, 0, 0)
        for part in (QLabel("Strokes"), self.strokes, self.name_button):
            line.addWidget(part, 1 if part is self.strokes else 0)
        self._naming.hide()

        self.measure_button = QPushButton("Measure objects")
        self.measure_button.setToolTip("List the result's objects with their sizes and shapes.")
        self.measure_button.hide()
        self.store_button = QPushButton("Save result…")
        self.store_button.setToolTip(
            "Write the labels to OME-Zarr, block by block. If that is stopped or killed, saving "
            "under the same name goes on with it."
        )
        self.save_button = QPushButton("Save model…")
        self.save_button.setToolTip("Keep what was learned in a file, to label other images with.")
        self.load_button = QPushButton("Load model…")
        self.load_button.setToolTip("Take a model from a file.")
        self.apply_button = QPushButton("Apply model")
        self.apply_button.setToolTip("Label the ticked images with the model, without training.")
        self.copy_button = QPushButton("Copy as Python")
        self.copy_button.setToolTip("Put the script that repeats this run on the clipboard.")
        self.model_text = QLabel("No model yet: run, or load one.")
        self.model_text.setWordWrap(True)
        inner = QWidget()
        rows = QVBoxLayout(inner)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.model_text)
        for buttons in (
            (self.save_button, self.store_button),
            (self.load_button, self.apply_button, self.copy_button),
        ):
            line = QHBoxLayout()
            for button in buttons:
                line.addWidget(button)
            rows.addLayout(line)
        self.keep = QCollapsible("Model and script")
        self.keep.addWidget(inner)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._merging)
        column.addWidget(self.objects)
        column.addWidget(self.measure_button)
        column.addWidget(self._naming)
        column.addWidget(self.keep)
        self.n_labels.valueChanged.connect(self._merge)
        self.measure_button.clicked.connect(self._measure)
        self.strokes.currentIndexChanged.connect(lambda: self.changed.emit())
        self.save_button.clicked.connect(self._ask_and_save)
        self.store_button.clicked.connect(self._ask_and_store)
        self.load_button.clicked.connect(self._ask_and_load)

    def show_result(self, result: Result) -> None:
        """Offer what can be done with a new result."""
        self.result, model = result, result.model
        self.measure_button.setVisible(result.lazy is None)
        of_objects = result.whole is not None and result.whole.objects is not None
        self.objects.setVisible(of_objects)
        if of_objects and model is not None:
            self.objects.show_model(model, result.layer, result.origin.pixel)
            self._watch(result.layer)
        if model is None:
            self._merging.hide()
            self.changed.emit()
            return
        shown = self._shown = len(np.unique(model.label_of()))
        mergeable = not of_objects and (result.lazy is None or result.lazy.of_clusters)
        self._merging.setVisible(model.n_clusters > 2 and mergeable)
        self.n_labels.blockSignals(True)
        self.n_labels.setRange(min(2, model.n_clusters), model.n_clusters)
        self.n_labels.setValue(shown)
        self.n_labels.blockSignals(False)
        self._count.setText(f"{shown} of {model.n_clusters}")
        self._take(model, f"from {result.layer.name}")

    def save_model(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save the model behind the last result, or the one that was loaded."""
        if self.model is not None:
            self.model.save(path, overwrite=overwrite)
            show_info(f"Saved {Path(path).name}.")

    def load_model(self, path: str | Path) -> None:
        """Take a model from a file, to apply it."""
        try:
            self._take(load(path), f"from {Path(path).name}")
        except (OSError, ValueError) as error:
            show_error(str(error))

    def _take(self, model: Model | None, origin: str) -> None:
        if model is None:
            return
        self.model = model
        # Strokes name kinds of things, and objects are of one kind.
        self._naming.setVisible(model.n_clusters > 1 and output_of(model.method) != "objects")
        self.model_text.setText(f"{model.method.title}, {model.n_clusters} labels, {origin}.")
        self.changed.emit()

    def _merge(self, count: int) -> None:
        result = self.result
        if result is None or result.model is None:
            return
        self._count.setText(f"{count} of {self.n_labels.maximum()}")
        if result.lazy is not None:
            result.lazy.relabel(result.model.label_of(count))
            result.layer.refresh(extent=False)
            result.layer.features = napari_layers.sample_features(result.lazy)
            self._note(result, result.layer, count)
            return
        assert result.whole is not None
        if self._recolouring.busy:
            return  # which looks at the slider when it is done
        asked = (result.whole, result.layer.data, self._shown, count)
        if result.whole.clusters.size <= _AT_ONCE:
            self._show_merged(result, recoloured(*asked))
            return
        self._watch(result.layer)
        self._recolouring.start(*asked)

    def _note(self, result: Result, layer: Labels, count: int) -> None:
        """Remember how many labels a layer shows."""
        record = layer.metadata[napari_layers.METADATA_KEY]
        layer.metadata[napari_layers.METADATA_KEY] = record | {"n_labels": count}
        self.result, self._shown = result._replace(layer=layer), count

    def _show_merged(self, result: Result, made: Recoloured) -> None:
        layer = result.layer
        same = made.untouched and layer.data is made.data
        if same and layer in self.viewer.layers:
            layer.data = made.labels
        else:  # removed, or painted on: what the user made stays as it is
            placed, metadata = result.placed, dict(layer.metadata)
            layer = Labels(made.labels, name=layer.name, metadata=metadata, **placed)
            self.viewer.add_layer(layer)
        size = made.labels.size
        layer.features = napari_layers.counts_table(made.present, made.pixels, size)
        self._note(result, layer, made.n_labels)

    def _take_merged(self, made: Recoloured | MemoryError) -> None:
        """Show labels that were merged in the thread, unless there is another result by now."""
        if isinstance(made, MemoryError):
            show_error(words_for(made))
            return
        if self.result is not None and self.result.whole is made.whole:
            untouched = made.untouched and not self._painted
            self._show_merged(self.result, made._replace(untouched=untouched))
        if self.n_labels.value() != self._shown:
            self._merge(self.n_labels.value())

    def show_parted(self, whole: Segmentation, shown: Shown, origin: Origin) -> None:
        """Show objects that were found anew, in the same layer unless it was changed by hand."""
        result = self.result
        if result is None or result.whole is None:
            return
        layer = result.layer
        record = layer.metadata[napari_layers.METADATA_KEY] | {
            "settings": whole.method.to_dict(),
            "object_at": origin.at,
        }
        metadata = layer.metadata | {napari_layers.METADATA_KEY: record}
        if layer in self.viewer.layers and not self._painted:
            layer.metadata, layer.data = metadata, shown.labels
        else:
            layer.visible = False
            made = napari_layers.result_layers(whole, shown, layer.name, result.placed, metadata)
            layer = self.viewer.add_layer(made[0])
        layer.features = napari_layers.counts_table(*shown[1:], shown.labels.size)
        self.show_result(
            result._replace(layer=layer, model=whole.model, whole=whole, origin=origin)
        )

    def _watch(self, layer: Labels) -> None:
        """Note from now on whether a layer is changed by hand."""
        self._painted = False
        events = layer.events
        for event in (events.paint, events.labels_update, events.data):
            event.connect(self._note_painting)

    def _note_painting(self, event: Any) -> None:
        self._painted = True

    def _measure(self) -> None:
        if self.result is not None and self.result.layer in self.viewer.layers:
            open_measure(self.viewer, self.result.layer)

    def _ask_and_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save model", "model.safetensors", _MODEL_FILES)
        if path:
            try:
                # The dialog has asked already whether to replace the file.
                self.save_model(path, overwrite=True)
            except (OSError, ValueError) as error:
                show_error(f"The model could not be saved: {error}")

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
        self.save_wanted.emit(path, taken)

    def _ask_and_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load model", "", _MODEL_FILES)
        if path:
            self.load_model(path)
