"""Make the job of a run from what is chosen in the window, and keep what its result needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from napari.layers import Image, Labels

from napari_mmtseg._napari.fields.layer_choice import LayerChoice
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.channel_axis import laid_shape
from napari_mmtseg._napari.layers.image_part import ImagePart
from napari_mmtseg._napari.process.messages import Job
from napari_mmtseg._napari.result.object_jobs import Origin
from napari_mmtseg._napari.result.provenance import place_of, record_of, source_of
from napari_mmtseg._napari.run.live_view import LiveView
from napari_mmtseg.images.frames import Region
from napari_mmtseg.model import Model
from napari_mmtseg.settings import Method

if TYPE_CHECKING:
    import napari


class RunChoice(NamedTuple):
    """What a run is to be about."""

    layers: list[Image]
    axes: str
    """Of the first layer, without its colours."""
    method: Method
    model: Model | None
    """None to train one."""
    strokes: LayerChoice | None
    """They guide the training, or name the labels of the model."""
    mask: LayerChoice
    uncertain: bool
    region: Region | None = None
    """The part of the layers to look at; None for all of them."""


class RunInputs(NamedTuple):
    """What a run was started with."""

    origin: Origin
    source_axes: str  # of the array handed over
    live: LiveView
    name: str
    placed: dict[str, Any]
    about: dict[str, Any]
    """What tells the image from others. JSON."""
    how: dict[str, Any]
    """What else repeats the run. JSON; see `provenance.record_of`."""
    sources: Job | None = None
    """Where a lazy image is."""
    strokes: Labels | None = None
    """What names the labels of a model, and lends them its colours."""

    def record(self, method: Method, seconds: float, stopped: int | None) -> dict[str, Any]:
        """Record how the result was made, stopped after so many iterations perhaps."""
        origin, axes = self.origin, self.source_axes
        if type(method) is not type(origin.method):
            method = origin.method  # strokes teach: the model is of another method than the run
        more = self.how | {"stopped": stopped, "place": place_of(self.placed)}
        more["spacing"] = None if origin.spacing is None else list(origin.spacing)
        return record_of(method, origin.layers, axes, seconds, **more)


def run_job(viewer: napari.viewer.Viewer, chosen: RunChoice) -> tuple[Job, RunInputs]:
    """Make the job of a run; nothing is read but what is copied.

    Raises
    ------
    ValueError, MemoryError
        If the layers do not fit the model or each other, or the memory.
    """
    axes, method, model, region = chosen.axes, chosen.method, chosen.model, chosen.region
    layers: list[Any] = list(chosen.layers)
    if region is not None:
        layers = [ImagePart(layer, region) for layer in layers]
    named = chosen.strokes is not None and model is not None
    spacing = napari_layers.spacing_of(layers[0], axes)
    lazy = method.trains and napari_layers.are_lazy(layers)
    planes = napari_layers.outline(layers, axes)
    if model is not None:
        model.frames(planes.data, planes.axes, spacing)
    if not lazy:
        napari_layers.check_memory(layers, axes, uncertainty=method.has_uncertainty)
    guides = {"scribbles": chosen.strokes, "mask": chosen.mask}
    taken = {
        key: None if choice is None else choice.take(layers[0], axes)
        for key, choice in guides.items()
    }
    job = Job(
        image=napari_layers.take(layers, axes),
        axes=planes.axes,
        method=method,
        spacing=spacing,
        model=model,
        scribbles=taken["scribbles"],
        mask=taken["mask"],
        view=napari_layers.view_of(viewer, layers[0], axes),
        uncertain=chosen.uncertain or not lazy,  # the panel tells how sure it is
    )
    name = napari_layers.result_name(layers, method) + " named" * named
    placed = napari_layers.placement(layers[0], axes)
    records = {
        key: choice.record(axes)
        for key, choice in guides.items()
        if choice is not None and choice.layer is not None
    }
    part = None if region is None else [[one.start, one.stop] for one in region]
    run = RunInputs(
        origin=Origin(layers, axes, method, spacing, job.mask),
        source_axes=planes.axes,
        live=LiveView(viewer, laid_shape(planes.shape, axes), f"{name} (training)", placed),
        name=name,
        placed=placed,
        about={
            "image": [one.name for one in layers],
            "mask": None if chosen.mask.layer is None else chosen.mask.layer.name,
            "shape": planes.data.shape,
            "dtype": planes.dtype.str,
            "axes": planes.axes,
            "spacing": spacing,
            "part": part,
        },
        how={
            "guides": records,
            "uncertainty": chosen.uncertain,
            "model": None if model is None else source_of(model),
            "part": part,
        },
        sources=job if lazy else None,
        strokes=chosen.strokes.layer if named and chosen.strokes is not None else None,
    )
    return job, run
