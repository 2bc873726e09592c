"""IIC: clusters that two views of a place agree on (Ji, Henriques and Vedaldi, ICCV 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mmtseg.engine import (
    Array,
    Learned,
    Predictor,
    Step,
    Tile,
    Training,
    Weights,
    voter_prediction,
)
from napari_mmtseg.engine.devices import choose, drive
from napari_mmtseg.engine.frozen_networks import part
from napari_mmtseg.engine.iic.loss import information_loss
from napari_mmtseg.engine.iic.network import MAIN, OVER, SegmentationNetwork, build, factor_of
from napari_mmtseg.engine.iic.view_pairs import Drawer, Pairs, on_grid, repeated
from napari_mmtseg.engine.iic.views import turn_back
from napari_mmtseg.engine.networks.convolution import freeze, get_weights, with_weights
from napari_mmtseg.engine.refine.sharp_borders import sharpened
from napari_mmtseg.engine.refine.window_means import pooled_grid
from napari_mmtseg.engine.votes import found_clusters
from napari_mmtseg.engine.working_sample import reduce
from napari_mmtseg.images.frames import Sample
from napari_mmtseg.methods import IIC

_FROZEN_PIXELS = 2**18
_SURVEYED_PIXELS = 2**20
_MAX_CLUSTERS = 512


class _Run(NamedTuple):
    """A network in training and the recent losses of its sub-heads."""

    network: SegmentationNetwork
    losses: Tensor  # (2, H)

    @property
    def loss(self) -> float:
        return float(self.losses[MAIN].min())


def train(sample: Sample, method: IIC, initial: Weights | None = None) -> Training:
    """Train trunk and heads.

    A cluster is a pair of a main cluster and an overcluster; the clusters of one main cluster
    form a group, so that the labels are the main head's and the finer ones stay within reach.

    Parameters
    ----------
    sample : Sample
        Scaled pixels.
    method : IIC
        The settings.
    initial : mapping of str to array, optional
        "trunk.0.weight" and so on, "heads.0.weight" (main) and "heads.1.weight": where to start.
    """
    return drive(method.device, partial(_train, sample, method, initial))


def _train(sample: Sample, method: IIC, initial: Weights | None, device: torch.device) -> Training:
    generator = torch.Generator().manual_seed(method.seed)
    drawer = Drawer(sample, method, generator, device)
    # Where nothing varies there is nothing to learn, and rounding would be learned instead.
    n_iterations = method.n_iterations if any(p.any() for p in sample.pixels) else 0
    total = method.n_restarts * n_iterations
    runs: list[_Run] = []
    for restart in range(method.n_restarts):
        network = build(sample.n_channels, drawer.spacing, method, generator, initial)
        network.to(device, getattr(torch, method.precision))
        optimiser = torch.optim.Adam(network.parameters(), method.learning_rate)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_iterations)
        run = _Run(network, torch.full((2, method.n_heads), torch.nan))
        runs.append(run)
        stopped = None
        for t in range(n_iterations):
            for head in (OVER, MAIN):
                pairs = drawer.pairs()
                losses, main = _losses(network, pairs, head, method, drawer.spacing)
                optimiser.zero_grad()
                losses.mean().backward()
                optimiser.step()
                _follow(run.losses[head], losses.detach().cpu())

            falling.step()
            counts = (len(main.unique()),)
            snapshot = partial(_learned, run, drawer, sample, method, pairs)
            stopped = yield Step(
                "training", restart * n_iterations + t + 1, total, (run.loss,), counts, snapshot
            )
            if stopped:
                break
        if stopped:
            break
    best = min(runs, key=lambda run: run.loss)
    return _learned(best, drawer, sample, method)


def _losses(
    network: SegmentationNetwork,
    pairs: Pairs,
    head: int,
    method: IIC,
    spacing: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Return the loss of each sub-head, (H,), and the winners of the first one, (B, *votes)."""
    ours = network.assign(network.features(pairs.first), head)
    theirs = network.assign(network.features(pairs.second), head)
    weight = on_grid(pairs.weight, network.factor)
    weight = repeated(weight, method.n_repeats)  # (B R, *votes)
    # The outputs lie on a coarser grid than the pixels, and so do the displacements.
    steps = zip(spacing, network.factor, weight.shape[1:], strict=True)
    displacement = [min(-(-round(method.displacement_px / s) // f), n - 1) for s, f, n in steps]
    losses = [
        information_loss(
            repeated(one, method.n_repeats),  # (B R, K, *votes)
            turn_back(other, pairs.codes),
            weight,
            displacement=displacement,
            balance=method.balance,
            collapsed=method.information == "collapsed",
        )
        for one, other in zip(ours, theirs, strict=True)
    ]
    return torch.stack(losses), ours[0].detach().argmax(1)


def _follow(mean: Tensor, new: Tensor) -> None:
    """Move a running mean of the losses, which starts at the first."""
    mean.copy_(torch.where(mean.isnan(), new, 0.9 * mean + 0.1 * new))


@torch.no_grad()
def _learned(
    run: _Run, drawer: Drawer, sample: Sample, method: IIC, pairs: Pairs | None = None
) -> Learned:
    """Freeze a copy with the best sub-heads and survey the clusters in the sample.

    For a passing look, the pairs at hand are the sample.
    """
    best = [int(losses.argmin()) for losses in run.losses]
    network = run.network.with_heads(best)
    if pairs is None:
        windows, looked = drawer.windows(_FROZEN_PIXELS), drawer.windows(_SURVEYED_PIXELS)
    else:
        windows = looked = [(pairs.first, pairs.weight)]
    freeze(network, [pixels for pixels, _ in windows])
    n_main, n_over = network.n_clusters
    spacing, factor = drawer.spacing, network.factor
    steps = [f * size for f, size in zip(factor, spacing, strict=True)]
    radius = voter_prediction.sharpening_radius(method, steps)
    winners, colours = [], []
    for pixels, weight in looked:
        there = on_grid(weight, factor) > 0  # (B, *votes)
        small = reduce(pixels, factor)
        main, over = network(pixels)  # (B, k, *votes), (B, K, *votes)
        main = torch.stack([sharpened(*one, radius) for one in zip(main, small, strict=True)])
        winners.append((main.argmax(1) * n_over + over.argmax(1))[there])
        colours.append(small.movedim(1, -1)[there])  # (n, C)
    clusters, means, sizes = found_clusters(torch.cat(winners), torch.cat(colours), n_main * n_over)
    kept = np.sort(np.argsort(-sizes, kind="stable")[:_MAX_CLUSTERS])
    clusters, means, sizes = clusters[kept], means[kept], sizes[kept]
    weights: Weights = {
        "clusters": clusters,
        "spacing": np.array(spacing),
        **{f"network.{name}": value for name, value in get_weights(network).items()},
    }
    groups = clusters // n_over
    return Learned(regrouped(weights, groups), means, sizes, np.zeros_like(sizes), groups)


def regrouped(weights: Weights, groups: NDArray[np.int64]) -> Weights:
    """Return weights whose predictor sharpens the borders between other groups of clusters.

    Parameters
    ----------
    weights : mapping of str to array
        As in `Learned.weights`.
    groups : (P,) int64 array
        The group of each cluster.
    """
    return {**weights, "groups": groups}


def arrays(method: IIC, is_rgb: bool) -> dict[str, Array]:
    """Declare the weights of a model."""
    most = 32 * 64  # main clusters times overclusters
    return {
        "clusters": Array("I64", ("K",), 0, most),
        "groups": Array("I64", ("K",), 0, 2**31 - 1),
        "spacing": Array("F64", ("A",), 1e-3, 1e3),
        "network.": Array("F32 F64", None),
    }


def predictor(weights: Weights, method: IIC) -> Predictor:
    """Make the predictor that asks the frozen network."""
    device = choose(method.device)
    dtype = getattr(torch, method.precision)
    named = part(weights, "network.")
    n_clusters = (len(named["heads.0.weight"]), len(named["heads.1.weight"]))
    spacing = weights["spacing"].tolist()
    factor = factor_of(method, spacing)
    n_channels = named["trunk.0.weight"].shape[1] - len(spacing) * method.sobel
    make = partial(SegmentationNetwork, n_channels, n_clusters, 1, factor, method)
    network = with_weights(make, named, dtype).to(device)
    clusters = torch.from_numpy(np.ascontiguousarray(weights["clusters"])).to(device)
    mains, overs = clusters // n_clusters[OVER], clusters % n_clusters[OVER]  # (P,)
    groups = torch.from_numpy(np.unique(weights["groups"], return_inverse=True)[1]).to(device)

    def voters(pixels: Tensor, tile: Tile, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        main, over = network(pixels)  # (1, k, *votes), (1, K, *votes)
        votes = pooled_grid((main[:, mains] * over[:, overs])[0], grid)
        return votes[None], reduce(pixels, factor)[0]

    return voter_prediction.predictor(
        voters,
        n_votes=len(clusters),
        n_channels=n_channels,
        reach=network.reach,
        factor=factor,
        spacing=spacing,
        reduce=lambda pixels: pixels,
        groups=groups,
        least_contrast=0.0,
        method=method,
        device=device,
        dtype=dtype,
    )
