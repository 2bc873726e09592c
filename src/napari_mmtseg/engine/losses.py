"""The losses that the methods share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

IGNORED = -1
"""Target of a pixel that takes no part in the cross-entropy."""


def cross_entropy(responses: Tensor, target: Tensor) -> Tensor:
    """Mean softmax cross-entropy over the pixels that are not IGNORED.

    Parameters
    ----------
    responses : (B, q, Y, X) tensor
    target : (B, Y, X) tensor of int64
    """
    return functional.cross_entropy(responses, target, ignore_index=IGNORED)


def total_variation(responses: Tensor) -> Tensor:
    """Mean |dy| + mean |dx| of the responses (Kim et al. 2020, equation 3, as means)."""
    dy = (responses[:, :, 1:] - responses[:, :, :-1]).abs().mean()
    dx = (responses[:, :, :, 1:] - responses[:, :, :, :-1]).abs().mean()
    return dy + dx
