"""Turn the votes of one or more networks into clusters and their disagreement."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_mmtseg.engine.losses import IGNORED

_STRIP_VALUES = 16_000_000
_JUDGED_PIXELS = 20_000


def majority(groups: Tensor, labels: Tensor, n_groups: int, n_labels: int) -> Tensor:
    """Find the most common label of each group, the smallest one if several are.

    Parameters
    ----------
    groups, labels : (n,) tensors of int64
        In 0..n_groups - 1 and 0..n_labels - 1.

    Returns
    -------
    (n_groups,) tensor of int64
        IGNORED where a group is empty.
    """
    counts = torch.bincount(groups * n_labels + labels, minlength=n_groups * n_labels)
    most, winner = counts.view(n_groups, n_labels).max(1)  # the first of equal ones
    return winner.masked_fill_(most == 0, IGNORED)


def sureness(responses: Tensor) -> float:
    """Find the factor for responses that makes their softmax as sure as clusters let it be.

    Training wants small responses, votes and borders want probabilities that say what is known: a
    mean largest probability of 0.97 for two clusters of equal size, and 0.03 less for each further
    one, because shading crosses more of their borders. Winners stay the same.

    Parameters
    ----------
    responses : (n, q) tensor
    """
    some = responses[:: max(1, len(responses) // _JUDGED_PIXELS)]
    shares = some.argmax(1).bincount().double() / len(some)
    shares = shares[shares > 0]
    number = float((-(shares * shares.log()).sum()).exp())  # of clusters, as if of equal size
    wanted = max(0.5, 1 - 0.03 * max(1.0, number - 1))
    low, high = -12.0, 6.0  # of the factor's logarithm
    for _ in range(16):
        middle = (low + high) / 2
        sure = float((some * math.exp(middle)).softmax(1).amax(1).mean()) > wanted
        low, high = (low, middle) if sure else (middle, high)
    return math.exp((low + high) / 2)


def pooled(votes: Tensor, regions: Tensor) -> Tensor:
    """Give each pixel the mean votes of its region.

    Parameters
    ----------
    votes : (B, K, Y, X) tensor
    regions : (B, Y, X) tensor of int64
        From 0; regions of different images have nothing in common.
    """
    count = int(regions.max()) + 1
    first = torch.arange(len(regions), device=regions.device) * count
    where = regions + first[:, None, None]  # unique over the batch
    sums = votes.new_zeros(len(regions) * count, votes.shape[1])
    sums.index_add_(0, where.flatten(), votes.movedim(1, -1).flatten(0, 2))
    means = sums / where.flatten().bincount(minlength=len(sums)).clamp(min=1)[:, None]
    return means[where].movedim(-1, 1)


@torch.no_grad()
def decide(
    votes: Tensor,
    factor: int,
    shape: tuple[int, int],
    label_of: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
    """Enlarge the votes, take the winner of their mean, and measure how far they disagree.

    Parameters
    ----------
    votes : (V, K, y, x) tensor
        Probabilities that each of V voters gives to K clusters, at the working resolution.
    factor : int
        Working reduction.
    shape : (Y, X)
        Shape of the full plane.
    label_of : (K,) int array, optional
        The label of each cluster; asks for the disagreement.

    Returns
    -------
    clusters : (Y, X) int64 array
        In 0..K - 1.
    disagreement : (Y, X) float32 array or None
        Total variation distance between the two voters' probabilities of the labels, in 0..1.
    """
    clusters = np.empty(shape, np.int64)
    disagreement = None if label_of is None else np.empty(shape, np.float32)
    rows = max(1, _STRIP_VALUES // (votes[:, :, 0].numel() * factor * factor))
    for top in range(0, votes.shape[2], rows):
        strip = _enlarged(votes, top, min(top + rows, votes.shape[2]), factor)
        strip = strip[:, :, : shape[0] - top * factor, : shape[1]]  # (V, K, Y', X)
        here = slice(top * factor, top * factor + strip.shape[2])
        clusters[here] = strip.sum(0).argmax(0).cpu().numpy()
        if disagreement is not None and label_of is not None:
            groups = torch.from_numpy(np.unique(label_of, return_inverse=True)[1])
            grouped = strip.new_zeros((len(strip), int(groups.max()) + 1, *strip.shape[2:]))
            grouped.index_add_(1, groups.to(strip.device), strip)
            distance = (grouped[0] - grouped[1]).abs().sum(0) / 2
            disagreement[here] = distance.clamp_(0, 1).cpu().numpy()
    return clusters, disagreement


def found_clusters(
    winners: Tensor, pixels: Tensor, width: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """List the clusters that won any pixel, with their mean colours and sizes.

    Parameters
    ----------
    winners : (n,) tensor of int64
        In 0..q - 1.
    pixels : (n, C) tensor
    width : int
        Number of responses q.

    Returns
    -------
    clusters : (K,) int64 array
        The K responses that won; `decide` is given those alone.
    colours : (K, C) float32 array
    sizes : (K,) int64 array
    """
    winners, pixels = winners.cpu(), pixels.cpu().double()
    sizes = torch.bincount(winners, minlength=width)
    sums = pixels.new_zeros(width, pixels.shape[1]).index_add_(0, winners, pixels)
    clusters = sizes.nonzero()[:, 0]
    sizes = sizes[clusters]
    colours = (sums[clusters] / sizes[:, None]).float()
    return clusters.numpy(), colours.numpy(), sizes.numpy()


def _enlarged(votes: Tensor, top: int, bottom: int, factor: int) -> Tensor:
    """Enlarge working rows top..bottom bilinearly, looking one row beyond them."""
    if factor == 1:
        return votes[:, :, top:bottom]
    first = max(0, top - 1)
    strip = votes[:, :, first : bottom + 1]
    strip = functional.interpolate(strip, scale_factor=factor, mode="bilinear")
    start = (top - first) * factor
    return strip[:, :, start : start + (bottom - top) * factor]
