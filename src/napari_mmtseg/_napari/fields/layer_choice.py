"""A box to choose one of the viewer's layers of a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.channel_axis import narrowed
from napari_mmtseg._napari.layers.image_part import ImagePart, mask_of
from napari_mmtseg._napari.layers.transforms import laid_over
from napari_mmtseg._napari.process.layer_pixels import Source, take

if TYPE_CHECKING:
    import napari


class LayerChoice(QComboBox):
    """Follows the viewer's list of layers and keeps what was chosen.

    napari hands out a new proxy of a layer each time it is asked, so layers are compared with ==.

    Parameters
    ----------
    viewer : napari.Viewer
    none : str
        What to call the choice of no layer; without a name there is no such choice.
    results : bool
        Whether the layers that this plugin has made are offered as well.
    kind : type
        Of the layers offered.
    """

    listed = Signal()
    """The layers to choose from have come, gone, moved or been renamed."""

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        *,
        none: str = "",
        results: bool = True,
        kind: type[Labels | Image] | tuple[type[Labels], type[Shapes]] = Labels,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._none = none
        self._results = results
        self._kind = kind
        self._named: list[Any] = []
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._list)
        self._list()

    @property
    def layer(self) -> Any:
        """The layer chosen, or None."""
        return self.currentData()

    def take(self, image: Any = None, axes: str = "") -> Source | None:
        """Take the pixels of the layer chosen, or None; see `layer_pixels.take`.

        Parameters
        ----------
        image : Image or ImagePart, optional
            What it goes with.
        axes : str
            Of that, without its colours: labels have no channels.

        Raises
        ------
        ValueError
            If shapes enclose nothing of the image, or labels have other axes than it.
        """
        layer = self.layer
        if layer is None:
            return None
        if isinstance(layer, Shapes):
            return take(mask_of(layer, image, axes), layer.name)
        return take(self.pixels(image, axes), layer.name)

    def pixels(self, image: Any = None, axes: str = "") -> Any:
        """Return the labels of the Labels layer chosen as they lie on an image; see `take`."""
        layer = self.layer
        labels = narrowed(napari_layers.data_of(layer), axes)
        if isinstance(image, ImagePart):
            region = image.label_region(axes)
            if labels.ndim != len(region):
                raise ValueError(
                    f"{layer.name} has {labels.ndim} axes and the labels of {image.name} have "
                    f"{len(region)}: choose a layer that was painted over that image"
                )
            whole = laid_over(labels, layer, image.whole, axes)
            return whole[region]
        return labels if image is None else laid_over(labels, layer, image, axes)

    def record(self, axes: str) -> dict[str, Any]:
        """Record the layer chosen for `script.as_python`, as it goes with an image of some axes."""
        if isinstance(self.layer, Shapes):
            return {"layer": self.layer.name, "shapes": True}
        shape, at = napari_layers.data_of(self.layer).shape, axes.find("C")
        there = at >= 0 and len(shape) == len(axes)
        return {"layer": self.layer.name, "channels": at if there else None}

    def offered(self) -> list[Any]:
        """Return the layers that can be chosen, from the bottom of the list to the top."""
        return [
            one
            for one in self._viewer.layers
            if isinstance(one, self._kind)
            and (self._results or napari_layers.METADATA_KEY not in one.metadata)
        ]

    def choose(self, layer: Any) -> None:
        """Choose a layer."""
        for row in range(self.count()):
            if self.itemData(row) == layer:
                self.setCurrentIndex(row)

    def _list(self) -> None:
        before = self.layer
        self.blockSignals(True)
        self.clear()
        if self._none:
            self.addItem(self._none, None)
        for layer in self.offered():
            self.addItem(layer.name, layer)
            if layer not in self._named:
                layer.events.name.connect(self._list)
                self._named.append(layer)
        self._named = [layer for layer in self._named if layer in self._viewer.layers]
        self.choose(before)
        self.blockSignals(False)
        if self.layer != before:
            self.currentIndexChanged.emit(self.currentIndex())
        self.listed.emit()
