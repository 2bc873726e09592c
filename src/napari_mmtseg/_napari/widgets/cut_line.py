"""The line along which an object is cut, seen while it is drawn."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from napari_mmtseg._napari.layers import layers as napari_layers

if TYPE_CHECKING:
    import napari

_NAME = "cut line"


class CutLine:
    """A Shapes layer that is there while the mouse is dragged."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer
        self._shapes: Any = None

    def show(self, layer: Any, points: list[NDArray[np.float64]]) -> None:
        """Draw a line over a layer, which stays the active one.

        Parameters
        ----------
        layer : napari Labels
        points : list of arrays
            At least two, in pixels along the layer's axes.
        """
        path = np.array(points)
        if self._shapes is not None:
            self._shapes.data = [path]
            return
        placed = napari_layers.placement(layer, "Y" * layer.ndim)
        shapes = Shapes([path], shape_type="path", edge_color="#ffffff", name=_NAME, **placed)
        self._shapes = self._viewer.add_layer(shapes)
        self._viewer.layers.selection.active = layer  # which the mouse and Ctrl+Z act on

    def hide(self) -> None:
        """Remove the line."""
        if self._shapes is not None and self._shapes in self._viewer.layers:
            self._viewer.layers.remove(self._shapes)
        self._shapes = None


def object_under(labels: NDArray[Any], points: NDArray[np.float64]) -> int:
    """Return the object that a line covers most of, 0 if it covers none.

    Parameters
    ----------
    labels : integer array
    points : (N, labels.ndim) array
        The line's, in pixels.
    """
    steps = [np.linspace(a, b, 2 + int(2 * np.abs(b - a).max())) for a, b in pairwise(points)]
    under = np.rint(np.concatenate(steps)).astype(int)
    under = under[((under >= 0) & (under < labels.shape)).all(axis=1)]
    values, counts = np.unique(labels[tuple(under.T)], return_counts=True)
    covered = counts * (values != 0)
    return int(values[covered.argmax()]) if covered.any() else 0
