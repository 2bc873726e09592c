"""The Teach widget: paint, and the labels of the plane in view follow each stroke."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from scipy.ndimage import gaussian_filter

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.lazy.planes import KnownPlanes
from napari_mmtseg._napari.result.provenance import record_of
from napari_mmtseg._napari.run.image_choice import ImageChoice
from napari_mmtseg._napari.widgets.stroke_lessons import LessonAnswer, LessonRequest, LessonThread
from napari_mmtseg.methods import Taught
from napari_mmtseg.model import Model
from napari_mmtseg.system import memory
from napari_mmtseg.system.error_text import error_text

if TYPE_CHECKING:
    import napari

_PAUSE_MS = 150
"""After a stroke, before it is learned from: another one may follow."""
_BRUSH_PX = 4
_BYTES_A_STROKE = 10
"""What a pixel of the strokes takes, those taken to be learned from included."""
_AROUND_PX = 8
"""What is unsure only here and there is not worth a stroke."""
_ZOOM = 3.0


class TeachWidget(QWidget):
    """Learn classes from strokes, or from a layer of ground truth."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.model: Model | None = None
        self._about: Any = None
        self._before: Any = None
        self._listened: list[Any] = []
        self._shown: tuple[Any, KnownPlanes, Any, KnownPlanes] | None = None
        self.learning = LessonThread(self)
        self._timer = QTimer(self, singleShot=True, interval=_PAUSE_MS)
        self.picker = ImageChoice(self.viewer)
        self.strokes = self.picker.add_guide(
            "Strokes", "A Labels layer: each class with its own number, a stroke here and there."
        )
        self.new_button = QPushButton("New strokes")
        self.new_button.setToolTip(
            "Make a layer to paint on. Paint label 1 on one kind of thing, label 2 on another."
        )
        self.truth = QCheckBox("It is ground truth, label 0 included")
        self.truth.setToolTip(
            "All pixels of the layer are labelled: 0 is class 1, everything else class 2. "
            "Without it, 0 is not labelled and every number is a class."
        )
        self.go_button = QPushButton("Go where it is unsure")
        self.go_button.setToolTip("Look at the place where the next stroke helps most.")
        self.all_button = QPushButton("Label everything")
        self.all_button.setToolTip("Label all planes with what was learned, in a new layer.")
        self.save_button = QPushButton("Save model…")
        self.save_button.setToolTip("Keep what was learned in a file, to label other images with.")
        self.status = QLabel("Press New strokes and paint two classes.")
        self.status.setWordWrap(True)
        buttons = QGridLayout()
        every = (self.new_button, self.go_button, self.all_button, self.save_button)
        for i, button in enumerate(every):
            buttons.addWidget(button, *divmod(i, 2))
        column = QVBoxLayout(self)
        column.addWidget(self.picker)
        column.addWidget(self.truth)
        column.addLayout(buttons)
        column.addWidget(self.status)
        column.addStretch(1)
        self.setMinimumWidth(380)

        self.new_button.clicked.connect(self.add_strokes)
        self.go_button.clicked.connect(self.go)
        self.all_button.clicked.connect(self.label_everything)
        self.save_button.clicked.connect(self._ask_and_save)
        self.picker.changed.connect(self._begin)
        self.truth.toggled.connect(self._begin)
        self._timer.timeout.connect(self.learn)
        self.learning.answered.connect(self._take)
        self.viewer.dims.events.current_step.connect(self._look)
        self._begin()

    def add_strokes(self) -> None:
        """Make a layer to paint on, where the image is."""
        problem = self.picker.problem()
        if problem:
            self.status.setText(problem)
            return
        images, axes = self.picker.chosen(), self.picker.chosen_axes()
        shape = napari_layers.shape_of(images, axes)
        try:
            memory.require(_BYTES_A_STROKE * math.prod(shape), "Strokes on the whole image")
            blank = np.zeros(shape, np.uint8)
        except MemoryError:
            self.status.setText(
                f"{images[0].name} is too large to paint on ({math.prod(shape):,} pixels): open a "
                "part of it as an image, teach that, and apply the saved model to the whole."
            )
            return
        layer = self.viewer.add_labels(
            blank, name="strokes", **napari_layers.placement(images[0], axes)
        )
        layer.brush_size, layer.selected_label, layer.mode = _BRUSH_PX, 1, "paint"
        self.strokes.choose(layer)
        self.status.setText("Paint label 1 on one kind of thing; then press M, or choose label 2.")

    def learn(self) -> None:
        """Learn from what is painted, and show the plane in view."""
        layer = self.strokes.layer
        if layer is None or self.picker.problem():
            return
        try:
            images, axes = self.picker.chosen(), self.picker.chosen_axes()
            painted = np.array(self.strokes.pixels(images[0], axes))
        except (ValueError, MemoryError) as error:
            self.status.setText(f"{error_text(error)}.")
            return
        if self.truth.isChecked():
            self._ask(painted != 0, None)
            return
        if len(np.unique(painted[painted != 0])) < 2 and self.model is None:
            self.status.setText("Now paint a second class, with another label.")
            return
        # A model remembers what was painted, so that one begins anew when some of it is erased.
        erased = self._before is None or bool((painted == 0)[self._before != 0].any())
        self._before = painted
        self._ask(painted.astype(np.int64), None if erased else self.model)

    def go(self) -> None:
        """Look at the place in the plane in view where the students disagree most."""
        if self._shown is None:
            self.status.setText("There is nothing to be unsure of yet: paint two classes.")
            return
        layer, _, _, doubts = self._shown
        plane = self._plane()
        place = [int(i) for i in np.unravel_index(plane, doubts.shape[:-2])]
        unsure = gaussian_filter(doubts[(*place, slice(None), slice(None))], _AROUND_PX)
        row, column = np.unravel_index(int(unsure.argmax()), unsure.shape)
        world = layer.data_to_world((*place, int(row), int(column)))
        self.viewer.scene.camera.center = tuple(world[-3:])
        self.viewer.scene.camera.zoom = max(
            self.viewer.scene.camera.zoom, _ZOOM / min(layer.scale[-2:])
        )
        self.status.setText(f"Here, at {int(row)}, {int(column)}, a stroke helps most.")

    def label_everything(self) -> None:
        """Label all planes with what was learned."""
        if self.model is None:
            self.status.setText("Nothing is learned yet: paint two classes.")
            return
        self.status.setText("Labelling everything …")
        self._ask(None, self.model, everything=True)

    def save_model(self, path: str | Path) -> None:
        """Save what was learned; a file that is there is replaced."""
        if self.model is not None:
            self.model.save(path, overwrite=True)
            self.status.setText(f"Saved {Path(path).name}.")

    def _ask(self, painted: Any, model: Model | None, *, everything: bool = False) -> None:
        images, axes = self.picker.chosen(), self.picker.chosen_axes()
        try:
            image = napari_layers.take(images, axes).open()
        except MemoryError as error:
            self.status.setText(error_text(error))
            return
        if painted is not None:
            self.status.setText("Learning …")
        plane = None if everything else self._plane()
        self.learning.ask(
            LessonRequest(image, napari_layers.axes_of(images, axes), painted, model, plane)
        )

    def _plane(self) -> int:
        images, axes = self.picker.chosen(), self.picker.chosen_axes()
        return napari_layers.view_of(self.viewer, images[0], axes).plane

    def _look(self, event: Any = None) -> None:
        """Show the plane that has come into view."""
        if self._shown is not None and self.model is not None and self.picker.chosen():
            self._ask(None, self.model)

    def _begin(self) -> None:
        """Forget what was learned about another image or layer, and listen to this one."""
        layer = self.strokes.layer
        about = (self.picker.chosen(), self.picker.chosen_axes(), layer, self.truth.isChecked())
        if about == self._about:  # other layers came or went
            return
        self._about = about
        self.model, self._before, self._shown = None, None, None
        if layer is not None and layer not in self._listened:
            self._listened.append(layer)
            for event in (layer.events.paint, layer.events.labels_update, layer.events.data):
                event.connect(self._painted)
        if layer is not None:
            self._timer.start()

    def _painted(self, event: Any = None) -> None:
        self._timer.start()

    def _take(self, found: LessonAnswer | Exception) -> None:
        if isinstance(found, Exception):
            self.status.setText(f"{error_text(found)}.")
            return
        self.model = found.model
        if found.asked.plane is None:
            self._add_all(found)
            return
        if self._shown is None or any(one not in self.viewer.layers for one in self._shown[::2]):
            self._show_layers(found)
        assert self._shown is not None
        labels, known, doubts, unsure = self._shown
        known.put(found.asked.plane, found.labels)
        if found.uncertainty is not None:
            unsure.put(found.asked.plane, found.uncertainty)
        for layer in (labels, doubts):
            layer.refresh(extent=False)
        if found.asked.painted is not None:
            self.status.setText(
                f"Learned {len(found.model.classes)} classes from "
                f"{len(found.model.weights['example_classes'])} pixels. Paint where it is wrong."
            )

    def _show_layers(self, found: LessonAnswer) -> None:
        """Make the layers of labels and uncertainty, below what is painted."""
        images, axes = self.picker.chosen(), self.picker.chosen_axes()
        placed = napari_layers.placement(images[0], axes)
        shape = napari_layers.shape_of(images, axes)
        metadata = {napari_layers.METADATA_KEY: {"training": True}}
        known, unsure = KnownPlanes(shape), KnownPlanes(shape, np.float32)
        name = napari_layers.result_name(images, Taught())
        active = self.viewer.layers.selection.active
        doubts = napari_layers.uncertainty_layer(unsure, name, placed, metadata)
        doubts.visible = False
        labels = Labels(known, name=name, metadata=metadata, opacity=0.5, **placed)
        below = self.viewer.layers.index(self.strokes.layer)
        self.viewer.layers.insert(below, doubts)
        self.viewer.layers.insert(below, labels)
        labels.editable = False
        if active is not None:
            self.viewer.layers.selection.active = active
        self._shown = (labels, known, doubts, unsure)

    def _add_all(self, found: LessonAnswer) -> None:
        images, axes = self.picker.chosen(), self.picker.chosen_axes()
        record = record_of(found.model.method, images, found.asked.axes, found.seconds)
        layer = Labels(
            found.labels,
            name=f"{napari_layers.result_name(images, Taught())} everything",
            features=napari_layers.features(found.labels),
            metadata=record,
            **napari_layers.placement(images[0], axes),
        )
        self.viewer.add_layer(layer)
        self.status.setText(f"Labelled {found.labels.size:,} pixels.")

    def _ask_and_save(self) -> None:
        if self.model is None:
            self.status.setText("Nothing is learned yet: paint two classes.")
            return
        path, _ = QFileDialog.getSaveFileName(
            self, "Save model", "taught.safetensors", "Models (*.safetensors)"
        )
        if path:
            try:
                self.save_model(path)  # the dialog has asked whether to replace the file
            except (OSError, ValueError) as error:
                show_error(f"The model could not be saved: {error}")
