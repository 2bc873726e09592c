"""Give each connected piece of a label a number of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label


def pieces(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the connected pieces (4 neighbours) of each plane by size, from 1.

    Parameters
    ----------
    labels : (..., Y, X) int32 array
        0 stays 0.

    Returns
    -------
    (..., Y, X) int32 array
        No two planes share a number.
    """
    found = np.empty(labels.shape, np.int32)
    count = 0
    for plane, target in zip(
        labels.reshape(-1, *labels.shape[-2:]), found.reshape(-1, *labels.shape[-2:]), strict=True
    ):
        numbered, many = label(plane, background=0, connectivity=1, return_num=True)
        target[:] = np.where(numbered, numbered + count, 0)
        count += many
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    number = np.zeros(count + 1, np.int32)
    number[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1, dtype=np.int32)
    return number[found]
