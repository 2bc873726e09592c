"""Join the parts of touching objects as long as that makes rounder ones of a more likely size."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.images.frames import neighbours
from napari_mmtseg.labels.shapes import Moments, moments_of, size_of

_A_PART_MORE = 0.02
"""How much rounder the parts must be for each part more, where a diameter's size is parted."""
_OTHER_SIZE = 0.15


def joined(
    parts: NDArray[np.int32], diameter: float, spacing: tuple[float, ...]
) -> NDArray[np.int32]:
    """Join neighbouring parts, the pair that gains most first, until no pair gains.

    A part is worth its size times its roundness, less the farther its diameter is from the
    typical one; each part more costs a little. What an ellipse of their common moments says of two
    parts needs no pixel again.

    Parameters
    ----------
    parts : (Y, X) or (Z, Y, X) int32 array
        Numbered from 1 without gaps; 0 is ground.
    diameter : float
        Of a typical object, in the units of spacing.
    spacing : tuple of float
        Size of a pixel along each axis.

    Returns
    -------
    int32 array
        Each joined part has the number of one of its own.
    """
    pairs = _touching(parts)
    growing = _Growing(parts, pairs, diameter, spacing)
    growing.weigh(*pairs.T)
    while growing.waiting:
        _, one, other, *ages = heapq.heappop(growing.waiting)
        if [growing.age[one], growing.age[other]] == ages:
            near = growing.join(one, other)
            growing.weigh(np.full_like(near, one), near)
    found: NDArray[np.int32] = growing.numbers()[parts]
    return found


class _Growing:
    """Parts, what they are worth, which ones touch, and the pairs that would gain."""

    def __init__(
        self,
        parts: NDArray[np.int32],
        pairs: NDArray[np.int64],
        diameter: float,
        spacing: tuple[float, ...],
    ) -> None:
        self._diameter = diameter
        self._cost = _A_PART_MORE * size_of(diameter, parts.shape, spacing)
        self._moments = moments_of(parts, spacing)  # of part k at k - 1
        self._worth = _worth(self._moments, diameter)
        self._into = np.arange(len(self._worth) + 1, dtype=np.int32)
        self._beside: list[set[int]] = [set() for _ in self._into]
        for one, other in pairs.tolist():
            self._beside[one].add(other)
            self._beside[other].add(one)
        self.age = [0] * len(self._into)
        """How often a part has grown, -1 if it is gone: pairs weighed before are out of date."""
        self.waiting: list[tuple[float, int, int, int, int]] = []
        """The pairs that gain, the most first, with their ages."""

    def weigh(self, ones: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        """Take up the pairs (N,) that gain by being joined."""
        together = self._moments.of(ones - 1).with_those_of(self._moments.of(others - 1))
        gains = _worth(together, self._diameter) + self._cost
        gains -= self._worth[ones - 1] + self._worth[others - 1]
        for gain, one, other in zip(gains.tolist(), ones.tolist(), others.tolist(), strict=True):
            if gain > 0:
                heapq.heappush(self.waiting, (-gain, one, other, self.age[one], self.age[other]))

    def join(self, one: int, other: int) -> NDArray[np.int64]:
        """Let a part grow by another, and return what touches it then."""
        for kind in self._moments[:4]:
            kind[one - 1] += kind[other - 1]
        self._worth[one - 1] = _worth(self._moments.of(np.array([one - 1])), self._diameter)[0]
        self._into[other], self.age[other] = one, -1
        self.age[one] += 1
        for third in self._beside[other] - {one}:
            self._beside[third].discard(other)
            self._beside[third].add(one)
            self._beside[one].add(third)
        self._beside[one].discard(other)
        return np.array(sorted(self._beside[one]), np.int64)

    def numbers(self) -> NDArray[np.int32]:
        """Return the number that each part has now."""
        into = self._into
        while (into[into] != into).any():
            into = into[into]
        return into


def _worth(moments: Moments, diameter: float) -> NDArray[np.float64]:
    sizes, roundness = moments.sizes_and_roundness()
    other = np.log(np.maximum(moments.diameters(diameter), 1e-9) / diameter)
    worth: NDArray[np.float64] = sizes * roundness * np.exp(-_OTHER_SIZE * other**2)
    return worth


def _touching(parts: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the pairs of parts that touch, (P, 2), the smaller number first."""
    count = int(parts.max(initial=0)) + 1
    found: list[NDArray[np.int64]] = []
    for after, before in neighbours(parts.ndim):
        one, other = parts[after], parts[before]
        here = (one != other) & (one > 0) & (other > 0)
        low = np.minimum(one[here], other[here]).astype(np.int64)
        found.append(np.unique(low * count + np.maximum(one[here], other[here])))
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // count, codes % count], axis=1)
