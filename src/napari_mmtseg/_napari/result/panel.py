"""What can be done with a result: its labels, its objects, how sure it is, and its model."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.process.messages import ShownLabels
from napari_mmtseg._napari.result.count_thread import CountThread, count_work
from napari_mmtseg._napari.result.label_counts import ClusterCounts, groups_in
from napari_mmtseg._napari.result.labels_panel import LabelsPanel
from napari_mmtseg._napari.result.layer_update import LayerUpdate, dress, ours
from napari_mmtseg._napari.result.library_window import LibraryWindow, as_png
from napari_mmtseg._napari.result.model_panel import ModelPanel
from napari_mmtseg._napari.result.object_jobs import Origin
from napari_mmtseg._napari.result.objects_panel import ObjectsPanel
from napari_mmtseg._napari.result.provenance import remember
from napari_mmtseg._napari.result.result import Result as Result
from napari_mmtseg._napari.result.result_memory import RememberedResult, ResultMemory, restore
from napari_mmtseg._napari.result.state import ResultState, keep, kept_of, results_of
from napari_mmtseg._napari.result.trust import TrustRow, add_above
from napari_mmtseg.model import Model, load
from napari_mmtseg.prediction.label_image import Segmentation

if TYPE_CHECKING:
    import napari

_SETTLED_MS = 400
_EMPTY = "No result yet: press Run, or select one in the layer list."


class ResultPanel(QWidget):
    """Shows the result whose layer is selected, or else the last one, and what can be done."""

    changed = Signal()
    save_wanted = Signal(str, bool)
    """The result is to be written to this path; whether what is there may be replaced."""
    areas_wanted = Signal(object)
    """The areas of this lazy result are to be found anew, by what its legend says."""
    measure_wanted = Signal(object)
    """The objects in this layer are to be measured."""
    settings_wanted = Signal()
    """The settings of the result are to be shown."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.model: Model | None = None
        self._kept: ResultState | None = None
        self._links = ExitStack()
        self._applying = LayerUpdate(viewer, self)
        self._counting = CountThread(self)
        self._remembering = ResultMemory(self)
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED_MS)
        self.empty = QLabel(_EMPTY)
        self.empty.setEnabled(False)
        self.empty.setWordWrap(True)
        self.labels = LabelsPanel()
        self.n_labels = self.labels.n_labels
        self.trust = TrustRow(viewer)
        self.objects = ObjectsPanel(viewer)
        self.measure_button = QPushButton("Measure objects")
        self.measure_button.setToolTip("List the result's objects with their sizes and shapes.")
        self.models = ModelPanel(viewer)
        self.strokes = self.models.strokes
        self.name_button, self.apply_button = self.models.name_button, self.models.apply_button
        self.save_button, self.load_button = self.models.save_button, self.models.load_button
        self.store_button, self.copy_button = self.models.store_button, self.models.copy_button
        self.model_text, self.keep = self.models.text, self.models.keep
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        parts = (self.empty, self.labels, self.trust, self.objects, self.measure_button)
        for part in (*parts, self.models):
            column.addWidget(part)
        for part in parts[1:]:
            part.hide()
        self._connect()
        self._follow()
        if self._kept is None and results_of(viewer.layers):
            self._turn_to(results_of(viewer.layers)[-1])
        for layer in viewer.layers:
            self._remembering.look_for(layer)

    def _connect(self) -> None:
        self._applying.applied.connect(self._note_applied)
        self._applying.areas_wanted.connect(self.areas_wanted)
        self._counting.made.connect(self._take_counted)
        self._remembering.found.connect(self._take_recalled)
        self._settled.timeout.connect(self._count)
        self.labels.stepped.connect(self._apply)
        self.labels.turned.connect(self._turn)
        self.labels.table.chosen.connect(self._point_out)
        self.measure_button.clicked.connect(self._measure)
        self.models.strokes_changed.connect(self.changed)
        self.models.library_button.clicked.connect(self.open_library)
        self.models.settings_button.clicked.connect(self.settings_wanted)
        self.models.save_wanted.connect(self._save_model)
        self.models.store_wanted.connect(self.save_wanted)
        self.models.load_wanted.connect(self.load_model)
        layers = self.viewer.layers
        layers.selection.events.active.connect(self._follow)
        layers.events.removed.connect(self._note_removal)
        layers.events.inserted.connect(self._look_for)
        self.destroyed.connect(self._links.close)

    @property
    def result(self) -> Result | None:
        """The result that is shown."""
        layer = None if self._kept is None else self._kept.layer
        if self._kept is None or layer is None:
            return None
        return self._kept.result._replace(layer=layer)

    def show_result(self, result: Result, doubt: Any = None) -> None:
        """Offer what can be done with a new result.

        Parameters
        ----------
        result : Result
        doubt : napari Image, optional
            Its uncertainty, to be added above its labels without being seen.
        """
        kept = keep(result)
        if doubt is not None:
            doubt.visible = False
            kept.beside["doubt"] = doubt
            add_above(self.viewer, doubt, result.layer)
        if kept.label_of_piece is None:  # otherwise names wait until pieces are counted
            dress(kept, result.layer)
        elif kept.shown.palette:
            with ours(kept):
                result.layer.colormap = kept.colours(kept.shown)
        self._turn_to(result.layer)

    def save_model(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save the model behind the result shown, or the one that was loaded."""
        model = self.told_model()
        if model is not None:
            model.save(path, overwrite=overwrite)
            show_info(f"Saved {Path(path).name}.")

    def _save_model(self, path: str) -> None:
        try:
            self.save_model(path, overwrite=True)  # the dialog has asked whether to replace it
        except (OSError, ValueError) as error:
            show_error(f"The model could not be saved: {error}")

    def told_model(self) -> Model | None:
        """Return the model, with the labels and names of the result shown if it is of that."""
        kept = self._kept
        if kept is None or kept.result.model is not self.model:
            return self.model
        told = kept.told_model()
        if told is not self.model and kept.layer is not None:
            remember(told, {"made": kept.layer.metadata[napari_layers.METADATA_KEY]})
        return told

    def load_model(self, path: str | Path) -> None:
        """Take a model from a file, to apply it."""
        try:
            model = load(path)
            remember(model, {"file": str(Path(path).resolve())})
            self.take_model(model, f"from {Path(path).name}")
        except (OSError, ValueError) as error:
            show_error(str(error))

    def take_model(self, model: Model, origin: str) -> None:
        """Take a model, to apply it."""
        self.model = model
        self.models.show_model(model, origin)
        self.changed.emit()

    def show_parted(self, whole: Segmentation, shown: ShownLabels, origin: Origin) -> None:
        """Show objects that were found anew, in the same layer unless it was changed by hand."""
        known = [kept_of(one) for one in results_of(self.viewer.layers)]
        same = [one for one in known if one is not None and one.is_of(whole)]
        kept = same[0] if same else self._kept
        layer = None if kept is None else kept.layer
        if kept is None or layer is None:
            return
        record = layer.metadata[napari_layers.METADATA_KEY] | {
            "settings": whole.method.to_dict(),
            "object_at": origin.at,
        }
        metadata = layer.metadata | {napari_layers.METADATA_KEY: record}
        if layer in self.viewer.layers and not kept.painted:
            layer.metadata, layer.data = metadata, shown.labels
        else:
            layer.visible = False
            placed = kept.result.placed
            made = napari_layers.result_layers(whole, shown, layer.name, placed, metadata)
            layer = made[0]
            napari_layers.show(self.viewer, layer)
        layer.features = napari_layers.counts_table(*shown[1:], shown.labels.size)
        changes = {"layer": layer, "model": whole.model, "whole": whole, "origin": origin}
        self.show_result(kept.result._replace(**changes))

    def show_joined(self, kept: ResultState) -> None:
        """Show a result whose layer has the labels of its legend by now."""
        self._applying.finish(kept, kept.layer)
        self._count()

    def stay(self, kept: ResultState) -> None:
        """Go back to the labels that are shown, since others were not to be had."""
        kept.history.step(replace(kept.legend, label_of=kept.shown.label_of, cut=kept.shown.cut))
        self.labels.refresh()

    def _turn_to(self, layer: Labels | None) -> None:
        """Show what is known of a layer."""
        self._links.close()
        self._settled.stop()
        kept = self._kept = kept_of(layer)
        self.empty.setVisible(kept is None)
        results = results_of(self.viewer.layers)
        place = (results.index(layer), len(results)) if layer in results else (0, 1)
        self.labels.show_result(kept, "" if layer is None else layer.name, place)
        self.trust.show_result(kept)
        self.measure_button.setVisible(kept is not None and kept.kind in ("objects", "areas"))
        of_objects = kept is not None and kept.result.parts
        self.objects.setVisible(of_objects)
        if kept is None or layer is None:
            self.changed.emit()
            return
        model, origin = kept.result.model, kept.result.origin
        if of_objects and model is not None:
            self.objects.show_model(model, layer, origin.pixel)
        self._watch(layer)
        self._regroup(kept)
        if kept.counted is None:
            self._count()
        if model is None:
            self.changed.emit()
        else:
            self.take_model(model, f"from {layer.name}")

    def _follow(self) -> None:
        """Turn to the result that is selected in the list of layers."""
        kept = kept_of(self.viewer.layers.selection.active)
        if kept is not None and kept is not self._kept:
            self._turn_to(kept.layer)

    def _turn(self, step: int) -> None:
        """Show an earlier or later result in the place of this one."""
        result, results = self.result, results_of(self.viewer.layers)
        if result is None or result.layer not in results:
            return
        at = results.index(result.layer) + step
        if 0 <= at < len(results):
            result.layer.visible = False
            results[at].visible = True
            self.viewer.layers.selection.active = results[at]
            self._follow()

    def _note_removal(self) -> None:
        layer = None if self._kept is None else self._kept.layer
        if self._kept is not None and (layer is None or layer not in self.viewer.layers):
            left = results_of(self.viewer.layers)
            self._turn_to(left[-1] if left else None)

    def _look_for(self, event: Any) -> None:
        self._remembering.look_for(event.value)

    def _take_recalled(self, recalled: RememberedResult) -> None:
        """Take a layer that was opened for the result that it is."""
        if recalled.layer not in self.viewer.layers:
            return
        kept = restore(recalled, [one for one in self.viewer.layers if isinstance(one, Image)])
        if kept is not None and kept.layer is not None:
            dress(kept, kept.layer)
            self._turn_to(kept.layer)

    def _remember(self, kept: ResultState) -> None:
        if kept.layer is not None:
            self._remembering.note(kept, kept.layer, kept.told_model())

    def _apply(self) -> None:
        kept = self._kept
        layer = None if kept is None else kept.layer
        if kept is not None and layer is not None:
            self._applying.apply(kept, layer)

    def _note_applied(self, layer: Any) -> None:
        kept = kept_of(layer)
        if kept is not None:
            self._remember(kept)
            self.trust.follow(kept)
        if kept is self._kept:
            self.labels.refresh()
        else:  # what was painted on stays, and this one is beside it
            self._turn_to(layer)
        self.changed.emit()

    def _count(self) -> None:
        kept = self._kept
        layer = None if kept is None else kept.layer
        work = None if kept is None or layer is None else count_work(kept, layer)
        if work is not None:
            self._counting.ask(kept, work)

    def _take_counted(self, kept: ResultState, counted: ClusterCounts | None) -> None:
        layer = kept.layer
        if counted is None or layer is None:
            return
        kept.counted = counted
        dress(kept, layer)
        self._remember(kept)
        if kept is self._kept:
            self.labels.refresh()

    def _watch(self, layer: Labels) -> None:
        """Follow what the user does to a layer."""
        events = layer.events
        for event, react in (
            (events.paint, self._note_painting),
            (events.labels_update, self._note_painting),
            (events.data, self._note_painting),
            (events.features, self._note_features),
            (events.colormap, self._note_colours),
            (events.name, self._note_name),
            (events.selected_label, self._note_choice),
        ):
            event.connect(react)
            self._links.callback(event.disconnect, react)

    def _note_painting(self, event: Any) -> None:
        kept = self._kept
        if kept is None or kept.ours:
            return
        kept.painted = True
        self._settled.start()

    def _note_features(self, event: Any) -> None:
        kept = self._kept
        if kept is not None and kept.ours:
            self.labels.refresh()  # a step that was taken in another widget perhaps
        elif kept is not None and kept.kind == "objects":
            self._regroup(kept)
            self._settled.start()

    def _regroup(self, kept: ResultState) -> None:
        """Show a row a group once objects were grouped."""
        groups = groups_in(kept.layer)
        count = 1 if groups is None else int(groups.max())
        if kept.kind == "objects" and len(kept.legend.label_of) != count:
            kept.regroup(range(1, count + 1))

    def _note_colours(self, event: Any) -> None:
        kept = self._kept
        layer = None if kept is None else kept.layer
        if kept is None or layer is None or kept.ours:
            return
        kept.base = layer.colormap  # shuffled, or chosen
        if kept.legend.palette:
            kept.history.step(kept.legend.painted(""))
            kept.shown = kept.shown.painted("")
        dress(kept, layer)
        self.labels.refresh()

    def _note_name(self, event: Any) -> None:
        if self._kept is not None and self._kept.layer is not None:
            self.labels.title.setText(self._kept.layer.name)

    def _note_choice(self, event: Any) -> None:
        kept = self._kept
        if kept is None or kept.ours or kept.layer is None:
            return
        if kept.label_of_piece is None:
            self.labels.choose(kept.layer.selected_label)

    def _point_out(self) -> None:
        """Let the label whose row is selected be the one to paint with."""
        kept, labels = self._kept, self.labels.table.selected_labels()
        layer = None if kept is None else kept.layer
        if kept is None or layer is None or kept.label_of_piece is not None or len(labels) != 1:
            return
        layer.selected_label = labels[0]

    def open_library(self) -> LibraryWindow:
        """Open the user's models."""
        result, model = self.result, self.told_model()

        def present() -> tuple[Model, dict[str, Any], bytes | None]:
            assert model is not None
            told = {} if result is None else result.layer.metadata
            note = dict(told.get(napari_layers.METADATA_KEY, {}))
            image = self.viewer.screenshot(canvas_only=True, flash=False)
            return model, note | {"names": dict(model.names)}, as_png(image)

        name = "" if result is None else result.layer.name.replace(" · ", " ")
        window = LibraryWindow(
            preferences.library(), None if model is None else present, name, self
        )
        window.taken.connect(self._take_kept)
        window.show()
        return window

    def _take_kept(self, model: Model, name: str) -> None:
        remember(model, {"file": str(preferences.library().path_of(name))})
        self.take_model(model, f"kept as {name}")

    def _measure(self) -> None:
        result = self.result
        if result is not None and result.layer in self.viewer.layers:
            self.measure_wanted.emit(result.layer)
