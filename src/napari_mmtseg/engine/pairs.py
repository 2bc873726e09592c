"""Draw the pairs of views that IIC learns from: crops, neighbouring planes, turns and light."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_mmtseg.arrays import Sample
from napari_mmtseg.engine.views import N_TURNS, relight, turn
from napari_mmtseg.methods import IIC

_CROP_PX = 48
_WINDOW_PX = 128


class Pairs(NamedTuple):
    """Squares and their second views."""

    first: Tensor  # (B, C, S, S) in 0..1
    second: Tensor  # (B R, C, S, S): R changed views of each first, in the order of `repeat`
    codes: list[int]  # of each second view's turn
    weight: Tensor  # (B, S, S): 1 where the pixels of both views count, otherwise 0


class Drawer:
    """Draws pairs from a sample.

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
        smallest = min(min(sample.valid[i].shape) for i in self._usable)
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
        sides = [min(self._sample.valid[i].shape) for i in chosen]
        side = min(method.crop_px or _CROP_PX, *sides)
        # Turns must map the network's output grid onto itself.
        side -= side % min(method.pooling, side)
        first, second, weight = [], [], []
        for index in chosen:
            here = self._place(index, side)
            near = self._near[index]
            other = near[self._draw(len(near))]
            first.append(self._sample.pixels[index][here])
            second.append(self._sample.pixels[other][here])
            weight.append((self._sample.valid[index] & self._sample.valid[other])[here[1:]])
        repeats = method.n_repeats
        views = self._tensor(second).repeat(repeats, 1, 1, 1)
        codes = [self._draw(N_TURNS) if method.turns else 0 for _ in range(len(views))]
        views = relight(turn(views, codes), method.jitter, self._sample.is_rgb, self._generator)
        return Pairs(self._tensor(first), views, codes, self._tensor(weight))

    def windows(self, n_pixels: int) -> list[tuple[Tensor, Tensor]]:
        """Return the usable planes, or random windows of them if they hold more pixels.

        Returns
        -------
        list of (1, C, Y, X) and (1, Y, X) tensors
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
            here = self._place(index, min(_WINDOW_PX, *valid[index].shape))
            window = (pixels[index][None, *here], valid[index][None, *here[1:]])
            found.append((self._tensor(window[0]), self._tensor(window[1])))
        return found

    def _place(self, index: int, side: int) -> tuple[slice, slice, slice]:
        """Choose a square that holds a random valid pixel at a random place in it."""
        rows, columns = self._sample.valid[index].shape
        places = self._places[index]
        if places is None:
            top, left = self._draw(rows - side + 1), self._draw(columns - side + 1)
        else:
            row, column = divmod(int(places[self._draw(len(places))]), columns)
            top = min(max(row - self._draw(side), 0), rows - side)
            left = min(max(column - self._draw(side), 0), columns - side)
        return slice(None), slice(top, top + side), slice(left, left + side)

    def _draw(self, below: int) -> int:
        return int(torch.randint(below, (1,), generator=self._generator))

    def _tensor(self, arrays: list[NDArray[Any]] | NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.asarray(arrays)).to(self._device, self._dtype)


def on_grid(weight: Tensor, stride: int) -> Tensor:
    """Return the share of pixels that count in each cell: (B, Y, X) -> (B, Y / s, X / s)."""
    return functional.avg_pool2d(weight[:, None], stride, ceil_mode=True)[:, 0]


def _neighbours(sample: Sample, usable: list[int], reach: int) -> list[list[int]]:
    """List, for each plane, itself and the planes within reach along one axis of the stack."""
    if sample.places is None or reach == 0:
        return [[index] for index in range(len(sample.pixels))]
    places = np.array(sample.places)
    near = []
    for index, place in enumerate(places):
        apart = np.abs(places - place)  # (P, 1 + stack axes)
        close = (apart[:, 0] == 0) & (apart.sum(1) <= reach) & ((apart > 0).sum(1) <= 1)
        near.append([int(i) for i in np.flatnonzero(close) if i in usable or i == index])
    return near
