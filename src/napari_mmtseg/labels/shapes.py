"""How large and how round the objects of a label image are, in 2D and 3D."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FEW_PLANES = 16
_THIN = 2.0
"""Stacks of up to so many diameters are thin: objects that go through them are cut twice."""


class Moments(NamedTuple):
    """What adds up when parts are joined: pixels, and the sums of places and of their products."""

    pixels: NDArray[np.float64]  # (N,)
    sums: NDArray[np.float64]  # (N, n)
    products: NDArray[np.float64]  # (N, n, n)
    faces: NDArray[np.bool_]  # (N, 2): whether it reaches the first plane of a stack, and the last
    spacing: tuple[float, ...]
    depth: float
    """Of a stack of few planes, in the units of spacing; otherwise 0."""

    @property
    def n(self) -> int:
        """Number of axes."""
        return len(self.spacing)

    def of(self, which: NDArray[np.int64]) -> Moments:
        """Return those of some parts."""
        return self._replace(
            pixels=self.pixels[which],
            sums=self.sums[which],
            products=self.products[which],
            faces=self.faces[which],
        )

    def with_those_of(self, other: Moments) -> Moments:
        """Return those of each part joined to one of as many others."""
        return self._replace(
            pixels=self.pixels + other.pixels,
            sums=self.sums + other.sums,
            products=self.products + other.products,
            faces=self.faces | other.faces,
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

    def diameters(self, typical: float) -> NDArray[np.float64]:
        """Return the diameter of each part; see `diameter_of`.

        What reaches the first and the last plane of a thin stack goes on beyond them: it counts as
        the disc that it is on average.

        Parameters
        ----------
        typical : float
            A stack no deeper than two of these is thin.
        """
        sizes = self.pixels * math.prod(self.spacing)
        found = diameter_of(sizes, self.n)
        if 0 < self.depth <= _THIN * typical:
            through = self.faces.all(1)
            found[through] = diameter_of(sizes[through] / self.depth, 2)
        return found


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
    faces = np.zeros((count, 2), np.bool_)
    if n == 3:
        for side in (0, -1):
            faces[np.setdiff1d(labels[side], 0) - 1, side] = True
    thin = n == 3 and labels.shape[0] <= _FEW_PLANES
    depth = labels.shape[0] * spacing[0] if thin else 0.0
    return Moments(pixels, sums, products, faces, spacing, depth)


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


def size_of(diameter: float, shape: tuple[int, ...], spacing: tuple[float, ...]) -> float:
    """Return the size of the disc of a diameter in a plane, or of the ball in a volume.

    In a stack less deep than the ball it is what the stack can hold of it.

    Parameters
    ----------
    diameter : float
        In the units of spacing.
    shape, spacing : tuples
        Of the plane or volume.
    """
    disc = math.pi / 4 * diameter**2
    if len(shape) == 2:
        return disc
    return min(math.pi / 6 * diameter**3, disc * shape[0] * spacing[0])


def is_thin(shape: tuple[int, ...], spacing: tuple[float, ...], diameter: float) -> bool:
    """Tell whether a stack has few planes and is no deeper than two diameters of its objects."""
    return shape[0] <= _FEW_PLANES and shape[0] * spacing[0] <= _THIN * diameter


def weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the value that has half of all weight on either side."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])
