"""Teach networks the depth of objects on lessons made of the images' own trusted objects."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.splitting.clumps import Cutout, cutouts, lesson
from benchmarks.quality.splitting.network import Network, Seen
from benchmarks.quality.splitting.scenes import Scene
from benchmarks.quality.splitting.separating import depth, separate
from napari_mmtseg.engine import Run, Step
from napari_mmtseg.engine.devices import drive

__all__ = ["Splitter", "Teaching", "train"]


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """How networks learn to split."""

    teachers: Literal["none", "mean", "mutual"] = "none"
    """none: one network. mean: its average over time teaches it where no object is trusted.
    mutual: two networks, each taught by the other's average. On nuclei neither did better than
    one network, at two and three times the cost."""
    n_steps: int = 300
    lessons_per_step: int = 8
    n_lessons: int = 500
    """Lessons drawn before training; each step takes some of them, changed at random."""
    learning_rate: float = 3e-3
    averaging: float = 0.98
    """Share of an average that each step keeps."""
    trust: float = 0.3
    """Weight of what the averages teach."""
    bfloat16: bool = False
    """Half the time on processors that can multiply such numbers, more on those that cannot."""
    seed: int = 0
    device: str = "auto"


class Splitter(NamedTuple):
    """Networks that split touching objects."""

    networks: list[Network]

    def split(self, one: Scene, foreground: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Split the foreground (Y, X) of an image, of which `one` is the scene, into objects."""
        return separate(*depth(self.networks, one), one, foreground)


class _Batch(NamedTuple):
    contrast: Tensor
    """(B, Y, X), as are all but `centre`."""
    foreground: Tensor
    distance: Tensor
    centre: Tensor
    """(B, 2, Y, X)."""
    known: Tensor
    whole: Tensor


def train(scenes: Sequence[Scene], teaching: Teaching | None = None) -> Run[Splitter]:
    """Train on scenes of one image, of a stack or of a folder.

    Send True to the generator to stop it and keep what is learned.

    Raises
    ------
    ValueError
        If no object of the scenes can be trusted.
    """
    chosen = teaching or Teaching()
    return drive(chosen.device, partial(_train, scenes, chosen))


def _train(scenes: Sequence[Scene], teaching: Teaching, device: torch.device) -> Run[Splitter]:
    rng = np.random.default_rng(teaching.seed)
    objects = cutouts(scenes)
    if not objects:
        raise ValueError(
            "No object stands alone and is round enough to teach the network; use the classical "
            "split, or add images"
        )
    mutual, averaged = teaching.teachers == "mutual", teaching.teachers != "none"
    composed = _lessons(rng, scenes, objects, teaching.n_lessons, device)
    untouched = _lessons(rng, scenes, [], teaching.n_lessons // 2, device)

    generator = torch.Generator().manual_seed(teaching.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(teaching.seed)
        students = [Network(teaching.bfloat16).to(device) for _ in range(1 + mutual)]
    means = [copy.deepcopy(student).requires_grad_(False).eval() for student in students]
    optimisers = [
        torch.optim.AdamW(student.parameters(), teaching.learning_rate, weight_decay=1e-4)
        for student in students
    ]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimiser, teaching.learning_rate, total_steps=teaching.n_steps, pct_start=0.2
        )
        for optimiser in optimisers
    ]

    alone = max(1, teaching.n_steps // 4)  # steps before the averages know enough to teach
    for t in range(teaching.n_steps):
        losses = []
        for one, student in enumerate(students):
            student.train()
            batch = _drawn(composed, teaching.lessons_per_step, generator)
            seen = student(_perturbed(batch.contrast, generator), _blunted(batch, generator))
            loss = _taught(seen, batch)
            if averaged and teaching.trust and t >= alone:
                doubtful = _drawn(untouched, teaching.lessons_per_step // 2, generator)
                told = means[one - 1](doubtful.contrast, doubtful.foreground)
                seen = student(
                    _perturbed(doubtful.contrast, generator), _blunted(doubtful, generator)
                )
                rise = min(1, (t - alone) / alone)
                loss = loss + teaching.trust * rise * _agreement(seen, told, doubtful)
            optimisers[one].zero_grad()
            loss.backward()
            optimisers[one].step()
            schedules[one].step()
            _average(means[one], student, min(1 - 1 / (t + 1), teaching.averaging))
            losses.append(loss.item())

        snapshot: Callable[[], Splitter] = partial(Splitter, means if averaged else students)
        stopped = yield Step("training", t + 1, teaching.n_steps, tuple(losses), (1,), snapshot)
        if stopped:
            break
    return Splitter(means if averaged else students)


def _taught(seen: Seen, batch: _Batch) -> Tensor:
    """Sum the losses of all outputs, each a mean over the pixels where its truth is sure."""
    inside = functional.binary_cross_entropy_with_logits(
        seen.inside, batch.foreground, reduction="none"
    )
    deep = functional.smooth_l1_loss(seen.depth, batch.distance, reduction="none", beta=0.1)
    way = functional.smooth_l1_loss(seen.centre, batch.centre, reduction="none", beta=0.1).sum(1)
    losses = 0.3 * _mean(inside, batch.known) + 3 * _mean(deep, batch.whole)
    return losses + 0.5 * _mean(way, batch.whole * batch.foreground)


def _agreement(seen: Seen, told: Seen, batch: _Batch) -> Tensor:
    """Compare depths where no object is trusted."""
    apart = functional.smooth_l1_loss(seen.depth, told.depth, reduction="none", beta=0.1)
    return 3 * _mean(apart, 1 - batch.known)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(1)


def _lessons(
    rng: np.random.Generator,
    scenes: Sequence[Scene],
    objects: Sequence[Cutout],
    count: int,
    device: torch.device,
) -> _Batch:
    drawn = [lesson(rng, scenes[i % len(scenes)], objects) for i in range(count)]
    return _Batch(*(_stacked(values, device) for values in zip(*drawn, strict=True)))


def _stacked(values: Sequence[NDArray[np.generic]], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(values).astype(np.float32)).to(device)


def _drawn(lessons: _Batch, count: int, generator: torch.Generator) -> _Batch:
    """Draw lessons, and turn and mirror all of them in one random way."""
    chosen = torch.randint(len(lessons.contrast), (count,), generator=generator)
    flipped, mirrored, turned = torch.randint(2, (3,), generator=generator).tolist()
    flip = [-2] * flipped + [-1] * mirrored

    def moved(values: Tensor) -> Tensor:
        values = values[chosen.to(values.device)].flip(flip)
        return values.transpose(-1, -2) if turned else values

    batch = _Batch(*(moved(values) for values in lessons))
    signs = torch.tensor([1 - 2 * flipped, 1 - 2 * mirrored], device=batch.centre.device)
    centre = batch.centre * signs[:, None, None]
    return batch._replace(centre=centre.flip(1) if turned else centre)


def _perturbed(contrast: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, light and sharpness, and add noise."""
    many = len(contrast)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(contrast.device)

    light = functional.interpolate(
        0.2 * normal(many, 1, 4, 4), size=contrast.shape[-2:], mode="bicubic"
    )[:, 0]
    values = contrast * torch.exp(0.25 * normal(many, 1, 1)) + 0.08 * normal(many, 1, 1)
    values = values * (1 + light)
    if torch.rand(1, generator=generator) < 0.3:
        values = functional.avg_pool2d(values[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    strength = 0.08 * torch.rand(many, 1, 1, generator=generator).to(contrast.device)
    return values + strength * normal(*contrast.shape)


def _blunted(batch: _Batch, generator: torch.Generator) -> Tensor:
    """Widen or narrow the foreground by a pixel, or leave it."""
    change = torch.rand(1, generator=generator).item()
    mask = batch.foreground[:, None]
    if change < 0.25:
        mask = functional.max_pool2d(mask, 3, 1, 1)
    elif change < 0.5:
        mask = -functional.max_pool2d(-mask, 3, 1, 1)
    return mask[:, 0]


@torch.no_grad()
def _average(mean: nn.Module, student: nn.Module, kept: float) -> None:
    """Move parameters and statistics to `kept * mean + (1 - kept) * student`."""
    for old, new in zip(mean.state_dict().values(), student.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.mul_(kept).add_(new, alpha=1 - kept)
