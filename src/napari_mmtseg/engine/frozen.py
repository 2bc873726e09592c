"""Freeze trained networks, keep them in plain arrays, and ask them for clusters."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mmtseg.engine import Learned, Prediction, Predictor, Weights
from napari_mmtseg.engine.alignment import count_overlap, permutation
from napari_mmtseg.engine.devices import choose
from napari_mmtseg.engine.halves import halves
from napari_mmtseg.engine.losses import IGNORED
from napari_mmtseg.engine.networks import (
    Network,
    build,
    freeze,
    get_weights,
    set_weights,
    winners,
)
from napari_mmtseg.engine.refine import refined
from napari_mmtseg.engine.refine.decision import decide, disagreement
from napari_mmtseg.engine.sampling import Batch, Working, reduce, with_margin
from napari_mmtseg.engine.votes import found_clusters, sureness
from napari_mmtseg.methods import NetworkMethod

_LEAST_CONTRAST = 0.1
"""Of the squared contrast of the halves: where there is less, sharpening leaves labels alone."""


@torch.no_grad()
def learned(
    networks: Sequence[Network],
    working: Working,
    planes: Sequence[Batch],
    method: NetworkMethod,
) -> Learned:
    """Freeze copies of the networks, bring them into one numbering, drop unused clusters.

    Parameters
    ----------
    networks : sequence of Network
        They vote with equal weight. Left as they are.
    working : Working
        Where training took place.
    planes : sequence of Batch
        They freeze the normalisation and decide which clusters are in use.
    method : NetworkMethod
        The settings.
    """
    networks = [copy.deepcopy(network) for network in networks]
    for network in networks:
        freeze(network, [plane.pixels for plane in planes])
        if method.start == "image":
            responses = [network(one.pixels).movedim(1, -1)[one.valid] for one in planes]
            factor = sureness(torch.cat(responses))
            for value in network.bn3.parameters():
                value.mul_(factor)
    width = networks[0].conv3.out_channels
    votes = _votes(networks[0], planes)  # each (B, q, Y, X)
    for network in networks[1:]:
        others = _votes(network, planes)
        overlap = sum(
            count_overlap(winners(other)[one.valid], winners(own)[one.valid], width)
            for own, other, one in zip(votes, others, planes, strict=True)
        )
        # Its channel for each of the first's.
        place = permutation(torch.as_tensor(overlap), working.painted).argsort()
        for layer in (network.conv3, network.bn3):
            for value in layer.state_dict().values():
                if value.ndim:
                    value.copy_(value[place].clone())
        votes = [own + other[:, place] for own, other in zip(votes, others, strict=True)]
    won = [winners(one) for one in votes]
    pixels = torch.cat([plane.own_pixels.movedim(1, -1)[plane.valid] for plane in planes])  # (n, C)
    labels = torch.cat([one[plane.valid] for one, plane in zip(won, planes, strict=True)])
    clusters, colours, sizes = found_clusters(labels, pixels, width)
    classes = _classes(won, planes, working)[clusters]
    groups = _halves(won, planes, clusters, width)
    halves_of = np.zeros(width, np.int64)  # of each channel, so that no unused one changes a border
    halves_of[clusters] = groups
    weights: dict[str, NDArray[np.generic]] = {
        "clusters": clusters,
        "halves": halves_of,
        "contrast": _contrast(groups, colours, sizes),
        "reduction": np.array(working.factor),
    }
    for number, network in enumerate(networks, start=1):
        named = get_weights(network)
        weights |= {f"network{number}.{name}": value for name, value in named.items()}
    return Learned(weights, colours, sizes, classes, groups)


def predictor(weights: Weights, method: NetworkMethod) -> Predictor:
    """Make the function that asks the frozen networks for the cluster of each pixel."""
    device = choose(method.device)
    dtype = getattr(torch, method.precision)
    factor = int(weights["reduction"])
    clusters, halves_of = (
        torch.from_numpy(np.ascontiguousarray(weights[name])).to(device)
        for name in ("clusters", "halves")
    )
    groups = halves_of.unique(return_inverse=True)[1]
    least = _LEAST_CONTRAST * float(weights["contrast"]) if int(groups.max()) == 1 else 0.0
    networks: list[Network] = []
    while named := part(weights, f"network{len(networks) + 1}."):
        network = build(named["conv1.weight"].shape[1], method)
        set_weights(network, named, frozen=True)
        networks.append(network.to(device, dtype).eval())

    @torch.no_grad()
    def predict(
        pixels: NDArray[np.float32], label_of: NDArray[np.int64] | None = None
    ) -> Prediction:
        plane = reduce(torch.from_numpy(pixels).to(device, dtype)[None], factor)
        seen = with_margin(plane, method)
        votes = torch.cat([network(seen).softmax(1) for network in networks])  # (V, q, y, x)
        radius = max(1, method.sharpening_px // factor) if method.sharpening_px else 0
        found = refined(
            votes,
            plane[0],
            groups,
            vote_border=method.vote_border,
            radius=(radius, radius),
            least_contrast=least,
        )
        shape = pixels.shape[1:]
        labels = decide(found.votes[clusters], (factor, factor), shape)
        if label_of is None:
            return labels, None
        factors = tuple(factor * n for n in found.reduction)
        return labels, disagreement(found.voters[:, clusters], factors, shape, label_of)

    return predict


def part(weights: Weights, prefix: str) -> dict[str, NDArray[np.generic]]:
    """Return the weights whose names begin with the prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _votes(network: Network, planes: Sequence[Batch]) -> list[Tensor]:
    return [network(one.pixels).softmax(1) for one in planes]


def _classes(won: list[Tensor], planes: Sequence[Batch], working: Working) -> NDArray[np.int64]:
    """Return the user's class of each channel (q,): the one whose strokes it meets most, or 0."""
    width = len(working.classes)
    counts = torch.zeros(width, width, dtype=torch.int64)
    for labels, plane in zip(won, planes, strict=True):
        if plane.painted is not None:
            here = plane.painted != IGNORED
            counts += count_overlap(labels[here], plane.painted[here], width).cpu()
    met = counts.sum(1) > 0
    return np.where(met, working.classes[counts.argmax(1)], 0)


def _contrast(
    groups: NDArray[np.int64], colours: NDArray[np.float32], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the squared distance between the halves' mean colours, a mean over the channels."""
    if groups.max() == 0:
        return np.array(0.0)
    low, high = (
        np.average(colours[groups == half], axis=0, weights=sizes[groups == half])
        for half in (0, 1)
    )
    return np.array(np.square(high - low).mean(), np.float64)


def _halves(
    won: list[Tensor], planes: Sequence[Batch], clusters: NDArray[np.int64], width: int
) -> NDArray[np.int64]:
    """Part the clusters that won into two."""
    number = torch.full((width,), -1)
    number[torch.from_numpy(clusters)] = torch.arange(len(clusters))
    maps, pixels = [], []
    for one, plane in zip(won, planes, strict=True):
        maps += list(number[one.cpu()].masked_fill(~plane.valid.cpu(), -1).numpy())
        pixels += list(plane.own_pixels.cpu().numpy())
    return halves(maps, pixels, len(clusters))
