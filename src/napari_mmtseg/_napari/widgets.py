"""The widgets: choose images and settings, run, watch, stop, keep."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari.layers import Image, Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QCheckBox, QComboBox, QScrollArea, QVBoxLayout, QWidget

from napari_mmtseg._napari import layers as napari_layers
from napari_mmtseg._napari.form import SettingsForm, label_of, rows_of
from napari_mmtseg._napari.layer_choice import LayerChoice
from napari_mmtseg._napari.live_view import LiveView
from napari_mmtseg._napari.looking import LazyResults
from napari_mmtseg._napari.picker import ImagePicker
from napari_mmtseg._napari.result_panel import Result, ResultPanel
from napari_mmtseg._napari.run_panel import JobWidget
from napari_mmtseg._napari.script import as_python
from napari_mmtseg._napari.serving import Serve
from napari_mmtseg._napari.storing import Saved
from napari_mmtseg._napari.words import words_for
from napari_mmtseg._napari.worker import Done, Job, Lazily, Preview, Shown, View
from napari_mmtseg.labelling import Segmentation
from napari_mmtseg.methods import METHODS, MMT
from napari_mmtseg.model import Model
from napari_mmtseg.settings import Method
from napari_mmtseg.stores import open_image

if TYPE_CHECKING:
    import napari


class _Run(NamedTuple):
    """What the run under way was started with."""

    layers: list[Image]
    axes: str  # of the first layer, without colours
    source_axes: str  # of the array handed over
    live: LiveView
    name: str
    placed: dict[str, Any]
    about: dict[str, Any]
    """What tells the image from others. JSON."""
    sources: Job | None = None
    """Where a lazy image is."""
    strokes: Labels | None = None
    """What names the labels of a model, and lends them its colours."""


class SegmentWidget(JobWidget):
    """Segment images with any method of the catalogue."""

    first: type[Method] = MMT

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self._run: _Run | None = None
        self._saving: Result | None = None
        self.lazy = LazyResults(self.viewer, self.panel.process, self)
        self._build()
        self._choose_method()
        self.method_choice.currentIndexChanged.connect(self._choose_method)
        self.preset.activated.connect(self._choose_preset)
        self.picker.changed.connect(self.refresh)
        self.panel.run_wanted.connect(self.run)
        self.panel.previewed.connect(self._show_preview)
        self.panel.finished.connect(self._show_result)
        self.panel.dropped.connect(self._drop_live)
        self.results.changed.connect(self.refresh)
        self.results.save_wanted.connect(self.save_result)
        self.results.apply_button.clicked.connect(self.apply_model)
        self.results.name_button.clicked.connect(self.name_labels)
        self.results.copy_button.clicked.connect(self.copy_as_python)
        self.viewer.dims.events.current_step.connect(self._tell_view)

    def _build(self) -> None:
        self.method_choice = QComboBox()
        for row, (name, cls) in enumerate(METHODS.items()):
            self.method_choice.addItem(cls.title, name)
            self.method_choice.setItemData(row, cls.summary, Qt.ItemDataRole.ToolTipRole)
        self.method_choice.setCurrentIndex(self.method_choice.findData(self.first.__name__))
        self.preset = QComboBox()
        self.preset.setToolTip("Settings that belong together; changing one makes them custom.")
        self.picker = ImagePicker(self.viewer)
        self.scribbles = self.picker.add_guide(
            "Scribbles", "A Labels layer with a few strokes of each class; 0 is left to the method."
        )
        self.mask = self.picker.add_guide(
            "Only where", "A Labels layer: pixels where it is 0 are left out and get label 0."
        )
        self.uncertainty = QCheckBox("Uncertainty image")
        self.uncertainty.setToolTip(
            "Add an image of how far the two networks disagree: 0 agree, 1 disagree."
        )
        self.results = ResultPanel(self.viewer)
        self._form_place = QVBoxLayout()
        choices = rows_of()
        choices.addRow(label_of("Method"), self.method_choice)
        choices.addRow(label_of("Preset", self.preset.toolTip()), self.preset)

        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setSpacing(8)
        column.addWidget(self.picker)
        column.addLayout(choices)
        column.addLayout(self._form_place)
        for part in (self.uncertainty, self.panel, self.results):
            column.addWidget(part)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.setMinimumWidth(380)

    @property
    def model(self) -> Model | None:
        """The model behind the last result, or the one that was loaded."""
        return self.results.model

    def problem(self) -> str:
        """Say why Run cannot be pressed now, or return an empty string."""
        try:
            self.form.method()
        except (ValueError, TypeError) as error:
            return f"{error}."
        return self.picker.problem()

    def refresh(self) -> None:
        """Enable what can be pressed; the Run button's tooltip says why it cannot."""
        problem = self.problem()
        self.panel.allow(problem)
        ready = not self.running and not problem
        self.results.save_button.setEnabled(self.model is not None)
        self.results.store_button.setEnabled(not self.running and self.results.result is not None)
        self.results.apply_button.setEnabled(ready and self.model is not None)
        self.results.name_button.setEnabled(ready and self.results.strokes.layer is not None)
        self.results.copy_button.setEnabled(not problem)

    def run(self) -> None:
        """Train on the ticked images and label them."""
        self._begin(None, self.scribbles)

    def apply_model(self) -> None:
        """Label the ticked images with the model, without training."""
        self._begin(self.model)

    def name_labels(self) -> None:
        """Label the ticked images with the model, its labels named by strokes."""
        self._begin(self.model, self.results.strokes)

    def copy_as_python(self) -> None:
        """Put the script that repeats the run on the clipboard."""
        layers = self.picker.chosen()
        text = as_python(
            self.form.method(),
            [one.name for one in layers],
            napari_layers.axes_of(layers, self.picker.chosen_axes()),
            multiscale=[one.name for one in layers if one.multiscale],
            spacing=napari_layers.spacing_of(layers[0], self.picker.chosen_axes()),
            guides=self._guides(),
            uncertainty=self._wants_uncertainty(),
        )
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(text)
        show_info("The script is on the clipboard.")

    def _guides(self) -> dict[str, str]:
        choices = {"scribbles": self.scribbles, "mask": self.mask}
        return {k: choice.layer.name for k, choice in choices.items() if choice.layer is not None}

    def leave(self) -> None:
        """End a run that is under way; lazy results go on without the widget."""
        super().leave()
        self.lazy.outlive()
        self.lazy = LazyResults(self.viewer, self.panel.process, self)

    # -- settings -------------------------------------------------------------------------------

    def _class(self) -> type[Method]:
        return METHODS[self.method_choice.currentData()]

    def _choose_method(self) -> None:
        cls = self._class()
        old = self._form_place.takeAt(0)
        if old is not None and old.widget() is not None:
            old.widget().hide()
            old.widget().deleteLater()
        self.form = SettingsForm(cls)
        self.form.changed.connect(self._settings_changed)
        self._form_place.addWidget(self.form)
        self.preset.clear()
        self.preset.addItems(["default", *cls.presets])
        self.uncertainty.setVisible(cls.has_uncertainty)
        self.picker.show_guide(self.scribbles, cls.takes_scribbles)
        self.refresh()

    def _choose_preset(self) -> None:
        name = self.preset.currentText()
        if name != "custom":
            self.form.show_method(self._class().preset(name))

    def _settings_changed(self) -> None:
        with contextlib.suppress(ValueError, TypeError):
            now = self.form.method()
            names = ["default", *self._class().presets]
            match = next((n for n in names if _like(now, self._class().preset(n))), "custom")
            self.preset.clear()
            self.preset.addItems(names + ["custom"] * (match == "custom"))
            self.preset.setCurrentText(match)
        self.refresh()

    def _wants_uncertainty(self) -> bool:
        return self._class().has_uncertainty and self.uncertainty.isChecked()

    # -- running --------------------------------------------------------------------------------

    def _begin(self, model: Model | None, scribbles: LayerChoice | None = None) -> None:
        problem = self.problem()
        if problem or self.running:
            self.panel.say(problem or "A run is under way; stop or discard it first.")
            return
        layers, axes = self.picker.chosen(), self.picker.chosen_axes()
        method = self.form.method() if model is None else model.method
        strokes = scribbles.layer if model is not None and scribbles is not None else None
        name = f"{' + '.join(one.name for one in layers)} {method.title}"
        spacing = napari_layers.spacing_of(layers[0], axes)
        lazy = method.trains and napari_layers.are_lazy(layers)
        try:
            planes = napari_layers.outline(layers, axes)
            if model is not None:
                model.frames(planes.data, planes.axes, spacing)
            if lazy:
                napari_layers.check_planes(layers, axes)
            else:
                napari_layers.check_memory(layers, axes, uncertainty=self._wants_uncertainty())
            job = Job(
                image=napari_layers.take(layers, axes),
                axes=planes.axes,
                method=method,
                spacing=spacing,
                model=model,
                scribbles=None if scribbles is None else scribbles.take(),
                mask=self.mask.take(),
                plane=napari_layers.plane_in_view(layers[0], axes, self.viewer.dims.point),
                uncertain=self._wants_uncertainty(),
            )
        except (ValueError, MemoryError) as error:
            self.panel.fail(words_for(error))
            return
        name = name if strokes is None else f"{name} named"
        placed = napari_layers.placement(layers[0], axes)
        self._run = _Run(
            layers=layers,
            axes=axes,
            source_axes=planes.axes,
            live=LiveView(self.viewer, planes.shape, f"{name} (training)", placed),
            about={
                "image": [one.name for one in layers],
                "mask": None if self.mask.layer is None else self.mask.layer.name,
                "shape": planes.data.shape,
                "dtype": planes.dtype.str,
                "axes": planes.axes,
                "spacing": spacing,
            },
            sources=job if lazy else None,
            name=name,
            placed=placed,
            strokes=strokes,
        )
        self.panel.start(job)
        self.refresh()

    def _tell_view(self) -> None:
        run = self._run
        if run is not None and self.running:
            point = self.viewer.dims.point
            self.panel.process.tell(
                View(napari_layers.plane_in_view(run.layers[0], run.axes, point))
            )

    def _show_preview(self, preview: Preview) -> None:
        if self._run is not None:
            self._run.live.show(preview)

    def _show_result(self, done: Done) -> None:
        run, result = self._run, done.result
        self._drop_live()
        if isinstance(result, Saved) and self._saving is not None:
            self._show_saved(result, self._saving)
        elif isinstance(result, Lazily) and run is not None:
            self._show_lazy(result, run, done.seconds)
        elif isinstance(result, Segmentation) and run is not None and done.shown is not None:
            self._show_whole(result, done.shown, run, done.seconds)

    def _show_whole(self, result: Segmentation, shown: Shown, run: _Run, seconds: float) -> None:
        metadata = napari_layers.provenance(result.method, run.layers, run.source_axes, seconds)
        try:
            labels, uncertainty = napari_layers.result_layers(
                result, shown, run.name, run.placed, metadata
            )
        except MemoryError as error:
            self.panel.fail(words_for(error))
            return
        if uncertainty is not None:
            self.viewer.add_layer(uncertainty)
        self._add(labels, run)
        self.results.show_result(
            Result(labels, result.model, run.placed, run.about, run.axes, whole=result)
        )

    def _show_lazy(self, result: Lazily, run: _Run, seconds: float) -> None:
        assert run.sources is not None
        model, job = result.model, run.sources
        order = Serve(0, model, job.image, job.axes, job.spacing, job.mask)
        metadata = napari_layers.provenance(model.method, run.layers, run.source_axes, seconds)
        layer, labels, uncertainty = self.lazy.layers(
            result, order, run.live.shape, run.name, run.placed, metadata
        )
        if uncertainty is not None:
            self.viewer.add_layer(uncertainty)
        self._add(layer, run)
        self.results.show_result(Result(layer, model, run.placed, run.about, run.axes, lazy=labels))

    def _add(self, labels: Labels, run: _Run) -> None:
        if run.strokes is not None:
            labels.colormap = run.strokes.colormap
        self.viewer.add_layer(labels)

    def save_result(self, path: str, overwrite: bool) -> None:
        """Write the labels of the last result to OME-Zarr."""
        result = self.results.result
        if result is None or self.running:
            return
        try:
            save = result.save(path, overwrite=overwrite)
        except MemoryError as error:
            self.panel.fail(words_for(error))
            return
        self._saving = result
        self.panel.start(save)
        self.refresh()

    def _show_saved(self, saved: Saved, result: Result) -> None:
        if not saved.complete:
            self.panel.say(
                f"Stopped. Save again under that name to go on: {saved.path} keeps what is done."
            )
            return
        levels = list(open_image(saved.path).levels)
        several = len(levels) > 1
        layer = Labels(
            levels if several else levels[0],
            multiscale=several,
            name=Path(saved.path).name,
            colormap=result.layer.colormap,
            metadata={napari_layers.METADATA_KEY: {"saved": saved.path}},
            **result.placed,
        )
        self.viewer.add_layer(layer)
        self.panel.say(f"The labels are in {saved.path}.")

    def _drop_live(self) -> None:
        if self._run is not None:
            self._run.live.drop()
        self._run = None
        self.refresh()


def _like(one: Method, other: Method) -> bool:
    """Tell whether two methods have the same settings, whatever their seeds."""
    return {**one.to_dict(), "seed": 0} == {**other.to_dict(), "seed": 0}


def _widget_of(cls: type[Method]) -> type[SegmentWidget]:
    """Make the widget that begins with a method of the catalogue."""
    members = {"first": cls, "__doc__": f"Segment with {cls.title}.", "__module__": __name__}
    return type(f"{cls.__name__}Widget", (SegmentWidget,), members)


globals().update({f"{cls.__name__}Widget": _widget_of(cls) for cls in METHODS.values()})
