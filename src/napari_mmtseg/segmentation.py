"""The way of an image to its labels: `train`, `segment`, and the same step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg import engine
from napari_mmtseg.arrays import Planes
from napari_mmtseg.engine import Learned, Step, Weights
from napari_mmtseg.methods import MMT
from napari_mmtseg.model import Labels, Model, Uncertainty, labelled
from napari_mmtseg.reading import images_of, read_sample
from napari_mmtseg.settings import Method

R = TypeVar("R")
Run = Generator[Step, bool | None, R]
OnStep = Callable[[Step], bool | None]


@dataclass(frozen=True)
class Segmentation:
    """An image's labels and where they come from."""

    clusters: NDArray[np.int32]
    """(..., Y, X): cluster of each pixel, -1 where it is not finite."""
    uncertainty: Uncertainty | None
    method: Method
    model: Model | None
    """None for methods whose regions are local; their clusters are the regions, by size."""

    def labels(self, n_labels: int | None = None) -> Labels:
        """Return the labels, merged to n_labels if given; nothing is computed anew.

        Raises
        ------
        ValueError
            If regions without a model are to be merged.
        """
        if self.model is None:
            if n_labels is not None:
                raise ValueError(
                    f"These regions cannot be merged to {n_labels} labels (n_labels): the method "
                    "learns nothing that tells which ones belong together"
                )
            return self.clusters + np.int32(1)
        return labelled(self.clusters, self.model.label_of(n_labels), self.method)


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
    superpixels: ArrayLike | None = None,
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
        method or MMT(),
        axes=axes,
        scribbles=scribbles,
        mask=mask,
        initial=initial,
        superpixels=superpixels,
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
    superpixels: ArrayLike | None = None,
) -> Run[Model]:
    """Train step by step: yields each `Step`, returns the `Model`.

    Send True to stop and keep what is learned; close the generator to discard it.
    """
    if not method.trains:
        raise ValueError(
            f"{type(method).__name__} learns nothing that could be kept: its regions are found "
            "anew in each plane; call segment instead of train"
        )
    images = images_of(image, axes)
    sample, scaling = read_sample(images, method, scribbles, mask, superpixels)

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
    """Segment step by step: the steps of the training, then one for each plane labelled.

    A method that learns no model has the latter alone; stopping it leaves label 0 in the planes
    that are not reached, and its snapshots are None.
    """
    if not method.trains:
        return (yield from _region_steps(image, method, axes, scribbles, mask))
    model = yield from train_steps(image, method, axes=axes, scribbles=scribbles, mask=mask)
    result = yield from predict_steps(model, image, axes=axes, mask=mask)
    # The training sample may miss planes; the labels are numbered by what is really there.
    sizes = np.bincount(result.clusters[result.clusters >= 0], minlength=model.n_clusters)
    number = np.append(np.cumsum(sizes > 0) - 1, -1).astype(np.int32)  # the last is for cluster -1
    return dataclasses.replace(
        result, clusters=number[result.clusters], model=model.without_empty(sizes)
    )


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
    return Segmentation(clusters, uncertainty, model.method, model)


def _region_steps(
    image: ArrayLike,
    method: Method,
    axes: str | None,
    scribbles: ArrayLike | None,
    mask: ArrayLike | None,
) -> Run[Segmentation]:
    """Find the regions of each plane and number them by size over the whole stack."""
    planes = Planes(image, axes)
    _, scaling = read_sample([planes], method, scribbles, mask)
    clusters = np.full(planes.shape, -1, np.int32)
    flat = clusters.reshape(-1, *planes.shape[-2:])
    hidden = None if mask is None else planes.side_image(mask, "mask") == 0
    count = 0
    for index, plane in enumerate(planes):
        pixels, valid = scaling.apply(plane)
        if hidden is not None:
            valid &= ~hidden[index]
        found = np.unique(engine.regions(pixels, method)[valid], return_inverse=True)[1]
        flat[index][valid] = found + count
        count += int(found.max(initial=-1)) + 1
        if (yield Step("labelling", index + 1, len(planes), (), (count,), lambda: None)):
            break
    sizes = np.bincount(clusters[clusters >= 0], minlength=count)
    number = np.full(count + 1, -1, np.int32)  # the last one is for cluster -1
    number[np.argsort(-sizes, kind="stable")] = np.arange(count, dtype=np.int32)
    return Segmentation(number[clusters], None, method, None)


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
