"""Refine the votes of any method that gives probabilities: in regions, then at the image's edges.

Everything here works on one tile, over any number of spatial axes: (Y, X) or (Z, Y, X).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from napari_mmtseg.engine.refine.borders import halving, regions
from napari_mmtseg.engine.refine.decision import pooled
from napari_mmtseg.engine.refine.sharpening import sharpened_groups
from napari_mmtseg.engine.refine.windows import doubled_smoothly, pooled_grid

__all__ = ["Refined", "refined"]


class Refined(NamedTuple):
    """Votes after refining."""

    votes: Tensor  # (K, *spatial), for `decide`; they need not sum to 1
    voters: Tensor | None  # (V, K, *smaller): each voter's votes in regions, for `disagreement`
    reduction: tuple[int, ...]
    """By what the voters' grid is smaller than that of the votes, along each axis."""


@torch.no_grad()
def refined(
    voters: Tensor,
    pixels: Tensor,
    groups: Tensor,
    *,
    vote_border: float,
    radius: tuple[int, ...],
    least_contrast: float = 0.0,
    spacing: tuple[float, ...] | None = None,
    each: bool = True,
) -> Refined:
    """Let voters vote in regions, and sharpen the borders of their mean.

    Parameters
    ----------
    voters : (V, K, *spatial) tensor
        Probabilities that each of V voters gives to K clusters.
    pixels : (C, *spatial) tensor
        What the votes are about, at the same resolution.
    groups : (K,) tensor of int64
        The group of each cluster, in 0..G - 1: the borders between groups are sharpened.
    vote_border : float
        Regions end at borders of this strength, 0 to 1; 0 leaves each pixel to itself.
    radius : tuple of int
        Half side of the windows for sharpening along each axis; all 0 leaves borders alone.
    least_contrast : float
        As for `sharpened_groups`.
    spacing : tuple of float, optional
        Size of a pixel along each axis, 1 in the plane; by default all are 1.
    each : bool
        Whether each voter's votes are wanted beside their mean.
    """
    shape = tuple(pixels.shape[1:])
    votes = voters.mean(0)
    reduction = (1,) * len(shape)
    if vote_border:
        reduction = halving(len(shape), spacing)
        small = pooled_grid(votes, reduction)  # (K, *smaller)
        found = regions(small, vote_border, spacing)
        votes = doubled_smoothly(pooled(small, found), reduction, shape)
        if each:
            smaller = pooled_grid(voters.flatten(0, 1), reduction)  # (V K, *smaller)
            voters = pooled(smaller.view(*voters.shape[:2], *smaller.shape[1:]), found)
    votes = sharpened_groups(votes, groups, pixels, radius, least_contrast)
    return Refined(votes, voters if each else None, reduction)
