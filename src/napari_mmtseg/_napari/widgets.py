"""The widgets: choose images and settings, run, watch, stop, keep."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QCloseEvent, QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_mmtseg._napari import layers as napari_layers
from napari_mmtseg._napari.form import SettingsForm
from napari_mmtseg._napari.loss_curve import LossCurve
from napari_mmtseg._napari.process import TrainingProcess
from napari_mmtseg._napari.script import as_python
from napari_mmtseg._napari.worker import Done, Failed, Job, Note, Preview, Progress, Stop, View
from napari_mmtseg.arrays import Planes
from napari_mmtseg.methods import METHODS, MMT, Method
from napari_mmtseg.model import Model, load
from napari_mmtseg.segmentation import Segmentation

if TYPE_CHECKING:
    import napari

_MODEL_FILES = "Models (*.safetensors)"


class _Run(NamedTuple):
    """What a run under way was started with."""

    layers: list[Image]
    axes: str  # of the first layer, without colours
    source_axes: str  # of the array handed over
    shape: tuple[int, ...]  # of the labels
    method: Method
    name: str
    placed: dict[str, Any]
    wants_uncertainty: bool
    started: float


class _Result(NamedTuple):
    """What the last run gave, to recolour it."""

    layer: Labels
    segmentation: Segmentation
    placed: dict[str, Any]
    shown: int  # labels


class SegmentWidget(QWidget):
    """Segment images with any method of the catalogue."""

    first: type[Method] = MMT

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.process = TrainingProcess(self)
        self.process.said.connect(self._hear)
        self.model: Model | None = None
        self._run: _Run | None = None
        self._live: Labels | None = None
        self._result: _Result | None = None
        self._build()
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._list_layers)
        self.viewer.dims.events.current_step.connect(self._tell_view)
        self._list_layers()
        QTimer.singleShot(0, self.process.warm_up)

    # -- building -------------------------------------------------------------------------------

    def _build(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setSpacing(8)

        self.method_choice = QComboBox()
        for name, cls in METHODS.items():
            self.method_choice.addItem(cls.title, name)
            self.method_choice.setItemData(
                self.method_choice.count() - 1, cls.summary, Qt.ItemDataRole.ToolTipRole
            )
        self.method_choice.setCurrentIndex(list(METHODS.values()).index(self.first))
        self.images = QListWidget()
        self.images.setToolTip("Tick the image to segment; tick several to use them as channels.")
        self.images.setAccessibleName("Images")
        self.axes = QComboBox()
        self.axes.setToolTip(
            "What the image's axes are: T time, Z depth, C channel, Y row, X column. Name them "
            "with the layer's axis labels, or choose here."
        )
        self.preset = QComboBox()
        self.preset.setToolTip("Settings that belong together; changing one makes them custom.")
        self.uncertainty = QCheckBox("Uncertainty image")
        self.uncertainty.setToolTip(
            "Add an image of how far the two networks disagree: 0 agree, 1 disagree."
        )
        top = QFormLayout()
        top.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        top.addRow("Method", self.method_choice)
        top.addRow("Images", self.images)
        self._axes_label = QLabel("Axes")
        top.addRow(self._axes_label, self.axes)
        top.addRow("Preset", self.preset)
        column.addLayout(top)

        self._form_place = QVBoxLayout()
        column.addLayout(self._form_place)
        column.addWidget(self.uncertainty)

        self.run_button = QPushButton("Run")
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("End training now and keep what is learned.")
        self.discard_button = QPushButton("Discard")
        self.discard_button.setToolTip("End training now and drop this run's labels.")
        buttons = QHBoxLayout()
        for button in (self.run_button, self.stop_button, self.discard_button):
            buttons.addWidget(button)
        column.addLayout(buttons)
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(8)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.curve = LossCurve()
        column.addWidget(self.progress)
        column.addWidget(self.status)
        column.addWidget(self.curve)

        self.n_labels = QSlider(Qt.Orientation.Horizontal)
        self.n_labels.setAccessibleName("Number of labels")
        self.n_labels.setToolTip("Merge labels that look alike, at once and without training.")
        self.n_labels_text = QLabel()
        self._after = QWidget()
        after = QVBoxLayout(self._after)
        after.setContentsMargins(0, 0, 0, 0)
        row = QHBoxLayout()
        row.addWidget(QLabel("Labels"))
        row.addWidget(self.n_labels)
        row.addWidget(self.n_labels_text)
        after.addLayout(row)
        self._after.hide()
        column.addWidget(self._after)

        self.copy_button = QPushButton("Copy as Python")
        self.copy_button.setToolTip("Put the script that repeats this run on the clipboard.")
        self.save_button = QPushButton("Save model…")
        self.save_button.setToolTip("Keep what was learned in a file, to label other images with.")
        self.load_button = QPushButton("Load model…")
        self.load_button.setToolTip("Take a model from a file.")
        self.apply_button = QPushButton("Apply model")
        self.apply_button.setToolTip("Label the ticked images with the model, without training.")
        self.model_text = QLabel("No model yet: run, or load one.")
        self.model_text.setWordWrap(True)
        kept = QWidget()
        rows = QVBoxLayout(kept)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.model_text)
        for pair in ((self.save_button, self.load_button), (self.apply_button, self.copy_button)):
            line = QHBoxLayout()
            for button in pair:
                line.addWidget(button)
            rows.addLayout(line)
        self.keep = QCollapsible("Model and script")
        self.keep.addWidget(kept)
        column.addWidget(self.keep)
        column.addStretch(1)

        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.setMinimumWidth(310)

        self._choose_method()
        self.method_choice.currentIndexChanged.connect(self._choose_method)
        self.images.itemChanged.connect(self._images_changed)
        self.axes.currentIndexChanged.connect(self.refresh)
        self.preset.activated.connect(self._choose_preset)
        self.run_button.clicked.connect(self.run)
        self.stop_button.clicked.connect(self.stop)
        self.discard_button.clicked.connect(self.discard)
        self.n_labels.valueChanged.connect(self._recolour)
        self.copy_button.clicked.connect(self.copy_as_python)
        self.save_button.clicked.connect(self._ask_and_save)
        self.load_button.clicked.connect(self._ask_and_load)
        self.apply_button.clicked.connect(self.apply_model)

    def _choose_method(self) -> None:
        cls = METHODS[self.method_choice.currentData()]
        old = self._form_place.takeAt(0)
        if old is not None and old.widget() is not None:
            old.widget().deleteLater()
        self.form = SettingsForm(cls)
        self.form.changed.connect(self._settings_changed)
        self._form_place.addWidget(self.form)
        self.preset.clear()
        self.preset.addItems(["default", *cls.presets])
        self.uncertainty.setVisible(cls.has_uncertainty)
        self.refresh()

    # -- what is chosen -------------------------------------------------------------------------

    def chosen_layers(self) -> list[Image]:
        """Return the image layers that are ticked."""
        items = [self.images.item(i) for i in range(self.images.count())]
        return [
            item.data(Qt.ItemDataRole.UserRole)
            for item in items
            if item.checkState() == Qt.CheckState.Checked
        ]

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    def problem(self) -> str:
        """Say why Run cannot be pressed now, or return an empty string."""
        layers = self.chosen_layers()
        if not layers:
            others = [one.name for one in self.viewer.layers]
            if self.images.count():
                return "Tick an image first."
            if others:
                return f"There is no image layer ({others[-1]} is of another kind); open an image."
            return "Open an image first, or take one from File > Open Sample > MMT Segmentation."
        try:
            self.form.method()
            napari_layers.check(layers, self.axes.currentText())
        except (ValueError, TypeError) as error:
            return f"{error}."
        return ""

    def refresh(self) -> None:
        """Enable what can be pressed; the Run button's tooltip says why it cannot."""
        running, problem = self.running, self.problem()
        self.run_button.setEnabled(not running and not problem)
        self.run_button.setToolTip(problem or "Train on the ticked images and label them.")
        self.stop_button.setEnabled(running)
        self.discard_button.setEnabled(running)
        self.save_button.setEnabled(self.model is not None)
        self.apply_button.setEnabled(not running and not problem and self.model is not None)
        self.copy_button.setEnabled(not problem)
        if not running and problem:
            self._say(problem)
        elif not running and self._result is None:
            self._say("Ready.")

    def _list_layers(self) -> None:
        ticked = {id(layer) for layer in self.chosen_layers()}
        known = {
            id(self.images.item(i).data(Qt.ItemDataRole.UserRole))
            for i in range(self.images.count())
        }
        layers = [one for one in reversed(self.viewer.layers) if napari_layers.is_usable(one)]
        layers = [one for one in layers if napari_layers.METADATA_KEY not in one.metadata]
        if layers and not ticked & {id(one) for one in layers}:
            active = self.viewer.layers.selection.active
            ticked = {id(active if active in layers else layers[0])}
        self.images.blockSignals(True)
        self.images.clear()
        for layer in layers:
            item = QListWidgetItem(layer.name)
            item.setData(Qt.ItemDataRole.UserRole, layer)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            state = Qt.CheckState.Checked if id(layer) in ticked else Qt.CheckState.Unchecked
            item.setCheckState(state)
            self.images.addItem(item)
            if id(layer) not in known:
                layer.events.name.connect(self._list_layers)
        self.images.blockSignals(False)
        rows = min(4, max(1, len(layers)))
        self.images.setFixedHeight(rows * max(18, self.images.sizeHintForRow(0)) + 8)
        self._images_changed()

    def _images_changed(self) -> None:
        layers = self.chosen_layers()
        choices = napari_layers.axes_choices(layers[0]) if layers else []
        if [self.axes.itemText(i) for i in range(self.axes.count())] != choices:
            self.axes.clear()
            self.axes.addItems(choices)
        shown = choices != ["YX"] and bool(choices)
        self.axes.setVisible(shown)
        self._axes_label.setVisible(shown)
        self.refresh()

    def _choose_preset(self) -> None:
        cls = METHODS[self.method_choice.currentData()]
        name = self.preset.currentText()
        if name != "custom":
            self.form.show_method(cls.preset(name))

    def _settings_changed(self) -> None:
        cls = METHODS[self.method_choice.currentData()]
        with contextlib.suppress(ValueError, TypeError):
            now = dataclasses.replace(self.form.method(), seed=0)
            names = ["default", *cls.presets]
            match = next((n for n in names if cls.preset(n, seed=0) == now), "custom")
            custom = self.preset.findText("custom")
            if match == "custom" and custom < 0:
                self.preset.addItem("custom")
            elif match != "custom" and custom >= 0:
                self.preset.removeItem(custom)
            self.preset.setCurrentText(match)
        self.refresh()

    # -- running --------------------------------------------------------------------------------

    def run(self) -> None:
        """Train on the ticked images and label them."""
        self._begin(model=None)

    def apply_model(self) -> None:
        """Label the ticked images with the model, without training."""
        self._begin(model=self.model)

    def stop(self) -> None:
        """End training and keep what is learned."""
        self.process.tell(Stop())
        self._say("Stopping; labelling with what is learned so far…")

    def discard(self) -> None:
        """End training and drop what this run has made."""
        if self._run is None:
            return
        self.process.discard()
        self._drop_live()
        self._end("Discarded; your layers are as they were.")
        QTimer.singleShot(0, self.process.warm_up)

    def _begin(self, model: Model | None) -> None:
        problem = self.problem()
        if problem or self._run is not None:
            self._say(problem or "A run is under way; stop or discard it first.")
            return
        layers, axes = self.chosen_layers(), self.axes.currentText()
        source = napari_layers.read(layers, axes)
        planes = Planes(source.data, source.axes)
        method = self.form.method() if model is None else model.method
        try:
            if model is not None:
                model.check(planes)
        except ValueError as error:
            self._fail(str(error))
            return
        name = f"{' + '.join(one.name for one in layers)} {method.title}"
        self._run = _Run(
            layers=layers,
            axes=axes,
            source_axes=source.axes,
            shape=planes.shape,
            method=method,
            name=name,
            placed=napari_layers.placement(layers[0], axes),
            wants_uncertainty=method.has_uncertainty and self.uncertainty.isChecked(),
            started=time.monotonic(),
        )
        self.curve.clear()
        self.progress.setRange(0, 0)
        self._say("Starting…")
        self.process.start(
            Job(
                image=source.data,
                axes=source.axes,
                method=None if model else method.to_dict(),
                model=model,
                plane=self._plane_in_view(),
            )
        )
        self.refresh()

    def _plane_in_view(self) -> int:
        run = self._run
        if run is None:
            return 0
        return napari_layers.plane_in_view(run.layers[0], run.axes, self.viewer.dims.point)

    def _tell_view(self) -> None:
        if self._run is not None:
            self.process.tell(View(self._plane_in_view()))

    def _hear(self, message: Any) -> None:
        if self._run is None:
            return
        if isinstance(message, Progress):
            self._show_progress(self._run, message)
        elif isinstance(message, Preview):
            self._show_preview(self._run, message)
        elif isinstance(message, Note):
            show_info(message.text)
        elif isinstance(message, Done):
            self._finish(self._run, message)
        elif isinstance(message, Failed):
            self._drop_live()
            self._end("")
            self._fail(message.text)

    def _show_progress(self, run: _Run, step: Progress) -> None:
        self.progress.setRange(0, step.total)
        self.progress.setValue(step.done)
        if step.phase == "labelling":
            self._say(f"Labelling plane {step.done} of {step.total}")
            return
        self.curve.add(step.loss)
        spent = time.monotonic() - run.started
        left = spent / step.done * (step.total - step.done)
        self._say(
            f"Iteration {step.done} of {step.total}, loss {step.loss:.3g}, {step.n_labels} labels, "
            f"{_duration(left)} left"
        )

    def _show_preview(self, run: _Run, preview: Preview) -> None:
        if self._live is None or self._live not in self.viewer.layers:
            empty = np.zeros(run.shape, np.int32)
            self._live = Labels(
                empty,
                name=f"{run.name} (training)",
                metadata={napari_layers.METADATA_KEY: {"training": True}},
                **run.placed,
            )
            active = self.viewer.layers.selection.active
            self.viewer.add_layer(self._live)
            if active is not None:
                self.viewer.layers.selection.active = active
        planes = self._live.data.reshape(-1, *run.shape[-2:])
        planes[preview.plane] = preview.labels
        self._live.refresh()

    def _finish(self, run: _Run, done: Done) -> None:
        result = done.result
        metadata = napari_layers.provenance(result, run.layers, run.source_axes, done.seconds)
        labels, uncertainty = napari_layers.result_layers(result, run.name, run.placed, metadata)
        self._drop_live()
        if uncertainty is not None and run.wants_uncertainty:
            self.viewer.add_layer(uncertainty)
        self.viewer.add_layer(labels)
        self.model = result.model
        found = int(labels.data.max())
        self._result = _Result(labels, result, run.placed, found)
        self._end(f"{found} labels in {_duration(done.seconds)}.")
        self._describe_model(f"from {run.name}")
        self._offer_recolouring(self._result)

    def _drop_live(self) -> None:
        if self._live is not None and self._live in self.viewer.layers:
            self.viewer.layers.remove(self._live)
        self._live = None

    def _end(self, text: str) -> None:
        self._run = None
        self.progress.setRange(0, 1)
        self.progress.setValue(0)
        self.refresh()
        self._say(text)

    def _fail(self, text: str) -> None:
        self._say(text)
        show_error(text)

    def _say(self, text: str) -> None:
        self.status.setText(text)

    # -- after a run ----------------------------------------------------------------------------

    def _offer_recolouring(self, result: _Result) -> None:
        model = result.segmentation.model
        most = 0 if model is None else model.n_clusters
        self._after.setVisible(most > 2)
        self.n_labels.blockSignals(True)
        self.n_labels.setRange(min(2, most), most)
        self.n_labels.setValue(result.shown)
        self.n_labels.blockSignals(False)
        self.n_labels_text.setText(f"{result.shown} of {most}")

    def _recolour(self, count: int) -> None:
        result = self._result
        if result is None:
            return
        layer, before = result.layer, result.segmentation.labels(result.shown)
        labels = result.segmentation.labels(count)
        if layer in self.viewer.layers and np.array_equal(layer.data, before):
            layer.data = labels
        else:  # removed, or painted on: what the user made stays as it is
            layer = Labels(labels, name=layer.name, metadata=dict(layer.metadata), **result.placed)
            self.viewer.add_layer(layer)
        layer.features = napari_layers.features(labels)
        record = layer.metadata[napari_layers.METADATA_KEY]
        layer.metadata[napari_layers.METADATA_KEY] = record | {"n_labels": count}
        self._result = result._replace(layer=layer, shown=count)
        self.n_labels_text.setText(f"{count} of {self.n_labels.maximum()}")

    def copy_as_python(self) -> None:
        """Put the script that repeats the run on the clipboard."""
        layers = self.chosen_layers()
        text = as_python(
            self.form.method(),
            [one.name for one in layers],
            napari_layers.axes_of(layers, self.axes.currentText()),
            together=len(layers) > 1,
            uncertainty=self.uncertainty.isChecked(),
        )
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(text)
        show_info("The script is on the clipboard.")

    def save_model(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save the model that the last run learned, or that was loaded."""
        if self.model is not None:
            self.model.save(path, overwrite=overwrite)
            show_info(f"Saved {Path(path).name}.")

    def load_model(self, path: str | Path) -> None:
        """Take a model from a file, to apply it."""
        try:
            self.model = load(path)
        except (OSError, ValueError) as error:
            self._fail(str(error))
            return
        self._describe_model(f"from {Path(path).name}")
        self.refresh()

    def _describe_model(self, origin: str) -> None:
        if self.model is not None:
            title, count = self.model.method.title, self.model.n_clusters
            self.model_text.setText(f"{title}, {count} labels, {origin}.")

    def _ask_and_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save model", "model.safetensors", _MODEL_FILES)
        if path:
            try:
                # The dialog has asked already whether to replace the file.
                self.save_model(path, overwrite=True)
            except OSError as error:
                self._fail(f"The model could not be saved: {error}")

    def _ask_and_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load model", "", _MODEL_FILES)
        if path:
            self.load_model(path)

    def event(self, event: QEvent | None) -> bool:
        """End a run that is under way when the widget is taken out of the window."""
        if event is not None and event.type() == QEvent.Type.ParentChange and not self.parent():
            self._close()
        return bool(super().event(event))

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """End a run that is under way."""
        self._close()
        super().closeEvent(event)

    def _close(self) -> None:
        self.process.discard()
        if self._run is not None:
            self._drop_live()
            self._end("Discarded; your layers are as they were.")


class MMTWidget(SegmentWidget):
    """Segment with MMT."""

    first = MMT


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
