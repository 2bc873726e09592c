"""Show the labels as they are while training, in a layer that goes when training ends."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from napari_mmtseg._napari import layers as napari_layers
from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.colouring import cycle_of
from napari_mmtseg._napari.lazy_labels import KnownPlanes
from napari_mmtseg._napari.messages import Preview

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
        # napari collects garbage when a layer goes, which stops a window full of objects for a
        # third of a second. What is older than the layer is left out of that: see `_thaw`.
        gc.freeze()
        self._viewer.layers.events.removing.connect(self._thaw)
        active = self._viewer.layers.selection.active
        with napari_layers.unlooked(self._viewer):
            self._viewer.add_layer(self._layer)
            if active is not None:
                self._viewer.layers.selection.active = active

    def drop(self) -> None:
        """Remove the layer, unless the user has changed it."""
        layer, self._layer = self._layer, None
        if layer is None:
            return
        self._viewer.layers.events.removing.disconnect(self._thaw)
        if self._is_ours(layer):
            with napari_layers.unlooked(self._viewer):
                self._viewer.layers.remove(layer)
        gc.unfreeze()

    def _thaw(self) -> None:
        """Leave nothing out when the user removes a layer: it may be older."""
        gc.unfreeze()

    def _is_ours(self, layer: Labels) -> bool:
        return layer in self._viewer.layers and layer.data is self._known
