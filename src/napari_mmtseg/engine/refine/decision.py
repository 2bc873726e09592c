"""Turn votes into clusters at the image's resolution, and two voters into their disagreement."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_mmtseg.engine.refine.window_means import enlarged_grid

_CHUNK_VALUES = 8_000_000


def pooled(votes: Tensor, regions: NDArray[np.int64]) -> Tensor:
    """Give each pixel the mean votes of its region.

    Parameters
    ----------
    votes : (N, *spatial) tensor
    regions : (*spatial) int64 array
        From 0 without gaps.
    """
    where = regions.ravel()
    planes = votes.flatten(1).cpu().numpy()
    sizes = np.bincount(where)
    found = np.empty_like(planes)
    for plane, own in zip(planes, found, strict=True):
        means = np.bincount(where, plane) / sizes  # summed up in float64
        own[...] = means.astype(plane.dtype)[where]
    return torch.from_numpy(found).view(votes.shape).to(votes.device)


def favourite(votes: Tensor, regions: NDArray[np.int64]) -> NDArray[np.int16]:
    """Give each pixel the cluster with the highest mean votes in its region.

    Parameters
    ----------
    votes, regions
        As for `pooled`.
    """
    where = regions.ravel()
    sums = [np.bincount(where, plane) for plane in votes.flatten(1).cpu().numpy()]
    found: NDArray[np.int16] = np.argmax(sums, axis=0).astype(np.int16)[where]
    return found.reshape(regions.shape)


@torch.no_grad()
def decide(
    votes: Tensor, factor: tuple[int, ...], shape: tuple[int, ...], *, smooth: bool = True
) -> NDArray[np.int16]:
    """Enlarge the votes and take the winner of each pixel.

    Parameters
    ----------
    votes : (K, *small) tensor
        At the working resolution.
    factor : tuple of int
        Working reduction along each axis.
    shape : tuple of int
        Shape of the result; its sides are at most those of the votes times the factor.
    smooth : bool
        Whether votes are interpolated, which takes most of the time; otherwise borders have stairs.

    Returns
    -------
    (*shape) int16 array
        In 0..K - 1.
    """
    # Several times as fast as argmax(0) on a processor.
    winners: NDArray[np.int16] = votes.max(0).indices.to(torch.int16).cpu().numpy()
    if all(one == 1 for one in factor):
        return winners[tuple(slice(n) for n in shape)]
    found = np.empty([n * one for n, one in zip(winners.shape, factor, strict=True)], np.int16)
    squares = found.reshape([n for pair in zip(winners.shape, factor, strict=True) for n in pair])
    squares = squares.transpose(*range(0, squares.ndim, 2), *range(1, squares.ndim, 2))
    # Where all neighbours have one winner, so has whatever is interpolated between them.
    squares[...] = winners[(..., *(None,) * len(factor))]
    if not smooth:
        return found[tuple(slice(n) for n in shape)]
    unlike = ndimage.maximum_filter(winners, 3) != ndimage.minimum_filter(winners, 3)
    weights = _weights(factor).to(votes)  # (3^d, f^d)
    per_pixel = len(votes) * weights.shape[1]
    for some in np.array_split(
        np.argwhere(unlike), 1 + np.count_nonzero(unlike) * per_pixel // _CHUNK_VALUES
    ):
        around = torch.from_numpy(neighbours(some, winners.shape)).to(votes.device)  # (n, 3^d)
        values = votes.flatten(1)[:, around] @ weights  # (K, n, f^d)
        squares[tuple(some.T)] = values.max(0).indices.view(-1, *factor).cpu().numpy()
    return found[tuple(slice(n) for n in shape)]


def by_label(votes: Tensor, label_of: NDArray[np.int64]) -> Tensor:
    """Add up the votes for the clusters of each label: (K, *spatial) -> (L, *spatial)."""
    groups = np.unique(label_of, return_inverse=True)[1].tolist()
    found = votes.new_zeros(max(groups) + 1, *votes.shape[1:])
    for group, own in zip(groups, votes, strict=True):
        found[group] += own
    return found


@torch.no_grad()
def disagreement(
    apart: Tensor, factor: tuple[int, ...], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Measure how far two voters disagree on the label of each pixel.

    Parameters
    ----------
    apart : (L, *small) tensor
        By how much their probabilities of each label differ, at the working resolution.
    factor, shape
        As for `decide`.

    Returns
    -------
    (*shape) float32 array
        Total variation distance between the voters' probabilities of the labels, 0 to 1.
    """
    distance = apart.new_zeros(shape)
    for own in apart:
        distance += enlarged_grid(own[None], factor, shape)[0].abs()
    found: NDArray[np.float32] = distance.div_(2).clamp_(0, 1).float().cpu().numpy()
    return found


def _weights(factor: tuple[int, ...]) -> Tensor:
    """Return what each of 3^d neighbours counts in each of f^d pixels interpolated in a square."""
    table = torch.ones(1, 1, dtype=torch.float64)
    for one in factor:
        place = (torch.arange(one, dtype=torch.float64) + 0.5) / one - 0.5
        own = torch.stack([(-place).clamp(min=0), 1 - place.abs(), place.clamp(min=0)])  # (3, f)
        table = torch.kron(table, own)
    return table


def neighbours(places: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the flat indices (n, 3^d) around places (n, d), those at the border repeated."""
    flat = np.zeros((len(places), 1), np.int64)
    for at, length in zip(places.T, shape, strict=True):
        near = np.clip(at[:, None] + np.arange(-1, 2), 0, length - 1)  # (n, 3)
        flat = (flat[:, :, None] * length + near[:, None]).reshape(len(places), 3 * flat.shape[1])
    return flat
