"""Give objects the numbers that they have in the frame before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.metrics import match_objects

_OVERLAP = 0.2
"""Intersection over union from which two objects in neighbouring frames may be one."""


def renumbered(
    objects: NDArray[np.int32], before: NDArray[np.int32], last: int
) -> NDArray[np.int32]:
    """Give each object the number of the one before that it overlaps, or else one of its own.

    Of all such pairs, one to one, those are taken that are the most and overlap best.

    Parameters
    ----------
    objects : (*spatial) int32 array
        Numbered from 1; 0 is ground.
    before : (*spatial) int32 array
        The frame before; zeros where nothing is to be linked.
    last : int
        The largest number that was given so far.

    Returns
    -------
    (*spatial) int32 array
        What has no partner is numbered on from last.
    """
    number = np.zeros(int(objects.max(initial=0)) + 1, np.int32)
    for one in match_objects(objects, before, threshold=_OVERLAP).pairs:
        number[one.label] = one.truth
    new = np.unique(objects[objects > 0])
    new = new[number[new] == 0]
    number[new] = np.arange(last + 1, last + 1 + len(new))
    found: NDArray[np.int32] = number[objects]
    return found
