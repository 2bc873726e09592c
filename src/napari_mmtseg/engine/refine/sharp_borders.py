"""Draw the borders between clusters where the image has them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from napari_mmtseg.engine.refine.window_means import box_mean, enlarged_rows, pooled_grid
from napari_mmtseg.engine.threads import several

_RARE = 0.02
_TRUST = 0.1
_ROUNDS = 2
_CELLS = 6
"""Local means of wide windows change slowly: so many cells of a coarser grid a radius do."""
_STRIP_PIXELS = 65_536
"""So many pixels at a time stay in a processor's cache."""


def sharpened(
    probabilities: Tensor, pixels: Tensor, radius: tuple[int, ...], least_contrast: float = 0.0
) -> Tensor:
    """Let the clusters around each pixel compete for it by their local mean intensity.

    Information between views hardly depends on where exactly a border runs, and grows when small
    clusters gain pixels, so that a network's borders lie outside of small things. Here the score
    of cluster c at pixel u is ``0.1 log p_c(u) - |I(u) - m_c(u)|^2 / (2 s(u))``, with m_c the mean
    of the intensities within the radius, weighted by p_c, and s their mean variance a channel
    around these means. Where clusters have the same mean, as textures may, p alone decides. A
    pixel whose own cluster is rare around it (below 2 %) keeps its probabilities. Two rounds; a
    pixel depends on those up to five radii away.

    Parameters
    ----------
    probabilities : (K, *spatial) tensor
    pixels : (C, *spatial) tensor
    radius : tuple of int
        Half side of the box that means are taken over, along each axis; all 0 changes nothing.
    least_contrast : float
        A pixel keeps its probabilities where the local means of the clusters do not span so much,
        as a mean square over the channels. It leaves noise alone.

    Returns
    -------
    (K, *spatial) tensor
        Probabilities.

    References
    ----------
    Lankton and Tannenbaum, "Localizing region-based active contours", IEEE TIP 17, 2008: the
    local means and their competition, here without a contour's length.
    """
    for _ in range(_ROUNDS if any(radius) else 0):
        probabilities = _round(probabilities, pixels, radius, least_contrast)
    return probabilities


def sharpened_groups(
    votes: Tensor,
    groups: Tensor,
    pixels: Tensor,
    radius: tuple[int, ...],
    least_contrast: float = 0.0,
) -> Tensor:
    """Sharpen the borders between groups; within a group the likeliest cluster stays ahead.

    Parameters
    ----------
    votes : (K, *spatial) tensor
        Probabilities of the clusters.
    groups : (K,) tensor of int64
        The group of each cluster, in 0..G - 1.
    pixels : (C, *spatial) tensor
    radius : tuple of int
    least_contrast : float
        As for `sharpened`.

    Returns
    -------
    (K, *spatial) tensor
        In each group, the largest is the group's probability.
    """
    number = groups.tolist()
    count = max(number) + 1
    if count == 1 or not any(radius):
        return votes
    total = votes.new_zeros(count, *votes.shape[1:])  # (G, *spatial)
    for group, own in zip(number, votes, strict=True):
        total[group] += own
    total /= total.sum(0)
    return favoured(votes, groups, sharpened(total, pixels, radius, least_contrast))


def favoured(votes: Tensor, groups: Tensor, totals: Tensor) -> Tensor:
    """Give the likeliest cluster of each group the group's probability, the others less.

    Parameters
    ----------
    votes : (K, *spatial) tensor
    groups : (K,) tensor of int64
    totals : (G, *spatial) tensor
        The probability of each group.

    Returns
    -------
    (K, *spatial) tensor
    """
    number = groups.tolist()
    likeliest = torch.zeros_like(totals)
    for group, own in zip(number, votes, strict=True):
        torch.maximum(likeliest[group], own, out=likeliest[group])
    share = totals / likeliest.clamp_min_(1e-30)
    found = torch.empty_like(votes, memory_format=torch.contiguous_format)
    for group, own, one in zip(number, votes, found, strict=True):
        torch.mul(own, share[group], out=one)
    return found


def _round(
    probabilities: Tensor, pixels: Tensor, radius: tuple[int, ...], least_contrast: float
) -> Tensor:
    coarse = tuple(max(1, r // _CELLS) for r in radius)
    cells = tuple(
        round((2 * r + 1) / size / 2 - 0.5) for r, size in zip(radius, coarse, strict=True)
    )
    energy = pixels.square().sum(0, keepdim=True)
    weighted = torch.empty_like(pixels)
    means, shares = [], []
    spread: Tensor | None = None
    for own in probabilities:
        here = pooled_grid(own[None], coarse)  # (1, *cells)
        torch.mul(own, pixels, out=weighted)
        sums = pooled_grid(weighted, coarse)  # (C, *cells)
        there = box_mean(here, cells)
        mean = box_mean(sums, cells) / there.clamp_min(1e-6)
        # The mean over a cell of p |I - m|^2, where m is that of the cell.
        within = pooled_grid(own * energy, coarse)
        within += (mean * (mean * here - 2 * sums)).sum(0, keepdim=True)
        spread = within if spread is None else spread + within
        means.append(mean)
        shares.append(there)
    assert spread is not None
    spread = (box_mean(spread, cells) / len(pixels)).clamp_min_(1e-5)
    every = torch.stack(means)  # (K, C, *cells)
    contrast = (every.amax(0) - every.amin(0)).square().mean(0, keepdim=True)
    coarser = torch.cat([spread, contrast, *shares, *means])
    found = torch.empty_like(probabilities)
    rows = _STRIP_PIXELS // math.prod(pixels.shape[2:]) // coarse[0] * coarse[0]
    rows = max(rows, 8 * coarse[0])

    @torch.no_grad()
    def compete(top: int) -> None:
        strip = slice(top, min(top + rows, pixels.shape[1]))
        wide = enlarged_rows(coarser, coarse, tuple(pixels.shape[1:]), strip)
        found[:, strip] = _competed(probabilities[:, strip], pixels[:, strip], wide, least_contrast)

    with several() as pool:
        list(pool.map(compete, range(0, pixels.shape[1], rows)))
    return found


def _competed(
    probabilities: Tensor, pixels: Tensor, around: Tensor, least_contrast: float
) -> Tensor:
    """Let clusters compete for pixels.

    Parameters
    ----------
    probabilities : (K, *spatial) tensor
    pixels : (C, *spatial) tensor
    around : (2 + K + K C, *spatial) tensor
        Around each pixel: the variance, the contrast, the clusters' shares, and their means.
    least_contrast : float

    Returns
    -------
    (K, *spatial) tensor
    """
    spread, contrast = around[:2]
    shares, means = around[2:].split([len(probabilities), len(probabilities) * len(pixels)])
    weight = -0.5 / spread
    score = probabilities.clamp_min(1e-6).log_().mul_(_TRUST)
    for own, share, mean in zip(score, shares, means.split(len(pixels)), strict=True):
        gap = mean.sub_(pixels).square_()
        own += (gap.sum(0) if len(gap) > 1 else gap[0]).mul_(weight)
        own.copy_(torch.where(share < _RARE, -torch.inf, own))
    best, own_share = probabilities[0], shares[0]
    for own, share in zip(probabilities[1:], shares[1:], strict=True):
        own_share = torch.where(own > best, share, own_share)
        best = torch.maximum(best, own)
    kept = (own_share < _RARE) | (contrast < least_contrast)
    return torch.where(kept, probabilities, score.softmax(0))
