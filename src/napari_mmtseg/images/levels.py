"""An image with coarser versions of itself, of which training reads the one that is fine enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.images.frames import Frames, Region, is_lazy

_ALIKE = 0.02
"""How far a level may be from the mean of the pixels it stands for, on average, as a share of the
range that intensities are scaled by."""


class Levels:
    """An image of several levels. Taken for an array, it is the finest one.

    Parameters
    ----------
    levels : sequence of array-like
        The whole image first, then ever coarser ones, such as a multiscale layer's data.

    Attributes
    ----------
    levels : tuple of array-like

    Raises
    ------
    ValueError
        If there is none, or one is not the image made coarser.
    """

    def __init__(self, levels: Sequence[Any]) -> None:
        self.levels = tuple(levels)
        if not self.levels:
            raise ValueError("There are no levels: give the image first, then coarser ones")
        first = self.levels[0]
        self.shape = tuple(int(n) for n in first.shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(first.dtype)
        self.size = math.prod(self.shape)
        if is_lazy(first):
            self.chunks = first.chunks
        for number, (fine, coarse) in enumerate(pairwise(self.levels), 1):
            if np.dtype(coarse.dtype) != self.dtype:
                raise ValueError(f"Level {number} holds {coarse.dtype}, the image {self.dtype}")
            if len(coarse.shape) != self.ndim or any(
                not 0 < b <= a for a, b in zip(fine.shape, coarse.shape, strict=False)
            ):
                raise ValueError(
                    f"Level {number} of shape {tuple(coarse.shape)} is not the one before, of "
                    f"shape {tuple(fine.shape)}, made coarser: leave it out"
                )

    def __getitem__(self, key: Any) -> Any:
        """Read the finest level."""
        return self.levels[0][key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.levels[0][...], dtype)


class Coarse:
    """The coarsest level of an image that still serves a working resolution.

    Parameters
    ----------
    frames : Frames
    reduction : tuple of int
        The working reduction along each axis of a frame.

    Attributes
    ----------
    factor : tuple of int
        How many pixels of the image a pixel of the level stands for, along each axis of a frame;
        1 each if no level serves.
    """

    def __init__(self, frames: Frames, reduction: Sequence[int]) -> None:
        self._frames = frames
        self._level = frames
        self.factor = (1,) * len(frames.frame_shape)
        if not isinstance(frames.data, Levels):
            return
        plane = [frames.axes.index(axis) for axis in "YX"]
        for data in frames.data.levels[1:]:
            if min(data.shape[axis] for axis in plane) < 2:
                break  # the top of a deep pyramid is no image
            level = Frames(data, frames.axes, volumes=frames.volumes)
            factor = _factor(frames, level, reduction)
            if factor is not None:
                self._level, self.factor = level, factor

    def serves(self, region: Region) -> bool:
        """Whether the level is another than the image, and a region lies on its pixels."""
        on = all(one.start % f == 0 for one, f in zip(region, self.factor, strict=True))
        return on and max(self.factor) > 1

    def read(self, index: int, region: Region) -> NDArray[Any]:
        """Read a region of one frame, (C, *spatial), each pixel of the level many times.

        So it has the region's size, and reducing it by a multiple of the factor gives what
        reducing the level gives.
        """
        inner = tuple(
            slice(one.start // f, min(-(-one.stop // f), n))
            for one, f, n in zip(region, self.factor, self._level.frame_shape, strict=True)
        )
        part = self._level.read(index, inner)
        for axis, (one, f) in enumerate(zip(region, self.factor, strict=True), 1):
            at = np.arange(one.stop - one.start) // f  # what a level rounded down lacks is repeated
            part = part.take(np.minimum(at, part.shape[axis] - 1), axis=axis)
        return part

    def is_mean(self, index: int, region: Region, pixels: NDArray[Any], span: Any) -> bool:
        """Tell whether the level is the mean of the image, as the working resolution is.

        A level of every second pixel, or of the brightest ones, is not.

        Parameters
        ----------
        index, region
            What is compared, of which `serves` is true.
        pixels : (C, *spatial) array
            The image there.
        span : (C,) array
            The range that intensities are scaled by, of each channel.
        """
        sizes = zip(pixels.shape[1:], self.factor, strict=True)
        cut = (slice(None), *(slice(n // f * f) for n, f in sizes))
        means = pixels[cut].astype(np.float64)
        level = self.read(index, region)[cut].astype(np.float64)
        for axis, f in enumerate(self.factor, 1):
            blocks = (*means.shape[:axis], -1, f, *means.shape[axis + 1 :])
            means = means.reshape(blocks).mean(axis + 1)
            level = level.take(np.arange(0, level.shape[axis], f), axis=axis)
        apart = np.abs(means - level).reshape(len(means), -1)
        there = np.isfinite(apart).all(0)
        if not there.any():
            return False
        return bool((apart[:, there].mean(1) <= _ALIKE * np.asarray(span)).all())


def _factor(frames: Frames, level: Frames, reduction: Sequence[int]) -> tuple[int, ...] | None:
    """Return how many times coarser a level is along each axis of a frame, if that serves."""
    if len(level) != len(frames) or level.n_channels != frames.n_channels:
        return None  # coarser along the stack as well
    factor = []
    for n, small, wanted in zip(frames.frame_shape, level.frame_shape, reduction, strict=True):
        f = max(1, round(n / small))
        if wanted % f or small not in (n // f, -(-n // f)):
            return None
        factor.append(f)
    return tuple(factor)
