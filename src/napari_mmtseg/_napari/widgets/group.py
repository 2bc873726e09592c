"""The Group objects widget: sort the objects of a Labels layer by how they look."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from napari.layers import Image, Labels
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.channel_axis import narrowed
from napari_mmtseg._napari.process.messages import Done, GroupedObjects, Job
from napari_mmtseg._napari.result.object_jobs import Origin
from napari_mmtseg._napari.result.panel import Result, ResultPanel
from napari_mmtseg._napari.result.provenance import record_of
from napari_mmtseg._napari.run.image_choice import ImageChoice
from napari_mmtseg._napari.run.run_panel import JobWidget
from napari_mmtseg._napari.run.settings_form import SettingsForm
from napari_mmtseg._napari.widgets.measure import open_measure
from napari_mmtseg.grouping import Groups
from napari_mmtseg.methods import ObjectIIC
from napari_mmtseg.system.error_text import error_text

if TYPE_CHECKING:
    import napari


class _Run(NamedTuple):
    """What the run under way was started with."""

    layers: list[Image]
    axes: str
    objects: Labels
    shape: tuple[int, ...]
    """Of the objects."""
    method: ObjectIIC
    placed: dict[str, Any]


class GroupWidget(JobWidget):
    """Sort the objects of a Labels layer into groups that look alike."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self._run: _Run | None = None
        self.picker = ImageChoice(self.viewer)
        self.objects = self.picker.add_guide(
            "Objects", "A Labels layer in which each object, such as a cell, has its own number."
        )
        self._by_hand = False
        self.form = SettingsForm(ObjectIIC)
        self.results = ResultPanel(self.viewer)
        self.results.measure_wanted.connect(partial(open_measure, self.viewer))
        self.results.models.hide()  # groups are of these objects alone
        column = QVBoxLayout(self)
        for part in (self.picker, self.form, self.panel):
            column.addWidget(part)
        column.addStretch(1)
        column.addWidget(self.results)
        self.picker.changed.connect(self.refresh)
        self.form.changed.connect(self.refresh)
        self.panel.run_wanted.connect(self.run)
        self.panel.finished.connect(self._show)
        self.panel.dropped.connect(self.refresh)
        self.objects.activated.connect(self._choose_by_hand)
        self.objects.listed.connect(self._take_objects)
        self._take_objects()

    def problem(self) -> str:
        """Say why Run cannot be pressed now, or return an empty string."""
        problem = self.picker.problem()
        objects = self.objects.layer
        if problem:
            return problem
        if objects is None:
            return "Choose a Labels layer of objects; MMT makes one: look for objects there."
        layers, axes = self.picker.chosen(), self.picker.chosen_axes()
        shape = napari_layers.shape_of(layers, axes)
        if narrowed(objects.data, axes).shape != shape:
            return (
                f"The objects have shape {objects.data.shape}, the image without channels {shape}: "
                "choose layers of the same size."
            )
        try:
            self.form.method()
        except (ValueError, TypeError) as error:
            return f"{error}."
        return ""

    def refresh(self) -> None:
        """Enable what can be pressed."""
        self.panel.allow(self.problem())

    def _choose_by_hand(self) -> None:
        self._by_hand = True

    def _take_objects(self) -> None:
        """Take the newest objects that were found, until the user chooses."""
        offered = self.objects.offered()
        self._by_hand &= self.objects.layer in offered
        found = [one for one in offered if napari_layers.kind_of(one) == "objects"]
        if found and not self._by_hand:
            self.objects.choose(found[-1])
        self.refresh()

    def run(self) -> None:
        """Train on the objects and group them."""
        problem = self.problem()
        if problem or self.running:
            self.panel.say(problem or "A run is under way; stop or discard it first.")
            return
        layers, axes = self.picker.chosen(), self.picker.chosen_axes()
        method = self.form.method()
        assert isinstance(method, ObjectIIC)
        objects = self.objects.layer
        try:
            napari_layers.check_memory(layers, axes, uncertainty=False)
            image, taken = napari_layers.take(layers, axes), self.objects.take(layers[0], axes)
        except MemoryError as error:
            self.panel.fail(error_text(error))
            return
        source_axes = napari_layers.axes_of(layers, axes)
        placed = napari_layers.placement(objects, "Y" * objects.ndim)
        shape = tuple(objects.data.shape)
        self._run = _Run(layers, source_axes, objects, shape, method, placed)
        self.panel.start(Job(image, source_axes, method, objects=taken))

    def _show(self, done: Done) -> None:
        run, result = self._run, done.result
        if run is None or not isinstance(result, GroupedObjects):
            return
        labels, groups = result.labels, result.groups
        record = record_of(run.method, run.layers, run.axes, done.seconds)
        if labels.ndim < len(run.shape):  # they have an axis of channels
            at = run.axes.index("C")
            labels = np.repeat(np.expand_dims(labels, at), run.shape[at], axis=at)
        layer = Labels(
            labels,
            name=f"{run.objects.name} groups",
            features=napari_layers.features(labels),
            metadata=record,
            **run.placed,
        )
        run.objects.features = with_groups(run.objects.features, groups)
        napari_layers.show(self.viewer, layer)
        origin = Origin(run.layers, napari_layers.axes_choices(run.layers[0])[0], run.method)
        self.results.show_result(Result(layer, None, run.placed, {}, origin, own=layer.data - 1))
        counts = np.bincount(groups.groups)[1:]
        self.panel.say(f"{len(groups.ids)} objects in groups of {', '.join(map(str, counts))}.")


def with_groups(features: pd.DataFrame, groups: Groups) -> pd.DataFrame:
    """Add each object's group and its probability to a layer's features, beside what is there."""
    known = features if "index" in features else features.rename_axis("index").reset_index()
    taken = set(known.columns)
    number = next(n for n in range(1, len(taken) + 2) if _column(n) not in taken)
    found = pd.DataFrame(
        {
            "index": groups.ids,
            _column(number): groups.groups,
            f"{_column(number)} confidence": groups.confidence,
        }
    )
    return known.merge(found, on="index", how="outer") if len(known) else found


def _column(number: int) -> str:
    return "group" if number == 1 else f"group {number}"
