"""Renumber labels so that colours stay, and count them; without Qt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from napari_mmtseg.model import Labels


def alike(labels: Labels, before: Labels | None) -> Labels:
    """Renumber labels to those shown before, so that colours do not jump while training.

    Each label takes the number that it covers most of; of several that want the same, the one
    that covers the most. The others share out the numbers that are left. Time and memory depend
    on how many labels there are, never on their values.
    """
    if before is None:
        return labels
    values, new = _coded(labels)
    values_before, old = _coded(before)
    counted = (labels.ravel() != 0) & (before.ravel() != 0)  # 0 is never a cluster
    ones = np.ones(counted.sum(), np.int32)
    table = csr_array((ones, (new[counted], old[counted])), (len(values), len(values_before)))
    pairs = table.tocoo()
    order = np.argsort(-pairs.data, kind="stable")
    mine, theirs = pairs.row[order], pairs.col[order]
    wanted = np.sort(np.unique(mine, return_index=True)[1])  # by each, the most covered first
    mine, theirs = mine[wanted], theirs[wanted]
    got = np.unique(theirs, return_index=True)[1]
    number = np.zeros(len(values), np.int32)
    number[mine[got]] = values_before[theirs[got]]
    left = (number == 0) & (values != 0)
    free = np.setdiff1d(np.union1d(values, values_before), [0, *number])
    number[left] = free[: left.sum()]
    renumbered: Labels = number[new].reshape(labels.shape)
    return renumbered


def counted(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels that occur, rising, and the pixels of each."""
    if labels.max() < labels.size:
        counts = np.bincount(labels.ravel())
        present = np.flatnonzero(counts)
        return present, counts[present]
    # slower, but a table up to the largest class may not fit
    present, pixels = np.unique(labels, return_counts=True)
    return present.astype(np.int64), pixels


def _coded(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values that occur, rising, and for each pixel the place of its own among them."""
    flat = labels.ravel()
    if flat.max() >= flat.size:
        values, place = np.unique(flat, return_inverse=True)
        return values.astype(np.int64), place
    seen = np.bincount(flat) > 0  # many times faster
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[flat]
