"""Give specks, pieces of a few pixels, to what lies around them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from napari_mmtseg.images.frames import neighbours

Whole = TypeVar("Whole", NDArray[np.int16], NDArray[np.int32])

_ROUNDS = 4
"""A speck among specks waits until these are gone."""


def without_specks(clusters: Whole, least: int) -> Whole:
    """Give each piece of fewer than so many pixels to the cluster that it touches most.

    Pieces are connected along the axes, and end where the array does: of tiles side by side each
    is without specks, and so is the whole. Merging clusters to labels later makes pieces larger, so
    that no number of labels has smaller ones.

    Parameters
    ----------
    clusters : (*spatial) array of whole numbers
        0 and more, or -1 for none, which stays and is given to nothing. Left as it is.
    least : int
        Pixels that a piece must have.

    Returns
    -------
    (*spatial) array
        Of the same type.
    """
    for _ in range(_ROUNDS if least > 1 else 0):
        pieces, small = _specks(clusters, least)
        if not small.any():
            break
        clusters, waiting = _given(clusters, pieces, small)
        if not waiting:  # all others have become part of a large one
            break
    return clusters


def _specks(
    clusters: NDArray[np.signedinteger], least: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Number the pieces that may be small, and tell which ones are."""
    same = np.ones(clusters.shape, np.bool_)
    for one, other in neighbours(clusters.ndim):
        alike = clusters[one] == clusters[other]
        same[one] &= alike
        same[other] &= alike
    for axis in range(same.ndim):  # at the edge there is less around them
        if same.shape[axis] > 1:
            np.moveaxis(same, axis, 0)[[0, -1]] = False
    # Two neighbours that are like all around them lie in a piece of eight pixels or more, so that
    # only what lies outside of such cores needs to be numbered, if eight are asked for at most.
    core = np.zeros(clusters.shape, np.bool_)
    if least <= 8:
        for one, other in neighbours(clusters.ndim):
            both = same[one] & same[other]
            core[one] |= both
            core[other] |= both
    pieces = label(np.where(core | (clusters < 0), -1, clusters), background=-1, connectivity=1)
    small = np.bincount(pieces.ravel()) < least
    small[0] = False
    beside = np.zeros(clusters.shape, np.bool_)  # of a core, and so of its piece
    for one, other in neighbours(clusters.ndim):
        beside[one] |= core[other]
        beside[other] |= core[one]
    small[pieces[beside]] = False
    return pieces.astype(np.int32, copy=False), small


def _given(
    clusters: Whole, pieces: NDArray[np.int32], small: NDArray[np.bool_]
) -> tuple[Whole, bool]:
    """Give small pieces to the cluster that most of their outer sides touch, if that is large."""
    flat, numbers = clusters.ravel(), pieces.ravel()
    places = np.flatnonzero(small[numbers])
    own, many = numbers[places].astype(np.int64), int(clusters.max()) + 1
    touched = []  # the piece and the cluster, in one number
    strides = np.cumprod((1, *clusters.shape[:0:-1]))[::-1]
    at = np.unravel_index(places, clusters.shape)
    for along, length, stride in zip(at, clusters.shape, strides, strict=True):
        for inside, step in ((along > 0, -stride), (along < length - 1, stride)):
            beside = places[inside] + step
            sides = ~small[numbers[beside]] & (flat[beside] >= 0)
            touched.append(own[inside][sides] * many + flat[beside[sides]])
    pairs, counts = np.unique(np.concatenate(touched), return_counts=True)
    new = np.full(len(small), -1, clusters.dtype)
    order = np.argsort(counts, kind="stable")  # the last, most touched one stays
    new[pairs[order] // many] = pairs[order] % many
    found = flat.copy()
    known = new[own] >= 0
    found[places[known]] = new[own[known]]
    return found.reshape(clusters.shape), bool((new[small] < 0).any())
