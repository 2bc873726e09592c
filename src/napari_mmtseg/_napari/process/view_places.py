"""What of an image is looked at at a time: its planes, or tiles of planes that are too large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from napari_mmtseg.images.frames import Region

_LARGEST_PLANE = 2**26
SIDE_PX = 1024
"""Of a tile."""


class Places:
    """The planes of an image, or the tiles of large ones, numbered one plane after the other.

    Parameters
    ----------
    shape : sequence of int
        Of the labels, ending in that of a plane.

    Attributes
    ----------
    cut : bool
        Whether planes are cut into tiles.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self.cut = prod(self.shape[-2:]) > _LARGEST_PLANE
        self._sides = (SIDE_PX, SIDE_PX) if self.cut else self.shape[-2:]
        self._counts = tuple(
            -(-n // side) for n, side in zip(self.shape[-2:], self._sides, strict=True)
        )

    def __len__(self) -> int:
        return prod(self.shape[:-2]) * prod(self._counts)

    def at(self, plane: int, pixel: Sequence[float]) -> int:
        """Return the place of a plane that is nearest to a pixel, which may lie outside."""
        tile = [
            min(max(int(i // side), 0), count - 1)
            for i, side, count in zip(pixel, self._sides, self._counts, strict=True)
        ]
        return plane * prod(self._counts) + tile[0] * self._counts[1] + tile[1]

    def box(self, place: int) -> tuple[int, Region]:
        """Return the plane that a place is in, and its rows and columns."""
        plane, tile = divmod(place, prod(self._counts))
        corner = np.unravel_index(tile, self._counts)
        return plane, tuple(
            slice(int(i) * side, min((int(i) + 1) * side, n))
            for i, side, n in zip(corner, self._sides, self.shape[-2:], strict=True)
        )

    def size(self, place: int) -> int:
        """Return how many pixels a place has."""
        return prod(one.stop - one.start for one in self.box(place)[1])

    def touched(self, plane: int, region: Region) -> Iterator[int]:
        """List the places that a region of a plane touches, the nearest to its middle first."""
        spans = [
            range(one.start // side, -(-one.stop // side))
            for one, side in zip(region, self._sides, strict=True)
        ]
        middle = [
            (one.start + one.stop) / 2 / side - 0.5
            for one, side in zip(region, self._sides, strict=True)
        ]
        tiles = [(row, column) for row in spans[0] for column in spans[1]]
        tiles.sort(key=lambda at: (at[0] - middle[0]) ** 2 + (at[1] - middle[1]) ** 2)
        for row, column in tiles:
            yield plane * prod(self._counts) + row * self._counts[1] + column
