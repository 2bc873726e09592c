"""Refine the votes of any method that gives probabilities: in regions, then at the image's edges.

Everything here works on one tile, over any number of spatial axes: (Y, X) or (Z, Y, X).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mmtseg.engine.refine.decision import by_label, decide, disagreement, favourite, pooled
from napari_mmtseg.engine.refine.region_votes import RegionVotes
from napari_mmtseg.engine.refine.regions import Regions, halving, regions
from napari_mmtseg.engine.refine.sharp_borders import favoured, sharpened, sharpened_groups
from napari_mmtseg.images.frames import Region

__all__ = ["Refined", "refined", "voting_grid"]


def voting_grid(
    vote_border: float, n_axes: int, spacing: tuple[float, ...] | None = None
) -> tuple[int, ...]:
    """Return by what to reduce the voters' probabilities along each axis, 1 or 2."""
    return halving(n_axes, spacing) if vote_border else (1,) * n_axes


class RefinedVotes:
    """Votes after refining; made by `refined`."""

    def __init__(
        self,
        voters: Tensor,
        votes: Tensor | RegionVotes,
        groups: Tensor,
        totals: Tensor | None = None,
        regions: Regions | None = None,
    ) -> None:
        self._voters, self._votes, self._groups = voters, votes, groups
        self._totals, self._regions = totals, regions

    def clusters(
        self, seen: Region, factor: tuple[int, ...], shape: tuple[int, ...]
    ) -> NDArray[np.int16]:
        """Return the winners in a part of the tile, enlarged by a factor to a shape.

        Parameters
        ----------
        seen : Region
            The part, in votes.
        factor, shape : tuple of int
            As for `decide`.
        """
        votes = self._votes
        if isinstance(votes, RegionVotes):
            assert self._totals is not None
            if max(factor) == 1:
                part = tuple(
                    slice(one.start, min(one.stop, one.start + n))
                    for one, n in zip(seen, shape, strict=True)
                )
                groups = self._totals[:, *part].max(0).indices
                return votes.winners(groups.cpu().numpy(), part)
            votes = favoured(votes.votes().to(self._totals), self._groups, self._totals)
        return decide(votes[:, *seen], factor, shape)

    def uncertainty(
        self,
        seen: Region,
        factor: tuple[int, ...],
        shape: tuple[int, ...],
        label_of: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Return how far two voters disagree on the labels, as `disagreement` measures it.

        Parameters
        ----------
        seen : Region
            A part of the tile, on the voters' grid.
        factor, shape : tuple of int
            As for `disagreement`.
        label_of : (K,) int array
            The label of each cluster.
        """
        apart = by_label(self._voters[0] - self._voters[1], label_of)
        if self._regions is not None:
            apart = pooled(apart, self._regions.labels)
        return disagreement(apart[:, *seen], factor, shape)

    def alone(
        self, seen: Region, factor: tuple[int, ...], shape: tuple[int, ...]
    ) -> tuple[NDArray[np.int16], ...]:
        """Return for each voter the clusters that it would give alone, before sharpening.

        Parameters
        ----------
        seen, factor, shape
            As for `uncertainty`.
        """
        found = []
        for votes in self._voters:
            own = votes.max(0).indices.to(torch.int16).cpu().numpy()
            if self._regions is not None:
                own = favourite(votes, self._regions.labels)
            part = own[seen]
            for axis, one in enumerate(factor):
                part = part.repeat(one, axis)
            found.append(part[tuple(slice(n) for n in shape)])
        return tuple(found)


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
) -> RefinedVotes:
    """Let voters vote in regions, and sharpen the borders of their mean.

    Parameters
    ----------
    voters : (V, K, *smaller) tensor
        Probabilities that each of V voters gives to K clusters, reduced by `voting_grid`.
    pixels : (C, *spatial) tensor
        What the votes are about.
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
    """
    votes = voters.mean(0)
    if not vote_border:
        votes = sharpened_groups(votes, groups, pixels, radius, least_contrast)
        return RefinedVotes(voters, votes, groups)
    if not any(radius):
        groups = torch.zeros_like(groups)
    shape = tuple(pixels.shape[1:])
    factors = voting_grid(vote_border, len(shape), spacing)
    found = regions(votes, vote_border, spacing)
    regional = RegionVotes(found, groups.cpu().numpy(), factors, shape)
    totals = regional.totals().to(pixels)
    if len(totals) > 1:
        totals = sharpened(totals, pixels, radius, least_contrast)
    return RefinedVotes(voters, regional, groups, totals, found)
