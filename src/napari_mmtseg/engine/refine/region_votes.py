"""Decide what won where regions voted: all of a region at once, pixel by pixel at its border."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mmtseg.engine.refine.decision import neighbours
from napari_mmtseg.engine.refine.regions import Regions
from napari_mmtseg.engine.refine.window_means import doubled_smoothly
from napari_mmtseg.images.frames import Region

_CHUNK_VALUES = 4_000_000


class RegionVotes:
    """The votes of regions at up to twice their resolution, without a plane for each cluster.

    Parameters
    ----------
    regions : Regions
    groups : (K,) int array
        The group of each cluster.
    factors : tuple of int
        By what the regions' grid is smaller than that of the votes, along each axis: 1 or 2.
    shape : tuple of int
        Of the votes.
    """

    def __init__(
        self,
        regions: Regions,
        groups: NDArray[np.int64],
        factors: tuple[int, ...],
        shape: tuple[int, ...],
    ) -> None:
        self._labels, self._votes = regions
        self._factors, self._shape = factors, shape
        self._groups = np.unique(groups, return_inverse=True)[1]
        self._members = [np.flatnonzero(self._groups == g) for g in range(self._groups.max() + 1)]

    def votes(self) -> Tensor:
        """Return the votes of all clusters: (K, *spatial)."""
        return self._smooth(self._votes)

    def totals(self) -> Tensor:
        """Return the share of each group in the votes: (G, *spatial)."""
        totals = self._smooth(np.stack([self._votes[:, own].sum(1) for own in self._members], 1))
        return totals.div_(totals.sum(0))

    def winners(self, groups: NDArray[np.int64], seen: Region) -> NDArray[np.int16]:
        """Return the likeliest cluster, within the group that won, of each pixel.

        Parameters
        ----------
        groups : (*part) int array
            The groups that won.
        seen : Region
            Where the part lies among the votes.
        """
        cells = tuple(
            slice(one.start // f, -(-one.stop // f))
            for one, f in zip(seen, self._factors, strict=True)
        )
        first = [a.start - c.start * f for a, c, f in zip(seen, cells, self._factors, strict=True)]
        part = tuple(slice(a, a + n) for a, n in zip(first, groups.shape, strict=True))
        shape = [(c.stop - c.start) * f for c, f in zip(cells, self._factors, strict=True)]
        found = np.empty(groups.shape, np.int16)
        for number, own in enumerate(self._members):
            here = np.zeros(shape, bool)
            here[part] = groups == number
            best = own[self._votes[:, own].argmax(1)].astype(np.int16)[self._labels]
            # Where all regions around have one winner, so has any mixture of them.
            corners = itertools.product(*map(range, self._factors))
            inside = [
                here[tuple(slice(a, None, f) for a, f in zip(corner, self._factors, strict=True))]
                for corner in corners
            ]
            mixed = _unlike(best)[cells] & np.logical_or.reduce(inside)
            winners = np.empty(shape, np.int16)
            squares = _squares(winners, self._factors)
            squares[...] = best[cells][(..., *(None,) * len(cells))]
            places = np.argwhere(mixed)
            values = len(places) * len(own) * 3 ** len(cells)
            for some in np.array_split(places, 1 + values // _CHUNK_VALUES):
                among = self._among_neighbours(some + [one.start for one in cells], own)
                squares[tuple(some.T)] = among
            np.copyto(found, winners[part], where=here[part])
        return found

    def _among_neighbours(
        self, cells: NDArray[np.int64], own: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the likeliest of some clusters where regions mix: (n, d) -> (n, *factors)."""
        regions = self._labels.ravel()[neighbours(cells, self._labels.shape)]  # (n, 3^d)
        votes = np.take(np.ascontiguousarray(self._votes[:, own].T), regions.T, axis=1)
        weights = torch.from_numpy(_weights(self._factors).T)
        winners = (weights @ torch.from_numpy(votes)).max(0).indices.numpy()  # (f^d, n)
        found: NDArray[np.int64] = own[winners.T].reshape(-1, *self._factors)
        return found

    def _smooth(self, table: NDArray[np.float32]) -> Tensor:
        """Give each pixel what its region has: (R, N) -> (N, *spatial)."""
        planes = np.stack([column[self._labels] for column in np.ascontiguousarray(table.T)])
        return doubled_smoothly(torch.from_numpy(planes), self._factors, self._shape)


def _unlike(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return where a pixel and its neighbours, diagonal ones too, do not have the same label."""
    found = np.zeros(labels.shape, bool)
    for step in itertools.product((-1, 0, 1), repeat=labels.ndim):
        if step > (0,) * labels.ndim:
            sizes = list(zip(step, labels.shape, strict=True))
            one = tuple(slice(max(0, s), n + min(0, s)) for s, n in sizes)
            other = tuple(slice(max(0, -s), n + min(0, -s)) for s, n in sizes)
            apart = labels[one] != labels[other]
            found[one] |= apart
            found[other] |= apart
    return found


def _squares(values: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """See an array's boxes of so many pixels: (*shape) -> (*shape / factors, *factors)."""
    sides = [(n // f, f) for n, f in zip(values.shape, factors, strict=True)]
    boxes = values.reshape([n for pair in sides for n in pair])
    return boxes.transpose(*range(0, boxes.ndim, 2), *range(1, boxes.ndim, 2))


def _weights(factors: tuple[int, ...]) -> NDArray[np.float32]:
    """Return what each of 3^d neighbours counts in each of f^d pixels, as in `doubled_smoothly`."""
    kinds = {1: np.array([[0.0], [1], [0]]), 2: np.array([[2.0, 1], [2, 2], [1, 2]]) / 5}
    table = np.ones((1, 1))
    for factor in factors:
        table = np.kron(table, kinds[factor])
    return table.astype(np.float32)
