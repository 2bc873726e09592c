"""Bring the sample to the working resolution and draw the crops that each step trains on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from napari_mmtseg.arrays import Sample
from napari_mmtseg.methods import NetworkMethod

_WORKING_PIXELS = 65_536
_MAX_REDUCTION = 8


class Batch(NamedTuple):
    """Pixels at the working resolution."""

    pixels: Tensor  # (B, C, Y, X) in 0..1
    valid: Tensor  # (B, Y, X) bool


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


def working_sample(sample: Sample, factor: int, device: torch.device, dtype: torch.dtype) -> Batch:
    """Bring the sample to the working resolution on the device."""
    pixels = reduce(torch.from_numpy(sample.pixels).to(device, dtype), factor)
    missing = torch.from_numpy(~sample.valid).to(device, dtype)[:, None]
    return Batch(pixels, reduce(missing, factor)[:, 0] < 0.5)


def batches(sample: Batch, method: NetworkMethod, generator: torch.Generator) -> Iterator[Batch]:
    """Draw random planes and crops without end; a single whole plane comes as it is."""
    n, _, height, width = sample.pixels.shape
    rows, columns = (min(method.crop_px or side, side) for side in (height, width))
    while True:
        if n == 1 and (rows, columns) == (height, width):
            yield sample
            continue
        pixels, valid = [], []
        for _ in range(method.n_planes):
            p, y, x = (
                int(torch.randint(size, (1,), generator=generator))
                for size in (n, height - rows + 1, width - columns + 1)
            )
            pixels.append(sample.pixels[p, :, y : y + rows, x : x + columns])
            valid.append(sample.valid[p, y : y + rows, x : x + columns])
        yield Batch(torch.stack(pixels), torch.stack(valid))
