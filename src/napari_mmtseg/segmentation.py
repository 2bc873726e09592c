"""The way of an image to its labels: `train`, `segment`, and the same step by step."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg import engine
from napari_mmtseg.arrays import Planes, Scaling
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
    return_uncertainty: Literal[False] = False,
    on_step: OnStep | None = None,
) -> Labels: ...
@overload
def segment(
    image: ArrayLike,
    method: Method | None = None,
    *,
    axes: str | None = None,
    return_uncertainty: Literal[True],
    on_step: OnStep | None = None,
) -> tuple[Labels, Uncertainty | None]: ...
def segment(
    image: ArrayLike,
    method: Method | None = None,
    *,
    axes: str | None = None,
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
    result = _drain(segment_steps(image, method or MMT(), axes=axes), on_step)
    return (result.labels(), result.uncertainty) if return_uncertainty else result.labels()


def train(
    image: ArrayLike,
    method: Method | None = None,
    *,
    axes: str | None = None,
    initial: Weights | None = None,
    on_step: OnStep | None = None,
) -> Model:
    """Train a method on an image or stack, to label this or other images with it.

    Parameters
    ----------
    image, method, axes, on_step
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
    return _drain(train_steps(image, method or MMT(), axes=axes, initial=initial), on_step)


def train_steps(
    image: ArrayLike,
    method: Method,
    *,
    axes: str | None = None,
    initial: Weights | None = None,
) -> Run[Model]:
    """Train step by step: yields each `Step`, returns the `Model`.

    Send True to stop and keep what is learned; close the generator to discard it.
    """
    planes = Planes(image, axes)
    chosen = planes.choose(np.random.default_rng(method.seed), _SAMPLE_VALUES)
    scaling = Scaling.fit(planes, chosen, method.intensity)
    sample = scaling.sample(planes, chosen)
    if not sample.pixels.any():
        warnings.warn("All pixels of the image are equal: it gets one label", stacklevel=3)

    def as_model(learned: Learned) -> Model:
        return Model(
            method, scaling, planes.is_rgb, learned.weights, learned.colours, learned.sizes
        )

    training = engine.train(sample, method, initial)
    sent = None
    while True:
        try:
            step = training.send(sent)
        except StopIteration as end:
            return as_model(end.value)
        sent = yield dataclasses.replace(step, snapshot=partial(_then, as_model, step.snapshot))


def segment_steps(
    image: ArrayLike, method: Method, *, axes: str | None = None
) -> Run[Segmentation]:
    """Segment step by step: the steps of the training, then one for each plane labelled."""
    model = yield from train_steps(image, method, axes=axes)
    result = yield from predict_steps(model, image, axes=axes)
    # The training sample may miss planes; the labels are numbered by what is really there.
    sizes = np.bincount(result.clusters[result.clusters >= 0], minlength=model.n_clusters)
    return dataclasses.replace(result, model=dataclasses.replace(model, sizes=sizes))


def predict_steps(model: Model, image: ArrayLike, *, axes: str | None = None) -> Run[Segmentation]:
    """Label an image with a model step by step, one plane a step."""
    planes = model.check(Planes(image, axes))
    clusters = np.empty(planes.shape, np.int32)
    uncertainty = np.empty(planes.shape, np.float32) if model.method.has_uncertainty else None
    for index in model.fill(planes, clusters, uncertainty, model.label_of()):
        yield Step("labelling", index + 1, len(planes), (), (model.n_clusters,), lambda: model)
    return Segmentation(clusters, uncertainty, model)


def _then(second: Callable[[Any], R], first: Callable[[], Any]) -> R:
    return second(first())


def _drain(run: Run[R], on_step: OnStep | None) -> R:
    stop = None
    while True:
        try:
            step = run.send(stop)
        except StopIteration as end:
            result: R = end.value
            return result
        stop = on_step(step) if on_step else None
