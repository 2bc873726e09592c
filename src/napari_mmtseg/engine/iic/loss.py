"""The IIC loss: how little two views tell about each other's clusters."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

_TINY = sys.float_info.epsilon
"""Smallest probability that enters a logarithm; smaller ones count as this and learn nothing."""


def lowest_loss(n_clusters: int, balance: float) -> float:
    """Return the loss of clusters that are sure and of equal size."""
    return (1 - 2 * balance) * math.log(n_clusters)


def information_loss(
    first: Tensor,
    second: Tensor,
    mask: Tensor | None = None,
    *,
    displacement: int | Sequence[int] = 0,
    balance: float = 1.0,
    collapsed: bool = False,
) -> Tensor:
    """Negative mutual information of the clusters of two views, in nats.

    For each displacement t of up to d pixels along each axis the joint distribution of clusters is
    ``P_t[i, j] ~ sum over images and pixels u of first[i, u] * second[j, u + t]``, normalised and
    symmetrised; the loss is
    ``-sum_ij P[i, j] * (log P[i, j] - balance * (log P[i] + log P[j]))``.

    Parameters
    ----------
    first, second : (B, K, *spatial) tensors
        Probabilities that sum to 1 over K; the second already in the frame of the first.
    mask : (B, *spatial) tensor, optional
        Weight of each pixel, 0 to leave it out of both views.
    displacement : int, or one along each axis
        Largest displacement d. 0 pairs each pixel with itself alone.
    balance : float
        Weight lambda of the two entropies: above 1 it favours clusters of equal size.
    collapsed : bool
        Whether to add up the joint distributions of all displacements first. Otherwise the loss is
        the mean over displacements, which is what the authors ran.

    Returns
    -------
    () tensor
        From -ln K, when both views agree on K clusters of equal size, to 0 (for balance 1).

    References
    ----------
    Ji, Henriques and Vedaldi, "Invariant Information Clustering for Unsupervised Image
    Classification and Segmentation", ICCV 2019, equations 3 and 5.
    """
    if mask is not None:
        weight = mask[:, None].to(first.dtype)  # (B, 1, *spatial)
        first, second = first * weight, second * weight
    joint = displaced_joint(first, second, displacement)  # (2d + 1, ..., K, K)
    if collapsed:
        joint = joint.sum(tuple(range(joint.ndim - 2)))  # (K, K)
    total = joint.sum((-1, -2), keepdim=True).clamp_min(_TINY)
    # The authors' collapsed form takes its normaliser as a constant, and so its gradient.
    joint = joint / (total.detach() if collapsed else total)
    joint = (joint + joint.mT) / 2
    rows, columns = joint.sum(-1, keepdim=True), joint.sum(-2, keepdim=True)
    joint, rows, columns = _floored(joint), _floored(rows), _floored(columns)
    surprise = joint.log() - balance * (rows.log() + columns.log())
    return -(joint * surprise).sum((-1, -2)).mean().to(first.dtype)


def displaced_joint(first: Tensor, second: Tensor, displacement: int | Sequence[int]) -> Tensor:
    """Add up the products of all pairs of clusters at each displacement.

    A correlation by the convolution theorem. Its cost hardly depends on d and grows with
    ``K^2 + B K log``, where the direct convolution takes ``K^2 (2d + 1)^2`` products a pixel.

    Parameters
    ----------
    first, second : (B, K, *spatial) tensors
    displacement : int, or one along each axis
        Largest displacement d.

    Returns
    -------
    (2d + 1, ..., K, K) tensor of float64
        Of planes, entry [d + ty, d + tx, i, j] is the sum of ``first[:, i, y, x] *
        second[:, j, y + ty, x + tx]`` over all pixels that have such a neighbour; so of volumes.
    """
    if first.device.type == "mps":  # which has no float64
        first, second = first.cpu(), second.cpu()
    first, second = first.double(), second.double()
    sides = first.shape[2:]
    reach = [displacement] * len(sides) if isinstance(displacement, int) else displacement
    if not any(reach):
        joint = torch.einsum("bin,bjn->ij", first.flatten(2), second.flatten(2))
        return joint[(None,) * len(sides)]
    # Padding by d keeps the wrapped-around displacements away from those that are wanted.
    size = [next_fast_len(n + d, real=True) for n, d in zip(sides, reach, strict=True)]
    axes = tuple(range(2, first.ndim))
    ours = torch.fft.rfftn(first, s=size, dim=axes).conj()
    ours = ours.permute(*axes, 1, 0).contiguous()  # (*spatial', K, B)
    theirs = torch.fft.rfftn(second, s=size, dim=axes).permute(*axes, 0, 1).contiguous()
    joint = ours @ theirs  # (*spatial', K, K)
    for axis, (n, d) in enumerate(zip(size, reach, strict=True)):
        last = axis == len(size) - 1
        joint = torch.fft.irfft(joint, n, axis) if last else torch.fft.ifft(joint, dim=axis)
        lags = torch.arange(-d, d + 1, device=first.device) % n
        joint = joint.index_select(axis, lags)  # 2 d + 1 along this axis
    # Rounding leaves noise where clusters never meet; what lies below it is no probability.
    noise = 16 * _TINY * first.flatten(2).norm(dim=2).norm(dim=0)[:, None]  # (K, 1)
    noise = noise * second.flatten(2).norm(dim=2).norm(dim=0)  # (K, K)
    return torch.where(joint > noise, joint, 0.0)


def _floored(probability: Tensor) -> Tensor:
    return functional.threshold(probability, _TINY, _TINY)
