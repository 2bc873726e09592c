"""The numbers that objects bear: which occur, which are sound, which are free."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**31 - 1
"""The largest number of an object."""


def check_numbers(labels: NDArray[Any]) -> None:
    """Refuse numbers that are no objects' numbers.

    Raises
    ------
    ValueError
        If one is below 0 or above 2^31 - 1.
    """
    if not labels.size or labels.dtype.kind == "b":
        return
    for number, cure in ((labels.min(), "0 or above"), (labels.max(), f"at most {LARGEST}")):
        if not 0 <= number <= LARGEST:
            raise ValueError(
                f"An object's number must be {cure}, got {number}: number the objects anew, for "
                "example with skimage.segmentation.relabel_sequential"
            )


def coded(labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Number the objects from 1 without gaps, in the order of their numbers.

    Parameters
    ----------
    labels : integer or bool array
        0 to 2^31 - 1; 0 is background. Memory depends on how many there are, not on their values.

    Returns
    -------
    ids : (N,) int64 array
        The numbers that occur, rising, without 0.
    coded : int32 array
        Of the labels' shape: 0 for background, otherwise 1 + the place among the ids.
    """
    flat = labels.astype(np.uint8).ravel() if labels.dtype.kind == "b" else labels.ravel()
    if not flat.size:
        return np.zeros(0, np.int64), np.zeros(labels.shape, np.int32)
    if int(flat.max()) < max(flat.size, 2**16):
        seen = np.bincount(flat) > 0  # many times faster than sorting
        seen[0] = False
        return np.flatnonzero(seen), (np.cumsum(seen, dtype=np.int32) * seen)[flat].reshape(
            labels.shape
        )
    inside = flat > 0
    values, place = np.unique(flat[inside], return_inverse=True)
    numbered = np.zeros(flat.shape, np.int32)
    numbered[inside] = place + 1
    return values.astype(np.int64), numbered.reshape(labels.shape)


def free_numbers(labels: NDArray[Any], count: int = 1) -> list[int]:
    """Return numbers that no object bears: beyond the largest, or in gaps if there is no room.

    Raises
    ------
    ValueError
        If the labels' dtype has too few left.
    """
    top = min(LARGEST, int(np.iinfo(labels.dtype).max)) if labels.dtype.kind != "b" else 1
    largest = int(labels.max()) if labels.size else 0
    if largest + count <= top:
        return list(range(largest + 1, largest + 1 + count))
    taken = set(coded(labels)[0].tolist())
    free: list[int] = []
    for number in range(1, min(top, len(taken) + count) + 1):
        if number not in taken:
            free.append(number)
        if len(free) == count:
            return free
    raise ValueError(
        f"All {top} numbers of {labels.dtype} are taken: convert the labels to a larger type, for "
        "example layer.data = layer.data.astype('int32')"
    )
