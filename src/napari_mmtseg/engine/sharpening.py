"""Draw the borders between clusters where the image has them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_RARE = 0.02
_TRUST = 0.1
_ROUNDS = 2


def sharpened(
    probabilities: Tensor, pixels: Tensor, radius: int, least_contrast: float = 0.0
) -> Tensor:
    """Let the clusters around each pixel compete for it by their local mean intensity.

    Information between views hardly depends on where exactly a border runs, and grows when small
    clusters gain pixels, so that a network's borders lie outside of small things. Here the score
    of cluster c at pixel u is ``0.1 log p_c(u) - |I(u) - m_c(u)|^2 / (2 s(u))``, with m_c the mean
    of the intensities within the radius, weighted by p_c, and s their mean variance a channel
    around these means. Where clusters have the same mean, as textures may, p alone decides. A
    pixel whose own cluster is rare around it (below 2 %) keeps its probabilities. Two rounds; a
    pixel depends on those up to four radii away.

    Parameters
    ----------
    probabilities : (B, K, Y, X) tensor
    pixels : (B, C, Y, X) tensor
    radius : int
        Half side of the square that means are taken over; 0 changes nothing.
    least_contrast : float
        A pixel keeps its probabilities where the local means of the clusters do not span so much,
        as a mean square over the channels. It leaves noise alone.

    Returns
    -------
    (B, K, Y, X) tensor
        Probabilities.

    References
    ----------
    Lankton and Tannenbaum, "Localizing region-based active contours", IEEE TIP 17, 2008: the
    local means and their competition, here without a contour's length.
    """
    for _ in range(_ROUNDS if radius else 0):
        probabilities = _round(probabilities, pixels, radius, least_contrast)
    return probabilities


def sharpened_groups(
    votes: Tensor, groups: Tensor, pixels: Tensor, radius: int, least_contrast: float = 0.0
) -> Tensor:
    """Sharpen the borders between groups; within a group the likeliest cluster stays ahead.

    Parameters
    ----------
    votes : (B, P, Y, X) tensor
        Probabilities of the clusters.
    groups : (P,) tensor of int64
        The group of each cluster, in 0..G - 1.
    pixels : (B, C, Y, X) tensor
    radius : int
    least_contrast : float
        As for `sharpened`.
    """
    members = [groups == group for group in range(int(groups.max()) + 1)]
    likeliest = torch.stack([votes[:, own].amax(1) for own in members], 1)  # (B, G, Y, X)
    total = torch.stack([votes[:, own].sum(1) for own in members], 1)  # (B, G, Y, X)
    total = sharpened(total / total.sum(1, keepdim=True), pixels, radius, least_contrast)
    return votes * (total / likeliest.clamp_min(1e-30))[:, groups]


def _round(probabilities: Tensor, pixels: Tensor, radius: int, least_contrast: float) -> Tensor:
    share = _local_mean(probabilities, radius)  # (B, K, Y, X)
    apart = torch.empty_like(probabilities)
    lowest, highest = torch.full_like(pixels, torch.inf), torch.full_like(pixels, -torch.inf)
    for cluster in range(probabilities.shape[1]):
        own = probabilities[:, cluster, None]  # (B, 1, Y, X)
        total = _local_mean(own * pixels, radius)  # (B, C, Y, X)
        mean = total / share[:, cluster, None].clamp_min(1e-6)
        apart[:, cluster] = (pixels - mean).square().sum(1)
        lowest, highest = torch.minimum(lowest, mean), torch.maximum(highest, mean)
    spread = _local_mean((probabilities * apart).sum(1, keepdim=True), radius)  # (B, 1, Y, X)
    spread = (spread / pixels.shape[1]).clamp_min(1e-5)
    score = _TRUST * probabilities.clamp_min(1e-6).log() - apart / (2 * spread)
    score = score.masked_fill(share < _RARE, -torch.inf)
    rare = share.gather(1, probabilities.argmax(1, keepdim=True)) < _RARE  # (B, 1, Y, X)
    contrast = (highest - lowest).square().mean(1, keepdim=True)  # (B, 1, Y, X)
    kept = rare | (contrast < least_contrast)
    return torch.where(kept, probabilities, score.masked_fill(rare, 0).softmax(1))


def _local_mean(values: Tensor, radius: int) -> Tensor:
    """Average over squares of 2 r + 1 pixels a side, smaller ones at the border."""
    for axis in (2, 3):
        index = torch.arange(values.shape[axis], device=values.device)
        first, last = (index - radius).clamp(min=0), (index + radius).clamp(max=len(index) - 1)
        count = (last - first + 1).to(values)
        sums = _window_sum(values, radius, axis)
        values = sums.div_(count[:, None] if axis == 2 else count)
    return values


def _window_sum(values: Tensor, radius: int, axis: int) -> Tensor:
    """Sum over 2 r + 1 neighbours along an axis, zeros beyond the border.

    Sums of 1, 2, 4, ... neighbours are put together: few passes over the memory, and, unlike with
    running sums, each pixel's result depends on its own neighbours alone, to the last bit.
    """
    length = values.shape[axis]
    padding = (0, 0, radius, radius) if axis == 2 else (radius, radius)
    power = functional.pad(values, padding)  # sums of `size` neighbours from each place on
    wanted, size, offset = 2 * radius + 1, 1, 0
    total = torch.zeros_like(values)
    while wanted:
        if wanted & 1:
            total += power.narrow(axis, offset, length)
            offset += size
        wanted >>= 1
        if wanted:
            left = power.shape[axis] - size
            power = power.narrow(axis, 0, left) + power.narrow(axis, size, left)
            size *= 2
    return total
