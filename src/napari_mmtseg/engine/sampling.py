"""Bring the sample to the working resolution and draw the crops that each step trains on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_mmtseg.arrays import Sample
from napari_mmtseg.engine.losses import IGNORED
from napari_mmtseg.engine.votes import majority
from napari_mmtseg.methods import NetworkMethod

_WORKING_PIXELS = 65_536
_MAX_REDUCTION = 8


class Batch(NamedTuple):
    """Pixels at the working resolution."""

    pixels: Tensor  # (B, C, Y, X) in 0..1
    valid: Tensor  # (B, Y, X) bool
    painted: Tensor | None = None  # (B, Y, X): channel of the user's class, or IGNORED
    superpixels: Tensor | None = None  # (B, Y, X) int64

    @property
    def unpainted(self) -> Tensor:
        """Where the networks label the pixels themselves: (B, Y, X) bool."""
        return self.valid if self.painted is None else self.valid & (self.painted == IGNORED)


class Working(NamedTuple):
    """A sample at the working resolution."""

    planes: list[Batch]
    factor: int
    """The working reduction."""
    classes: NDArray[np.int64]
    """(q,): the user's class of each channel of the responses, 0 for none."""

    @property
    def painted(self) -> Tensor:
        """Channels that stand for a class of the user: (n,) int64."""
        return torch.from_numpy(np.flatnonzero(self.classes)).to(self.planes[0].pixels.device)


def reduction_for(shape: tuple[int, ...], method: NetworkMethod) -> int:
    """Choose the working reduction for planes of (..., Y, X), keeping at least 2 pixels a side."""
    rows, columns = shape[-2:]
    wanted = method.reduction or min(
        _MAX_REDUCTION, round(math.sqrt(rows * columns / _WORKING_PIXELS))
    )
    return max(1, min(wanted, rows // 2, columns // 2))


def reduce(pixels: Tensor, factor: int) -> Tensor:
    """Average squares of factor x factor pixels: (B, C, Y, X) -> (B, C, ceil Y/f, ceil X/f)."""
    if factor == 1:
        return pixels
    return functional.avg_pool2d(pixels, factor, ceil_mode=True, count_include_pad=False)


def working_sample(sample: Sample, method: NetworkMethod, device: torch.device) -> Working:
    """Bring each plane of the sample to the working resolution on the device."""
    factor = reduction_for(sample.pixels[0].shape, method)
    classes = _channel_classes(sample, method.width)
    dtype = getattr(torch, method.precision)
    planes = []
    for number, (pixels, valid) in enumerate(zip(sample.pixels, sample.valid, strict=True)):
        small = reduce(torch.from_numpy(pixels).to(device, dtype)[None], factor)
        missing = reduce(torch.from_numpy(~valid).to(device, dtype)[None, None], factor)
        there = missing[:, 0] < 0.5
        if not there.any():
            there = missing[:, 0] < 1
        painted = None
        if sample.scribbles is not None:
            painted = _painted(sample.scribbles[number], classes, factor, there.shape[1:])
            painted = painted.to(device)[None].masked_fill(~there, IGNORED)
        planes.append(Batch(small, there, painted))
    return Working(planes, factor, classes)


def _channel_classes(sample: Sample, width: int) -> NDArray[np.int64]:
    """Give each class that the user painted a channel of the responses.

    Returns
    -------
    (q,) int64 array
        The class of each channel, 0 for none. Class c has channel c - 1, unless some class is
        larger than q: then the first channels, in order.

    Raises
    ------
    ValueError
        If there are more classes than channels.
    """
    classes = np.zeros(width, np.int64)
    strokes = sample.scribbles or []
    found = np.unique(np.concatenate([np.zeros(1, np.int64), *map(np.unique, strokes)]))[1:]
    if len(found) > width:
        raise ValueError(
            f"The scribbles hold {len(found)} classes, more than the network's width (width), "
            f"{width}: paint fewer, or raise the width"
        )
    classes[found - 1 if found.max(initial=0) <= width else np.arange(len(found))] = found
    return classes


def _painted(
    strokes: NDArray[np.int64], classes: NDArray[np.int64], factor: int, shape: tuple[int, ...]
) -> Tensor:
    """Give each working pixel the channel of the class painted most in its square."""
    rows, columns = np.nonzero(strokes)
    squares, place = np.unique(rows // factor * shape[1] + columns // factor, return_inverse=True)
    channels = np.flatnonzero(classes)
    which = np.searchsorted(classes[channels], strokes[rows, columns])
    most = majority(torch.from_numpy(place), torch.from_numpy(which), len(squares), len(channels))
    painted = torch.full(shape, IGNORED)
    painted.view(-1)[torch.from_numpy(squares)] = torch.from_numpy(channels)[most]
    return painted


def batches(
    planes: list[Batch], method: NetworkMethod, generator: torch.Generator
) -> Iterator[Batch]:
    """Draw random planes and crops without end; a single whole plane comes as it is.

    Every other plane, on average, is one that the user has painted on, if there are any.
    """
    with_strokes = [one for one in planes if one.painted is not None and one.painted.max() >= 0]

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    def drawn_plane() -> Batch:
        pool = with_strokes if with_strokes and draw(2) else planes
        return pool[draw(len(pool))]

    while True:
        chosen = [drawn_plane() for _ in range(method.n_planes if planes[1:] else 1)]
        sides = [min(size) for size in zip(*(one.valid.shape[1:] for one in chosen), strict=True)]
        rows, columns = (
            min(max(2, method.crop_px) if method.crop_px else side, side) for side in sides
        )
        crops = []
        for one in chosen:
            top = draw(one.valid.shape[1] - rows + 1)
            left = draw(one.valid.shape[2] - columns + 1)
            here = (..., slice(top, top + rows), slice(left, left + columns))
            crops.append([None if part is None else part[here] for part in one])
        yield Batch(*(_joined(parts) for parts in zip(*crops, strict=True)))


def _joined(parts: tuple[Tensor | None, ...]) -> Any:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None
