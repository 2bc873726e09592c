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
from napari_mmtseg.engine.alignment import count_overlap, permutation
from napari_mmtseg.engine.devices import choose, drive
from napari_mmtseg.engine.losses import IGNORED, cross_entropy, total_variation
from napari_mmtseg.engine.networks import Network, build, freeze, get_weights, set_weights
from napari_mmtseg.engine.sampling import Batch, batches, reduce, reduction_for, working_sample
from napari_mmtseg.engine.votes import decide, found_clusters
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
    factor = reduction_for(sample.pixels[0].shape, method)
    working = working_sample(sample, factor, device, dtype)
    students = []
    for number in (1, 2):
        given = None if initial is None else _part(initial, f"student{number}.")
        student = build(sample.n_channels, method.width, method.n_blocks, generator, given)
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
            own = responses.detach().argmax(1)  # (B, Y, X)
            order = permutation(count_overlap(taught[batch.valid], own[batch.valid], method.width))
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

        snapshot = partial(_learned, teachers, [batch], factor)
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
def _learned(teachers: list[Network], planes: list[Batch], factor: int) -> Learned:
    """Freeze copies of the teachers, bring them into one numbering, drop unused clusters."""
    first, second = (copy.deepcopy(teacher) for teacher in teachers)
    for teacher in (first, second):
        freeze(teacher, [plane.pixels for plane in planes])
    width = first.conv3.out_channels
    pixels, own, others = [], [], []
    for plane in planes:
        pixels.append(plane.pixels.movedim(1, -1)[plane.valid])  # (n, C)
        own.append(first(plane.pixels).softmax(1).movedim(1, -1)[plane.valid])  # (n, q)
        others.append(second(plane.pixels).softmax(1).movedim(1, -1)[plane.valid])
    ours, theirs = torch.cat(own), torch.cat(others)  # (n, q)
    overlap = count_overlap(theirs.argmax(1), ours.argmax(1), width)
    place = permutation(overlap).argsort()  # second's channel for each of first's
    for layer in (second.conv3, second.bn3):
        for value in layer.state_dict().values():
            if value.ndim:
                value.copy_(value[place].clone())
    winners = (ours + theirs[:, place]).argmax(1)
    clusters, colours, sizes = found_clusters(winners, torch.cat(pixels), width)
    weights: dict[str, NDArray[np.generic]] = {
        "clusters": clusters,
        "reduction": np.array(factor),
    }
    for number, network in enumerate((first, second), start=1):
        named = get_weights(network)
        weights |= {f"teacher{number}.{name}": value for name, value in named.items()}
    return Learned(weights, colours, sizes, np.zeros_like(sizes))


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
