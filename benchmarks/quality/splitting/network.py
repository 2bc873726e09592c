"""A small U-Net that sees contrast and foreground, and tells how deep in an object a pixel lies."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.splitting.scenes import OBJECT_PX

_WIDTHS = (16, 32, 48)
_AROUND = OBJECT_PX * 3 // 2 + 1
_NOISE = 0.1


class Seen(NamedTuple):
    """What the network says of each pixel."""

    inside: Tensor
    """(B, Y, X): log odds of foreground."""
    depth: Tensor
    """(B, Y, X): distance from the object's border, 0 to 1 in its middle."""
    centre: Tensor
    """(B, 2, Y, X): the way to the object's centre in radii; learned beside depth, as it makes the
    network look at whole objects."""


class Network(nn.Module):
    """A U-Net of three levels; it sees about an object and a half to each side.

    Parameters
    ----------
    half : bool
        Multiply in bfloat16: half the time on processors that can, more on those that cannot.
    """

    def __init__(self, half: bool = False) -> None:
        super().__init__()
        self.half_precision = half
        first, second, third = _WIDTHS
        self.down1, self.down2 = _block(4, first), _block(first, second)
        self.bottom = _block(second, third)
        self.up2, self.up1 = _block(third + second, second), _block(second + first, first)
        self.out = nn.Conv2d(first, 4, 1)
        nn.Module.to(self, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, contrast: Tensor, foreground: Tensor) -> Seen:
        """Take contrast and foreground (B, Y, X)."""
        with torch.autocast(
            contrast.device.type, torch.bfloat16, self.half_precision, cache_enabled=False
        ):
            seen = self._responses(contrast, foreground).float()  # (B, 4, Y, X)
        return Seen(seen[:, 0], torch.sigmoid(seen[:, 1]), seen[:, 2:])

    def _responses(self, contrast: Tensor, foreground: Tensor) -> Tensor:
        height, width = contrast.shape[-2:]
        pixels = _views(contrast, foreground)  # (B, 4, Y, X)
        pixels = functional.pad(pixels, (0, -width % 4, 0, -height % 4), mode="replicate")
        fine = self.down1(pixels.contiguous(memory_format=torch.channels_last))
        middle = self.down2(functional.max_pool2d(fine, 2))
        coarse = self.bottom(functional.max_pool2d(middle, 2))
        middle = self.up2(torch.cat([_larger(coarse), middle], 1))
        fine = self.up1(torch.cat([_larger(middle), fine], 1))
        responses: Tensor = self.out(fine)[..., :height, :width]
        return responses


def _views(contrast: Tensor, foreground: Tensor) -> Tensor:
    """Give contrast as it is, relative to its surroundings, its fine detail, and the foreground."""
    values = contrast.clamp(-1, 3)[:, None]
    mean = _blurred(values, _AROUND)
    spread = (_blurred(values**2, _AROUND) - mean**2).clamp_min(0).add(_NOISE**2).sqrt()
    detail = 4 * (values - _blurred(values, 7))
    return torch.cat([values, (values - mean) / spread, detail, foreground[:, None]], 1)


def _blurred(values: Tensor, side: int) -> Tensor:
    half = side // 2
    for size, padding in (((side, 1), (half, 0)), ((1, side), (0, half))):
        values = functional.avg_pool2d(values, size, 1, padding, count_include_pad=False)
    return values


def _block(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [nn.Conv2d(width, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _larger(values: Tensor) -> Tensor:
    return functional.interpolate(values, scale_factor=2.0, mode="bilinear")
