"""Show the labels as they are while training, in the layer that then becomes the result's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.colours import cycle_of
from napari_mmtseg._napari.lazy.planes import KnownPlanes
from napari_mmtseg._napari.process.messages import Preview

if TYPE_CHECKING:
    import napari


class LiveView:
    """The planes of a run that were looked at so far.

    Parameters
    ----------
    viewer : napari.Viewer
    shape : tuple of int
        Of the labels.
    name : str
        Of the layer, which is made when there is something to show.
    placed : dict
        Where the layer lies; see `layers.placement`.
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        shape: tuple[int, ...],
        name: str,
        placed: dict[str, Any],
    ) -> None:
        self.shape = shape
        self._viewer = viewer
        self._name = name
        self._placed = placed
        self._known = KnownPlanes(shape)
        self._layer: Labels | None = None

    def show(self, preview: Preview) -> None:
        """Show a plane, unless the user has removed or changed the layer."""
        if self._layer is not None and not self._is_ours(self._layer):
            return  # who does that wants no live view
        self._known.put(preview.plane, preview.labels)
        if self._layer is not None:
            self._layer.refresh()
            return
        self._layer = Labels(
            self._known,
            name=self._name,
            colormap=cycle_of(preferences.palette()),
            metadata={napari_layers.METADATA_KEY: {"training": True}},
            **self._placed,
        )
        self._layer.editable = False
        active = self._viewer.layers.selection.active
        with napari_layers.unlooked(self._viewer):
            self._viewer.add_layer(self._layer)
            if active is not None:
                self._viewer.layers.selection.active = active

    def become(self, result: Labels) -> Labels:
        """Turn the layer into that of a result: to remove one and add another takes far longer.

        Returns
        -------
        Labels
            The layer shown: its own, or the result's if there is none or the user changed it.
        """
        layer = self._layer
        if layer is None or not self._is_ours(layer):
            napari_layers.show(self._viewer, result)
            return result
        self._layer = None
        layer.metadata = result.metadata
        layer.data = result.data
        layer.features = result.features
        layer.opacity = result.opacity
        layer.visible = True
        layer.name = result.name  # by which others hear of it
        with napari_layers.unlooked(self._viewer):
            self._viewer.layers.selection.active = layer
        return layer

    def drop(self) -> None:
        """Remove the layer, unless the user has changed it or it is a result's."""
        layer, self._layer = self._layer, None
        if layer is not None and self._is_ours(layer):
            with napari_layers.unlooked(self._viewer):
                self._viewer.layers.remove(layer)

    def _is_ours(self, layer: Labels) -> bool:
        return layer in self._viewer.layers and layer.data is self._known
