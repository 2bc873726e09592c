"""Freeze trained networks, keep them in plain arrays, and ask them for clusters."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mmtseg.engine import Learned, Prediction, Predictor, Weights
from napari_mmtseg.engine.alignment import count_overlap, permutation
from napari_mmtseg.engine.devices import choose
from napari_mmtseg.engine.networks import Network, freeze, get_weights, set_weights
from napari_mmtseg.engine.sampling import Batch, Working, reduce
from napari_mmtseg.engine.votes import decide, found_clusters
from napari_mmtseg.methods import NetworkMethod


@torch.no_grad()
def learned(networks: Sequence[Network], working: Working) -> Learned:
    """Freeze copies of the networks, bring them into one numbering, drop unused clusters.

    Parameters
    ----------
    networks : sequence of Network
        They vote with equal weight. Left as they are.
    working : Working
        Its planes freeze the normalisation and decide which clusters are in use.
    """
    planes = working.planes
    networks = [copy.deepcopy(network) for network in networks]
    for network in networks:
        freeze(network, [plane.pixels for plane in planes])
    width = networks[0].conv3.out_channels
    votes = _votes(networks[0], planes)  # (n, q)
    own = votes.argmax(1)
    for network in networks[1:]:
        others = _votes(network, planes)  # (n, q)
        overlap = count_overlap(others.argmax(1), own, width)
        place = permutation(
            overlap, working.painted
        ).argsort()  # its channel for each of the first's
        for layer in (network.conv3, network.bn3):
            for value in layer.state_dict().values():
                if value.ndim:
                    value.copy_(value[place].clone())
        votes += others[:, place]
    pixels = torch.cat([plane.pixels.movedim(1, -1)[plane.valid] for plane in planes])  # (n, C)
    clusters, colours, sizes = found_clusters(votes.argmax(1), pixels, width)
    weights: dict[str, NDArray[np.generic]] = {
        "clusters": clusters,
        "reduction": np.array(working.factor),
    }
    for number, network in enumerate(networks, start=1):
        named = get_weights(network)
        weights |= {f"network{number}.{name}": value for name, value in named.items()}
    return Learned(weights, colours, sizes, working.classes[clusters])


def predictor(weights: Weights, method: NetworkMethod) -> Predictor:
    """Make the function that asks the frozen networks for the cluster of each pixel."""
    device = choose(method.device)
    dtype = getattr(torch, method.precision)
    factor = int(weights["reduction"])
    clusters = torch.from_numpy(np.ascontiguousarray(weights["clusters"])).to(device)
    networks: list[Network] = []
    while named := part(weights, f"network{len(networks) + 1}."):
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


def part(weights: Weights, prefix: str) -> dict[str, NDArray[np.generic]]:
    """Return the weights whose names begin with the prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _votes(network: Network, planes: list[Batch]) -> torch.Tensor:
    """Probabilities of the pixels that count: (n, q)."""
    return torch.cat([network(one.pixels).softmax(1).movedim(1, -1)[one.valid] for one in planes])
