"""The way of an image to its labels: `train`, `segment`, and the same step by step."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike

from napari_mmtseg import engine
from napari_mmtseg.engine import Learned, OnStep, Run, Weights, drain
from napari_mmtseg.images.frames import Frames, is_lazy
from napari_mmtseg.images.spacing import relative, works_in_volumes
from napari_mmtseg.images.training_input import (
    Guides,
    fit_exposure,
    images_of,
    read_sample,
    truth_of,
)
from napari_mmtseg.methods import METHODS, MMT, Taught
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.model import Labels, Model, Uncertainty
from napari_mmtseg.prediction.label_image import Segmentation, label_steps
from napari_mmtseg.prediction.lessons import Beginner, lesson_steps, taught_method
from napari_mmtseg.prediction.object_search import check_objects, object_steps
from napari_mmtseg.prediction.plane_regions import region_steps
from napari_mmtseg.prediction.survey import seek_objects, survey
from napari_mmtseg.settings import Method
from napari_mmtseg.system import memory

NO_OBJECTS = (
    "Nothing in the image stands out from its noise, so that there are no objects: if you see "
    "some, point at one, or look for areas or classes"
)
R = TypeVar("R")


@overload
def segment(
    image: ArrayLike,
    method: Method | None = None,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    scribbles: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    return_uncertainty: Literal[False] = False,
    on_step: OnStep | None = None,
) -> Labels: ...
@overload
def segment(
    image: ArrayLike,
    method: Method | None = None,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    scribbles: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    return_uncertainty: Literal[True],
    on_step: OnStep | None = None,
) -> tuple[Labels, Uncertainty | None]: ...
def segment(
    image: ArrayLike,
    method: Method | None = None,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    scribbles: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    return_uncertainty: bool = False,
    on_step: OnStep | None = None,
) -> Labels | tuple[Labels, Uncertainty | None]:
    """Segment an image or stack: train on it, then label each of its planes.

    Parameters
    ----------
    image : array-like
        bool, integers or floats. Pixels that are NaN or infinite get label 0.
    method : Method, optional
        The method with its settings, by default ``MMT()``.
    axes : str, optional
        One letter an axis: T time, Z depth, C channel, S red-green-blue, Y row, X column. May be
        left out for a 2D image.
    spacing : sequence of three numbers, optional
        The voxel's size along Z, Y and X, in any unit; see the setting "Work in".
    scribbles : integer array-like, optional
        Strokes of the user, of the shape of the labels: 0 where nothing is painted, otherwise a
        class. Painted classes keep their numbers in the result.
    mask : integer or bool array-like, optional
        Of the shape of the labels: pixels where it is 0 are left out, and get label 0.
    return_uncertainty : bool
        Whether to return the uncertainty as well.
    on_step : callable, optional
        Called with each `Step`. Once it returns True, training stops early, keeping what is
        learned; in the phase "labelling", what is not reached gets label 0.

    Returns
    -------
    labels : int32 array
        The image's shape without its channel axis; numbered from 1 by size. A label means the
        same in every plane.
    uncertainty : float32 array, only if asked for
        How far the networks disagree, 0 to 1; None if the method has a single network.

    Raises
    ------
    TypeError, ValueError
        If the image, its axes or the device do not fit; before any work starts.
    MemoryError
        If the computer has too little memory for the settings.

    Examples
    --------
    >>> from skimage.data import cell
    >>> from napari_mmtseg import MMT, segment
    >>> labels = segment(cell(), MMT(seed=1, n_iterations=10, n_labels=2))
    >>> labels.shape, labels.max()
    ((660, 550), np.int32(2))
    """
    run = segment_steps(
        image,
        method,
        axes=axes,
        spacing=spacing,
        scribbles=scribbles,
        mask=mask,
        uncertain=return_uncertainty,
    )
    result = drain(run, on_step)
    return (result.labels(), result.uncertainty) if return_uncertainty else result.labels()


def train(
    image: ArrayLike | Sequence[ArrayLike],
    method: Method | None = None,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    scribbles: ArrayLike | None = None,
    labels: ArrayLike | Sequence[ArrayLike | None] | None = None,
    mask: ArrayLike | None = None,
    initial: Weights | None = None,
    superpixels: ArrayLike | None = None,
    on_step: OnStep | None = None,
) -> Model:
    """Train a method on an image or stack, to label this or other images with it.

    Parameters
    ----------
    image : array-like or list of arrays
        One image as for `segment`, or several with the same axes and channels.
    method, axes, spacing, scribbles, mask, on_step
        As for `segment`. With strokes or labels the model is a taught one, see `Model.taught`,
        and takes from the method the settings that both have.
    labels : integer or bool array-like, or a list with one or None for each image, optional
        Ground truth, of the shape of the labels: 0 where a pixel is not labelled, otherwise its
        class; truth values label all pixels, False as class 1 and True as class 2. The rest of
        the pixels, and images with None, are unlabelled. A part of the labelled pixels is held
        out, and tells the score of each `Step`.
    initial : mapping of str to array, optional
        Weights to start from instead of random ones, named as in the method's engine: for Kim and
        Kanezaki "conv1.weight" and so on, for MMT "student1.conv1.weight".
    superpixels : integer array-like, optional
        For Kanezaki alone: small regions, of the shape of the labels, whose pixels share a label;
        they take the place of its own.

    Returns
    -------
    Model

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `segment`.
    """
    run = train_steps(
        image,
        method,
        axes=axes,
        spacing=spacing,
        scribbles=scribbles,
        labels=labels,
        mask=mask,
        initial=initial,
        superpixels=superpixels,
    )
    return drain(run, on_step)


def train_steps(
    image: ArrayLike | Sequence[ArrayLike],
    method: Method | None = None,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    scribbles: ArrayLike | None = None,
    labels: ArrayLike | Sequence[ArrayLike | None] | None = None,
    mask: ArrayLike | None = None,
    initial: Weights | None = None,
    superpixels: ArrayLike | None = None,
) -> Run[Model]:
    """Train step by step: yields each `Step`, returns the `Model`.

    Send True to stop and keep what is learned; close the generator to discard it.
    """
    method = checked(method)
    if not method.trains:
        raise ValueError(
            f"{type(method).__name__} learns nothing that could be kept: its regions are found "
            "anew in each plane; call segment instead of train"
        )
    images = images_of(image, axes)
    volumes = images[0].is_stack and works_in_volumes(method, images[0].axes, spacing)
    images = images_of(image, axes, volumes=volumes)
    check_objects(method, images[0])
    beside = Guides.check(images, method, scribbles, mask, superpixels)
    truth = truth_of(images, labels, beside)
    _check_initial(initial)
    teaches = truth is not None or (
        beside.scribbles is not None and getattr(method, "strokes", "teach") == "teach"
    )
    if not teaches:
        method = fit_exposure(method, images)
    size = relative(spacing)[-len(images[0].frame_shape) :]
    size = size if volumes else (1.0, 1.0)
    if not teaches and isinstance(method, Taught):
        raise ValueError(
            "Taught learns from what you paint: give scribbles or labels, or choose another method"
        )
    reduction = () if teaches else engine.working_reduction(method, images[0].frame_shape, size)
    sample, scaling = read_sample(images, method, beside, size, reduction)

    if teaches:
        method = taught_method(method)
        beginner = Beginner(method, scaling, size, images[0].n_channels)
        shown = [beside.shown] if truth is None else truth
        what = "scribbles" if truth is None else "labels"
        training = lesson_steps(beginner, images, shown, what=what)
    else:
        training = engine.train(sample, method, initial)

    def as_model(learned: Learned) -> Model:
        return Model.of(method, scaling, images[0].is_rgb, learned)

    sent = None
    while True:
        try:
            step = training.send(sent)
        except StopIteration as end:
            learned: Learned = end.value
            break
        sent = yield dataclasses.replace(step, snapshot=partial(_then, as_model, step.snapshot))
    model = as_model(learned)
    if not teaches and not sent:
        sizes = survey(model, images, beside.mask)
        model = as_model(learned._replace(sizes=sizes)) if sizes.any() else model
    if output_of(method) == "objects":
        sought = seek_objects(model, images, beside.mask, spacing, hurried=bool(sent))
        model = dataclasses.replace(model, **sought._asdict())
        if not model.objects.any() and not sent and model.scaling.span.any():
            warnings.warn(NO_OBJECTS, stacklevel=3)
    return model


def segment_steps(
    image: ArrayLike,
    method: Method | None = None,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    scribbles: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    uncertain: bool = True,
    first: Callable[[], int] = lambda: 0,
) -> Run[Segmentation]:
    """Segment step by step: the steps of the training, then one for each tile labelled.

    A method that learns no model has the latter alone, and its snapshots are None. Stopping while
    labelling leaves label 0 where it is not reached. What is not `uncertain` goes without the
    uncertainty, which takes time. `first` is as for `label_steps`.
    """
    method = checked(method)
    frames = Frames(image, axes)
    check_objects(method, frames)
    if not is_lazy(frames.data):
        pixels = math.prod(frames.shape)  # before the work of training
        memory.require(6 * pixels, f"Labelling {pixels:,} pixels")
    if not method.trains:
        return (yield from region_steps(frames, method, scribbles, mask))
    model = yield from train_steps(
        image, method, axes=axes, spacing=spacing, scribbles=scribbles, mask=mask
    )
    return (
        yield from predict_steps(
            model,
            image,
            axes=axes,
            spacing=spacing,
            mask=mask,
            uncertain=uncertain,
            first=first,
        )
    )


def predict_steps(
    model: Model,
    image: ArrayLike,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    mask: ArrayLike | None = None,
    n_labels: int | None = None,
    uncertain: bool = True,
    client: Any = None,
    first: Callable[[], int] = lambda: 0,
) -> Run[Segmentation]:
    """Label an image with a model step by step, one tile a step; see `Model.predict`."""
    frames = model.frames(image, axes, spacing)
    model = model.scaled_for(frames, spacing)
    side = Guides.check([frames], model.method, None, mask).mask
    label_of = model.label_of(n_labels)
    return (
        yield from label_steps(
            model,
            frames,
            side,
            label_of=label_of,
            uncertain=uncertain,
            spacing=spacing,
            client=client,
            first=first,
        )
    )


def part_steps(
    found: Segmentation,
    model: Model,
    image: ArrayLike,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
) -> Run[Segmentation]:
    """Find the objects of an image anew, of another diameter or label: its clusters stay.

    Parameters
    ----------
    found : Segmentation
        The image's clusters.
    model : Model
        That with which they were found, but for `Model.objects` and what goes with them, and for
        its method's `diameter_px`.
    image, axes, spacing
        As for `segment`.
    """
    frames = model.frames(image, axes, spacing)
    model = model.scaled_for(frames, spacing)
    check_objects(model.method, frames)
    objects, complete = yield from object_steps(model, frames, found.clusters, spacing)
    return dataclasses.replace(
        found,
        method=model.method,
        model=model,
        objects=objects,
        complete=found.complete and complete,
    )


def checked(method: Any) -> Method:
    """Return the method, MMT if there is none.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if method is None:
        return MMT()
    if not isinstance(method, Method):
        name = method.__name__ if isinstance(method, type) else str(method)
        known = name if name in METHODS else "MMT"
        raise TypeError(
            f"The method must be settings such as {known}(), got {method!r}: write {known}()"
        )
    return method


def _check_initial(initial: Weights | None) -> None:
    for name, value in (initial or {}).items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            raise TypeError(
                f"The initial weights (initial) must be arrays of numbers, got {name}={value!r}: "
                "give an array, or leave it out to start from random weights"
            )


def _then(second: Callable[[Any], R], first: Callable[[], Any]) -> R:
    return second(first())
