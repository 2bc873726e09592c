"""Make the second view of a pair: turns that can be undone exactly, and changes of light."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

import torch
from torch import Tensor

N_TURNS = 8
"""The symmetries of the square: four quarter turns, each flipped or not."""
_N_TURNS_OF_BOX = 6 * N_TURNS
"""Those of the cube: first any of its three axes comes to lie along Z, reversed or not."""


@lru_cache
def turns(kinds: tuple[Hashable, ...]) -> tuple[int, ...]:
    """List the codes of the turns that map a box of pixels onto itself.

    Parameters
    ----------
    kinds : tuple
        Of the axes (Y, X) or (Z, Y, X): those of one kind are exchanged.
    """
    numbered = torch.empty(1, *range(1, len(kinds) + 1))  # a side tells which axis it was
    found = []
    for code in range(N_TURNS if len(kinds) == 2 else _N_TURNS_OF_BOX):
        order = turn(numbered, [code]).shape[1:]
        if all(kinds[was - 1] == kind for was, kind in zip(order, kinds, strict=True)):
            found.append(code)
    return tuple(found)


def turn(boxes: Tensor, codes: list[int]) -> Tensor:
    """Flip and turn each of (B, ..., Y, X) squares as its code 0..7 says; 0 leaves it alone.

    Cubes (B, ..., Z, Y, X) have codes 0..47.
    """
    return torch.stack([_turned(one, code) for one, code in zip(boxes, codes, strict=True)])


def turn_back(boxes: Tensor, codes: list[int]) -> Tensor:
    """Undo `turn` on anything that lies on the same grid, to the last bit."""
    return torch.stack([_turned_back(one, code) for one, code in zip(boxes, codes, strict=True)])


def relight(pixels: Tensor, strength: float, is_rgb: bool, generator: torch.Generator) -> Tensor:
    """Change contrast, brightness, gamma and noise at random, and the colour of RGB.

    Parameters
    ----------
    pixels : (B, C, *spatial) tensor
        In 0..1. Channels that are not colours change independently of each other.
    strength : float
        0 changes nothing; 1 changes contrast by up to half, brightness by a quarter, gamma by a
        factor of up to 2, each colour by an eighth, and adds noise of up to 0.1.
    is_rgb : bool
        Whether the channels are red, green and blue.
    generator : torch.Generator

    Returns
    -------
    (B, C, *spatial) tensor
        In 0..1.
    """
    if strength == 0:
        return pixels
    count, channels, *sides = pixels.shape

    def drawn(channels: int, reach: float) -> Tensor:
        values = torch.rand(count, channels, *(1 for _ in sides), generator=generator) * 2 - 1
        return (values * (reach * strength)).to(pixels)

    shared = 1 if is_rgb else channels
    middle = pixels.mean(tuple(range(2, pixels.ndim)), keepdim=True)  # (B, C, 1, ...)
    changed = middle + (pixels - middle) * (1 + drawn(shared, 0.5)) + drawn(shared, 0.25)
    if is_rgb:
        changed = changed + drawn(channels, 0.125)
    changed = changed.clamp(0, 1) ** (2 ** drawn(shared, 1.0))
    noise = torch.randn(pixels.shape, generator=generator).to(pixels)
    return (changed + noise * drawn(1, 0.1).abs()).clamp(0, 1)


def _turned(box: Tensor, code: int) -> Tensor:
    lying, code = divmod(code, N_TURNS)
    if lying:
        box = box.transpose(-3, lying // 2 - 3)
        box = box.flip(-3) if lying % 2 else box
    return torch.rot90(_flip(box, code), code % 4, (-2, -1))


def _turned_back(box: Tensor, code: int) -> Tensor:
    lying, code = divmod(code, N_TURNS)
    box = _flip(torch.rot90(box, -(code % 4), (-2, -1)), code)
    if lying:
        box = box.flip(-3) if lying % 2 else box
        box = box.transpose(-3, lying // 2 - 3)
    return box


def _flip(square: Tensor, code: int) -> Tensor:
    return square.flip(-1) if code >= 4 else square
