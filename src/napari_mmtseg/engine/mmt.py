"""MMT: two students, each taught by the mean of the other (Wu et al., arXiv 2012.08922)."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from napari_mmtseg.engine import Step, Training, Weights
from napari_mmtseg.engine.devices import drive
from napari_mmtseg.engine.frozen_networks import arrays, drafted, learned, part, predictor
from napari_mmtseg.engine.gradient_descent import Descent
from napari_mmtseg.engine.initial_weights import start
from napari_mmtseg.engine.label_alignment import count_overlap, permutation
from napari_mmtseg.engine.losses import IGNORED, cross_entropy, scribble_loss, total_variation
from napari_mmtseg.engine.networks.convolution import winners
from napari_mmtseg.engine.texture import looked_at
from napari_mmtseg.engine.working_sample import batches, glimpse, survey, working_sample
from napari_mmtseg.images.frames import Sample
from napari_mmtseg.methods import MMT

__all__ = ["arrays", "drafted", "predictor", "train"]


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
    working = working_sample(sample, method, device)
    if initial is None or method.look_at == "texture":  # given weights say what they look at
        working = looked_at(working, method)
    fewest = max(method.min_labels, len(working.painted))
    given = None
    if initial is not None:
        given = [part(initial, f"student{number}.") for number in (1, 2)]
    students = start(working, method, generator, given, count=2)
    seen = survey(working.planes, method)
    glimpsed = glimpse(working.planes)
    teachers = [copy.deepcopy(student).requires_grad_(False) for student in students]
    descents = [
        Descent(student.parameters(), method.learning_rate, method.momentum) for student in students
    ]

    drawn = batches(working.planes, method, generator)
    for t in range(method.n_iterations):
        batch = next(drawn)
        losses, counts = [], []
        for one, other in ((0, 1), (1, 0)):
            responses = _perturbed(students[one], batch.seen, method.perturbation, generator)
            own = winners(responses.detach())  # (B, Y, X)
            with torch.no_grad():
                taught = own
                if method.teacher != "none":
                    teacher = teachers[other if method.teacher == "mutual" else one]
                    taught = winners(teacher(batch.seen))  # (B, Y, X)
            overlap = count_overlap(taught[batch.valid], own[batch.valid], method.width)
            order = permutation(overlap, working.painted)
            target = order[taught].masked_fill(~batch.unpainted, IGNORED)

            loss = cross_entropy(responses, target)
            loss = loss + method.continuity * total_variation(responses)
            loss = loss + method.scribble_weight * scribble_loss(responses, batch.painted)
            descents[one].step(loss)

            kept = min(1 - 1 / (t + 1), method.averaging) if method.warm_up else method.averaging
            _average(teachers[one], students[one], kept)
            losses.append(loss.item())
            counts.append(int((overlap.sum(1) > 0).sum()))

        snapshot = partial(learned, teachers, working, glimpsed, method)
        stopped = yield Step(
            "training", t + 1, method.n_iterations, tuple(losses), tuple(counts), snapshot
        )
        if stopped or max(counts) <= fewest:
            break
    return learned(teachers, working, glimpsed if stopped else seen, method)


def _perturbed(
    student: nn.Module, seen: Tensor, strength: float, generator: torch.Generator
) -> Tensor:
    """Return the responses (B, q, *spatial) to what is seen, perturbed and perhaps mirrored.

    Each channel gets noise, and each crop a gain; both are normal, of that strength relative to the
    channel's standard deviation, and to 1. Responses are mirrored back.
    """
    if not strength:
        responses: Tensor = student(seen)
        return responses
    draw = partial(torch.randn, generator=generator)
    flips = [axis for axis in range(2, seen.ndim) if draw(()) > 0]
    spread = seen.transpose(0, 1).flatten(1).std(1).view(-1, *(1,) * (seen.ndim - 2))
    gain = 1 + strength * draw((len(seen), *(1,) * (seen.ndim - 1)))
    noise = strength * spread * draw(seen.shape).to(seen)
    mirrored: Tensor = student((seen * gain.to(seen) + noise).flip(flips))
    return mirrored.flip(flips)


@torch.no_grad()
def _average(teacher: nn.Module, student: nn.Module, kept: float) -> None:
    """Move the teacher to `kept * teacher + (1 - kept) * student` (equation 3)."""
    for mean, new in zip(teacher.parameters(), student.parameters(), strict=True):
        mean.mul_(kept).add_(new, alpha=1 - kept)
