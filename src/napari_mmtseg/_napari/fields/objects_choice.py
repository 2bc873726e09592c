"""Choose the Labels layer whose objects are meant, its axes, and the image behind it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_mmtseg._napari.fields.form_rows import label_of, rows_of
from napari_mmtseg._napari.fields.layer_choice import LayerChoice
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.lazy.planes import LazyLabels
from napari_mmtseg._napari.lazy.tiles import TiledLevel

if TYPE_CHECKING:
    import napari

_NO_OBJECTS = ("classes", "groups", "training")


class ObjectsChoice(QWidget):
    """Follows the newest Labels layer of objects until the user chooses one.

    Parameters
    ----------
    viewer : napari.Viewer
    with_image : bool
        Whether an image is chosen too.
    lazy : bool
        Whether labels will do of which only a part is known.
    """

    changed = Signal()

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        *,
        with_image: bool = False,
        lazy: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._lazy = lazy
        self._by_hand = False
        self._image_by_hand = False
        self._links = ExitStack()
        self.labels = LayerChoice(viewer)
        self.labels.setToolTip("A Labels layer in which each object has its own number.")
        self.labels.setAccessibleName("Objects")
        self.axes = QComboBox()
        self.axes.setToolTip(
            "What the labels' axes are: T time, Z depth, Y row, X column. An object goes on "
            "through Z; each T is for itself."
        )
        self.images = LayerChoice(viewer, none="none: shapes only", results=False, kind=Image)
        self.images.setToolTip("The image to measure intensities in.")
        self.images.setAccessibleName("Image")
        rows = rows_of(self)
        rows.addRow(label_of("Objects", self.labels.toolTip()), self.labels)
        self._axes_label = label_of("Axes", self.axes.toolTip())
        rows.addRow(self._axes_label, self.axes)
        if with_image:
            rows.addRow(label_of("Image", self.images.toolTip()), self.images)
        else:
            self.images.hide()
        self.labels.currentIndexChanged.connect(self._labels_changed)
        self.labels.activated.connect(self._choose_by_hand)
        self.axes.currentIndexChanged.connect(lambda: self.changed.emit())
        self.images.currentIndexChanged.connect(lambda: self.changed.emit())
        self.images.activated.connect(self._choose_image_by_hand)
        for choice in (self.labels, self.images):
            choice.listed.connect(self._choose)
        self.destroyed.connect(self._links.close)
        self._choose()

    @property
    def layer(self) -> Any:
        """The Labels layer chosen, or None."""
        return self.labels.layer

    @property
    def label_axes(self) -> str:
        """The axes of the labels; a C that is one pixel long may be among them."""
        return str(self.axes.currentText()) or "YX"

    @property
    def frame_axes(self) -> str:
        """Those of the axes within which an object lies: YX, or ZYX in a stack."""
        return "ZYX" if "Z" in self.label_axes else "YX"

    def size(self) -> tuple[tuple[float, ...] | None, str]:
        """Return a pixel's size along `frame_axes` and its unit; None if nobody has said it."""
        layer, axes = self.layer, self.label_axes
        sizes = napari_layers.pixel_size(layer, axes, self.frame_axes)
        if sizes is None:
            return None, "px"
        unit = layer.units[axes.index("X")]
        if str(unit) in napari_layers.UNITLESS:  # the scale is in whatever the user thinks of
            return sizes, "unit"
        return sizes, f"{unit:~}"

    def image_axes(self) -> str:
        """Return the axes of the image chosen, colours included.

        Raises
        ------
        ValueError
            If it does not fit the labels.
        """
        return _image_axes(self.images.layer, self.layer, self.label_axes)

    def problem(self) -> str:
        """Say why these layers cannot be used, or return an empty string."""
        layer = self.layer
        if layer is None:
            return "Open or make a Labels layer of objects first."
        if not self._lazy and isinstance(napari_layers.data_of(layer), LazyLabels | TiledLevel):
            return (
                f"{layer.name} is known only where you looked: save the result (Save result…), "
                "and take the layer that then appears."
            )
        if len(self.label_axes) != layer.ndim:
            return f"{layer.name} has {layer.ndim} axes: name them with the layer's axis labels."
        if self.images.layer is not None:
            try:
                self.image_axes()
            except ValueError as error:
                return f"{error}."
        return ""

    def _choose_by_hand(self) -> None:
        self._by_hand = True

    def _choose_image_by_hand(self) -> None:
        self._image_by_hand = True
        self.changed.emit()

    def _choose(self) -> None:
        offered = self.labels.offered()
        self._by_hand &= self.layer in offered
        if offered and not self._by_hand:
            # What is known to hold kinds of things is taken if there is nothing else.
            likely = [one for one in offered if napari_layers.kind_of(one) not in _NO_OBJECTS]
            self.labels.choose((likely or offered)[-1])
        self._labels_changed()

    def _labels_changed(self) -> None:
        layer = self.layer
        self._links.close()
        if layer is not None:
            layer.events.data.connect(self._tell)
            self._links.callback(layer.events.data.disconnect, self._tell)
        choices = [] if layer is None else _axes_choices(layer)
        if [self.axes.itemText(i) for i in range(self.axes.count())] != choices:
            self.axes.blockSignals(True)
            self.axes.clear()
            self.axes.addItems(choices)
            self.axes.blockSignals(False)
        for part in (self.axes, self._axes_label):
            part.setVisible(len(choices) > 1)
        self._choose_image()
        self.changed.emit()

    def _tell(self) -> None:
        self.changed.emit()

    def _choose_image(self) -> None:
        """Choose the image that the labels were made from, or else the topmost that fits."""
        layer, chosen = self.layer, self.images.layer
        if layer is None or (self._image_by_hand and (chosen is None or self._fits(chosen))):
            return
        self._image_by_hand = False
        fitting = [one for one in self.images.offered() if self._fits(one)]
        record = layer.metadata.get(napari_layers.METADATA_KEY, {})
        made_from = [one for one in fitting if one.name in record.get("image", [])]
        self.images.blockSignals(True)
        self.images.setCurrentIndex(0)
        if fitting:
            self.images.choose((made_from or fitting)[-1])
        self.images.blockSignals(False)

    def _fits(self, image: Any) -> bool:
        try:
            _image_axes(image, self.layer, self.label_axes)
        except ValueError:
            return False
        return True


def _axes_choices(layer: Any) -> list[str]:
    """List the axes that labels can have, the likeliest first."""
    shape = napari_layers.data_of(layer).shape
    record = layer.metadata.get(napari_layers.METADATA_KEY, {})
    axes = str(record.get("axes", "")).replace("S", "")
    known = dict.fromkeys([axes, axes.replace("C", "")])
    for choices in (known, napari_layers.axes_choices(layer)):
        fitting = [one for one in choices if len(one) == layer.ndim]
        # Channels that a result has kept are one; see `channel_axis`.
        fitting = [one for one in fitting if "C" not in one or shape[one.index("C")] == 1]
        if fitting:
            return fitting
    return []


def _image_axes(image: Any, labels: Any, axes: str) -> str:
    shape = tuple(napari_layers.data_of(image).shape[: image.ndim])
    sizes = zip(axes, napari_layers.data_of(labels).shape, strict=True)
    wanted = tuple(int(n) for axis, n in sizes if axis != "C")
    axes = axes.replace("C", "")
    if shape == wanted:
        return axes + "S" if image.rgb else axes
    places = [at for at in range(len(shape)) if shape[:at] + shape[at + 1 :] == wanted]
    named = [at for at in places if str(image.axis_labels[at])[:1].upper() == "C"]
    if image.rgb or not places:
        raise ValueError(
            f"{image.name} has shape {shape}, the objects {wanted}: choose layers of one size"
        )
    if len(places) > 1 and not named:
        raise ValueError(
            f"Several axes of {image.name} could be the channels: name them with its axis labels"
        )
    at = (named or places)[0]
    return f"{axes[:at]}C{axes[at:]}"
