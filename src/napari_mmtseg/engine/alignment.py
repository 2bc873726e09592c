"""Bring the labels of two networks into one numbering."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def align(labels: Tensor, reference: Tensor, width: int, valid: Tensor) -> Tensor:
    """Find the permutation of labels that overlaps the reference most (Hungarian method).

    Parameters
    ----------
    labels, reference : (B, Y, X) tensors of int64
        In 0..width - 1.
    width : int
        Number of labels q.
    valid : (B, Y, X) tensor of bool
        Pixels that count.

    Returns
    -------
    (q,) tensor of int64
        `permutation[label]` is the label's number in the reference.
    """
    pairs = (labels * width + reference)[valid]
    overlap = torch.bincount(pairs, minlength=width * width).reshape(width, width)  # (q, q)
    _, columns = linear_sum_assignment(overlap.cpu().numpy(), maximize=True)
    permutation: NDArray[np.int64] = columns.astype(np.int64)
    return torch.from_numpy(permutation).to(labels.device)
