"""Bring the sample to the working resolution and draw the crops that each step trains on."""

from __future__ import annotations

import itertools
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
_WORKING_PIXELS_OF_CROPS = 1_000_000
_MAX_REDUCTION = 8
_SURVEYED_PIXELS = 131_072
_SURVEYED_SIDE = 64


class Batch(NamedTuple):
    """Pixels at the working resolution."""

    pixels: Tensor  # (B, C, Y + 2 m, X + 2 m) in 0..1, with the network's margin m
    valid: Tensor  # (B, Y, X) bool
    painted: Tensor | None = None  # (B, Y, X): channel of the user's class, or IGNORED
    superpixels: Tensor | None = None  # (B, Y, X) int64

    @property
    def margin(self) -> int:
        """Pixels a side that the network sees beyond those it labels."""
        return (self.pixels.shape[-1] - self.valid.shape[-1]) // 2

    @property
    def own_pixels(self) -> Tensor:
        """The pixels without the margin: (B, C, Y, X)."""
        rows, columns = self.valid.shape[1:]
        return self.pixels.narrow(2, self.margin, rows).narrow(3, self.margin, columns)

    @property
    def has_strokes(self) -> bool:
        """Whether the user painted here."""
        return self.painted is not None and bool((self.painted != IGNORED).any())

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
    aim = _WORKING_PIXELS_OF_CROPS if method.crop_px else _WORKING_PIXELS
    wanted = method.reduction or min(_MAX_REDUCTION, round(math.sqrt(rows * columns / aim)))
    return max(1, min(wanted, rows // 2, columns // 2))


def reduce(pixels: Tensor, factor: int) -> Tensor:
    """Average squares of factor x factor pixels: (B, C, Y, X) -> (B, C, ceil Y/f, ceil X/f)."""
    if factor == 1:
        return pixels
    return functional.avg_pool2d(pixels, factor, ceil_mode=True, count_include_pad=False)


def with_margin(pixels: Tensor, method: NetworkMethod) -> Tensor:
    """Repeat the border's pixels as far as the network sees: (B, C, Y, X), larger by M a side."""
    if method.borders == "zero":
        return pixels  # the network pads for itself
    return functional.pad(pixels, (method.n_blocks,) * 4, mode="replicate")


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
        planes.append(Batch(with_margin(small, method), there, painted))
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
    """Give each step what it trains on, without end; a single whole plane comes as it is.

    Planes and crops are drawn at random; every other plane, on average, is one that the user has
    painted on, if there are any. Where training starts from the image, crops lie on an even grid
    and are the same in each step, so that nothing is left to chance, with further ones at strokes.
    """
    with_strokes = [one for one in planes if one.has_strokes]
    sides = [min(size) for size in zip(*(one.valid.shape[1:] for one in planes), strict=True)]
    sides = [min(max(2, method.crop_px or side), side) for side in sides]

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    def anywhere() -> Batch:
        pool = with_strokes if with_strokes and draw(2) else planes
        one = pool[draw(len(pool))]
        corner = [draw(n - side + 1) for n, side in zip(one.valid.shape[1:], sides, strict=True)]
        return _crop(one, corner, sides)

    def at_stroke() -> Batch:
        one = with_strokes[draw(len(with_strokes))]
        assert one.painted is not None
        strokes = (one.painted[0] != IGNORED).nonzero()
        place = strokes[draw(len(strokes))].tolist()
        most = [n - side for n, side in zip(one.valid.shape[1:], sides, strict=True)]
        corner = [
            min(max(at - side // 2, 0), n) for at, side, n in zip(place, sides, most, strict=True)
        ]
        return _crop(one, corner, sides)

    if method.start == "image":
        even = _even_crops(planes, sides, method.n_crops)
        n_strokes = -(-len(even) // 4) if with_strokes else 0
        while True:
            yield _joined([*even, *(at_stroke() for _ in range(n_strokes))])
    whole = len(planes) == 1 and sides == list(planes[0].valid.shape[1:])
    while True:
        yield _joined([anywhere() for _ in range(1 if whole else method.n_crops)])


def survey(planes: list[Batch], method: NetworkMethod) -> list[Batch]:
    """Return what training starts from, and is judged by when it ends.

    Where training sees crops of large planes, these are an even grid of crops as well, joined by
    size. Planes with strokes stay whole, so that no stroke is missed.
    """
    if not method.crop_px or sum(one.valid.numel() for one in planes) <= _SURVEYED_PIXELS:
        return planes
    whole = [one for one in planes if one.has_strokes]
    others = [one for one in planes if not one.has_strokes]
    side = _SURVEYED_SIDE
    crops = _even_crops(others, [side, side], _SURVEYED_PIXELS // side**2)
    sizes = dict.fromkeys(one.valid.shape[1:] for one in crops)
    joined = [_joined([one for one in crops if one.valid.shape[1:] == size]) for size in sizes]
    return whole + joined


def _even_crops(planes: list[Batch], sides: list[int], most: int) -> list[Batch]:
    """Spread crops evenly over the planes, at least one on each plane taken."""
    if not planes:
        return []
    chosen = planes[:: -(-len(planes) // most)]
    n = math.isqrt(most // len(chosen))  # along each axis
    crops = []
    for one in chosen:
        lengths = [min(side, have) for side, have in zip(sides, one.valid.shape[1:], strict=True)]
        room = [have - length for have, length in zip(one.valid.shape[1:], lengths, strict=True)]
        corners = [sorted({r * (2 * i + 1) // (2 * n) for i in range(n)}) for r in room]
        crops += [_crop(one, list(corner), lengths) for corner in itertools.product(*corners)]
    return crops


def _crop(plane: Batch, corner: list[int], sides: list[int]) -> Batch:
    """Cut a rectangle out of all that a plane holds."""

    def cut(part: Any, margin: int = 0) -> Any:
        top, left = (slice(a, a + n + 2 * margin) for a, n in zip(corner, sides, strict=True))
        return None if part is None else part[..., top, left]

    return Batch(
        cut(plane.pixels, plane.margin),
        cut(plane.valid),
        cut(plane.painted),
        cut(plane.superpixels),
    )


def _joined(batches: list[Batch]) -> Batch:
    """Put batches of one size into one."""
    parts: list[Any] = [
        None if part[0] is None else torch.cat(part) for part in zip(*batches, strict=True)
    ]
    return Batch(*parts)
