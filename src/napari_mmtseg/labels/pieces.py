"""Give each connected piece of a label a number of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label


def pieces(labels: NDArray[np.int32], frame_axes: tuple[int, ...] = (-2, -1)) -> NDArray[np.int32]:
    """Number the connected pieces (4 neighbours, in volumes 6) of each frame by size, from 1.

    Parameters
    ----------
    labels : int32 array
        0 stays 0.
    frame_axes : tuple of int
        The axes of a plane or of a volume; pieces end where others begin.

    Returns
    -------
    int32 array
        Of the same shape. No two frames share a number.
    """
    found = np.empty(labels.shape, np.int32)
    count, last = 0, tuple(range(-len(frame_axes), 0))
    frames, targets = (np.moveaxis(one, frame_axes, last) for one in (labels, found))
    for place in np.ndindex(frames.shape[: -len(frame_axes)]):
        numbered, many = label(frames[place], background=0, connectivity=1, return_num=True)
        targets[place] = np.where(numbered, numbered + count, 0)
        count += many
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    number = np.zeros(count + 1, np.int32)
    number[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1, dtype=np.int32)
    return number[found]
