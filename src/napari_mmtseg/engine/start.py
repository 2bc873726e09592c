"""Start a network from the image itself, so that training begins with labels that make sense."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans as Clustering
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from napari_mmtseg.engine import Weights
from napari_mmtseg.engine.alignment import count_overlap, permutation
from napari_mmtseg.engine.losses import IGNORED
from napari_mmtseg.engine.networks import Network, build, set_weights
from napari_mmtseg.engine.sampling import Batch, Working, survey
from napari_mmtseg.methods import NetworkMethod

_FITTED_PIXELS = 20_000
_AMPLITUDE = 2.0


def start(
    working: Working, method: NetworkMethod, generator: torch.Generator, initial: Weights | None
) -> Network:
    """Build a network to train on the sample.

    Raises
    ------
    ValueError
        If the initial weights do not fit the network.
    """
    pixels = working.planes[0].pixels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31 - 1, (1,), generator=generator)))
        network = build(pixels.shape[1], method).to(pixels)
    if initial is not None:
        set_weights(network, initial)
    elif method.start == "image":
        start_from_image(network, survey(working.planes), working.painted)
    return network


@torch.no_grad()
def start_from_image(network: Network, planes: Sequence[Batch], painted: Tensor) -> None:
    """Let a network with random weights begin as soft k-means on the smoothed image.

    Some filters of each layer hand the channels on, a little smoothed; the others stay random, and
    training finds what they are good for. The responses are the log-probabilities of q clusters of
    one variance s, whose centres c k-means finds, up to a factor: (c . x - |c|^2 / 2) / s. Centres
    do not depend on the seed, so that different seeds begin with the same labels.

    Parameters
    ----------
    network : Network
        Changed in place.
    planes : sequence of Batch
        What the centres are found in.
    painted : (n,) tensor of int64
        Channels that stand for a class of the user: they get the clusters that its strokes meet.
    """
    features = [plane.pixels for plane in planes]
    basis, lift = _basis(features, network.conv3.in_channels // 2)  # (F, C), (F,)
    through = slice(0, len(basis))
    smooth = torch.tensor([0.25, 0.5, 0.25]).to(basis)
    for conv, norm in network.blocks():
        conv.weight[through] = 0
        conv.weight[through, : basis.shape[1]] = basis[:, :, None, None] * smooth * smooth[:, None]
        _bias(conv)[through] = lift
        features = [torch.relu(conv(one)) for one in features]
        _undo(norm, features, through)
        basis, lift = torch.eye(len(basis)).to(basis), torch.zeros_like(lift)

    rows = torch.cat(
        [
            one[:, through].movedim(1, -1)[plane.valid]
            for one, plane in zip(features, planes, strict=True)
        ]
    )  # (n, F)
    centres, variance = _centres(rows, network.conv3.out_channels)
    if len(painted):
        strokes = torch.cat([one.painted[one.valid] for one in planes if one.painted is not None])
        centres = centres[_places(rows, centres, strokes, painted)]
    weight = centres / variance  # (q, F)
    bias = -(weight * centres).sum(1) / 2
    scale = (rows @ weight.T + bias).std().clamp_min(1e-6) / _AMPLITUDE
    network.conv3.weight.zero_()
    network.conv3.weight[:, through, 0, 0] = weight / scale
    _bias(network.conv3)[:] = bias / scale
    _undo(network.bn3, [network.conv3(one) for one in features], slice(None))


def _places(rows: Tensor, centres: Tensor, strokes: Tensor, painted: Tensor) -> Tensor:
    """Order the centres so that each painted channel gets the one that its strokes meet most."""
    count = len(centres)
    here = strokes != IGNORED
    nearest = torch.cdist(rows[here], centres).argmin(1)
    overlap = count_overlap(nearest, strokes[here], count)
    overlap[:, [k for k in range(count) if k not in painted.tolist()]] = 0
    return permutation(overlap).argsort()


def _basis(pixels: Sequence[Tensor], most: int) -> tuple[Tensor, Tensor]:
    """Choose what to hand on: the channels, or their principal components if they are many.

    Returns
    -------
    basis : (F, C) tensor
    lift : (F,) tensor
        What keeps the projections from falling below 0, where ReLU would cut them.
    """
    channels = pixels[0].shape[1]
    basis = torch.eye(channels).to(pixels[0])
    if channels <= most:
        return basis, basis.new_zeros(channels)
    rows = torch.cat([one.movedim(1, -1).flatten(0, -2) for one in pixels])  # (n, C)
    _, vectors = torch.linalg.eigh(rows.T.cov())
    basis = vectors.T.flip(0)[:most]
    return basis, -(rows @ basis.T).amin(0)


def _undo(norm: nn.BatchNorm2d, features: Sequence[Tensor], channels: slice) -> None:
    """Let a batch norm give some channels back as they are."""
    values = torch.cat([one[:, channels].flatten(2) for one in features], 2)  # (1, F, n)
    norm.weight[channels] = (values.var((0, 2), correction=0) + norm.eps).sqrt()
    _bias(norm)[channels] = values.mean((0, 2))


def _centres(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find k centres (k, F) of (n, F) rows, and the mean variance around them."""
    fitted = rows[:: max(1, len(rows) // _FITTED_PIXELS)].cpu().double().numpy()
    distinct = np.unique(fitted, axis=0)
    if len(distinct) <= k:
        centres, variance = distinct[np.arange(k) % len(distinct)], 0.0
    else:
        with threadpool_limits(limits=1, user_api="openmp"):
            found = Clustering(k, n_init=1, random_state=0).fit(fitted)
        centres, variance = found.cluster_centers_, found.inertia_ / fitted.size
    return torch.from_numpy(centres).to(rows), torch.tensor(max(variance, 1e-6)).to(rows)


def _bias(layer: nn.Conv2d | nn.BatchNorm2d) -> Tensor:
    """Return the bias, which these layers always have."""
    assert layer.bias is not None
    return layer.bias
