"""Where a run looks: a part of an image to try first, and what shapes enclose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Shapes
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.transforms import turned
from napari_mmtseg.images.frames import Region

if TYPE_CHECKING:
    import napari

EVERYTHING, IN_VIEW, PLANE = "All of it", "What is in view", "This plane"
_SMALLEST = 16  # pixels a side that a part has at least
_ROUND = 64  # corners of what stands for an ellipse
_CLOSED = ("rectangle", "polygon", "ellipse")


class ImagePart:
    """A rectangle of an image layer, as if it were a layer of its own; nothing is copied.

    Parameters
    ----------
    layer : Image
    region : tuple of slice
        Along the layer's axes, with a start and a stop.
    """

    multiscale = False

    def __init__(self, layer: Image, region: Region) -> None:
        self.whole, self.region = layer, region
        data = napari_layers.data_of(layer)
        if not isinstance(data, np.ndarray):
            import dask.array as da

            data = data if isinstance(data, da.Array) else da.from_array(data)
        self.data = data[region]
        self._start = np.array([one.start for one in region], float)
        rotate, shear = turned(layer)
        moved = rotate @ shear @ (np.asarray(layer.scale) * self._start)
        self.translate = np.asarray(layer.translate) + moved

    def world_to_data(self, point: Sequence[float]) -> NDArray[np.float64]:
        """Return where a point of the world is in the part, in pixels."""
        place: NDArray[np.float64] = np.asarray(self.whole.world_to_data(point), float)
        inside: NDArray[np.float64] = place[-len(self._start) :] - self._start
        return inside

    def label_region(self, axes: str) -> Region:
        """Return the part of the labels that it is, given the axes of the layer."""
        pairs = zip(self.region, axes, strict=True)
        return tuple(one for one, axis in pairs if axis != "C")

    def __getattr__(self, name: str) -> Any:
        if name == "whole":  # while it is unpacked
            raise AttributeError(name)
        return getattr(self.whole, name)


def part_of(layer: Image, axes: str, what: str, viewer: napari.viewer.Viewer) -> Region | None:
    """Return the part of a layer that is meant; None if that is all of it.

    Parameters
    ----------
    layer : Image
    axes : str
        Of the layer, without its colours.
    what : str
        `EVERYTHING`, `IN_VIEW` or `PLANE`. Both parts are of one plane, with all its channels.
    viewer : napari.Viewer
    """
    if what == EVERYTHING:
        return None
    shape = napari_layers.data_of(layer).shape[: len(axes)]
    here = layer.world_to_data(viewer.dims.point)[-len(axes) :]
    corners = _corners(layer)[:, -len(axes) :]
    region = []
    for i, (axis, n) in enumerate(zip(axes, shape, strict=True)):
        if axis in "TZ":
            at = int(np.clip(round(here[i]), 0, n - 1))
            region.append(slice(at, at + 1))
        elif axis == "C" or what == PLANE or i not in _shown(layer, viewer):
            region.append(slice(0, int(n)))
        else:
            start = int(np.clip(np.floor(corners[0, i]), 0, n - min(n, _SMALLEST)))
            stop = int(np.clip(np.ceil(corners[1, i]) + 1, start + min(n, _SMALLEST), n))
            region.append(slice(start, stop))
    whole = all(one == slice(0, int(n)) for one, n in zip(region, shape, strict=True))
    return None if whole else tuple(region)


def mask_of(shapes: Shapes, layer: Any, axes: str) -> NDArray[np.bool_]:
    """Return which pixels of an image are within a layer's shapes, in each of its planes.

    Parameters
    ----------
    shapes : Shapes
        Rectangles, ellipses and polygons, drawn in whichever plane; lines enclose nothing.
    layer : Image or ImagePart
    axes : str
        Of the image, without its colours.

    Returns
    -------
    bool array
        Of the labels' shape.

    Raises
    ------
    ValueError
        If no shape encloses a pixel of it.
    """
    shape = napari_layers.shape_of([layer], axes)
    inside = np.zeros(shape[-2:], bool)
    for corners, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind not in _CLOSED:
            continue
        outline = _ellipse(corners) if kind == "ellipse" else np.asarray(corners)
        world = [shapes.data_to_world(corner) for corner in outline]
        # Of a layer of fewer axes napari takes the last ones of the world.
        ndim = len(axes)
        places = [np.concatenate([np.zeros(max(0, ndim - len(one))), one]) for one in world]
        pixels = np.array([layer.world_to_data(one[-ndim:]) for one in places])
        inside |= polygon2mask(inside.shape, pixels[:, -2:])
    if not inside.any():
        raise ValueError(
            f"{shapes.name} encloses no pixel of {layer.name}: draw a rectangle, an ellipse or a "
            "polygon on it, or choose none under Only where"
        )
    return np.array(np.broadcast_to(inside, shape))


def _corners(layer: Image) -> NDArray[np.float64]:
    """Return the first and the last pixel in view along each axis, of the finest level."""
    corners = np.asarray(layer.corner_pixels, float)
    if layer.multiscale:
        corners = corners * np.asarray(layer.downsample_factors[layer.data_level])
    return corners


def _shown(layer: Image, viewer: napari.viewer.Viewer) -> list[int]:
    """Return which axes of a layer are shown in the plane of the canvas."""
    first = viewer.dims.ndim - layer.ndim
    return [axis - first for axis in viewer.dims.displayed]


def _ellipse(corners: Any) -> NDArray[np.float64]:
    """Return points of the ellipse in a rectangle of four corners."""
    corners = np.asarray(corners, float)
    middle = corners.mean(axis=0)
    across, along = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    turn = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)[:, None]
    points: NDArray[np.float64] = middle + np.cos(turn) * across + np.sin(turn) * along
    return points
