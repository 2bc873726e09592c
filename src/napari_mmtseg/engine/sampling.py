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


def working_sample(
    sample: Sample, factor: int, device: torch.device, dtype: torch.dtype
) -> list[Batch]:
    """Bring each plane of the sample to the working resolution on the device."""
    planes = []
    for pixels, valid in zip(sample.pixels, sample.valid, strict=True):
        small = reduce(torch.from_numpy(pixels).to(device, dtype)[None], factor)
        missing = reduce(torch.from_numpy(~valid).to(device, dtype)[None, None], factor)
        planes.append(Batch(small, missing[:, 0] < 0.5))
    return planes


def batches(
    planes: list[Batch], method: NetworkMethod, generator: torch.Generator
) -> Iterator[Batch]:
    """Draw random planes and crops without end; a single whole plane comes as it is."""

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    while True:
        chosen = [planes[draw(len(planes))] for _ in range(method.n_planes if planes[1:] else 1)]
        sides = [min(size) for size in zip(*(one.valid.shape[1:] for one in chosen), strict=True)]
        rows, columns = (min(method.crop_px or side, side) for side in sides)
        crops = []
        for pixels, valid in chosen:
            top = draw(valid.shape[1] - rows + 1)
            left = draw(valid.shape[2] - columns + 1)
            here = (..., slice(top, top + rows), slice(left, left + columns))
            crops.append(Batch(pixels[here], valid[here]))
        yield Batch(*(torch.cat(parts) for parts in zip(*crops, strict=True)))
