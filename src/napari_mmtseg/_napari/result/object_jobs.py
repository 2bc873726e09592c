"""Find the objects of a result anew: of another diameter, or of another label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_mmtseg._napari.fields.duration import duration
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.channel_axis import pixel_of, taken_in
from napari_mmtseg._napari.process.layer_pixels import Source
from napari_mmtseg._napari.process.messages import Job, ShownLabels, View
from napari_mmtseg._napari.process.view_server import ViewOrder
from napari_mmtseg.images.spacing import relative
from napari_mmtseg.labels.shapes import diameter_of
from napari_mmtseg.model import Model
from napari_mmtseg.prediction.label_image import Segmentation
from napari_mmtseg.settings import Method

_MUCH = 0.4
_DEEP = 1.25
"""So much deeper than wide voxels are worth a word."""


class Origin(NamedTuple):
    """What a result was made from, and what the user has said of it since."""

    layers: list[Image]
    axes: str
    """Of the first layer, without colours."""
    method: Method
    """The settings of the run."""
    spacing: tuple[float, ...] | None = None
    mask: Source | None = None
    at: tuple[int, ...] | None = None
    """The pixel that was pointed out as one of an object."""

    @property
    def pixel(self) -> tuple[float, str] | None:
        """The width of a pixel and its unit, if they are known."""
        return napari_layers.pixel_width(self.layers[0], self.axes)


def object_job(
    found: Segmentation, origin: Origin, *, diameter: float = 0.0, at: tuple[int, ...] | None = None
) -> Job:
    """Make the job that finds objects anew; nothing is trained, and the clusters stay.

    Parameters
    ----------
    found : Segmentation
        The result, whose method's output is objects.
    origin : Origin
    diameter : float
        Of an object, in pixels; 0 to measure it.
    at : tuple of int, optional
        A pixel of an object, along the labels' axes, to say what objects are made of.

    Raises
    ------
    ValueError
        If the image has another shape by now.
    MemoryError
        If there is no room for a copy.
    """
    layers, axes = origin.layers, origin.axes
    planes = napari_layers.outline(layers, axes)
    found = taken_in(found, axes)
    if planes.shape != found.clusters.shape:
        raise ValueError(
            f"{layers[0].name} has another shape than when it was segmented: press Run again"
        )
    model = with_diameter(found.model, diameter)
    return Job(
        image=napari_layers.take(layers, axes),
        axes=planes.axes,
        method=model.method,
        spacing=origin.spacing,
        model=model,
        mask=origin.mask,
        found=replace(found, uncertainty=None, objects=None, voters=None),
        at=at if at is None else pixel_of(at, axes),
    )


def with_diameter(model: Model, diameter: float) -> Model:
    """Return a model that takes objects to be so wide, in pixels; 0 for as wide as measured."""
    changes: dict[str, Any] = {"diameter_px": diameter}
    return replace(model, method=replace(model.method, **changes))


def view_job(model: Model, order: ViewOrder, view: View, at: tuple[int, ...] | None = None) -> Job:
    """Make the job that finds what is in view of a lazy result anew; nothing is trained.

    Areas are only known when all of the image is labelled, which the job does.

    Parameters
    ----------
    model : Model
        To look with.
    order : ViewOrder
        What the result was looked at with.
    view : View
        What is in view.
    at : tuple of int, optional
        A pixel of an object, along the axes of the labels outside of the viewer.
    """
    return Job(
        image=order.image,
        axes=order.axes,
        method=model.method,
        spacing=order.spacing,
        model=model,
        mask=order.mask,
        view=view,
        at=at,
    )


def summary(shown: ShownLabels, origin: Origin, seconds: float) -> str:
    """Say how many objects there are and how large, what was assumed, and what to do if it is odd.

    Parameters
    ----------
    shown : ShownLabels
        The objects and the pixels of each; 0 is ground.
    origin : Origin
    seconds : float
        That it took.
    """
    took = f"Done in {duration(seconds)}:"
    sizes = shown.pixels[shown.present > 0]
    if not len(sizes):
        return (
            f"{took} no object was found. Press 'Wrong thing?' and click on one, or look for "
            "areas or classes."
        )
    n = 3 if _is_deep(shown.labels, origin.axes) else 2
    voxel = float(np.prod(relative(origin.spacing)[-n:]))
    median = float(np.median(diameter_of(_sizes(shown.labels, origin.axes, sizes) * voxel, n)))
    text = f"{took} {len(sizes)} object{'s' * (len(sizes) > 1)}, median diameter {median:.3g} px"
    if origin.pixel is not None:
        width, unit = origin.pixel
        text += f" ({median * width:.3g} {unit})"
    share = float(sizes.max()) / shown.labels.size
    return " ".join(filter(None, (f"{text}.", _odd(share), _depth(n, origin.spacing))))


def _is_deep(labels: Any, axes: str) -> bool:
    own = axes.replace("C", "").replace("S", "")
    return "Z" in own and labels.shape[own.index("Z")] > 1


def _sizes(labels: Any, axes: str, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pixels of each object in each frame: a linked one has its number in several."""
    own = axes.replace("C", "").replace("S", "")
    if "T" not in own or not isinstance(labels, np.ndarray):
        return sizes
    frames = np.moveaxis(labels, own.index("T"), 0)
    each = np.concatenate([np.bincount(frame[frame > 0].ravel()) for frame in frames])
    return each[each > 0]


def _odd(share: float) -> str:
    if share < _MUCH:
        return ""
    return (
        f"The largest covers {100 * share:.0f} % of the image: if it is the background, press "
        "'Wrong thing?' and click on an object; if it is several, enter the diameter of one."
    )


def _depth(n: int, spacing: Sequence[float] | None) -> str:
    if n == 2:
        return ""
    if spacing is None:
        return "Voxels were taken for cubes: give their size as the layer's scale if they are not."
    depth = relative(spacing)[0]
    if 1 / _DEEP <= depth <= _DEEP:
        return ""
    return f"Voxels are {depth:.2g} times as deep as wide, which was taken into account."
