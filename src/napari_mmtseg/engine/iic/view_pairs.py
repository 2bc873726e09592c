"""Draw the pairs of views that IIC learns from: crops, neighbouring planes, turns and light."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mmtseg.engine.iic.network import factor_of
from napari_mmtseg.engine.iic.views import relight, turn, turns
from napari_mmtseg.engine.working_sample import reduce
from napari_mmtseg.images.frames import Region, Sample
from napari_mmtseg.methods import IIC

_CROP_PX = {2: 48, 3: 16}
_WINDOW_PX = {2: 128, 3: 48}
"""By the number of spatial axes: a volume costs the third power, and its network three times."""
_SQUARE = 1.1
"""Pixels whose sides differ by less count as square."""


class Pairs(NamedTuple):
    """Squares, or boxes of a volume, and their second views."""

    first: Tensor  # (B, C, *sides) in 0..1
    second: Tensor  # (B R, C, *sides): R changed views of each first, in the order of `repeated`
    codes: list[int]  # of each second view's turn
    weight: Tensor  # (B, *sides): 1 where the pixels of both views count, otherwise 0


class Drawer:
    """Draws pairs from a sample.

    Attributes
    ----------
    spacing : tuple of float
        Size of a pixel along each axis, the smallest in the plane 1.

    Raises
    ------
    ValueError
        If no pixel of the sample counts.
    """

    def __init__(
        self, sample: Sample, method: IIC, generator: torch.Generator, device: torch.device
    ) -> None:
        self._sample, self._method, self._generator = sample, method, generator
        self._device, self._dtype = device, getattr(torch, method.precision)
        # The places of the valid pixels, None where all are valid.
        self._places = [None if v.all() else np.flatnonzero(v) for v in sample.valid]
        self._usable = [i for i, v in enumerate(sample.valid) if v.any()]
        if not self._usable:
            raise ValueError(
                "No pixel is left to learn from: the mask hides all that are finite; uncover some"
            )
        self._near = _neighbours(sample, self._usable, method.neighbours)
        self.spacing = sample.spacing or (1.0,) * sample.n_axes
        self._sizes = [1.0 if 1 / _SQUARE < size < _SQUARE else size for size in self.spacing]
        self._factor = factor_of(method, self.spacing)
        smallest = min(min(sample.valid[i].shape[-2:]) for i in self._usable)
        if method.crop_px > smallest:
            warnings.warn(
                f"The crops (crop_px {method.crop_px}) are larger than the image and are reduced "
                f"to its smaller side, {smallest} px",
                stacklevel=2,
            )

    def pairs(self) -> Pairs:
        """Draw the pairs of one step."""
        method = self._method
        chosen = [self._usable[self._draw(len(self._usable))] for _ in range(method.n_crops)]
        wanted = method.crop_px or _CROP_PX[self._sample.n_axes]
        sides = self._sides(wanted, [self._sample.valid[i].shape for i in chosen])
        # Turns must map the network's output grid onto itself.
        sides = [n - n % min(f, n) for n, f in zip(sides, self._factor, strict=True)]
        first, second, weight = [], [], []
        for index in chosen:
            here = self._place(index, sides)
            near = self._near[index]
            other = near[self._draw(len(near))]
            first.append(self._sample.pixels[index][:, *here])
            second.append(self._sample.pixels[other][:, *here])
            weight.append((self._sample.valid[index] & self._sample.valid[other])[here])
        views = repeated(self._tensor(second), method.n_repeats)
        codes = [0] * len(views)
        if method.turns:
            known = turns(tuple(zip(sides, self._sizes, strict=True)))
            codes = [known[self._draw(len(known))] for _ in codes]
        views = relight(turn(views, codes), method.jitter, self._sample.is_rgb, self._generator)
        return Pairs(self._tensor(first), views, codes, self._tensor(weight))

    def windows(self, n_pixels: int) -> list[tuple[Tensor, Tensor]]:
        """Return the usable frames, or random windows of them if they hold more pixels.

        Returns
        -------
        list of (1, C, *spatial) and (1, *spatial) tensors
            The pixels, and 1 where they count.
        """
        pixels, valid = self._sample.pixels, self._sample.valid
        if sum(valid[i].size for i in self._usable) <= n_pixels:
            return [
                (self._tensor(pixels[i][None]), self._tensor(valid[i][None])) for i in self._usable
            ]
        found: list[tuple[Tensor, Tensor]] = []
        while sum(weight.numel() for _, weight in found) < n_pixels:
            index = self._usable[self._draw(len(self._usable))]
            sides = self._sides(_WINDOW_PX[valid[index].ndim], [valid[index].shape])
            here = self._place(index, sides)
            window = (pixels[index][None, :, *here], valid[index][None, *here])
            found.append((self._tensor(window[0]), self._tensor(window[1])))
        return found

    def _sides(self, side: int, shapes: Sequence[tuple[int, ...]]) -> list[int]:
        """Return the sides of a box that fits each shape, shorter where pixels are larger."""
        pairs = zip(self._sizes, zip(*shapes, strict=True), strict=True)
        sides = [min(max(1, round(side / max(1, size))), *have) for size, have in pairs]
        if self._sizes[-1] == self._sizes[-2]:  # so that it can be turned
            sides[-2:] = [min(sides[-2:])] * 2
        return sides

    def _place(self, index: int, sides: Sequence[int]) -> Region:
        """Choose a box that holds a random valid pixel at a random place in it."""
        shape, places = self._sample.valid[index].shape, self._places[index]
        pairs = list(zip(shape, sides, strict=True))
        if places is None:
            first = [self._draw(n - side + 1) for n, side in pairs]
        else:
            pixel = np.unravel_index(places[self._draw(len(places))], shape)
            first = [
                min(max(int(at) - self._draw(side), 0), n - side)
                for at, (n, side) in zip(pixel, pairs, strict=True)
            ]
        return tuple(slice(a, a + side) for a, side in zip(first, sides, strict=True))

    def _draw(self, below: int) -> int:
        return int(torch.randint(below, (1,), generator=self._generator))

    def _tensor(self, arrays: list[NDArray[Any]] | NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.asarray(arrays)).to(self._device, self._dtype)


def repeated(values: Tensor, times: int) -> Tensor:
    """Put a batch (B, ...) so many times one after the other: (B R, ...)."""
    return values.repeat(times, *(1,) * (values.ndim - 1))


def on_grid(weight: Tensor, factor: Sequence[int]) -> Tensor:
    """Return the share of pixels that count in each cell: (B, *spatial) -> (B, *votes)."""
    return reduce(weight[:, None], factor)[:, 0]


def _neighbours(sample: Sample, usable: list[int], reach: int) -> list[list[int]]:
    """List, for each frame, itself and the frames within reach along one axis of the stack.

    Of frames that were read in windows, the windows at the same place.
    """
    if sample.places is None or reach == 0:
        return [[index] for index in range(len(sample.pixels))]
    places = np.array(sample.places)
    corners = np.array(sample.corners or [(0,) * sample.n_axes] * len(places))
    near = []
    for index, place in enumerate(places):
        apart = np.abs(places - place)  # (P, 1 + stack axes)
        close = (apart[:, 0] == 0) & (apart.sum(1) <= reach) & ((apart > 0).sum(1) <= 1)
        close &= (corners == corners[index]).all(1)
        near.append([int(i) for i in np.flatnonzero(close) if i in usable or i == index])
    return near
