"""One network that learns from its own labels: the loop of Kim and Kanezaki."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from napari_mmtseg.engine import Step, Training, Weights
from napari_mmtseg.engine.frozen_networks import learned
from napari_mmtseg.engine.gradient_descent import Descent
from napari_mmtseg.engine.initial_weights import start
from napari_mmtseg.engine.losses import scribble_loss
from napari_mmtseg.engine.networks.convolution import winners
from napari_mmtseg.engine.working_sample import Batch, WorkingSample, batches, glimpse, survey
from napari_mmtseg.methods import NetworkMethod

Loss = Callable[[Tensor, Tensor, Batch], Tensor]
"""A method's loss of responses (B, q, Y, X) and their argmax (B, Y, X), without scribbles."""


def learn(
    working: WorkingSample,
    method: NetworkMethod,
    initial: Weights | None,
    method_loss: Loss,
) -> Training:
    """Train a network on the working planes.

    Parameters
    ----------
    working : WorkingSample
        The sample, with all that the loss needs.
    method : NetworkMethod
        The settings.
    initial : mapping of str to array, optional
        "conv1.weight" and so on: the network's start.
    method_loss : callable
        What tells the methods apart.
    """
    generator = torch.Generator().manual_seed(method.seed)
    (network,) = start(working, method, generator, None if initial is None else [initial])
    descent = Descent(network.parameters(), method.learning_rate, method.momentum)
    fewest = max(method.min_labels, len(working.painted))

    seen = survey(working.planes, method)
    glimpsed = glimpse(working.planes)
    drawn = batches(working.planes, method, generator)
    for t in range(method.n_iterations):
        batch = next(drawn)
        responses = network(batch.seen)  # (B, q, Y, X)
        own = winners(responses.detach())  # (B, Y, X)

        loss = method_loss(responses, own, batch)
        loss = loss + method.scribble_weight * scribble_loss(responses, batch.painted)
        descent.step(loss)

        count = int((own[batch.valid].bincount() > 0).sum())
        snapshot = partial(learned, [network], working, glimpsed, method)
        stopped = yield Step(
            "training", t + 1, method.n_iterations, (loss.item(),), (count,), snapshot
        )
        if stopped or count <= fewest:
            break
    return learned([network], working, glimpsed if stopped else seen, method)
