"""Score objects: found, missed, extra and merged, at the overlap asked for.

Each id but 0 is an object, whether in one piece or not; 0 is background, in both images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg.metrics.contingency_table import Table, checked, coded, one_to_one, tabulate
from napari_mmtseg.metrics.metric_docs import metric

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""The overlaps (IoU) of the Data Science Bowl 2018 and of COCO."""

MATCHED, MISSED, EXTRA, MERGED = 1, 2, 3, 4
_SUMMED = ("n_matched", "n_extra", "n_missed", "iou_sum")
_RATIOS = ("f1", "ap", "precision", "recall", "panoptic_quality", "segmentation_quality")
_THRESHOLD = "float\n    Overlap (IoU) from which two objects are a pair, above 0, to 1."


@dataclass(frozen=True)
class ObjectScores:
    """How many objects are found at one threshold of overlap, and the scores that follow.

    Where neither image has an object, the ratios are 1: nothing was to be found, and nothing was
    (StarDist counts such an image as 0).
    """

    threshold: float
    n_matched: int
    """True positives: objects paired with a true one, IoU at the threshold or above."""
    n_extra: int
    """False positives: objects without a true one."""
    n_missed: int
    """False negatives: true objects that no object is paired with."""
    iou_sum: float
    """The sum of the IoU of all pairs."""

    @property
    def n_objects(self) -> int:
        """The number of objects found."""
        return self.n_matched + self.n_extra

    @property
    def n_true(self) -> int:
        """The number of true objects."""
        return self.n_matched + self.n_missed

    @property
    def f1(self) -> float:
        """``2 TP / (2 TP + FP + FN)``, the same as recognition quality."""
        return self._ratio(self.n_matched, (self.n_objects + self.n_true) / 2)

    @property
    def ap(self) -> float:
        """``TP / (TP + FP + FN)``, called average precision by StarDist and the Bowl of 2018."""
        return self._ratio(self.n_matched, self.n_matched + self.n_extra + self.n_missed)

    @property
    def precision(self) -> float:
        """The share of the objects found that are true."""
        return self._ratio(self.n_matched, self.n_objects)

    @property
    def recall(self) -> float:
        """The share of the true objects that are found."""
        return self._ratio(self.n_matched, self.n_true)

    @property
    def recognition_quality(self) -> float:
        """F1 by the name that it has in panoptic quality."""
        return self.f1

    @property
    def segmentation_quality(self) -> float:
        """The mean IoU of the pairs; 0 where objects exist but no pair."""
        return self._ratio(self.iou_sum, self.n_matched)

    @property
    def panoptic_quality(self) -> float:
        """Recognition quality times segmentation quality; Kirillov et al., CVPR 2019."""
        return self._ratio(self.iou_sum, (self.n_objects + self.n_true) / 2)

    @property
    def count_error(self) -> float:
        """``|n - n_true| / n_true``; where there is no true object, the number found."""
        return abs(self.n_objects - self.n_true) / max(self.n_true, 1)

    def to_dict(self) -> dict[str, float]:
        """Return all counts and scores by name."""
        names = (*_SUMMED, "n_objects", "n_true", *_RATIOS, "count_error")
        return {name: float(getattr(self, name)) for name in names}

    def _ratio(self, part: float, whole: float) -> float:
        if self.n_objects == self.n_true == 0:
            return 1.0
        return part / whole if part else 0.0


class ObjectPair(NamedTuple):
    """An object and the true object that it is taken for."""

    label: int
    truth: int
    iou: float


class ObjectMatches(NamedTuple):
    """Which object is which; ids ascend."""

    pairs: list[ObjectPair]
    missed: list[int]
    """True ids without a partner."""
    extra: list[int]
    """Ids without a true partner."""
    merged: list[int]
    """Ids that cover two true objects or more, each by more than half; paired or extra as well."""


@metric(
    "One entry a threshold, in their order.",
    thresholds="sequence of float\n    Overlaps (IoU) above 0, to 1.",
)
def object_scores(
    labels: ArrayLike, truth: ArrayLike, *, thresholds: Sequence[float] = THRESHOLDS
) -> dict[float, ObjectScores]:
    """Count the objects that are found, missed and extra at each threshold.

    Objects are paired one to one so that most pairs reach the threshold and, among such pairings,
    the summed IoU is highest. Above an IoU of 0.5 no object has two partners to choose from; at or
    below it the best choice is made by the Hungarian method, as `stardist.matching` does.
    """
    t = tabulate(labels, truth)
    objects = _overlaps(t)
    found = {}
    for threshold in thresholds:
        pairs = _pairs(objects, threshold)
        n = int(pairs.sum())
        n_objects, n_true = int((t.labels != 0).sum()), int((t.truths != 0).sum())
        iou_sum = float(objects.iou[pairs].sum())
        found[threshold] = ObjectScores(threshold, n, n_objects - n, n_true - n, iou_sum)
    return found


@metric("The pairs, and the ids of objects that are not as they should be.", threshold=_THRESHOLD)
def match_objects(labels: ArrayLike, truth: ArrayLike, *, threshold: float = 0.5) -> ObjectMatches:
    """Pair objects with true objects, and name the missed, the extra and the merged ones."""
    objects = _overlaps(tabulate(labels, truth))
    t, pairs = objects.table, _pairs(objects, threshold)
    ids, partners = t.labels[t.row[pairs]], t.truths[t.col[pairs]]
    told = zip(ids.tolist(), partners.tolist(), objects.iou[pairs].tolist(), strict=True)
    return ObjectMatches(
        [ObjectPair(*one) for one in told],
        np.setdiff1d(t.truths[t.truths != 0], partners).tolist(),
        np.setdiff1d(t.labels[t.labels != 0], ids).tolist(),
        t.labels[_merging(t)].tolist(),
    )


@metric("The class of each pixel, in the shape of `labels`.", threshold=_THRESHOLD)
def object_errors(
    labels: ArrayLike, truth: ArrayLike, *, threshold: float = 0.5
) -> NDArray[np.uint8]:
    """Draw each object as matched (1), missed (2), extra (3) or merged (4), on background 0.

    A missed object is drawn where the truth has it, all others where `labels` have them. Where two
    of them lie on one pixel, merged hides missed, which hides extra and matched. An object is
    merged if it covers two true objects or more, each by more than half.
    """
    ours, true = checked(labels, truth)
    matches = match_objects(ours, true, threshold=threshold)
    (place, ids), (true_place, true_ids) = coded(ours), coded(true)
    kind = np.where(np.isin(ids, matches.extra), EXTRA, MATCHED).astype(np.uint8)
    kind[np.isin(ids, matches.merged)] = MERGED
    kind[ids == 0] = 0
    errors = kind[place]
    missed = np.isin(true_ids, matches.missed)[true_place]
    errors[missed & (errors != MERGED)] = MISSED
    return errors.reshape(ours.shape)


def pooled_object_scores(images: Iterable[ObjectScores]) -> ObjectScores:
    """Add up the counts of several images, so that each object counts alike.

    Parameters
    ----------
    images : iterable of ObjectScores
        One or more, of one threshold.

    Returns
    -------
    ObjectScores
        As if all images were one.

    Raises
    ------
    ValueError
        If there is no image, or their thresholds differ.
    """
    several = _of_one_threshold(images)
    sums = [sum(getattr(one, name) for one in several) for name in _SUMMED]
    return ObjectScores(several[0].threshold, *sums)


def mean_object_scores(images: Iterable[ObjectScores]) -> dict[str, float]:
    """Average the scores of several images, so that each image counts alike.

    Parameters
    ----------
    images : iterable of ObjectScores
        One or more, of one threshold.

    Returns
    -------
    dict of str to float
        The means of what `ObjectScores.to_dict` gives.

    Raises
    ------
    ValueError
        If there is no image, or their thresholds differ.
    """
    several = [one.to_dict() for one in _of_one_threshold(images)]
    return {name: float(np.mean([one[name] for one in several])) for name in several[0]}


class _Overlaps(NamedTuple):
    """The table without background pairs, and the overlap of each pair."""

    table: Table
    iou: NDArray[np.float64]  # (pairs of objects,)


def _overlaps(t: Table) -> _Overlaps:
    objects = (t.labels[t.row] != 0) & (t.truths[t.col] != 0)
    row, col, n = t.row[objects], t.col[objects], t.n[objects]
    return _Overlaps(t._replace(row=row, col=col, n=n), n / (t.a[row] + t.b[col] - n))


def _pairs(objects: _Overlaps, threshold: float) -> NDArray[np.bool_]:
    """Tell which overlaps are pairs, (pairs of objects,)."""
    if not 0 < threshold <= 1:
        raise ValueError(
            f"The threshold of overlap must lie above 0, to 1, got {threshold}: 0.5 is usual"
        )
    t, iou = objects
    enough = iou >= threshold
    rows, cols = t.row[enough], t.col[enough]
    if len(np.unique(rows)) == len(np.unique(cols)) == len(rows):  # always so above 0.5
        return np.asarray(enough)
    # A pair is worth more than all that the choice of pairs can add to the sum of overlaps.
    worth = enough + iou / (2 * min(len(t.labels), len(t.truths)))
    return np.asarray(enough & (one_to_one(t, worth)[t.row] == t.col))


def _merging(t: Table) -> NDArray[np.bool_]:
    """Tell which labels cover two true objects or more by more than half of each, (A,)."""
    most = 2 * t.n > t.b[t.col]
    return np.bincount(t.row[most], minlength=len(t.labels)) > 1


def _of_one_threshold(images: Iterable[ObjectScores]) -> list[ObjectScores]:
    several = list(images)
    thresholds = sorted({one.threshold for one in several})
    if len(thresholds) != 1:
        raise ValueError(
            f"Scores over images want one threshold, got {thresholds or 'no image'}: "
            "give the scores of one threshold, of one image or more"
        )
    return several
