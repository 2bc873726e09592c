"""Means over windows around each pixel, and grids of fewer pixels, over any spatial axes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_AT_ONCE = 4
"""So many planes at a time hardly need memory of their own."""
_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def box_mean(values: Tensor, radius: tuple[int, ...]) -> Tensor:
    """Average over boxes of 2 r + 1 pixels along each axis, smaller ones at the border.

    Parameters
    ----------
    values : (N, *spatial) tensor
    radius : tuple of int
        Half side along each axis; 0 does not average along it.
    """
    if not any(radius):
        return values
    counts = torch.ones((), dtype=values.dtype, device=values.device)
    for axis, r in enumerate(radius):
        index = torch.arange(values.shape[axis + 1], device=values.device)
        inside = (index + r).clamp(max=len(index) - 1) - (index - r).clamp(min=0) + 1
        counts = counts[..., None] * inside.to(values)
    means = torch.empty_like(values, memory_format=torch.contiguous_format)
    for one, mean in zip(values, means, strict=True):  # one at a time stays in the cache
        for axis, r in enumerate(radius):
            one = _window_sum(one, r, axis) if r else one
        torch.div(one, counts, out=mean)
    return means


def pooled_grid(values: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Average boxes of so many pixels: (N, *spatial) -> (N, *smaller), sides rounded up."""
    for axis, factor in enumerate(factors, start=1):
        if factor > 1:
            values = _pooled(values, factor, axis)
    return values


def _pooled(values: Tensor, factor: int, axis: int) -> Tensor:
    """Average so many neighbours along an axis; PyTorch's pooling takes several times as long."""
    length = values.shape[axis]
    whole = length // factor * factor
    parts = []
    for start, stop, size in ((0, whole, factor), (whole, length, length - whole)):
        if start < stop:
            here = values.narrow(axis, start, stop - start)
            every = [here[(slice(None),) * axis + (slice(n, None, size),)] for n in range(size)]
            total = every[0] if size == 1 else every[0] + every[1]
            for one in every[2:]:
                total += one
            parts.append(total if size == 1 else total.mul_(1 / size))
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


def enlarged_grid(values: Tensor, factors: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """Interpolate linearly what `pooled_grid` made smaller: (N, *smaller) -> (N, *shape)."""
    if any(factor > 1 for factor in factors):
        factor = tuple(float(one) for one in factors)
        mode = _MODES[len(factors)]
        values = functional.interpolate(values[None], scale_factor=factor, mode=mode)[0]
    return values[:, *(slice(n) for n in shape)]


def enlarged_rows(
    values: Tensor, factors: tuple[int, ...], shape: tuple[int, ...], rows: slice
) -> Tensor:
    """Return some rows of what `enlarged_grid` gives, from a multiple of the first factor on."""
    first = max(0, rows.start // factors[0] - 1)
    last = -(-rows.stop // factors[0]) + 1
    skipped = first * factors[0]
    found = enlarged_grid(values[:, first:last], factors, (rows.stop - skipped, *shape[1:]))
    return found[:, rows.start - skipped :]


def interpolated(
    samples: NDArray[np.float32], every: tuple[int, ...], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Interpolate linearly between samples at multiples of `every` along each axis."""
    if all(one == 1 for one in every):
        return samples
    size = [(n - 1) * by + 1 for n, by in zip(samples.shape, every, strict=True)]
    values = torch.from_numpy(samples)[None, None]
    mode = _MODES[len(every)]
    found = functional.interpolate(values, size=size, mode=mode, align_corners=True)[0, 0]
    return found[tuple(slice(n) for n in shape)].numpy()


def doubled_smoothly(values: Tensor, factors: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """Enlarge steps of 2 pixels, and smooth the stairs that they make of borders.

    Parameters
    ----------
    values : (N, *smaller) tensor
    factors : tuple of int
        2 along axes to enlarge: the result is the mean over 5 pixels along them. Otherwise 1.
    shape : tuple of int
        Shape of the result; a side of odd length cuts the last step in two.

    Returns
    -------
    (N, *shape) tensor
    """
    found = values.new_empty(len(values), *shape)
    for some, large in zip(values.split(_AT_ONCE), found.split(_AT_ONCE), strict=True):
        for axis in reversed(range(len(factors))):
            if factors[axis] == 2:
                some = _doubled(some, axis + 1)
        large.copy_(some[:, *(slice(n) for n in shape)])
    return found


def _doubled(values: Tensor, axis: int) -> Tensor:
    n = values.shape[axis]
    ends = values.narrow(axis, 0, 1), values.narrow(axis, n - 1, 1)
    wide = torch.cat([ends[0], values, ends[1]], axis)
    before, after = wide.narrow(axis, 0, n), wide.narrow(axis, 2, n)
    # Of the 5 pixels, 2 are the own step's; of those beside it 2 are the nearer one's.
    sides = ((2 * (near + values) + far) / 5 for near, far in ((before, after), (after, before)))
    return torch.stack(list(sides), axis + 1).flatten(axis, axis + 1)


def _window_sum(values: Tensor, radius: int, axis: int) -> Tensor:
    """Sum over 2 r + 1 neighbours along an axis, zeros beyond the border.

    Sums of 1, 2, 4, ... neighbours are put together: few passes over the memory, and, unlike with
    running sums, each pixel's result depends on its own neighbours alone, to the last bit.
    """
    length = values.shape[axis]
    padding = [0, 0] * (values.ndim - 1 - axis) + [radius, radius]
    power = functional.pad(values, padding)  # sums of `size` neighbours from each place on
    wanted, size, offset = 2 * radius + 1, 1, 0
    total = torch.zeros_like(values)
    while wanted:
        if wanted & 1:
            total += power.narrow(axis, offset, length)
            offset += size
        wanted >>= 1
        if wanted:
            left = power.shape[axis] - size
            power = power.narrow(axis, 0, left) + power.narrow(axis, size, left)
            size *= 2
    return total


def window_sum(values: NDArray[np.float32], radius: int, axis: int) -> NDArray[np.float32]:
    """Sum over 2 r + 1 neighbours along an axis, where the border's value goes on beyond it."""
    if not radius:
        return values
    length = values.shape[axis]
    padding = [(radius, radius) if one == axis else (0, 0) for one in range(values.ndim)]
    power = np.moveaxis(np.pad(values, padding, mode="edge"), axis, 0)
    wanted, size, offset = 2 * radius + 1, 1, 1
    total = power[:length]  # the first of an odd number; then as in `_window_sum`
    while wanted := wanted >> 1:
        power = power[:-size] + power[size:]
        size *= 2
        if wanted & 1:
            total = total + power[offset : offset + length]
            offset += size
    return np.moveaxis(total, 0, axis)
