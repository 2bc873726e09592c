"""Keep the channels' axis in a result, one pixel long, where another would be taken for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_mmtseg._napari.lazy.planes import LazyResult
from napari_mmtseg._napari.lazy.tiles import TiledLevel
from napari_mmtseg.prediction.label_image import Segmentation


def laid(axes: str) -> str:
    """Return the axes that a result has in the viewer, given those of its layer without colours.

    napari lets the last axes of all layers meet, whatever they are called. So channels that come
    first can be left out, and others have to stay.
    """
    return axes[1:] if axes[:1] == "C" else axes


def laid_shape(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    """Return the shape that labels of a shape have in the viewer."""
    at = laid(axes).find("C")
    return tuple(shape) if at < 0 else (*shape[:at], 1, *shape[at:])


def widened(labels: Any, axes: str) -> Any:
    """Give labels the axes that they have in the viewer; of a numpy array, a view."""
    at = laid(axes).find("C")
    if at < 0:
        return labels
    if not isinstance(labels, np.ndarray):
        import dask.array as da

        labels = labels if isinstance(labels, da.Array) else da.from_array(labels)
    return labels[(slice(None),) * at + (np.newaxis,)]


def narrowed(labels: Any, axes: str) -> Any:
    """Take the channels' axis out of labels that have one: the largest of the channels is left.

    Parameters
    ----------
    labels : array-like
        Of a Labels layer that goes with an image, which may have been painted in any channel.
    axes : str
        Of the image, without its colours.
    """
    at = axes.find("C")
    if at < 0 or len(labels.shape) != len(axes) or isinstance(labels, LazyResult | TiledLevel):
        return labels  # lazy labels arrive in the training process without channels
    if labels.shape[at] == 1:
        return labels[(slice(None),) * at + (0,)]
    if not isinstance(labels, np.ndarray):
        import dask.array as da

        labels = labels if isinstance(labels, da.Array) else da.from_array(labels)
    return labels.max(axis=at)


def pixel_of(place: Sequence[int], axes: str) -> tuple[int, ...]:
    """Return where a pixel of a result in the viewer is outside of it."""
    return tuple(i for i, axis in zip(place, laid(axes), strict=True) if axis != "C")


def laid_out(found: Segmentation, axes: str) -> Segmentation:
    """Give all of a result the axes that it has in the viewer."""
    at = laid(axes).find("C")
    if at < 0:
        return found
    return _changed(found, axes, widened, [axis + (axis >= at) for axis in found.frame_axes])


def taken_in(found: Segmentation, axes: str) -> Segmentation:
    """Give all of a result the axes that it has outside of the viewer."""
    at = laid(axes).find("C")
    if at < 0:
        return found
    return _changed(found, axes, narrowed, [axis - (axis > at) for axis in found.frame_axes])


def _changed(
    found: Segmentation, axes: str, change: Callable[[Any, str], Any], frame_axes: Sequence[int]
) -> Segmentation:
    arrays = {name: getattr(found, name) for name in ("clusters", "uncertainty", "objects")}
    changed: dict[str, Any] = {
        name: None if one is None else change(one, axes) for name, one in arrays.items()
    }
    if found.voters is not None:
        first, second = found.voters
        changed["voters"] = (change(first, axes), change(second, axes))
    return replace(found, frame_axes=tuple(frame_axes), **changed)
