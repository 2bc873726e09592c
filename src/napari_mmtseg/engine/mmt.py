"""MMT: two students, each taught by the mean of the other (Wu et al., arXiv 2012.08922)."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_mmtseg.arrays import Sample
from napari_mmtseg.engine import Learned, Prediction, Predictor, Step, Training, Weights
from napari_mmtseg.engine.alignment import align
from napari_mmtseg.engine.devices import choose, drive
from napari_mmtseg.engine.losses import IGNORED, cross_entropy, total_variation
from napari_mmtseg.engine.networks import Network, build, freeze, get_weights, set_weights
from napari_mmtseg.engine.sampling import Batch, batches, reduce, reduction_for, working_sample
from napari_mmtseg.engine.votes import decide
from napari_mmtseg.methods import MMT


def train(sample: Sample, method: MMT, initial: Weights | None = None) -> Training:
    """Train both networks (algorithm 1 of the paper).

    Parameters
    ----------
    sample : Sample
        Scaled pixels.
    method : MMT
        The settings.
    initial : mapping of str to array, optional
        "student1.conv1.weight" and so on: the students' start, and so the teachers'.
    """
    return drive(method.device, partial(_train, sample, method, initial))


def _train(sample: Sample, method: MMT, initial: Weights | None, device: torch.device) -> Training:
    generator = torch.Generator().manual_seed(method.seed)
    dtype = getattr(torch, method.precision)
    factor = reduction_for(sample.pixels.shape, method)
    working = working_sample(sample, factor, device, dtype)
    students = []
    for number in (1, 2):
        given = None if initial is None else _part(initial, f"student{number}.")
        student = build(sample.pixels.shape[1], method.width, method.n_blocks, generator, given)
        students.append(student.to(device, dtype))
    teachers = [copy.deepcopy(student).requires_grad_(False) for student in students]
    optimisers = [
        torch.optim.SGD(student.parameters(), method.learning_rate, method.momentum)
        for student in students
    ]

    drawn = batches(working, method, generator)
    for t in range(method.n_iterations):
        batch = next(drawn)
        losses, counts = [], []
        for one, other in ((0, 1), (1, 0)):
            responses = students[one](batch.pixels)  # (B, q, Y, X)
            taught = teachers[other](batch.pixels).argmax(1)  # (B, Y, X)
            order = align(taught, responses.detach().argmax(1), method.width, batch.valid)
            target = order[taught].masked_fill(~batch.valid, IGNORED)

            loss = cross_entropy(responses, target)
            loss = loss + method.continuity * total_variation(responses)
            optimisers[one].zero_grad()
            loss.backward()
            optimisers[one].step()

            kept = min(1 - 1 / (t + 1), method.averaging) if method.warm_up else method.averaging
            _average(teachers[one], students[one], kept)
            losses.append(loss.item())
            counts.append(int(taught[batch.valid].unique().numel()))

        snapshot = partial(_learned, teachers, batch, factor)
        stopped = yield Step(
            "training", t + 1, method.n_iterations, tuple(losses), tuple(counts), snapshot
        )
        if stopped or max(counts) <= method.min_labels:
            break
    return _learned(teachers, working, factor)


@torch.no_grad()
def _average(teacher: nn.Module, student: nn.Module, kept: float) -> None:
    """Move the teacher to `kept * teacher + (1 - kept) * student` (equation 3)."""
    for mean, new in zip(teacher.parameters(), student.parameters(), strict=True):
        mean.mul_(kept).add_(new, alpha=1 - kept)


@torch.no_grad()
def _learned(teachers: list[Network], working: Batch, factor: int) -> Learned:
    """Freeze copies of the teachers, bring them into one numbering, drop unused clusters."""
    planes = [plane[None] for plane in working.pixels]
    first, second = (copy.deepcopy(teacher) for teacher in teachers)
    freeze(first, planes)
    freeze(second, planes)
    width = first.conv3.out_channels
    pairs = [(first(plane), second(plane)) for plane in planes]
    winners = [torch.cat([pair[i].argmax(1) for pair in pairs]) for i in (0, 1)]
    order = align(winners[1], winners[0], width, working.valid)
    place = order.argsort()  # second's channel for each of first's
    for layer in (second.conv3, second.bn3):
        for name, values in layer.state_dict().items():
            if values.ndim and values.shape[0] == width:
                layer.state_dict()[name].copy_(values[place].clone())
    votes = [a.softmax(1) + b[:, place].softmax(1) for a, b in pairs]
    labels = torch.cat([vote.argmax(1) for vote in votes])[working.valid]  # (pixels,)
    colours = working.pixels.movedim(1, -1)[working.valid]  # (pixels, C)
    sizes = torch.bincount(labels, minlength=width)
    sums = torch.zeros(width, colours.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels.cpu(), colours.cpu().double())
    clusters = sizes.nonzero()[:, 0].cpu()
    sizes = sizes.cpu()[clusters]
    weights: dict[str, NDArray[np.generic]] = {
        "clusters": clusters.numpy(),
        "reduction": np.array(factor),
    }
    for number, network in enumerate((first, second), start=1):
        named = get_weights(network)
        weights |= {f"teacher{number}.{name}": value for name, value in named.items()}
    return Learned(
        weights, (sums[clusters] / sizes[:, None]).numpy().astype(np.float32), sizes.numpy()
    )


def predictor(weights: Weights, method: MMT) -> Predictor:
    """Make the function that asks both frozen teachers for the cluster of each pixel."""
    device = choose(method.device)
    dtype = getattr(torch, method.precision)
    factor = int(weights["reduction"])
    clusters = torch.from_numpy(np.ascontiguousarray(weights["clusters"])).to(device)
    networks = []
    for number in (1, 2):
        named = _part(weights, f"teacher{number}.")
        network = Network(named["conv1.weight"].shape[1], method.width, method.n_blocks)
        set_weights(network, named, frozen=True)
        networks.append(network.to(device, dtype).eval())

    @torch.no_grad()
    def predict(
        pixels: NDArray[np.float32], label_of: NDArray[np.int64] | None = None
    ) -> Prediction:
        plane = reduce(torch.from_numpy(pixels).to(device, dtype)[None], factor)
        votes = torch.cat([network(plane).softmax(1) for network in networks])
        return decide(votes[:, clusters], factor, pixels.shape[1:], label_of)

    return predict


def _part(weights: Weights, prefix: str) -> dict[str, NDArray[np.generic]]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
