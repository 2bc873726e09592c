"""Bring the labels of two networks into one numbering."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def count_overlap(labels: Tensor, reference: Tensor, width: int) -> Tensor:
    """Count the pixels of each pair of labels: two (n,) tensors in 0..q - 1 -> (q, q)."""
    return torch.bincount(labels * width + reference, minlength=width * width).view(width, width)


def permutation(overlap: Tensor, fixed: Tensor | None = None) -> Tensor:
    """Find the renumbering with the largest overlap (the Hungarian method).

    Parameters
    ----------
    overlap : (q, q) tensor
        Rows are the labels to renumber, columns the reference.
    fixed : (n,) tensor of int64, optional
        Labels that keep their numbers: those of painted classes.

    Returns
    -------
    (q,) tensor of int64
        `permutation[label]` is the label's number in the reference; no two share one.
    """
    if fixed is not None and len(fixed):
        overlap = overlap.clone()
        overlap[fixed, fixed] += overlap.sum() + 1
    _, columns = linear_sum_assignment(overlap.cpu().numpy(), maximize=True)
    return torch.from_numpy(columns.astype(np.int64)).to(overlap.device)
