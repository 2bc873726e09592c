"""From the probabilities that voters give to clusters: predict tile by tile, refined."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mmtseg.engine import Doubt, Draft, Prediction, Predictor, Tile
from napari_mmtseg.engine.refine import refined, voting_grid
from napari_mmtseg.engine.refine.decision import decide
from napari_mmtseg.images.frames import Region, grown, within
from napari_mmtseg.methods import RefinedMethod

_TILE_VOTES = 2**25
_TILE_SIDE = {2: 1024, 3: 96}
_WIDEST_HALO = {2: 2048, 3: 24}
"""In a volume a wide one would cost many times what the tile does."""
_TILE_VALUES = 72_000_000
"""Of scaled pixels."""
_REGIONS_SEEN = 24
"""Votes beyond a tile that its regions are found in; borders look no further."""

Voters = Callable[[Tensor, Tile, tuple[int, ...]], tuple[Iterable[Tensor], Tensor]]
"""Of pixels (1, C, *spatial), where they lie, and a reduction along each axis: of each voter, in
turn, the probabilities (K, *smaller) of K clusters, averaged so (`pooled_grid`), and the pixels
(C, *spatial) at the resolution that the probabilities had before."""


def predictor(
    voters: Voters,
    *,
    n_votes: int,
    n_channels: int,
    reach: int,
    factor: Sequence[int],
    spacing: Sequence[float],
    reduce: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    groups: Tensor,
    least_contrast: float,
    method: RefinedMethod,
    device: torch.device,
    dtype: torch.dtype,
) -> Predictor:
    """Make the predictor of a method whose voters give probabilities.

    Parameters
    ----------
    voters : callable
        See `Voters`.
    n_votes : int
        V times K.
    n_channels : int
        Channels C of the image.
    reach : int
        Votes to each side that a vote depends on.
    factor : sequence of int
        Pixels that share a vote, along each axis.
    spacing : sequence of float
        Size of a pixel along each axis, 1 in the plane.
    reduce : callable
        Brings scaled pixels to the resolution that the voters take.
    groups : (K,) tensor of int64
        Sharpening draws the borders between clusters of different groups anew.
    least_contrast : float
        See `refine.sharp_borders.sharpened_groups`.
    method : RefinedMethod
        Its refining settings.
    device, dtype
        Where and in what numbers the voters work.
    """
    steps = [f * float(size) for f, size in zip(factor, spacing, strict=True)]  # of the votes
    radius = sharpening_radius(method, steps)
    size = tuple(step / steps[-1] for step in steps)
    grid = voting_grid(method.vote_border, len(size), size)
    context = _REGIONS_SEEN if method.vote_border else 0
    # Beside it one for enlarging and two for smoothing between regions, all told an even number,
    # as regions are found at half the resolution.
    halo = tuple(
        2 * math.ceil(min(reach + 3 + max(context / one, 4 * r), _WIDEST_HALO[len(size)]) / 2)
        for one, r in zip(size, radius, strict=True)
    )

    @torch.no_grad()
    def find(
        pixels: NDArray[np.float32],
        tile: Tile,
        label_of: NDArray[np.int64] | None = None,
        draft: Draft | None = None,
    ) -> Prediction:
        each, small = voters(torch.from_numpy(pixels).to(device, dtype)[None], tile, grid)
        coarser = tuple(f * r for f, r in zip(factor, grid, strict=True))
        inner = tuple(
            slice(one.start // r, -(-one.stop // r))
            for one, r in zip(tile.inner, grid, strict=True)
        )
        place = tile._replace(inner=inner)
        votes: list[Tensor] = []
        for one in each:
            if draft is not None and not votes and (method.vote_border or any(radius)):
                seen, shape, own = _looked_at(place, coarser, tuple(one.shape[1:]))
                draft(decide(one[:, *seen], coarser, shape, smooth=False)[own])
            votes.append(one)
        found = torch.stack(votes)
        result = refined(
            found,
            small,
            groups,
            vote_border=method.vote_border,
            radius=radius,
            least_contrast=least_contrast,
            spacing=size,
        )
        seen, shape, own = _looked_at(tile, tuple(factor), tuple(small.shape[1:]))
        clusters = result.clusters(seen, tuple(factor), shape)[own]
        if label_of is None or len(found) < 2:
            return clusters, None
        seen, shape, own = _looked_at(place, coarser, tuple(found.shape[2:]))
        unsure = result.uncertainty(seen, coarser, shape, label_of)[own]
        first, second = result.alone(seen, coarser, shape)
        return clusters, Doubt(unsure, (first[own], second[own]))

    side = _side(n_votes, n_channels, factor)
    return Predictor(tuple(factor), (side,) * len(factor), halo, reduce, find)


def sharpening_radius(method: RefinedMethod, steps: Sequence[float]) -> tuple[int, ...]:
    """Return the half side in votes, at least one, of the windows that borders are sharpened by.

    Parameters
    ----------
    method : RefinedMethod
    steps : sequence of float
        Size of a vote along each axis, in pixels.

    Returns
    -------
    tuple of int
        0 along all axes if the method leaves borders alone.
    """
    least = 1 if method.sharpening_px else 0
    return tuple(max(least, int(method.sharpening_px // step)) for step in steps)


def _looked_at(
    tile: Tile, factor: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[Region, tuple[int, ...], Region]:
    """Return which votes a tile is enlarged from, to what shape, and where it lies therein."""
    seen = grown(tile.inner, (1,) * len(factor), shape)
    first = [one.start * f for one, f in zip(within(tile.inner, seen), factor, strict=True)]
    full = tuple(a + n for a, n in zip(first, tile.shape, strict=True))
    return seen, full, tuple(slice(a, None) for a in first)


def _side(n_votes: int, n_channels: int, factor: Sequence[int]) -> int:
    """Choose the side of a tile in votes, as long as memory allows."""
    axes = len(factor)
    most = min(_TILE_VOTES / n_votes, _TILE_VALUES / n_channels / math.prod(factor))
    return min(_TILE_SIDE[axes], max(32, int(most ** (1 / axes) + 1e-6) // 32 * 32))
