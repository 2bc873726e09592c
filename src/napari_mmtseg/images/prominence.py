"""Find where an image holds something: what stands out from the ground of its plane, coarsely."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_mmtseg.images.frames import Frames, Region, is_lazy
from napari_mmtseg.images.levels import Levels

_POOLED_PX = 4
"""Pixels a side that are averaged, so that single bright ones do not count."""
_BLOCK = 8
BLOCK_PX = _BLOCK * _POOLED_PX
"""Along each side of a block."""
_DEVIATIONS = 6.0
_READ_VALUES = {False: 2**26, True: 2**24}
"""Looked at, of images in memory and of lazy ones; of larger ones there are gaps."""
_WINDOW_PX = 512
_PLACES = 8
"""Windows that share the pixels to be looked at, where things are few."""
_RICH = 0.5
"""A frame or place with so much of what the best one has, or of the mean, serves as well."""
_MOST_FRAMES = 4
_LEAST = 0.1
_PLAIN = 5.0
"""Ground whose neighbourhoods differ so many times more than its noise makes them is no ground."""
_MEAN_BEND = 0.629 * 6**0.5
"""The mean second difference of white noise of deviation 1, the largest tenth left out."""


class Prominence:
    """How much of each block of an image stands out, planes one by one; found when it is asked for.

    A pixel stands out if its neighbourhood lies six deviations, measured by their median, from the
    ground of its plane, brighter or darker, in any channel.

    Parameters
    ----------
    frames : Frames
        The image. One in memory is looked at all over, places all over a lazy one.
    mask : array-like, optional
        From `Frames.side_image`; pixels where it is 0 count as ground.

    Attributes
    ----------
    frames, mask
        As given.
    block_px : int
        Pixels along each side of a block.
    """

    def __init__(self, frames: Frames, mask: Any = None) -> None:
        self.frames, self.mask = frames, mask
        planes = Frames(frames.data, frames.axes)
        self._lazy = is_lazy(frames.data) or isinstance(frames.data, Levels)
        self._values = planes.n_channels * math.prod(planes.frame_shape)
        self._most = _READ_VALUES[self._lazy]
        gaps = 1 if self._lazy else max(1, math.isqrt(-(-self._values // self._most)))
        self._step, self.block_px = gaps, BLOCK_PX * gaps

    @property
    def share(self) -> NDArray[np.float32]:
        """Of each block: (*stack, rows, columns), in the order of the labels' axes."""
        return self._looked[0]

    @property
    def held(self) -> NDArray[np.float32]:
        """How much of each plane is no ground such as the quietest plane has: (*stack,)."""
        return self._looked[1]

    @functools.cached_property
    def _looked(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        planes = Frames(self.frames.data, self.frames.axes)
        n_read = min(len(planes), max(1, self._most // self._values))
        read = [(2 * i + 1) * len(planes) // (2 * n_read) for i in range(n_read)]
        shape = tuple(-(-n // self.block_px) for n in planes.frame_shape)
        found = np.zeros((len(planes), *shape), np.float32)
        apart: list[list[NDArray[np.float32]]] = [[] for _ in range(len(planes))]
        for index in read:
            for region in _regions(planes, self.block_px, self._most if self._lazy else None):
                place = tuple(
                    slice(one.start // self.block_px, -(-one.stop // self.block_px))
                    for one in region
                )
                strided = tuple(slice(one.start, one.stop, self._step) for one in region)
                pixels = planes.read(index, strided)
                seen = None
                if self.mask is not None:
                    seen = np.asarray(planes.frame_of(self.mask, index)[strided]) != 0
                found[index][place] = share_of(pixels, seen)
                apart[index].append(_apart(pixels, seen))
        nearest = np.abs(np.subtract.outer(np.arange(len(planes)), read)).argmin(1)
        held = _held([np.concatenate(apart[index], 1) for index in read])[nearest]
        found = found[np.array(read)[nearest]]
        stack = [n for axis, n in zip(planes.label_axes, planes.shape, strict=True) if axis in "TZ"]
        order = [axis for axis in planes.label_axes if axis in "TZ"] + ["Y", "X"]
        found = found.reshape(*stack, *shape)
        found = found.transpose([order.index(axis) for axis in planes.label_axes])
        return found, held.reshape(stack)

    def middles(self, pixels: int, deepest: int) -> list[dict[str, slice]]:
        """Choose the middle of a frame that holds something, or of several small ones.

        Parameters
        ----------
        pixels : int
            To look at, at most.
        deepest : int
            At most so many planes along Z.

        Returns
        -------
        list of dict of str to slice
            For each axis of the image.
        """
        sizes = self._sizes
        times = self._times(pixels)
        wanted = self._box(pixels // len(times), deepest)
        middle = self._around({axis: sizes.get(axis, 1) // 2 for axis in "ZYX"}, wanted)
        return [self._place(time, middle) for time in times]

    def richest(self, pixels: int, deepest: int) -> list[dict[str, slice]]:
        """Choose the places that hold most of what stands out, in the same frames; see `middles`.

        None where nothing does.
        """
        times = self._times(pixels)
        wanted = self._box(pixels // len(times) // _PLACES, deepest)
        scale = {"Z": 1, "Y": self.block_px, "X": self.block_px}
        lengths = [wanted[axis] // scale[axis] for axis in "ZYX"]
        chosen = []
        for time in times:
            for centre in richest(self._by_axis[time], lengths, _PLACES):
                at = {a: int((i + 0.5) * scale[a]) for a, i in zip("ZYX", centre, strict=True)}
                chosen.append(self._place(time, self._around(at, wanted)))
        return chosen

    @property
    def _sizes(self) -> dict[str, int]:
        return dict(zip(self.frames.axes, self.frames.data.shape, strict=True))

    def _box(self, pixels: int, deepest: int) -> dict[str, int]:
        """Return the sides of a box of so many pixels."""
        sizes = self._sizes
        depth = min(sizes.get("Z", 1), deepest)
        side = max(2, math.isqrt(pixels // depth))
        return {"Z": depth, "Y": min(side, sizes["Y"]), "X": min(side, sizes["X"])}

    def _place(self, time: int, box: dict[str, slice]) -> dict[str, slice]:
        there = box | {"T": slice(time, time + 1)}
        return {axis: there.get(axis, slice(0, n)) for axis, n in self._sizes.items()}

    @property
    def _by_axis(self) -> NDArray[np.float32]:
        """The shares along T, Z, Y and X, with length 1 where there is no such axis."""
        axes = self.frames.label_axes
        there = [axis for axis in "TZYX" if axis in axes]
        ordered = self.share.transpose([axes.index(axis) for axis in there])
        missing = tuple(i for i, axis in enumerate("TZYX") if axis not in axes)
        return np.expand_dims(ordered, missing)

    def _times(self, pixels: int) -> list[int]:
        """Choose frames that hold something: as many as there is room for, spread evenly."""
        sizes = self._sizes
        size = sizes.get("Z", 1) * sizes["Y"] * sizes["X"]
        n = sizes.get("T", 1)
        if n == 1:
            return [0]
        stack = [axis for axis in self.frames.label_axes if axis in "TZ"]
        held = self.held.sum(stack.index("Z")) if "Z" in stack else self.held
        rich = np.flatnonzero(held >= _RICH * held.max())
        room = min(len(rich), _MOST_FRAMES, max(1, pixels // size))
        if room == 1:  # the one next to the middle
            return [int(rich[np.abs(rich - n // 2).argmin()])]
        return [int(rich[(2 * i + 1) * len(rich) // (2 * room)]) for i in range(room)]

    def _around(self, centre: dict[str, int], wanted: dict[str, int]) -> dict[str, slice]:
        sizes = self._sizes
        return {axis: around(centre[axis], sizes.get(axis, 1), wanted[axis]) for axis in "ZYX"}


def share_of(pixels: NDArray[Any], seen: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Return how much of each block of a plane stands out from its ground.

    Parameters
    ----------
    pixels : (C, Y, X) array
    seen : (Y, X) bool array, optional
        What is not seen counts as ground.

    Returns
    -------
    (rows, columns) float32 array
        From 0 to 1, of blocks of `BLOCK_PX` pixels a side.
    """
    values = _finite(pixels)
    pooled = _pooled(values, _POOLED_PX)
    out = np.zeros(pooled.shape[1:], bool)
    for channel, fine in zip(pooled, values, strict=True):
        apart, steps = _above_ground(channel)
        spread = 1.4826 * float(np.median(apart))
        if spread <= _PLAIN * _noise(fine) / _POOLED_PX:
            out |= apart > steps + max(_DEVIATIONS * spread, 1e-6 * float(np.abs(channel).max()))
    found = out.astype(np.float32)
    if seen is not None:
        found *= _pooled(seen[np.newaxis].astype(np.float32), _POOLED_PX)[0]
    blocks: NDArray[np.float32] = _pooled(found[np.newaxis], _BLOCK)[0]
    return blocks


def richest(
    share: NDArray[np.floating[Any]], lengths: Sequence[int], most: int
) -> Iterator[tuple[float, ...]]:
    """Choose boxes that hold most of what stands out, each without what those before it hold.

    Parameters
    ----------
    share : array
        Of blocks, with any axes.
    lengths : sequence of int
        Of a box, in blocks along each axis.
    most : int
        Boxes at most. Those that hold less than a tenth of the best one are left out.

    Yields
    ------
    tuple of float
        The middle of what stands out in the box, in blocks along each axis.
    """
    left = share.astype(np.float64)
    sides = [max(1, min(n, length)) for n, length in zip(left.shape, lengths, strict=True)]
    best = 0.0
    for _ in range(most):
        held = left
        for axis, side in enumerate(sides):
            held = ndimage.uniform_filter1d(held, side, axis=axis, mode="constant")
        at = np.unravel_index(held.argmax(), held.shape)
        best = max(best, float(held[at]))
        if held[at] <= _LEAST * best:
            return
        box = tuple(
            slice(max(0, i - n // 2), i + n - n // 2) for i, n in zip(at, sides, strict=True)
        )
        middle = ndimage.center_of_mass(left[box])
        yield tuple(one.start + float(i) for one, i in zip(box, middle, strict=True))
        left[box] = 0


def around(centre: int, length: int, most: int) -> slice:
    """Return so many places about a centre, or all if there are fewer."""
    start = min(max(0, centre - most // 2), max(0, length - most))
    return slice(start, start + min(length, most))


def _regions(planes: Frames, block_px: int, most: int | None) -> Iterator[Region]:
    """Give the whole of a plane, or windows all over it that together hold so many values."""
    rows, columns = planes.frame_shape
    if most is None or planes.n_channels * rows * columns <= most:
        yield slice(0, rows), slice(0, columns)
        return
    side = -(-_WINDOW_PX // block_px) * block_px
    count = [-(-n // side) for n in planes.frame_shape]
    total = math.prod(count)
    n_read = max(1, most // (planes.n_channels * side * side))
    for i in range(min(n_read, total)):
        number = (2 * i + 1) * total // (2 * min(n_read, total))
        y, x = divmod(number, count[1])
        yield (
            slice(y * side, min((y + 1) * side, rows)),
            slice(x * side, min((x + 1) * side, columns)),
        )


def _finite(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return (C, Y, X) pixels whose missing ones have the median of their channel."""
    with np.errstate(over="ignore"):  # what float32 does not reach counts as missing
        values = pixels.astype(np.float32)
    if pixels.dtype.kind != "f" or np.isfinite(values).all():
        return values
    for channel in values:
        there = np.isfinite(channel)
        channel[~there] = np.median(channel[there]) if there.any() else 0
    return values


def _apart(pixels: NDArray[Any], seen: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Return how far the neighbourhoods (C, n) of a plane that are seen lie from its median."""
    pooled = _pooled(_finite(pixels), _POOLED_PX).reshape(len(pixels), -1)
    if seen is not None:
        there = _pooled(seen[np.newaxis].astype(np.float32), _POOLED_PX).ravel() > 0.5
        pooled = pooled[:, there]
    if not pooled.size:
        return np.zeros((len(pixels), 1), np.float32)
    apart: NDArray[np.float32] = np.abs(pooled - np.median(pooled, axis=1, keepdims=True))
    return apart


def _held(apart: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the share of each plane that stands out from ground such as the quietest one's."""
    spreads = 1.4826 * np.stack([np.median(one, axis=1) for one in apart])  # (planes, C)
    varied = np.where(spreads > 0, spreads, np.inf)
    least = varied.min(0)
    least = np.where(np.isfinite(least), least, 0)[:, None]
    return np.array([(one > _DEVIATIONS * least).any(0).mean() for one in apart], np.float32)


def _above_ground(
    pooled: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how far a pooled plane lies from its uneven ground, the median of blocks.

    The second array is what the ground itself varies by from block to block there.
    """
    rows, columns = (-(-n // _BLOCK) for n in pooled.shape)
    framed = np.pad(
        pooled,
        [(0, rows * _BLOCK - pooled.shape[0]), (0, columns * _BLOCK - pooled.shape[1])],
        mode="edge",
    )
    blocks = framed.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2).reshape(rows, columns, -1)
    ground = ndimage.median_filter(np.median(blocks, axis=-1), 5, mode="nearest")
    slope = (ndimage.maximum_filter(ground, 3) - ndimage.minimum_filter(ground, 3)) / 2
    wide, steps = (
        ndimage.zoom(one, _BLOCK, order=1, mode="nearest", grid_mode=True)[
            : pooled.shape[0], : pooled.shape[1]
        ]
        for one in (ground, slope)
    )
    left = pooled - wide
    return np.abs(left - np.median(left)).astype(np.float32), steps.astype(np.float32)


def _noise(plane: NDArray[np.float32]) -> float:
    """Estimate the standard deviation of a plane's noise from second differences along its rows."""
    if plane.shape[1] < 3:
        return 0.0
    bent = np.abs(plane[:, :-2] - 2 * plane[:, 1:-1] + plane[:, 2:])
    bent = bent[np.isfinite(bent)]
    if not bent.size:
        return 0.0
    usual = bent[bent <= np.quantile(bent[:: max(1, bent.size // 100_000)], 0.9)]
    return float(usual.mean()) / _MEAN_BEND


def _pooled(pixels: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Average blocks of (C, Y, X) pixels; those at the lower and right rim may be smaller."""
    for axis in (1, 2):
        n = pixels.shape[axis]
        starts = np.arange(0, n, side)
        sums = np.add.reduceat(pixels, starts, axis=axis, dtype=np.float32)
        counts = np.minimum(n - starts, side).astype(np.float32)
        means: NDArray[np.float32] = sums / counts.reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
        pixels = means
    return pixels
