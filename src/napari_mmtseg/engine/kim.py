"""Kim: a network that sharpens its own labels and keeps them smooth (Kim et al., TIP 2020)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from napari_mmtseg.engine import Training, Weights
from napari_mmtseg.engine.devices import drive
from napari_mmtseg.engine.frozen_networks import arrays, predictor
from napari_mmtseg.engine.losses import IGNORED, cross_entropy, total_variation
from napari_mmtseg.engine.self_training import learn
from napari_mmtseg.engine.working_sample import Batch, working_sample
from napari_mmtseg.images.frames import Sample
from napari_mmtseg.methods import Kim

__all__ = ["arrays", "predictor", "train"]


def train(sample: Sample, method: Kim, initial: Weights | None = None) -> Training:
    """Train the network (algorithm 1 of the paper).

    Parameters
    ----------
    sample : Sample
        Scaled pixels, of one image or of several reference images; perhaps with scribbles.
    method : Kim
        The settings.
    initial : mapping of str to array, optional
        "conv1.weight" and so on: the network's start.
    """
    return drive(method.device, partial(_train, sample, method, initial))


def _train(sample: Sample, method: Kim, initial: Weights | None, device: torch.device) -> Training:
    working = working_sample(sample, method, device)
    return (yield from learn(working, method, initial, partial(_loss, method)))


def _loss(method: Kim, responses: Tensor, own: Tensor, batch: Batch) -> Tensor:
    """L = similarity * L_sim + mu * L_con (equation 1), L_sim where the user has not painted."""
    target = own.masked_fill(~batch.unpainted, IGNORED)
    similarity = cross_entropy(responses, target)
    return method.similarity * similarity + method.continuity * total_variation(responses)
