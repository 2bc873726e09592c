"""The way of an image to its labels: `train`, `segment`, and the same step by step."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg import engine
from napari_mmtseg.arrays import Planes, Sample, Scaling, several
from napari_mmtseg.engine import Learned, Step, Weights
from napari_mmtseg.methods import MMT, Method
from napari_mmtseg.model import Labels, Model, Uncertainty, recoloured

R = TypeVar("R")
Run = Generator[Step, bool | None, R]
OnStep = Callable[[Step], bool | None]

_SAMPLE_VALUES = 8_000_000


@dataclass(frozen=True)
class Segmentation:
    """An image's labels and where they come from."""

    clusters: NDArray[np.int32]
    """(..., Y, X): cluster of each pixel, -1 where it is not finite."""
    uncertainty: Uncertainty | None
    model: Model

    def labels(self, n_labels: int | None = None) -> Labels:
        """Return the labels, merged to n_labels if given; nothing is computed anew."""
        return recoloured(self.clusters, self.model.label_of(n_labels))


@overload
def segment(
    image: ArrayLike,
    method: Method | None = None,
    *,
    axes: str | None = None,
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
    axes: str | None = None,
    scribbles: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    return_uncertainty: Literal[True],
    on_step: OnStep | None = None,
) -> tuple[Labels, Uncertainty | None]: ...
def segment(
    image: ArrayLike,
    method: Method | None = None,
    *,
    axes: str | None = None,
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
    scribbles : integer array-like, optional
        Strokes of the user, of the shape of the labels: 0 where nothing is painted, otherwise a
        class. Painted classes keep their numbers in the result.
    mask : integer or bool array-like, optional
        Of the shape of the labels: pixels where it is 0 are left out, and get label 0.
    return_uncertainty : bool
        Whether to return the uncertainty as well.
    on_step : callable, optional
        Called with each `Step`; training stops early, keeping what is learned, once it returns
        True.

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
    run = segment_steps(image, method or MMT(), axes=axes, scribbles=scribbles, mask=mask)
    result = drain(run, on_step)
    return (result.labels(), result.uncertainty) if return_uncertainty else result.labels()


def train(
    image: ArrayLike | Sequence[ArrayLike],
    method: Method | None = None,
    *,
    axes: str | None = None,
    scribbles: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    initial: Weights | None = None,
    on_step: OnStep | None = None,
) -> Model:
    """Train a method on an image or stack, to label this or other images with it.

    Parameters
    ----------
    image : array-like or list of arrays
        One image as for `segment`, or several with the same axes and channels.
    method, axes, scribbles, mask, on_step
        As for `segment`.
    initial : mapping of str to array, optional
        Weights to start from instead of random ones; for MMT "student1.conv1.weight" and so on.

    Returns
    -------
    Model

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `segment`.
    """
    run = train_steps(
        image, method or MMT(), axes=axes, scribbles=scribbles, mask=mask, initial=initial
    )
    return drain(run, on_step)


def train_steps(
    image: ArrayLike | Sequence[ArrayLike],
    method: Method,
    *,
    axes: str | None = None,
    scribbles: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    initial: Weights | None = None,
) -> Run[Model]:
    """Train step by step: yields each `Step`, returns the `Model`.

    Send True to stop and keep what is learned; close the generator to discard it.
    """
    images = _images(image, axes)
    sample, scaling = _sample(images, method, scribbles, mask)
    if not any(pixels.any() for pixels in sample.pixels):
        warnings.warn("All pixels of the image are equal: it gets one label", stacklevel=3)

    def as_model(learned: Learned) -> Model:
        return Model(method, scaling, images[0].is_rgb, *dataclasses.astuple(learned))

    training = engine.train(sample, method, initial)
    sent = None
    while True:
        try:
            step = training.send(sent)
        except StopIteration as end:
            return as_model(end.value)
        sent = yield dataclasses.replace(step, snapshot=partial(_then, as_model, step.snapshot))


def segment_steps(
    image: ArrayLike,
    method: Method,
    *,
    axes: str | None = None,
    scribbles: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Run[Segmentation]:
    """Segment step by step: the steps of the training, then one for each plane labelled."""
    model = yield from train_steps(image, method, axes=axes, scribbles=scribbles, mask=mask)
    result = yield from predict_steps(model, image, axes=axes, mask=mask)
    # The training sample may miss planes; the labels are numbered by what is really there.
    sizes = np.bincount(result.clusters[result.clusters >= 0], minlength=model.n_clusters)
    return dataclasses.replace(result, model=dataclasses.replace(model, sizes=sizes))


def predict_steps(
    model: Model, image: ArrayLike, *, axes: str | None = None, mask: ArrayLike | None = None
) -> Run[Segmentation]:
    """Label an image with a model step by step, one plane a step."""
    planes = model.check(Planes(image, axes))
    clusters = np.empty(planes.shape, np.int32)
    uncertainty = np.empty(planes.shape, np.float32) if model.method.has_uncertainty else None
    for index in model.fill(planes, clusters, uncertainty, model.label_of()):
        yield Step("labelling", index + 1, len(planes), (), (model.n_clusters,), lambda: model)
    if mask is not None:
        clusters[np.asarray(mask) == 0] = -1
    return Segmentation(clusters, uncertainty, model)


def _images(image: ArrayLike | Sequence[ArrayLike], axes: str | None) -> list[Planes]:
    images = [Planes(one, axes) for one in several(image)]
    if not images:
        raise ValueError("There is no image to train on; give at least one")
    for number, planes in enumerate(images):
        if (planes.n_channels, planes.is_rgb) != (images[0].n_channels, images[0].is_rgb):
            raise ValueError(
                f"Image {number} has {planes.n_channels} channels where the first has "
                f"{images[0].n_channels}: train on images of one kind"
            )
    return images


def _sample(
    images: list[Planes], method: Method, scribbles: ArrayLike | None, mask: ArrayLike | None
) -> tuple[Sample, Scaling]:
    """Read and scale planes chosen at random, all if they are few, and every painted one."""
    if len(images) > 1 and (scribbles is not None or mask is not None):
        raise ValueError("Scribbles and masks go with a single image; train on one, or leave them")
    painted = None if scribbles is None else images[0].side_image(scribbles, "scribbles")
    hidden = None if mask is None else images[0].side_image(mask, "mask") == 0
    if painted is not None and len(np.unique(painted[painted > 0])) < 2:
        raise ValueError("The scribbles must hold at least two classes: paint a second one")
    if hidden is not None and hidden.all():
        raise ValueError("The mask hides every pixel: paint where the image is to be used")
    all_planes = [(planes, index) for planes in images for index in range(len(planes))]
    order = np.random.default_rng(method.seed).permutation(len(all_planes))
    if painted is not None:
        order = order[np.argsort(~painted[order].any(axis=(1, 2)), kind="stable")]
    room = np.cumsum([np.prod((p.n_channels, *p.shape[-2:])) for p, _ in all_planes])
    count = max(1, int((room <= _SAMPLE_VALUES).sum()))
    if painted is not None:
        count = max(count, int(painted.any(axis=(1, 2)).sum()))
    chosen = [all_planes[i] for i in sorted(order[:count])]
    raw = [planes.plane(index) for planes, index in chosen]
    scaling = Scaling.fit(raw, method.intensity, shared=images[0].is_rgb)
    scaled = [scaling.apply(plane) for plane in raw]
    pixels, valid = [list(part) for part in zip(*scaled, strict=True)]
    if hidden is not None:
        valid = [seen & ~hidden[index] for seen, (_, index) in zip(valid, chosen, strict=True)]
    for channel in range(images[0].n_channels):
        seen = np.concatenate([p[channel][v] for p, v in zip(pixels, valid, strict=True)])
        if seen.size and seen.min() == seen.max():
            for plane in pixels:
                plane[channel] = 0
    strokes = None if painted is None else [painted[i].astype(np.int64) for _, i in chosen]
    places = [(images.index(planes), *planes.position(index)) for planes, index in chosen]
    return Sample(pixels, valid, strokes, is_rgb=images[0].is_rgb, places=places), scaling


def _then(second: Callable[[Any], R], first: Callable[[], Any]) -> R:
    return second(first())


def drain(run: Run[R], on_step: OnStep | None) -> R:
    """Drive a run to its end, or until `on_step` returns True, and return its result."""
    stop = None
    while True:
        try:
            step = run.send(stop)
        except StopIteration as end:
            result: R = end.value
            return result
        stop = on_step(step) if on_step else None
