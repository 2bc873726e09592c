"""IIC on whole crops: groups of objects that two views of each agree on."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_mmtseg.engine import Step
from napari_mmtseg.engine.devices import drive
from napari_mmtseg.engine.iic.loss import information_loss, lowest_loss
from napari_mmtseg.engine.iic.views import N_TURNS, relight, turn
from napari_mmtseg.engine.networks.convolution import drawn, freeze
from napari_mmtseg.methods import ObjectIIC

Probabilities = NDArray[np.float32]
Grouping = Generator[Step, bool | None, Probabilities]

_MAIN, _OVER = 0, 1
_CHUNK = 256


class ObjectNetwork(nn.Module):
    """Four 3x3 convolutions with batch norm and ReLU, pooled to one vector, then the heads.

    Parameters
    ----------
    n_channels : int
        Channels of the crops, with that of the mask.
    width : int
        Channels w of the first layer; the next have 2w, 4w and 4w.
    n_clusters : (int, int)
        Clusters of the main head and of the overclustering head.
    n_heads : int
        Sub-heads of each head.
    """

    def __init__(
        self, n_channels: int, width: int, n_clusters: tuple[int, int], n_heads: int
    ) -> None:
        super().__init__()
        widths = [n_channels, *(width * n for n in (1, 2, 4, 4))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
            # Momentum 0 leaves the running statistics alone until `freeze` sets them.
            layers += [conv, nn.BatchNorm2d(after, momentum=0.0), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2))
        layers[-1] = nn.AdaptiveAvgPool2d(1)
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.heads = nn.ModuleList(nn.Linear(widths[-1], n_heads * n) for n in n_clusters)
        self.n_heads = n_heads

    def forward(self, crops: Tensor, head: int) -> list[Tensor]:
        """Map crops (B, C, S, S) to each sub-head's probabilities (B, K)."""
        logits: Tensor = self.heads[head](self.trunk(crops))  # (B, H K)
        return [part.softmax(1) for part in logits.chunk(self.n_heads, dim=1)]


def train(crops: NDArray[np.float32], is_rgb: bool, method: ObjectIIC) -> Grouping:
    """Train on crops of the objects.

    Parameters
    ----------
    crops : (N, C + 1, S, S) array
        Pixels in 0..1, and the object's shape as the last channel.
    is_rgb : bool
        Whether the first channels are red, green and blue.
    method : ObjectIIC
        The settings.

    Returns
    -------
    generator
        Yields each `Step`; returns the (N, k) probabilities of the groups.
    """
    return drive(method.device, partial(_train, crops, is_rgb, method))


def _train(
    crops: NDArray[np.float32], is_rgb: bool, method: ObjectIIC, device: torch.device
) -> Grouping:
    generator = torch.Generator().manual_seed(method.seed)
    dtype = getattr(torch, method.precision)
    objects = torch.from_numpy(crops).to(device, dtype)
    n_over = method.n_overclusters or min(5 * method.n_groups, 64)
    total = method.n_restarts * method.n_iterations
    results: list[tuple[float, Probabilities]] = []
    for restart in range(method.n_restarts):
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        n_clusters = (method.n_groups, n_over)
        make = partial(ObjectNetwork, objects.shape[1], method.width, n_clusters, method.n_heads)
        network = drawn(make, torch.Generator().manual_seed(seed))
        network.to(device, dtype)
        optimiser = torch.optim.Adam(network.parameters(), method.learning_rate)
        recent = torch.full((method.n_heads,), torch.nan)
        stopped = None
        for t in range(method.n_iterations):
            for head in (_OVER, _MAIN):
                chosen = torch.randperm(len(objects), generator=generator)[: method.n_objects]
                first = objects[chosen.to(device)]  # (B, C + 1, S, S)
                second = _second_view(first, is_rgb, method, generator)
                ours, theirs = network(first, head), network(second, head)
                paired = [
                    information_loss(_pixel(one), _pixel(other), balance=method.balance)
                    for one, other in zip(ours, theirs, strict=True)
                ]
                losses = torch.stack(paired)
                optimiser.zero_grad()
                losses.mean().backward()
                optimiser.step()
            now = losses.detach().cpu()
            recent = torch.where(recent.isnan(), now, 0.9 * recent + 0.1 * now)
            best = int(recent.argmin())
            counts = (len(ours[best].argmax(1).unique()),)
            done = restart * method.n_iterations + t + 1
            snapshot = partial(_probabilities, network, objects, best, method)
            stopped = yield Step("training", done, total, (float(recent[best]),), counts, snapshot)
            if stopped:
                break
        results.append((float(recent[best]), _probabilities(network, objects, best, method)))
        if stopped or results[-1][0] <= lowest_loss(method.n_groups, method.balance) / 2:
            break
    return min(results, key=lambda result: result[0])[1]


def _pixel(probabilities: Tensor) -> Tensor:
    """See (B, K) as images of one pixel, (B, K, 1, 1)."""
    return probabilities[:, :, None, None]


def _second_view(
    first: Tensor, is_rgb: bool, method: ObjectIIC, generator: torch.Generator
) -> Tensor:
    """Turn and relight the pixels; the object's shape turns with them."""
    if method.turns:
        codes = torch.randint(N_TURNS, (len(first),), generator=generator).tolist()
        first = _rotated(turn(first, codes), generator)
    pixels, mask = first[:, :-1], first[:, -1:]
    changed = relight(pixels, method.jitter, is_rgb, generator)
    # What was blank around the object stays blank.
    shown = changed if method.surroundings else changed * mask
    return torch.cat([shown, mask], 1)


def _rotated(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate each crop about its middle by any angle, what was beyond it mirrored."""
    angles = 2 * math.pi * torch.rand(len(crops), generator=generator).to(crops)
    zero = torch.zeros_like(angles)
    rows = [[angles.cos(), -angles.sin(), zero], [angles.sin(), angles.cos(), zero]]
    matrices = torch.stack([torch.stack(row, 1) for row in rows], 1)  # (B, 2, 3)
    grid = functional.affine_grid(matrices, list(crops.shape), align_corners=False)
    return functional.grid_sample(crops, grid, padding_mode="reflection", align_corners=False)


@torch.no_grad()
def _probabilities(
    network: ObjectNetwork, objects: Tensor, best: int, method: ObjectIIC
) -> Probabilities:
    """Return each object's mean probabilities over its turns, by a frozen copy."""
    frozen = copy.deepcopy(network)
    chunks = list(objects.split(_CHUNK))
    freeze(frozen.trunk, chunks)
    frozen.eval()
    codes = range(N_TURNS) if method.turns else range(1)
    found = [
        torch.stack([frozen(turn(c, [code] * len(c)), _MAIN)[best] for code in codes]).mean(0)
        for c in chunks
    ]
    probabilities: Probabilities = torch.cat(found).float().cpu().numpy()
    return probabilities
