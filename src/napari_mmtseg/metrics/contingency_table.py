"""Count which labels of two images meet, and pair them one to one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse import csgraph


class Table(NamedTuple):
    """The sparse contingency table: n pixels have label labels[row] and truth truths[col]."""

    labels: NDArray[Any]  # (A,) ascending values
    truths: NDArray[Any]  # (B,)
    row: NDArray[np.intp]  # (pairs that occur,), ascending
    col: NDArray[np.intp]  # (pairs that occur,)
    n: NDArray[np.float64]  # (pairs that occur,), above 0; exact up to 2**53
    a: NDArray[Any]  # (A,) pixels of each label, float64
    b: NDArray[Any]  # (B,) pixels of each true label, float64


def tabulate(labels: ArrayLike, truth: ArrayLike) -> Table:
    """Count the label pairs; a table that `scores` has counted already passes through."""
    if isinstance(labels, Table):
        return labels
    (row, label_values), (col, truth_values) = (coded(x) for x in checked(labels, truth))
    pairs, n = _counts(row * len(truth_values) + col, len(label_values) * len(truth_values))
    row, col = np.divmod(pairs, len(truth_values))
    a, b = np.bincount(row, n), np.bincount(col, n)
    return Table(label_values, truth_values, row, col, n.astype(float), a, b)


def checked(labels: ArrayLike, truth: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as arrays, or say why they are no pair of label images."""
    a, b = np.asarray(labels), np.asarray(truth)
    for name, image in (("labels", a), ("truth", b)):
        if image.dtype.kind not in "biu":
            rule = f"{name} has dtype {image.dtype}; label images hold integers"
            raise ValueError(f"{rule}: convert with {name}.astype(int)")
        if image.size == 0 or image.ndim == 0:
            rule = f"{name} must be an array of one pixel or more, got shape {image.shape}"
            raise ValueError(f"{rule}: pass a label image")
    if a.shape != b.shape:
        rule = f"labels and truth must have one shape, got {a.shape} and {b.shape}"
        raise ValueError(f"{rule}: crop or resample one (nearest neighbour)")
    return a, b


def coded(image: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return each pixel's place (N,) in the ascending values (K,) of the image, and these."""
    kind = image.dtype.str[1:].replace("b", "u")  # in the machine's byte order; bool as uint8
    flat = image.ravel().astype(kind, copy=False)
    low, high = flat.min(), flat.max()
    if int(high) - int(low) > max(flat.size, 2**16):
        return np.unique(flat, return_inverse=True)[::-1]
    # A look-up table beats sorting. The difference wraps round, but is right when read as unsigned.
    offset = (flat - low).view(f"u{flat.itemsize}")
    present = np.zeros(int(high) - int(low) + 1, bool)
    present[offset] = True
    return (np.cumsum(present) - 1)[offset], np.flatnonzero(present).astype(flat.dtype) + low


def _counts(codes: NDArray[np.intp], n_codes: int) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return the codes (N,) that occur, ascending, and how often each does."""
    if n_codes <= max(codes.size, 2**16):  # counting into a dense table is quicker than sorting
        dense = np.bincount(codes, minlength=n_codes)
        found = np.flatnonzero(dense)
        return found, dense[found]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))  # sort runs of pixels, not pixels
    found, place = np.unique(codes[starts], return_inverse=True)
    return found, np.bincount(place, np.diff(starts, append=codes.size))


def one_to_one(t: Table, worth: NDArray[np.float64]) -> NDArray[np.intp]:
    """Pair labels with true labels one to one so that the summed worth of the pairs is highest.

    `worth` (pairs that occur,) is 0 or more. Returned is the place of each label's partner among
    the true labels, -1 for none, (A,).
    """
    flip = len(t.a) > len(t.b)  # the solver takes far longer from the larger side
    row, col = (t.col, t.row) if flip else (t.row, t.col)
    k, m = sorted((len(t.a), len(t.b)))
    # The solver matches all k, so each gets a stand-in partner. The 1 on every edge ranks nothing
    # (a matching has k edges) but keeps the stand-ins, worth 0, from being read as empty cells.
    ends = (np.append(row, np.arange(k)), np.append(col, np.arange(m, m + k)))
    graph = sparse.csr_array((np.append(worth + 1, np.ones(k)), ends))
    left, right = csgraph.min_weight_full_bipartite_matching(graph, maximize=True)
    inverse = np.full(m + k, -1)
    inverse[right] = left
    return inverse[:m] if flip else np.where(right < m, right, -1)
