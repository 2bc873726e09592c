"""The engines: one file a method, each a generator that trains and a predictor that labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from importlib import import_module
from sys import float_info
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.images.frames import Region, Sample
from napari_mmtseg.methods import NetworkMethod
from napari_mmtseg.settings import Method

R = TypeVar("R")

Weights = Mapping[str, NDArray[Any]]


class Doubt(NamedTuple):
    """What is known of two voters that differ."""

    uncertainty: NDArray[np.float32]
    """(*spatial), in 0..1."""
    voters: tuple[NDArray[np.int16], NDArray[np.int16]]
    """Each (*spatial): the clusters that a voter would give alone."""


Prediction = tuple[NDArray[np.integer], Doubt | None]
"""Clusters (*spatial) in 0..K - 1, and how far they are in doubt if that was asked for."""


class Array(NamedTuple):
    """What is known in advance of an array that a model keeps."""

    kinds: str
    """The types that it may have, as safetensors calls them, with spaces between."""
    shape: tuple[int | str, ...] | None
    """K clusters, C channels, A spatial axes, M merges; None where the network decides."""
    low: float = -float_info.max
    high: float = float_info.max


class Tile(NamedTuple):
    """Where a tile lies in what was read for it."""

    inner: Region
    """The tile's place among the votes of what was read."""
    shape: tuple[int, ...]
    """The tile's pixels along each axis."""
    origin: tuple[int, ...]
    """The place in the frame of the first pixel read."""


Draft = Callable[[NDArray[np.integer]], None]


class Find(Protocol):
    """Finds the clusters of a tile."""

    def __call__(
        self,
        pixels: NDArray[np.float32],
        tile: Tile,
        label_of: NDArray[np.int64] | None = None,
        draft: Draft | None = None,
    ) -> Prediction:
        """Find the clusters of a tile.

        Parameters
        ----------
        pixels : (C, *votes) float32 array
            Reduced, of the tile and its halo.
        tile : Tile
        label_of : (K,) int array, optional
            The label of each cluster asks for the uncertainty of those labels.
        draft : callable, optional
            Called with the clusters as they are before what takes longest, if anything does.
        """
        ...


class Predictor(NamedTuple):
    """A trained method as a pure function of the pixels in and around a tile.

    Tiles lie on a grid that belongs to the frame, and are always predicted whole: so a pixel's
    cluster is the same however much of the frame is asked for.
    """

    factor: tuple[int, ...]
    """Pixels that share a vote, along each axis."""
    side: tuple[int, ...]
    """Votes along each axis of a tile."""
    halo: tuple[int, ...]
    """Votes beyond a tile that its clusters depend on."""
    reduce: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """Bring scaled pixels (C, *spatial) to the resolution that `find` takes."""
    find: Find
    """Find the clusters of a tile from the reduced pixels of it and its halo."""


class Learned(NamedTuple):
    """What training leaves behind, in plain arrays."""

    weights: Weights
    """All that the method's predictor needs."""
    colours: NDArray[np.float32]
    """(K, C): mean scaled intensity of each cluster over the sample."""
    sizes: NDArray[np.int64]
    """(K,): pixels of each cluster in the sample."""
    classes: NDArray[np.int64]
    """(K,): the user's class that a cluster was painted as, 0 for none."""
    groups: NDArray[np.int64] | None = None
    """(K,): clusters with the same number merge before all others; None if none belong together."""


@dataclass(frozen=True)
class Step:
    """How far a run has come. Send True to the generator to stop it and keep what is learned."""

    phase: Literal["training", "labelling", "objects"]
    done: int
    total: int
    losses: tuple[float, ...]
    """Loss of each network, before the step's update."""
    counts: tuple[int, ...]
    """Labels in use by each network."""
    snapshot: Callable[[], Any]
    """Make a usable result of this moment: `Learned` from an engine, a `Model` further out."""
    score: float = math.nan
    """Mean intersection over union of the classes on labels held out, 0 to 1; NaN without any."""

    @property
    def loss(self) -> float:
        """Mean loss of the networks; NaN while labelling."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    @property
    def n_labels(self) -> int:
        """Largest number of labels in use."""
        return max(self.counts)


Run = Generator[Step, bool | None, R]
Training = Run[Learned]
OnStep = Callable[[Step], bool | None]


def drain(run: Run[R], on_step: OnStep | None = None) -> R:
    """Drive a run to its end, or until `on_step` returns True, and return its result."""
    stop = None
    while True:
        try:
            step = run.send(stop)
        except StopIteration as end:
            result: R = end.value
            return result
        stop = on_step(step) if on_step else None


def train(sample: Sample, method: Method, initial: Weights | None = None) -> Training:
    """Start training; the work happens as the generator is driven.

    Parameters
    ----------
    sample : Sample
        Scaled pixels.
    method : Method
        The settings, which also choose the engine.
    initial : mapping of str to array, optional
        Weights to start from instead of random ones, named as the engine's file says.
    """
    training: Training = _engine_of(method).train(sample, method, initial)
    return training


def working_reduction(
    method: Method, frame_shape: tuple[int, ...], spacing: tuple[float, ...]
) -> tuple[int, ...]:
    """Return by how much training reduces a sample along each axis before it looks at it."""
    if not isinstance(method, NetworkMethod):
        return (1,) * len(frame_shape)
    sampling = import_module(f"{__name__}.working_sample")
    sample = Sample([], [], frame_shape=frame_shape, spacing=spacing)
    reduction: tuple[int, ...] = sampling.reduction_for(sample, method)
    return reduction


def predictor(weights: Weights, method: Method) -> Predictor:
    """Make the function that finds the clusters of a tile."""
    made: Predictor = _engine_of(method).predictor(weights, method)
    return made


def drafted(weights: Weights, method: Method) -> Weights:
    """Leave out the weights that a passing look can do without."""
    engine = _engine_of(method)
    fewer: Weights = engine.drafted(weights) if hasattr(engine, "drafted") else weights
    return fewer


def arrays(method: Method, is_rgb: bool) -> dict[str, Array]:
    """Declare a method's weights by name; a name that ends in "." is the beginning of many."""
    declared: dict[str, Array] = _engine_of(method).arrays(method, is_rgb)
    return declared


def regions(pixels: NDArray[np.float32], method: Method) -> NDArray[np.int64]:
    """Find the regions (Y, X) of scaled pixels (C, Y, X), for a method that learns no model."""
    found: NDArray[np.int64] = _engine_of(method).regions(pixels, method)
    return found


def regrouped(weights: Weights, method: Method, groups: NDArray[np.int64]) -> Weights:
    """Fit weights to other groups of clusters, where the engine draws borders between groups.

    Parameters
    ----------
    weights : mapping of str to array
        As in `Learned.weights`.
    method : Method
        The settings, which also choose the engine.
    groups : (K,) int64 array
        The group of each cluster.
    """
    engine = _engine_of(method)
    if not hasattr(engine, "regrouped"):
        return weights
    fitted: Weights = engine.regrouped(weights, groups)
    return fitted


def _engine_of(method: Method) -> Any:
    return import_module(f"{__name__}.{type(method).__name__.lower()}")
