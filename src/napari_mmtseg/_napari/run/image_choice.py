"""Choose what to segment: the images, their axes, and layers that guide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Shapes
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QComboBox, QListWidget, QListWidgetItem, QWidget

from napari_mmtseg._napari.fields.form_rows import label_of, rows_of
from napari_mmtseg._napari.fields.layer_choice import LayerChoice
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.file_axes import FROM_FILE, take_from_file
from napari_mmtseg._napari.layers.image_part import EVERYTHING, IN_VIEW, PLANE, part_of
from napari_mmtseg.images.frames import Region

if TYPE_CHECKING:
    import napari

_MEANING = {"T": "time", "Z": "depth", "C": "channels"}
_ROW = 22  # pixels
_LAYER = Qt.ItemDataRole.UserRole


class ImageChoice(QWidget):
    """Lists the viewer's images to tick; several ticked ones are channels of one image."""

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.images = QListWidget()
        self.images.setToolTip("Tick the image to use; tick several to use them as channels.")
        self.images.setAccessibleName("Images")
        self.axes = QComboBox()
        self.axes.setToolTip(
            "What the image's axes are: T time, Z depth, C channel, Y row, X column. Name them "
            "with the layer's axis labels, or choose here."
        )
        self._rows = rows_of(self)
        self._axes_label = label_of("Axes", self.axes.toolTip())
        self._rows.addRow(label_of("Images", self.images.toolTip()), self.images)
        self._rows.addRow(self._axes_label, self.axes)
        self.part = QComboBox()
        self.part.addItems([EVERYTHING, IN_VIEW, PLANE])
        self.part.setAccessibleName("Run on")
        self.part.setToolTip(
            "Try a part first: it is there sooner, and Run on all goes on with its model. For a "
            "part of another shape draw it in a Shapes layer and choose that under Only where."
        )
        self._rows.addRow(label_of("Run on", self.part.toolTip()), self.part)
        self.part.currentIndexChanged.connect(lambda: self.changed.emit())
        for layer in viewer.layers:
            if self._is_offered(layer):
                take_from_file(layer)
        self._named: list[Image] = []
        self._by_hand = False
        self.images.itemChanged.connect(self._tick_by_hand)
        self._axes_by_hand = False
        self.axes.activated.connect(self._name_axes)
        self.axes.currentIndexChanged.connect(lambda: self.changed.emit())
        events = viewer.layers.events
        events.inserted.connect(self._take_new)
        for event in (events.removed, events.reordered):
            event.connect(self._list)
        viewer.layers.selection.events.active.connect(self._follow)
        self._list()

    def add_guide(self, label: str, tooltip: str, *, shapes: bool = False) -> LayerChoice:
        """Add a choice of a Labels layer, or of Shapes too, that may be left at none."""
        kind = (Labels, Shapes) if shapes else Labels
        choice = LayerChoice(self.viewer, none="none", kind=kind)
        choice.setToolTip(tooltip)
        choice.setAccessibleName(label)
        choice.currentIndexChanged.connect(lambda: self.changed.emit())
        self._rows.addRow(label_of(label, tooltip), choice)
        return choice

    def show_guide(self, guide: LayerChoice, shown: bool) -> None:
        """Show or hide a guide; a hidden one counts as none."""
        label = self._rows.labelForField(guide)
        for part in (guide, label):
            if part is not None:
                part.setVisible(shown)
        if not shown:
            guide.setCurrentIndex(0)

    def chosen(self) -> list[Image]:
        """Return the image layers that are ticked."""
        items = [self.images.item(i) for i in range(self.images.count())]
        return [one.data(_LAYER) for one in items if one.checkState() == Qt.CheckState.Checked]

    def chosen_axes(self) -> str:
        """Return the axes of the first image, without its colours."""
        return str(self.axes.currentText())

    def region(self) -> Region | None:
        """Return the part of the images to run on; None for all of them."""
        layers = self.chosen()
        what = self.part.currentText()
        return part_of(layers[0], self.chosen_axes(), what, self.viewer) if layers else None

    def problem(self) -> str:
        """Say why these images cannot be used, or return an empty string."""
        layers = self.chosen()
        if layers:
            try:
                napari_layers.check(layers, self.chosen_axes())
            except (ValueError, TypeError) as error:
                return f"{error}."
            return ""
        if self.images.count():
            return "Tick an image first."
        if len(self.viewer.layers):
            other = self.viewer.layers[-1].name
            return f"There is no image layer ({other} is of another kind): open an image."
        return "Open an image first, or take one from File > Open Sample > MMT Segmentation."

    def assumed(self) -> str:
        """Say which axes were taken for what without anybody having said so."""
        axes = self.chosen_axes()
        chosen = self.chosen()
        if chosen and (told := chosen[0].metadata.get(FROM_FILE)):
            return str(told)
        if self._axes_by_hand or self.axes.count() < 2:
            return ""
        sizes = napari_layers.data_of(self.chosen()[0]).shape
        said = [
            f"{_MEANING[one]} ({n})" for one, n in zip(axes, sizes, strict=False) if one in _MEANING
        ]
        return f"The sliders are taken for {' and '.join(said)}: choose under Axes if they are not."

    def _tick_by_hand(self) -> None:
        self._by_hand = True
        self._images_changed()

    def _take_new(self, event: Any) -> None:
        """Take an image that is opened, unless several are ticked to be channels."""
        if self._is_offered(event.value):
            if take_from_file(event.value) and len(self.viewer.layers) == 1:
                self.viewer.reset_view()
            self._by_hand &= len(self.chosen()) > 1
        self._list(event)

    def _follow(self, event: Any) -> None:
        """Take the image that is selected, until the user ticks."""
        if self._is_offered(event.value) and not self._by_hand:
            self._list()

    def _is_offered(self, layer: Any) -> bool:
        return isinstance(layer, Image) and napari_layers.METADATA_KEY not in layer.metadata

    def _list(self, event: Any = None) -> None:
        layers = [one for one in reversed(self.viewer.layers) if self._is_offered(one)]
        # Each access gives a new proxy of a layer: compare with ==, never by identity.
        ticked = [one for one in self.chosen() if one in layers]
        active = self.viewer.layers.selection.active
        if not self._by_hand and self._is_offered(active) and active in layers:
            ticked = [active]
        if layers and not ticked:
            ticked = [active if active in layers else layers[0]]
        row = max(_ROW, self.images.fontMetrics().height() + 4)
        self.images.blockSignals(True)
        self.images.clear()
        for layer in layers:
            item = QListWidgetItem(layer.name)
            item.setSizeHint(QSize(0, row))
            item.setData(_LAYER, layer)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            on = layer in ticked
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            self.images.addItem(item)
            if layer not in self._named:
                layer.events.name.connect(self._list)
                layer.events.data.connect(self._list)
        self._named = layers
        self.images.blockSignals(False)
        self.images.setFixedHeight(min(4, max(1, len(layers))) * row + 2 * self.images.frameWidth())
        self._images_changed()

    def _name_axes(self) -> None:
        self._axes_by_hand = True
        self.changed.emit()

    def _images_changed(self) -> None:
        layers = self.chosen()
        choices = napari_layers.axes_choices(layers[0]) if layers else []
        if [self.axes.itemText(i) for i in range(self.axes.count())] != choices:
            self._axes_by_hand = False
            self.axes.clear()
            self.axes.addItems(choices)
        for part in (self.axes, self._axes_label):
            part.setVisible(choices not in ([], ["YX"]))
        self.changed.emit()
