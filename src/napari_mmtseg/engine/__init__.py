"""The engines: one file a method, each a generator that trains and a predictor that labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.arrays import Sample
from napari_mmtseg.settings import Method

Weights = Mapping[str, NDArray[Any]]
Prediction = tuple[NDArray[np.int64], NDArray[np.float32] | None]
"""Clusters (Y, X) in 0..K - 1, and the uncertainty (Y, X) in 0..1 if it was asked for."""


class Predictor(Protocol):
    """Find the clusters of scaled pixels (C, Y, X).

    `label_of`, the label of each cluster, asks for the uncertainty of those labels.
    """

    def __call__(
        self, pixels: NDArray[np.float32], label_of: NDArray[np.int64] | None = None
    ) -> Prediction: ...


@dataclass(frozen=True)
class Learned:
    """What training leaves behind, in plain arrays."""

    weights: Weights
    """All that the method's predictor needs; "clusters", and "groups" if it has them, have an
    entry for each of the K."""
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

    phase: Literal["training", "labelling"]
    done: int
    total: int
    losses: tuple[float, ...]
    """Loss of each network, before the step's update."""
    counts: tuple[int, ...]
    """Labels in use by each network."""
    snapshot: Callable[[], Any]
    """Make a usable result of this moment: `Learned` from an engine, a `Model` further out."""

    @property
    def loss(self) -> float:
        """Mean loss of the networks; NaN while labelling."""
        return sum(self.losses) / len(self.losses) if self.losses else math.nan

    @property
    def n_labels(self) -> int:
        """Largest number of labels in use."""
        return max(self.counts)


Training = Generator[Step, bool | None, Learned]


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


def predictor(weights: Weights, method: Method) -> Predictor:
    """Make the function that finds the cluster of each pixel."""
    predict: Predictor = _engine_of(method).predictor(weights, method)
    return predict


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


def restricted(weights: Weights, used: NDArray[np.bool_]) -> Weights:
    """Return weights without the clusters that are not used, (K,) bool; what others win stays."""
    each = {name: weights[name][used] for name in ("clusters", "groups") if name in weights}
    return {**weights, **each}


def _engine_of(method: Method) -> Any:
    return import_module(f"{__name__}.{type(method).__name__.lower()}")
