"""Freeze trained networks, keep them in plain arrays, and ask them for clusters."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mmtseg.engine import Array, Learned, Predictor, Tile, Weights, voter_prediction
from napari_mmtseg.engine.devices import choose
from napari_mmtseg.engine.foreground import LEAST_CONTRAST, contrast, halves
from napari_mmtseg.engine.label_alignment import count_overlap, permutation
from napari_mmtseg.engine.losses import IGNORED
from napari_mmtseg.engine.networks.convolution import (
    AnyNetwork,
    build,
    freeze,
    get_weights,
    shares,
    winners,
    with_weights,
)
from napari_mmtseg.engine.refine.window_means import pooled_grid
from napari_mmtseg.engine.texture import described
from napari_mmtseg.engine.votes import found_clusters, sureness
from napari_mmtseg.engine.working_sample import Batch, WorkingSample, with_margin
from napari_mmtseg.methods import NetworkMethod


@torch.no_grad()
def learned(
    networks: Sequence[AnyNetwork],
    working: WorkingSample,
    planes: Sequence[Batch],
    method: NetworkMethod,
) -> Learned:
    """Freeze copies of the networks, bring them into one numbering, drop unused clusters.

    Parameters
    ----------
    networks : sequence of Network
        They vote with equal weight. Left as they are.
    working : WorkingSample
        Where training took place.
    planes : sequence of Batch
        They freeze the normalisation and decide which clusters are in use.
    method : NetworkMethod
        The settings.
    """
    networks = [copy.deepcopy(network) for network in networks]
    voted = []
    for network in networks:
        freeze(network, [plane.seen for plane in planes])
        responses = [network(one.seen) for one in planes]  # each (B, q, Y, X)
        if method.start == "image":
            rows = [
                one.movedim(1, -1)[plane.valid]
                for one, plane in zip(responses, planes, strict=True)
            ]
            factor = sureness(torch.cat(rows))
            network.scale(factor)
            responses = [one * factor for one in responses]
        voted.append([one.softmax(1) for one in responses])
    width = networks[0].width
    votes = voted[0]
    for network, others in zip(networks[1:], voted[1:], strict=True):
        overlap = sum(
            count_overlap(winners(other)[one.valid], winners(own)[one.valid], width)
            for own, other, one in zip(votes, others, planes, strict=True)
        )
        # Its channel for each of the first's.
        place = permutation(torch.as_tensor(overlap), working.painted).argsort()
        network.reorder(place)
        votes = [own + other[:, place] for own, other in zip(votes, others, strict=True)]
    won = [winners(one) for one in votes]
    pixels = torch.cat([plane.own_pixels.movedim(1, -1)[plane.valid] for plane in planes])  # (n, C)
    labels = torch.cat([one[plane.valid] for one, plane in zip(won, planes, strict=True)])
    clusters, colours, sizes = found_clusters(labels, pixels, width)
    classes = _classes(won, planes, working)[clusters]
    texture = working.axes_of_texture
    if texture is None:
        traits, groups = colours.astype(np.float64), _halves(won, planes, clusters, width)
    else:  # whose clusters have no brighter and darker half
        traits = _traits(labels, planes, texture, width)
        groups = np.zeros(len(clusters), np.int64)
    weights: dict[str, NDArray[np.generic]] = {
        "clusters": clusters,
        "halves": groups,
        "contrast": contrast(groups, colours, sizes),
        "reduction": np.array(working.factor, np.int64),
        "spacing": np.array(working.spacing),
        "channels": np.array(pixels.shape[1]),
        "traits": traits,
    }
    for number, network in enumerate(networks, start=1):
        named = get_weights(network)
        weights |= {f"network{number}.{name}": value for name, value in named.items()}
    return Learned(weights, colours, sizes, classes, groups if texture is None else None)


def arrays(method: NetworkMethod, is_rgb: bool) -> dict[str, Array]:
    """Declare the weights of a model."""
    parameters = Array("F32 F64", None)
    return {
        "clusters": Array("I64", ("K",), 0, method.width - 1),
        "halves": Array("I64", ("K",), 0, 1),
        "contrast": Array("F64", (), 0, 1.001),
        "reduction": Array("I64", ("A",), 1, 64),
        "spacing": Array("F64", ("A",), 1e-3, 1e3),
        "channels": Array("I64", (), 1, 4096),
        "traits": Array("F64", ("K", "T"), -1e6, 1e6),
        "network1.": parameters,
    } | ({"network2.": parameters} if method.has_uncertainty else {})


def predictor(weights: Weights, method: NetworkMethod) -> Predictor:
    """Make the predictor that asks the frozen networks."""
    device = choose(method.device)
    dtype = getattr(torch, method.precision)
    factor = tuple(int(n) for n in weights["reduction"])
    clusters, groups = (
        torch.from_numpy(np.ascontiguousarray(weights[name])).to(device)
        for name in ("clusters", "halves")
    )
    n_channels = int(weights["channels"])
    networks: list[AnyNetwork] = []
    while named := part(weights, f"network{len(networks) + 1}."):
        texture = "conv1.weight" not in named
        make = partial(build, n_channels, len(factor), method, texture=texture)
        networks.append(with_weights(make, named, dtype).to(device))
        networks[-1].fuse()

    def voters(
        pixels: Tensor, tile: Tile, grid: tuple[int, ...]
    ) -> tuple[Iterator[Tensor], Tensor]:
        seen = with_margin(pixels, networks[0].margin)
        return shares(networks, seen, clusters, grid), pixels[0]

    def smaller(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return pooled_grid(torch.from_numpy(pixels), factor).numpy()

    return voter_prediction.predictor(
        voters,
        n_votes=len(networks) * len(clusters),
        n_channels=n_channels,
        reach=max(networks[0].margin, method.n_blocks),
        factor=factor,
        spacing=weights["spacing"].tolist(),
        reduce=smaller,
        groups=groups,
        least_contrast=LEAST_CONTRAST * float(weights["contrast"]),
        method=method,
        device=device,
        dtype=dtype,
    )


def drafted(weights: Weights) -> Weights:
    """Leave the first network alone, which sees about what both see in half of the time."""
    return {name: value for name, value in weights.items() if not name.startswith("network2.")}


def part(weights: Weights, prefix: str) -> dict[str, NDArray[np.generic]]:
    """Return the weights whose names begin with the prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _traits(
    labels: Tensor, planes: Sequence[Batch], axes_of_texture: tuple[Tensor, Tensor], width: int
) -> NDArray[np.float64]:
    """Return the mean texture of each cluster that won, half of it from around its pixels: (K, D).

    So a cluster that lies across a border is like the texture that it has more of.
    """
    return found_clusters(labels, described(planes, axes_of_texture), width)[1].astype(np.float64)


def _classes(
    won: list[Tensor], planes: Sequence[Batch], working: WorkingSample
) -> NDArray[np.int64]:
    """Return the user's class of each channel (q,): the one whose strokes it meets most, or 0."""
    width = len(working.classes)
    counts = torch.zeros(width, width, dtype=torch.int64)
    for labels, plane in zip(won, planes, strict=True):
        if plane.painted is not None:
            here = plane.painted != IGNORED
            counts += count_overlap(labels[here], plane.painted[here], width).cpu()
    met = counts.sum(1) > 0
    return np.where(met, working.classes[counts.argmax(1)], 0)


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
