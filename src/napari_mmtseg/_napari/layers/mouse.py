"""From a click to an object, and from an object to the view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

MouseCallback = Callable[[Any, Any], Iterator[None]]
"""Takes the layer and the event, and is advanced with each move until the release."""
_STILL_PX = 4
"""Screen pixels that a hand moves in a click."""


def clicked_value(layer: Any, event: Any, act: Callable[[int], object]) -> Iterator[None]:
    """Call with the object under a click; nothing happens in a drag, on background, or painting.

    Parameters
    ----------
    layer : napari Labels
    event : napari mouse event
        Of a press; this generator must be advanced with each move until the release.
    act : callable
        Called with the object's number.
    """
    if str(layer.mode) != "pan_zoom":
        return
    value = value_at(layer, event)
    if value:
        yield from clicked_place(event, lambda _: act(value))


def clicked_place(event: Any, act: Callable[[Any], object]) -> Iterator[None]:
    """Call with the event of a click; nothing happens in a drag.

    Parameters
    ----------
    event : napari mouse event
        Of a press; this generator must be advanced with each move until the release.
    act : callable
        Called with the event on release.
    """
    if event.button != 1:
        return
    start = np.asarray(event.pos, float)
    yield
    while event.type == "mouse_move":
        if np.hypot(*(np.asarray(event.pos, float) - start)) > _STILL_PX:
            return
        yield
    act(event)


def listen(layer: Any, callback: MouseCallback) -> None:
    """Let a layer, or the viewer, call with each press of the mouse, once."""
    if callback not in layer.mouse_drag_callbacks:
        layer.mouse_drag_callbacks.append(callback)


def forget(layer: Any, callback: MouseCallback) -> None:
    """End what `listen` began, if it did."""
    if callback in layer.mouse_drag_callbacks:
        layer.mouse_drag_callbacks.remove(callback)


def value_at(layer: Any, event: Any) -> int:
    """Return the object at the mouse, 0 if there is none."""
    value = layer.get_value(
        event.position,
        view_direction=event.view_direction,
        dims_displayed=event.dims_displayed,
        world=True,
    )
    if isinstance(value, tuple):  # of a pyramid: the level comes first
        value = value[-1]
    return int(value) if value is not None else 0


def go_to(viewer: Any, layer: Any, place: Sequence[float]) -> None:
    """Bring a point of a layer into the middle of the view.

    Parameters
    ----------
    viewer : napari viewer
    layer : napari layer
    place : sequence of float
        In pixels along the layer's axes.
    """
    world = np.asarray(layer.data_to_world(place), float)
    first = viewer.dims.ndim - layer.ndim  # the layer's axes are the last ones
    shown = [axis for axis in viewer.dims.displayed if axis >= first]
    hidden = [axis for axis in range(first, viewer.dims.ndim) if axis not in shown]
    if hidden:
        viewer.dims.set_point(hidden, [world[axis - first] for axis in hidden])
    centre = [world[axis - first] for axis in shown]
    viewer.scene.camera.center = tuple(centre)
