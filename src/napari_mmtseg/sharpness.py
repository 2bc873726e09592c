"""Tell whether the borders between taught classes are to be sharpened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.arrays import Frames, Region
from napari_mmtseg.labeller import Labeller

_TILES = 4
"""In which it is tried."""
_MOST_CHANGED = 0.5
"""Share of the smallest class."""
_LEAST_KEPT = 0.91
"""Of the intersection over union of each class with its labels: where classes differ in intensity
95 % are kept in the median, and 89 % or less where they do not."""

Painted = Sequence[tuple[Frames, int, Region, NDArray[Any]]]
"""Frame, tile, and the classes of its pixels, 0 for none."""


def suits_strokes(labeller: Labeller, painted: Painted, names: NDArray[np.int64]) -> bool:
    """Tell whether a model that sharpens keeps what is painted right, and most of each class.

    Sharpening suits classes that differ in intensity, and takes classes of texture apart.

    Parameters
    ----------
    labeller : Labeller
        Of the model that sharpens.
    painted : Painted
    names : (K,) int64 array
        The class of each cluster.
    """
    gained = changed = 0
    sizes = np.zeros(len(names), np.int64)
    for before, after, strokes in _tried(labeller, painted):
        here = (strokes > 0) & (before >= 0)
        gained += int((names[after[here]] == strokes[here]).sum())
        gained -= int((names[before[here]] == strokes[here]).sum())
        changed += int((after != before).sum())
        sizes += np.bincount(before[before >= 0], minlength=len(names))
    return gained >= 0 and changed < _MOST_CHANGED * sizes.min()


def suits_labels(labeller: Labeller, painted: Painted, names: NDArray[np.int64]) -> bool:
    """Tell whether a model that sharpens agrees about as well with its labels as without.

    Labels of the images that it learned from flatter what does not sharpen, and sharpening pays in
    others, so that a little may be lost.

    Parameters
    ----------
    labeller, painted, names
        As for `suits_strokes`.
    """
    overlaps = np.zeros((2, 2, len(names)))  # before and after; both and either
    for before, after, labels in _tried(labeller, painted):
        here = (labels > 0) & (before >= 0)
        for counts, found in zip(overlaps, (before[here], after[here]), strict=True):
            for number, name in enumerate(names):
                own, true = found == number, labels[here] == name
                counts[:, number] += (own & true).sum(), (own | true).sum()
    (both, either), (both_sharp, either_sharp) = overlaps
    kept: NDArray[np.bool_] = both_sharp * either >= _LEAST_KEPT * both * either_sharp
    return bool(kept.all())


def _tried(
    labeller: Labeller, painted: Painted
) -> Iterator[tuple[NDArray[np.int16], NDArray[np.int16], NDArray[Any]]]:
    """Give the clusters of some tiles before and after sharpening, and what is painted there."""
    for frames, index, tile, classes in painted[:: -(-len(painted) // _TILES)]:
        drafts: list[NDArray[np.int16]] = []
        after = labeller.find(frames, index, tile, draft=drafts.append).clusters
        yield drafts[0], after, classes  # the draft is of one student, which is as good here
