"""A mouse for tests: press, moves and release, through napari's own handling of callbacks."""

from types import SimpleNamespace

import numpy as np
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)


def drag(viewer, layer, points):
    """Drag from point to point, given in the layer's pixels; one point is a click."""
    real = getattr(layer, "__wrapped__", layer)
    first = viewer.dims.ndim - layer.ndim
    kinds = ["mouse_press", *["mouse_move"] * (len(points) - 1), "mouse_release"]
    handlers = {
        "mouse_press": mouse_press_callbacks,
        "mouse_move": mouse_move_callbacks,
        "mouse_release": mouse_release_callbacks,
    }
    for kind, point in zip(kinds, [*points, points[-1]], strict=True):
        world = np.array(viewer.dims.point, float)
        world[first:] = layer.data_to_world(point)
        made = SimpleNamespace(
            type=kind,
            button=1,
            modifiers=(),
            pos=10 * np.array(point[-2:], float),
            position=tuple(world),
            view_direction=None,
            up_direction=None,
            dims_displayed=list(viewer.dims.displayed),
            is_dragging=kind == "mouse_move",
        )
        handlers[kind](real, ReadOnlyWrapper(made))


def click(viewer, layer, point):
    """Click at a point given in the layer's pixels."""
    drag(viewer, layer, [point])
