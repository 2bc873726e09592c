"""Image layers in, result layers out: pixels, axes, transforms, features and provenance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_mmtseg._napari.layers.channel_axis import widened
from napari_mmtseg._napari.layers.colours import DOUBT, highest
from napari_mmtseg._napari.layers.transforms import lies_on, sound
from napari_mmtseg._napari.layers.transforms import placement as placement
from napari_mmtseg._napari.lazy.planes import LazyResult
from napari_mmtseg._napari.process import layer_pixels
from napari_mmtseg._napari.process.label_numbers import counted
from napari_mmtseg._napari.process.layer_pixels import Source
from napari_mmtseg._napari.process.messages import ShownLabels, View
from napari_mmtseg.images.frames import Frames, is_lazy
from napari_mmtseg.images.stores import name_of, open_image
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.prediction.label_image import Segmentation
from napari_mmtseg.settings import Method
from napari_mmtseg.system import memory

METADATA_KEY = "napari-mmtseg"
"""Where a layer's metadata say how its result was made."""
OPACITY = {"objects": 0.6, "areas": 0.5, "classes": 0.5}
"""Areas and classes cover the image whole, which is to be seen beneath."""
UNITLESS = ("pixel", "dimensionless")


def axes_choices(layer: Image) -> list[str]:
    """List the axes that a layer can have, the likeliest first.

    The layer's own axis labels decide where they are set. Otherwise napari says which two axes are
    in view, and the sliders before them are the user's to name.
    """
    named = [str(label)[:1].upper() for label in layer.axis_labels]
    if len(set(named)) == len(named) and set(named) <= set("TZCYX") and named[-2:] == ["Y", "X"]:
        return ["".join(named)]
    before = {
        0: [""],
        1: ["Z", "T", "C"],
        2: ["TZ", "ZC", "CZ", "TC", "CT", "ZT"],
        3: ["TZC", "TCZ", "ZTC", "ZCT", "CTZ", "CZT"],
    }
    return [sliders + "YX" for sliders in before.get(layer.ndim - 2, [])]


def data_of(layer: Image | Labels) -> Any:
    """Return a layer's array, of several levels the finest."""
    return levels_of(layer)[0]


def levels_of(layer: Image | Labels) -> list[Any]:
    """Return a layer's arrays, the finest first."""
    levels = layer.data if layer.multiscale else [layer.data]
    # napari hands plugins a proxy of what is not numpy's
    return [getattr(one, "__wrapped__", one) for one in levels]


@contextmanager
def unlooked(viewer: Any) -> Iterator[None]:
    """Keep napari from looking up what is under the mouse while layers come and go.

    In 3D that fails where the mouse has not moved since 2D, and whoever adds a layer hears of it.
    """
    over = viewer.mouse_over_canvas
    if viewer.dims.ndisplay == 3:
        viewer.mouse_over_canvas = False
    try:
        yield
    finally:
        viewer.mouse_over_canvas = over


def show(viewer: Any, layer: Any) -> None:
    """Add a layer to the viewer."""
    with unlooked(viewer):
        viewer.add_layer(layer)


def check(layers: Sequence[Image], axes: str) -> None:
    """Say what is wrong with taking these layers together, without reading their pixels.

    Raises
    ------
    TypeError, ValueError
        If one cannot be segmented, or if several cannot be channels of one image.
    """
    for layer in layers:
        if layer.ndim > 5:
            raise ValueError(
                f"{layer.name} has {layer.ndim} axes, and up to five can be used, T, Z, C, Y and "
                "X: open a part of it as a layer, such as viewer.add_image(layer.data[0])"
            )
        Frames(data_of(layer), axes + "S" if layer.rgb else axes)
    shapes = {one.name: tuple(int(n) for n in data_of(one).shape[: one.ndim]) for one in layers}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"Images taken together must have one shape, got {listed}; untick some")
    for other in layers[1:]:
        if not lies_on(other, layers[0]):
            raise ValueError(
                f"{layers[0].name} and {other.name} have one shape but lie elsewhere or differ in "
                "scale, so their pixels do not belong together; untick one, or give both one "
                "scale and translate"
            )
    if len(layers) > 1 and "C" in axes:
        raise ValueError("Images taken together become channels, so C cannot be one of their axes")


def take(layers: Sequence[Image], axes: str) -> Source:
    """Take the pixels of one layer, with its levels, or of several of one shape as channels.

    Parameters
    ----------
    layers : sequence of Image
        At least one, and nothing that `check` complains of.
    axes : str
        Axes of a layer without its colours, such as "ZYX".

    Raises
    ------
    MemoryError
        If there is no room for a copy.
    """
    if len(layers) == 1 and layers[0].multiscale:
        levels = levels_of(layers[0])
        return layer_pixels.LevelledPixels(
            [layer_pixels.take(level, layers[0].name) for level in levels]
        )
    parts = [layer_pixels.take(data_of(one), one.name) for one in layers]
    if len(parts) == 1:
        return parts[0]
    return layer_pixels.StackedChannels(parts, [bool(one.rgb) for one in layers])


def are_lazy(layers: Sequence[Image]) -> bool:
    """Tell whether what `take` gives is labelled piece by piece."""
    return any(is_lazy(data_of(one)) for one in layers)


def check_memory(layers: Sequence[Image], axes: str, *, uncertainty: bool) -> None:
    """Refuse images whose labels cannot fit into memory, before any work.

    Raises
    ------
    MemoryError
    """
    pixels = prod(shape_of(layers, axes))
    # Clusters here and in the training process, labels here; uncertainty and voters here and there.
    needed = pixels * (12 + 16 * uncertainty)
    taken = levels_of(layers[0]) if len(layers) == 1 else map(data_of, layers)
    copied = [data for data in taken if layer_pixels.in_memory(data)]
    needed += sum(2 * data.nbytes for data in copied)  # here and in the training process
    memory.require(needed, f"Labelling {pixels:,} pixels")


def outline(layers: Sequence[Image], axes: str) -> Frames:
    """Return planes of the shape and kind of what `take` gives, of which none may be read."""
    shapes = [data_of(one).shape for one in layers]
    shape = tuple(int(n) for n in shapes[0])
    if len(layers) > 1:
        count = sum(shape[-1] if one.rgb else 1 for one, shape in zip(layers, shapes, strict=True))
        shape = (*shape[: len(axes)], int(count))
    dtype = np.result_type(*(np.dtype(data_of(one).dtype) for one in layers))
    return Frames(np.broadcast_to(np.zeros((), dtype), shape), axes_of(layers, axes))


def axes_of(layers: Sequence[Image], axes: str) -> str:
    """Return the axes of what `take` gives."""
    if len(layers) > 1:
        return axes + "C"
    return axes + "S" if layers[0].rgb else axes


def shape_of(layers: Sequence[Image], axes: str) -> tuple[int, ...]:
    """Return the shape of the labels of what `take` gives."""
    sizes = zip(axes, data_of(layers[0]).shape, strict=False)  # colours come last, beyond the axes
    return tuple(int(n) for axis, n in sizes if axis != "C")


def view_of(viewer: Any, layer: Image, axes: str) -> View:
    """Return what of a layer is in view; planes are counted as by `frames.Frames`."""
    point = list(viewer.dims.point)
    for axis, middle in zip(
        viewer.dims.displayed[-2:], viewer.scene.camera.center[-2:], strict=True
    ):
        point[axis] = middle
    position = layer.world_to_data(point)
    sizes = data_of(layer).shape
    stack = [i for i, axis in enumerate(axes) if axis in "TZ"]
    index = 0
    for i in stack:
        index = index * sizes[i] + int(np.clip(round(position[i]), 0, sizes[i] - 1))
    return View(index, (float(position[axes.index("Y")]), float(position[axes.index("X")])))


def spacing_of(layer: Image, axes: str) -> tuple[float, ...] | None:
    """Return the voxel's size along Z, Y and X, or None if nobody has said what it is.

    A layer that has no units, and a scale of 1, is as napari makes it.
    """
    return pixel_size(layer, axes, "ZYX") if "Z" in axes else None


def pixel_size(layer: Image | Labels, axes: str, within: str) -> tuple[float, ...] | None:
    """Return a pixel's size along some of the axes in the unit of X, or None as `spacing_of`."""
    at = [axes.index(axis) for axis in within]
    units = [layer.units[i] for i in at]
    sizes = tuple(
        abs(float(sound(layer.scale)[i])) * _factor(unit, units[-1])
        for i, unit in zip(at, units, strict=True)
    )
    told = any(str(unit) not in UNITLESS for unit in units) or set(sizes) != {1.0}
    return sizes if told else None


def pixel_width(layer: Image | Labels, axes: str) -> tuple[float, str] | None:
    """Return the side of a pixel in the plane and its unit, or None if nobody has said it.

    Of sides that differ it is the smaller one, by which diameters count; see `spacing.relative`.
    """
    sizes = pixel_size(layer, axes, "YX")
    unit = layer.units[axes.index("X")]
    if sizes is None or str(unit) in UNITLESS:
        return None
    return min(sizes), f"{unit:~}"


def features(labels: NDArray[np.integer]) -> pd.DataFrame:
    """Count the pixels of each label; see `counts_table`."""
    return counts_table(*counted(labels), labels.size)


def counts_table(present: NDArray[np.int64], pixels: NDArray[np.int64], size: int) -> pd.DataFrame:
    """Return a table of labels: columns index, pixels and share (of all pixels)."""
    return pd.DataFrame({"index": present, "pixels": pixels, "share": pixels / size})


def known_features(labels: LazyResult) -> pd.DataFrame:
    """Return what is known of lazy labels: of all areas, of classes in the training's sample."""
    areas = labels.order.areas
    if areas is not None:
        pixels = areas.pixels[1:]
        return counts_table(np.arange(1, len(areas.pixels)), pixels, prod(labels.shape))
    return sample_features(labels) if labels.of_clusters else pd.DataFrame()


def sample_features(labels: LazyResult) -> pd.DataFrame:
    """Return the share of each label in the sample that the training ended with."""
    pixels = np.bincount(labels.label_of, weights=labels.order.model.sizes)
    present = np.unique(labels.label_of)
    share = pixels[present] / max(1, pixels.sum())
    return pd.DataFrame({"index": present, "share in sample": share})


def kind_of(layer: Any) -> str:
    """Return what a Labels layer of this plugin's holds: an output, "groups" or "training".

    The last one is said of all layers that are no results.

    Returns
    -------
    str
        "" for a layer that the user has opened or made.
    """
    record = layer.metadata.get(METADATA_KEY, {})
    if "training" in record or "disagreement" in record:
        return "training"
    settings = record.get("settings")
    if settings is None:
        return ""
    # The regions of a method without a choice are numbered one by one.
    return "groups" if "n_groups" in settings else str(settings.get("output", "areas"))


def earlier(layers: Sequence[Any], record: dict[str, Any]) -> list[Any]:
    """Return the results of the same image that hold the same kind of thing."""
    settings = record[METADATA_KEY]["settings"]
    image, kind = record[METADATA_KEY]["image"], settings.get("output", "areas")
    return [
        one
        for one in layers
        if isinstance(one, Labels)
        and kind_of(one) == kind
        and one.metadata[METADATA_KEY].get("image") == image
    ]


def result_name(layers: Sequence[Image], method: Method) -> str:
    """Return what to call a result: what it was made from, by which method, and what it shows."""
    image = " + ".join(one.name for one in layers)
    return f"{image} · {method.title} {shows(method)}"


def shows(method: Method) -> str:
    """Return what the labels of a method are: classes, areas or objects."""
    return output_of(method) if method.trains else "areas"


def result_layers(
    result: Segmentation,
    shown: ShownLabels,
    name: str,
    placed: dict[str, Any],
    metadata: dict[str, Any],
) -> tuple[Labels, Image | None]:
    """Make the Labels layer of a result, and the uncertainty layer if there is one."""
    labels, present, pixels = shown
    layer = Labels(
        labels,
        name=name,
        features=counts_table(present, pixels, labels.size),
        metadata=metadata,
        opacity=OPACITY[shows(result.method)],
        **placed,
    )
    if result.uncertainty is None:
        return layer, None
    return layer, uncertainty_layer(result.uncertainty, name, placed, metadata)


def saved_layer(path: str, axes: str, colormap: Any, placed: dict[str, Any]) -> Labels:
    """Make the layer of labels that were written to OME-Zarr, of an image of some axes."""
    levels = [widened(level, axes) for level in open_image(path).levels]
    several = len(levels) > 1
    return Labels(
        levels if several else levels[0],
        multiscale=several,
        name=name_of(path),
        colormap=colormap,
        metadata={METADATA_KEY: {"saved": path}},
        **placed,
    )


def uncertainty_layer(
    uncertainty: Any, name: str, placed: dict[str, Any], metadata: dict[str, Any]
) -> Image:
    """Make the layer of the uncertainty of a result."""
    return Image(
        uncertainty,
        name=f"{name} uncertainty",
        rgb=False,
        multiscale=isinstance(uncertainty, list),
        colormap=DOUBT,
        contrast_limits=(0, highest(uncertainty)),
        blending="translucent",
        metadata=metadata,
        **placed,
    )


def _factor(unit: Any, other: Any) -> float:
    """Return how many of another unit a unit is; 1 if one of them is none."""
    if str(unit) == str(other) or {str(unit), str(other)} & set(UNITLESS):
        return 1.0
    return float((1 * unit).to(other).magnitude)
