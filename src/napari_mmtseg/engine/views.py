"""Make the second view of a pair: turns that can be undone exactly, and changes of light."""

from __future__ import annotations

import torch
from torch import Tensor

N_TURNS = 8
"""The symmetries of the square: four quarter turns, each flipped or not."""


def turn(squares: Tensor, codes: list[int]) -> Tensor:
    """Flip and turn each of (B, ..., Y, X) squares as its code 0..7 says; 0 leaves it alone."""
    pairs = zip(squares, codes, strict=True)
    return torch.stack([torch.rot90(_flip(one, code), code % 4, (-2, -1)) for one, code in pairs])


def turn_back(squares: Tensor, codes: list[int]) -> Tensor:
    """Undo `turn` on anything that lies on the same grid, to the last bit."""
    pairs = zip(squares, codes, strict=True)
    return torch.stack(
        [_flip(torch.rot90(one, -(code % 4), (-2, -1)), code) for one, code in pairs]
    )


def relight(pixels: Tensor, strength: float, is_rgb: bool, generator: torch.Generator) -> Tensor:
    """Change contrast, brightness, gamma and noise at random, and the colour of RGB.

    Parameters
    ----------
    pixels : (B, C, Y, X) tensor
        In 0..1. Channels that are not colours change independently of each other.
    strength : float
        0 changes nothing; 1 changes contrast by up to half, brightness by a quarter, gamma by a
        factor of up to 2, each colour by an eighth, and adds noise of up to 0.1.
    is_rgb : bool
        Whether the channels are red, green and blue.
    generator : torch.Generator

    Returns
    -------
    (B, C, Y, X) tensor
        In 0..1.
    """
    if strength == 0:
        return pixels
    count, channels = pixels.shape[:2]

    def drawn(channels: int, reach: float) -> Tensor:
        values = torch.rand(count, channels, 1, 1, generator=generator) * 2 - 1
        return (values * (reach * strength)).to(pixels)

    shared = 1 if is_rgb else channels
    middle = pixels.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
    changed = middle + (pixels - middle) * (1 + drawn(shared, 0.5)) + drawn(shared, 0.25)
    if is_rgb:
        changed = changed + drawn(channels, 0.125)
    changed = changed.clamp(0, 1) ** (2 ** drawn(shared, 1.0))
    noise = torch.randn(pixels.shape, generator=generator).to(pixels)
    return (changed + noise * drawn(1, 0.1).abs()).clamp(0, 1)


def _flip(square: Tensor, code: int) -> Tensor:
    return square.flip(-1) if code >= 4 else square
