"""Count votes: the most common label, how sure responses are, and the clusters that won."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mmtseg.engine.losses import IGNORED

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
