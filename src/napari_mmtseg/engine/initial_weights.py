"""Start a network from the image itself, so that training begins with labels that make sense."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_mmtseg.engine import Weights
from napari_mmtseg.engine.kmeans_fit import fit
from napari_mmtseg.engine.label_alignment import count_overlap, permutation
from napari_mmtseg.engine.losses import IGNORED
from napari_mmtseg.engine.networks.convolution import (
    AnyNetwork,
    Convolution,
    Network,
    Norm,
    TextureNetwork,
    build,
    drawn,
    set_weights,
)
from napari_mmtseg.engine.working_sample import Batch, WorkingSample, survey
from napari_mmtseg.methods import NetworkMethod

_FITTED_PIXELS = 20_000
_CELLS = 256
"""Along each axis of the grid in which pixels are gathered, at first."""
_SPREAD = 2.0


def start(
    working: WorkingSample,
    method: NetworkMethod,
    generator: torch.Generator,
    initial: Sequence[Weights] | None,
    count: int = 1,
) -> list[AnyNetwork]:
    """Build networks to train on the sample.

    Parameters
    ----------
    working : WorkingSample
        The sample.
    method : NetworkMethod
        Its start decides where the weights come from.
    generator : torch.Generator
        For a random start. A start from the image does not depend on the seed.
    initial : sequence of mappings of str to array, or None
        Weights of each network that take the place of the method's start.
    count : int
        How many networks.

    Raises
    ------
    ValueError
        If the initial weights do not fit the network.
    """
    pixels, texture = working.planes[0].pixels, working.axes_of_texture is not None
    networks: list[AnyNetwork] = []
    for number in range(count):
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        own = torch.Generator().manual_seed(number if method.start == "image" else seed)
        make = partial(build, pixels.shape[1], pixels.ndim - 2, method, texture=texture)
        networks.append(drawn(make, own).to(pixels))
        if isinstance(networks[-1], TextureNetwork):
            networks[-1].described = True
        if initial is not None:
            set_weights(networks[number], initial[number])
    if initial is None and method.start == "image":
        planes = survey(working.planes, method)
        if working.axes_of_texture is not None:
            _start_from_texture(networks, planes, working.painted, working.axes_of_texture)
        else:
            _start_from_image(networks, planes, working.painted)
    return networks


@torch.no_grad()
def _start_from_image(
    networks: Sequence[AnyNetwork], planes: Sequence[Batch], painted: Tensor
) -> None:
    """Let networks with random weights begin as soft k-means on the smoothed image.

    Some filters of each layer hand the channels on, a little smoothed; the others stay as they
    are, and training finds what they are good for. The responses are the log-probabilities of q
    clusters of one variance s, whose centres c k-means finds, (c . x - |c|^2 / 2) / s, times a
    factor that gives them a standard deviation of 2, so that the network is not too sure to learn.

    Parameters
    ----------
    networks : sequence of Network
        Changed in place.
    planes : sequence of Batch
        What the centres are found in.
    painted : (n,) tensor of int64
        Channels that stand for a class of the user: they get the clusters that its strokes meet.
    """
    width = networks[0].width
    features = [plane.pixels for plane in planes]
    basis, lift = _basis(features, width // 2)  # (F, C), (F,)
    through = slice(0, len(basis))
    axes = features[0].ndim - 2
    smooth = torch.tensor([0.25, 0.5, 0.25]).to(basis)
    kernel = smooth
    for _ in range(axes - 1):
        kernel = kernel * smooth.view(-1, *(1,) * kernel.ndim)
    convolve = functional.conv2d if axes == 2 else functional.conv3d
    plain = [network for network in networks if isinstance(network, Network)]
    for layers in zip(*(network.blocks() for network in plain), strict=True):
        weight = basis.view(*basis.shape, *(1,) * axes) * kernel
        padding = layers[0][0].padding
        features = [torch.relu(convolve(x, weight, lift, padding=padding)) for x in features]
        for conv, norm in layers:
            conv.weight.copy_(_symmetric(conv.weight))
            conv.weight[through] = 0
            conv.weight[through, : weight.shape[1]] = weight
            _bias(conv)[through] = lift
            _undo(norm, features, through)
        basis, lift = torch.eye(len(basis)).to(basis), torch.zeros_like(lift)

    pairs = zip(features, planes, strict=True)
    rows = torch.cat([x.movedim(1, -1)[plane.valid] for x, plane in pairs])  # (n, F)
    whole = torch.eye(len(basis)).to(basis), basis.new_zeros(len(basis))
    _respond(networks, rows, whole, planes, painted)


@torch.no_grad()
def _start_from_texture(
    networks: Sequence[AnyNetwork],
    planes: Sequence[Batch],
    painted: Tensor,
    axes_of_texture: tuple[Tensor, Tensor],
) -> None:
    """Let networks begin as soft k-means on what counts of the features of texture."""
    rows = torch.cat([plane.seen.movedim(1, -1)[plane.valid] for plane in planes])  # (n, F)
    _respond(networks, rows, axes_of_texture, planes, painted)


def _respond(
    networks: Sequence[AnyNetwork],
    features: Tensor,
    axes: tuple[Tensor, Tensor],
    planes: Sequence[Batch],
    painted: Tensor,
) -> None:
    """Let the last layer give the log-probabilities of clusters.

    Parameters
    ----------
    networks : sequence of AnyNetwork
        Changed in place.
    features : (n, F) tensor
        What reaches the last layer, in its first channels.
    axes : (D, F) and (D,) tensors
        What features are multiplied by, and what is added, before they are clustered.
    planes, painted
        As for `_start_from_image`.
    """
    matrix, shift = axes
    rows, through = features @ matrix.T + shift, slice(0, matrix.shape[1])
    centres, variance = _centres(rows, networks[0].width)
    if len(painted):
        strokes = torch.cat([one.painted[one.valid] for one in planes if one.painted is not None])
        centres = centres[_places(rows, centres, strokes, painted)]
    weight = centres / variance  # (q, D)
    bias = -(weight * centres).sum(1) / 2
    factor = _SPREAD / (rows @ weight.T + bias).std().clamp_min(1e-6)
    responses = [(rows @ weight.T + bias).T[None, :, :, None] * factor]  # (1, q, n, 1)
    bias, weight = bias + weight @ shift, weight @ matrix
    for network in networks:
        last = network.conv3.weight
        last.zero_()
        last[:, through] = (weight * factor).view(*weight.shape, *(1,) * (last.ndim - 2))
        _bias(network.conv3)[:] = bias * factor
        _undo(network.bn3, responses, slice(None))


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


def _symmetric(weight: Tensor) -> Tensor:
    """Make filters alike in all directions: the mean over mirroring and turning them."""
    for axis in range(2, weight.ndim):
        weight = (weight + weight.flip(axis)) / 2
    axes = [(0, 1, *turned) for turned in itertools.permutations(range(2, weight.ndim))]
    return torch.stack([weight.permute(one) for one in axes]).mean(0)


def _undo(norm: Norm, features: Sequence[Tensor], channels: slice) -> None:
    """Let a batch norm give some channels back as they are."""
    values = torch.cat([one.movedim(1, 0).flatten(1) for one in features], 1)  # (F, n)
    norm.weight[channels] = (values.var(1, correction=0) + norm.eps).sqrt()
    _bias(norm)[channels] = values.mean(1)


def _centres(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find k centres (k, F) of (n, F) rows, and the mean variance around them.

    The order of the rows makes no difference, so that an image turned or mirrored has the same.
    """
    values, counts = _gathered(rows.cpu().double().numpy())
    if len(values) <= k:
        centres, variance = values[np.arange(k) % len(values)], 0.0
    else:
        centres, inertia = fit(values, k, counts)
        variance = inertia / counts.sum() / values.shape[1]
    return torch.from_numpy(centres).to(rows), torch.tensor(max(variance, 1e-6)).to(rows)


def _gathered(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Put (n, F) rows that are alike together: their means, and how many each stands for.

    Rows are alike in one cell of a grid, which is made coarser until the cells are few.
    """
    low = rows.min(0)
    step = max(float((rows.max(0) - low).max()) / _CELLS, 1e-9)
    factors = np.random.default_rng(0).integers(2**62, size=rows.shape[1])
    while True:
        cells = ((rows - low) / step).astype(np.int64)
        _, first, cell, counts = np.unique(  # by a number of each cell, made as hashes are
            (cells * factors).sum(1), return_index=True, return_inverse=True, return_counts=True
        )
        if len(counts) <= _FITTED_PIXELS:
            break
        step *= 2
    sums = [np.bincount(cell, column, minlength=len(counts)) for column in rows.T]
    values = np.stack(sums, 1) / counts[:, None]
    order = np.lexsort(cells[first].T)
    return values[order], counts[order]


def _bias(layer: Convolution | Norm) -> Tensor:
    """Return the bias, which these layers always have."""
    assert layer.bias is not None
    return layer.bias
