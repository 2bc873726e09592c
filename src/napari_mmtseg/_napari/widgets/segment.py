"""The widgets: choose images and settings, run, watch, stop, keep."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.fields.duration import duration
from napari_mmtseg._napari.fields.layer_choice import LayerChoice
from napari_mmtseg._napari.fields.scroll_column import ScrollColumn
from napari_mmtseg._napari.fields.tab_order import read_in_order
from napari_mmtseg._napari.fields.wheel import WheelGuard
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.channel_axis import laid_out, widened
from napari_mmtseg._napari.layers.image_part import EVERYTHING, ImagePart
from napari_mmtseg._napari.layers.lazy_layers import LazyLayers
from napari_mmtseg._napari.process.messages import Done, LazyTraining, Preview, ShownLabels
from napari_mmtseg._napari.process.store_job import StoredLabels
from napari_mmtseg._napari.process.view_places import Places
from napari_mmtseg._napari.process.view_server import ViewOrder
from napari_mmtseg._napari.result.object_jobs import summary
from napari_mmtseg._napari.result.panel import Result, ResultPanel
from napari_mmtseg._napari.result.provenance import remember
from napari_mmtseg._napari.result.script import as_python
from napari_mmtseg._napari.run.image_choice import ImageChoice
from napari_mmtseg._napari.run.method_panel import MethodPanel
from napari_mmtseg._napari.run.run_job import RunChoice, RunInputs, run_job
from napari_mmtseg._napari.run.run_panel import JobWidget, cut_short
from napari_mmtseg._napari.run.settings_form import SettingsForm
from napari_mmtseg._napari.widgets.measure import open_measure
from napari_mmtseg._napari.widgets.object_search import ObjectSearchAgain
from napari_mmtseg.methods import METHODS, method_from_dict
from napari_mmtseg.methods.run_cost import Estimate, estimate
from napari_mmtseg.model import Model
from napari_mmtseg.prediction.label_image import Segmentation
from napari_mmtseg.settings import Method
from napari_mmtseg.system.error_text import error_text

if TYPE_CHECKING:
    import napari

_TILED = (
    "From afar the labels fill in tile by tile, from the middle on: zoom in, and what is in view "
    "comes first."
)
_LONG_SECONDS = 10.0
"""A run that takes longer says so before."""


class SegmentWidget(JobWidget):
    """Segment images with any method of the catalogue."""

    first: type[Method] | None = None
    """The method to begin with; without one it is that of the preferences."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self._run: RunInputs | None = None
        self._saving: Result | None = None
        self.lazy = LazyLayers(self.viewer, self.panel.process, self)
        self._build()
        self.anew = ObjectSearchAgain(self.viewer, self.panel, self.results, self)
        self._wheel = WheelGuard(self)
        self._wheel.watch(self)
        self._choose_method()
        self.methods.method_changed.connect(self._choose_method)
        self.methods.changed.connect(self.refresh)
        self.picker.changed.connect(self._fit)
        self.panel.run_wanted.connect(self.run)
        self.panel.all_wanted.connect(self.run_on_all)
        self.panel.previewed.connect(self._show_preview)
        self.panel.finished.connect(self._show_result)
        self.panel.dropped.connect(self._drop_live)
        self.results.changed.connect(self.refresh)
        self.results.save_wanted.connect(self.save_result)
        self.results.apply_button.clicked.connect(self.apply_model)
        self.results.name_button.clicked.connect(self.name_labels)
        self.results.copy_button.clicked.connect(self.copy_as_python)
        self.results.objects.diameter_wanted.connect(self.part_again)
        self.results.objects.object_wanted.connect(self.take_for_object)
        self.results.objects.said.connect(self.panel.say)
        self.anew.began.connect(self.refresh)
        self.results.settings_wanted.connect(self.take_settings)
        if self.results.result is not None and self._is_of(self.results.result):
            self.take_settings()  # the widget was closed meanwhile
        self.viewer.dims.events.current_step.connect(self._tell_view)
        self.viewer.scene.camera.events.center.connect(self._tell_view)

    def _build(self) -> None:
        self.methods = MethodPanel(self.first or preferences.first_method())
        self.picker = ImageChoice(self.viewer)
        self.scribbles = self.picker.add_guide(
            "Strokes", "A Labels layer with a few strokes of each class; 0 is left to the method."
        )
        self.mask = self.picker.add_guide(
            "Only where",
            "A Labels layer: pixels where it is 0 are left out and get label 0. Or Shapes: pixels "
            "outside of them are, in each plane of a stack.",
            shapes=True,
        )
        self.uncertainty = QCheckBox("Uncertainty image")
        self.uncertainty.setToolTip(
            "Add an image of how far the two networks disagree: 0 agree, 1 disagree."
        )
        self.results = ResultPanel(self.viewer)
        self.results.measure_wanted.connect(partial(open_measure, self.viewer))
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setSpacing(8)
        for part in (self.picker, self.methods, self.uncertainty, self.panel.curve):
            column.addWidget(part)
        column.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 8)
        outer.addWidget(ScrollColumn(inner), 1)
        for part in (self.panel, self.results):  # always in view
            part.layout().setContentsMargins(9, 0, 9, 0)
            outer.addWidget(part)

    @property
    def form(self) -> SettingsForm:
        """The settings of the method chosen."""
        return self.methods.form

    @property
    def model(self) -> Model | None:
        """The model behind the result shown with its labels, or the one that was loaded."""
        return self.results.told_model()

    def problem(self) -> str:
        """Say why Run cannot be pressed now, or return an empty string."""
        chosen = () if self.picker.problem() else self.picker.chosen()
        problem = self.methods.problem(chosen, self.picker.chosen_axes())
        return problem or self.picker.problem()

    def refresh(self) -> None:
        """Enable what can be pressed; the Run button's tooltip says why it cannot."""
        problem = self.problem()
        self.panel.allow(problem, "" if problem else self._note())
        ready = not self.running and not problem
        self.results.save_button.setEnabled(self.model is not None)
        self.results.store_button.setEnabled(not self.running and self.results.result is not None)
        self.results.apply_button.setEnabled(ready and self.model is not None)
        self.results.name_button.setEnabled(ready and self.results.strokes.layer is not None)
        result = self.results.result
        ours = result is not None and type(result.origin.method).__name__ in METHODS
        self.results.copy_button.setEnabled(ours)
        self.results.objects.allow(not self.running)
        self.results.labels.allow(not self.running)

    def _note(self) -> str:
        """Say what is taken for granted, and how much a long run will take."""
        told = self._estimate()
        takes = ""
        if told.seconds > _LONG_SECONDS:
            takes = f"About {duration(told.seconds)} and {told.memory / 1e9:.1f} GB of memory"
            takes += "." if self.picker.region() else "; under Run on you can try a part first."
        return " ".join(filter(None, (self.picker.assumed(), takes)))

    def _estimate(self) -> Estimate:
        layers, axes = self.picker.chosen(), self.picker.chosen_axes()
        region = self.picker.region()
        parts: list[Any] = layers if region is None else [ImagePart(one, region) for one in layers]
        planes, method = napari_layers.outline(parts, axes), self.form.method()
        lazy = method.trains and napari_layers.are_lazy(parts)
        seen = Places(planes.shape).size(0) if lazy else None
        return estimate(method, planes.shape, planes.n_channels, seen)

    def run(self) -> None:
        """Train on the ticked images and label them."""
        self._begin(None, self.scribbles)

    def run_on_all(self) -> None:
        """Label all of the ticked images with the model that a part has made."""
        self.picker.part.setCurrentText(EVERYTHING)
        self.apply_model()

    def apply_model(self) -> None:
        """Label the ticked images with the model, without training."""
        self._begin(self.model)

    def part_again(self, diameter: float) -> None:
        """Find the objects of the last result anew with another diameter, px; 0 measures it."""
        self.anew.part(diameter=diameter)

    def take_for_object(self, at: tuple[int, ...]) -> None:
        """Find the objects of the last result anew, of what is at a pixel of it."""
        self.anew.part(at=at)

    def name_labels(self) -> None:
        """Label the ticked images with the model, its labels named by strokes."""
        self._begin(self.model, self.results.strokes)

    def copy_as_python(self) -> None:
        """Put the script that repeats the run behind the result on the clipboard."""
        result = self.results.result
        if result is None:
            return
        record = result.layer.metadata[napari_layers.METADATA_KEY]
        names = [one.name for one in result.origin.layers]  # which may have changed
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(as_python(record | {"image": names}, result.layer.name))
        show_info("The script is on the clipboard.")

    def take_settings(self) -> None:
        """Show the settings that the result shown was made with."""
        result = self.results.result
        record = {} if result is None else result.layer.metadata[napari_layers.METADATA_KEY]
        if "settings" in record and record["settings"].get("method") in METHODS:
            self.methods.show_method(method_from_dict(record["settings"]))

    def _is_of(self, result: Result) -> bool:
        record = result.layer.metadata[napari_layers.METADATA_KEY]
        return bool(record["settings"].get("method") == self.methods.method_class.__name__)

    def leave(self) -> None:
        """End a run that is under way; lazy results go on without the widget."""
        super().leave()
        self.lazy.outlive()
        self.lazy = LazyLayers(self.viewer, self.panel.process, self)

    # -- settings -------------------------------------------------------------------------------

    def _choose_method(self) -> None:
        cls = self.methods.method_class
        self.uncertainty.setVisible(cls.has_uncertainty)
        self.picker.show_guide(self.scribbles, cls.takes_scribbles)
        self._wheel.watch(self.form)
        read_in_order(self)
        self.name_dock(cls.title)
        self._fit()

    def _fit(self) -> None:
        self.methods.fit(self.picker.chosen())
        self.refresh()

    def _wants_uncertainty(self) -> bool:
        return self.methods.method_class.has_uncertainty and self.uncertainty.isChecked()

    # -- running --------------------------------------------------------------------------------

    def _begin(self, model: Model | None, scribbles: LayerChoice | None = None) -> None:
        problem = self.problem()
        if problem or self.running:
            self.panel.say(problem or "A run is under way; stop or discard it first.")
            return
        chosen = RunChoice(
            self.picker.chosen(),
            self.picker.chosen_axes(),
            self.form.method() if model is None else model.method,
            model,
            scribbles,
            self.mask,
            self._wants_uncertainty(),
            self.picker.region(),
        )
        try:
            job, self._run = run_job(self.viewer, chosen)
        except (ValueError, TypeError, MemoryError) as error:
            self.panel.fail(error_text(error))
            return
        self.panel.start(job, self._estimate().labelling)
        self.refresh()

    def _tell_view(self) -> None:
        run = self._run
        if run is not None and self.running:
            layer, axes = run.origin.layers[0], run.origin.axes
            if layer.ndim == len(axes):  # or else it was reshaped, and none of it is in view
                self.panel.process.tell(napari_layers.view_of(self.viewer, layer, axes))

    def _show_preview(self, preview: Preview) -> None:
        if self._run is not None:
            self._run.live.show(preview)

    def _show_result(self, done: Done) -> None:
        run, result = self._run, done.result
        if self.anew.take(done, self.lazy):
            pass
        elif isinstance(result, StoredLabels) and self._saving is not None:
            self._show_saved(result, self._saving)
        elif isinstance(result, LazyTraining) and run is not None:
            run.live.drop()
            self._show_lazy(result, run, done.seconds)
        elif isinstance(result, Segmentation) and run is not None and done.shown is not None:
            self._show_whole(result, done.shown, run, done.seconds)
        self._drop_live()

    def _show_whole(
        self, result: Segmentation, shown: ShownLabels, run: RunInputs, seconds: float
    ) -> None:
        result = laid_out(result, run.origin.axes)
        shown = shown._replace(labels=widened(shown.labels, run.origin.axes))
        metadata = run.record(result.method, seconds, self.panel.stopped)
        try:
            labels, uncertainty = napari_layers.result_layers(
                result, shown, run.name, run.placed, metadata
            )
        except MemoryError as error:
            self.panel.fail(error_text(error))
            return
        rest = result.model is not None and not result.complete
        labels = self._add(labels, run, rest=rest)
        remember(result.model, {"made": labels.metadata[napari_layers.METADATA_KEY]})
        self.results.show_result(
            Result(labels, result.model, run.placed, run.about, run.origin, whole=result),
            uncertainty if self._wants_uncertainty() else None,
        )
        if result.objects is not None:
            said = summary(shown, run.origin, seconds)
            self.panel.say(" ".join(filter(None, (cut_short(result), said))))

    def _show_lazy(self, result: LazyTraining, run: RunInputs, seconds: float) -> None:
        assert run.sources is not None
        model, job = result.model, run.sources
        order = ViewOrder(0, model, job.image, job.axes, job.spacing, job.mask)
        metadata = run.record(model.method, seconds, self.panel.stopped)
        layer, labels, uncertainty = self.lazy.layers(
            result, order, run.live.shape, run.name, run.placed, metadata
        )
        self._add(layer, run)  # as it is, since there is no live layer any more
        if layer.multiscale:
            self.panel.say(f"Done in {duration(seconds)}. {_TILED}")
        remember(model, {"made": layer.metadata[napari_layers.METADATA_KEY]})
        self.results.show_result(
            Result(layer, model, run.placed, run.about, run.origin, lazy=labels), uncertainty
        )

    def _add(self, labels: Labels, run: RunInputs, *, rest: bool = False) -> Labels:
        """Show the labels of a run, and return the layer that has them."""
        self.panel.offer_all(rest or run.how["part"] is not None)
        for one in napari_layers.earlier(self.viewer.layers, labels.metadata):
            one.visible = False
        shown = run.live.become(labels)
        if run.strokes is not None:
            shown.colormap = run.strokes.colormap
        return shown

    def save_result(self, path: str, overwrite: bool) -> None:
        """Write the labels of the last result to OME-Zarr."""
        result = self.results.result
        if result is None or self.running:
            return
        try:
            save = result.save(path, overwrite=overwrite)
        except MemoryError as error:
            self.panel.fail(error_text(error))
            return
        self._saving = result
        self.panel.start(save)
        self.refresh()

    def _show_saved(self, saved: StoredLabels, result: Result) -> None:
        if not saved.complete:
            self.panel.say(
                f"Stopped. Save again under that name to go on: {saved.path} keeps what is done."
            )
            return
        layer = napari_layers.saved_layer(
            saved.path, result.origin.axes, result.layer.colormap, result.placed
        )
        self.viewer.add_layer(layer)
        self.panel.say(f"The labels are in {saved.path}.")

    def _drop_live(self) -> None:
        if self._run is not None:
            self._run.live.drop()
        self._run = None
        self.anew.drop()
        self.refresh()


def _widget_of(cls: type[Method]) -> type[SegmentWidget]:
    """Make the widget that begins with a method of the catalogue."""
    members = {"first": cls, "__doc__": f"Segment with {cls.title}.", "__module__": __name__}
    return type(f"{cls.__name__}Widget", (SegmentWidget,), members)


globals().update({f"{cls.__name__}Widget": _widget_of(cls) for cls in METHODS.values()})
