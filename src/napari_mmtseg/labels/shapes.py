"""How large and how round the objects of a label image are, in 2D and 3D."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Moments(NamedTuple):
    """What adds up when parts are joined: pixels, and the sums of places and of their products."""

    pixels: NDArray[np.float64]  # (N,)
    sums: NDArray[np.float64]  # (N, n)
    products: NDArray[np.float64]  # (N, n, n)
    spacing: tuple[float, ...]

    @property
    def n(self) -> int:
        """Number of axes."""
        return len(self.spacing)

    def of(self, which: NDArray[np.int64]) -> Moments:
        """Return those of some parts."""
        return Moments(self.pixels[which], self.sums[which], self.products[which], self.spacing)

    def with_those_of(self, other: Moments) -> Moments:
        """Return those of each part joined to one of as many others."""
        return Moments(
            self.pixels + other.pixels,
            self.sums + other.sums,
            self.products + other.products,
            self.spacing,
        )

    def sizes_and_roundness(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return size and roundness of each part, as the function of this name does."""
        pixels = np.maximum(self.pixels, 1)
        means = self.sums / pixels[:, None]
        moments = self.products / pixels[:, None, None] - means[:, :, None] * means[:, None, :]
        moments += np.diag(np.square(self.spacing)) / 12  # a pixel is a square, not a point
        sizes = self.pixels * math.prod(self.spacing)
        ball = 4 * np.pi if self.n == 2 else 4 / 3 * np.pi * 5**1.5
        spread = np.sqrt(np.maximum(np.linalg.det(moments), 1e-300))
        roundness: NDArray[np.float64] = np.minimum(1, sizes / (ball * spread))
        return sizes, roundness


def moments_of(labels: NDArray[np.int32], spacing: tuple[float, ...]) -> Moments:
    """Measure the objects of a label image, numbered from 1 without gaps."""
    flat = np.flatnonzero(labels)
    own = labels.ravel()[flat]
    count, n = int(own.max(initial=0)), labels.ndim
    places = zip(np.unravel_index(flat, labels.shape), spacing, strict=True)
    at = [place * size for place, size in places]
    sums = np.empty((count, n))
    products = np.empty((count, n, n))
    for i in range(n):
        sums[:, i] = np.bincount(own, at[i], count + 1)[1:]
        for j in range(i, n):
            product = np.bincount(own, at[i] * at[j], count + 1)[1:]
            products[:, i, j] = products[:, j, i] = product
    pixels = np.bincount(own, minlength=count + 1)[1:].astype(np.float64)
    return Moments(pixels, sums, products, spacing)


def sizes_and_roundness(
    labels: NDArray[np.int32], spacing: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure each object's size and how well an ellipse fills it.

    Parameters
    ----------
    labels : (Y, X) or (Z, Y, X) int32 array
        Objects numbered from 1 without gaps; 0 is ground.
    spacing : tuple of float
        Size of a pixel along each axis.

    Returns
    -------
    sizes : (N,) float64 array
        Area or volume, in the units of spacing.
    roundness : (N,) float64 array
        Size over that of the ellipse or ellipsoid with the same second moments, 0 to 1: no shape
        of this size has smaller moments than an ellipse, so that necks and dents lower it.
    """
    return moments_of(labels, spacing).sizes_and_roundness()


def diameter_of(size: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return the diameter of the disc (n = 2) or ball (n = 3) of a size."""
    size = np.asarray(size, np.float64)
    found: NDArray[np.float64] = np.sqrt(size * 4 / np.pi) if n == 2 else np.cbrt(size * 6 / np.pi)
    return found


def size_of(diameter: float, n: int) -> float:
    """Return the size of the disc (n = 2) or ball (n = 3) of a diameter."""
    return math.pi / 4 * diameter**2 if n == 2 else math.pi / 6 * diameter**3


def weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the value that has half of all weight on either side."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])
