"""What Compare tells of two label images: as classes, or object by object."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label as connected_pieces

from napari_mmtseg import metrics
from napari_mmtseg.metrics import ObjectScores
from napari_mmtseg.metrics.objects import EXTRA, MATCHED, MERGED, MISSED

Kind = Literal["automatic", "classes", "objects"]
KINDS: tuple[Kind, ...] = ("automatic", "classes", "objects")
MEANINGS = {MATCHED: "agrees", MISSED: "missed", EXTRA: "extra"}
OBJECT_MEANINGS = {**MEANINGS, MATCHED: "matched", MERGED: "merged"}

_WHOLE = 0.8


class LabelScore(NamedTuple):
    """One row of the table of labels or objects."""

    label: int | None
    """None for a true object that is missed."""
    pixels: int
    partner: int | None
    iou: float
    meaning: str = ""
    """Of an object: matched, missed, extra or merged."""


class Comparison(NamedTuple):
    """What comparing two label images gives."""

    scores: dict[str, float]
    """Of the partitions, and of the objects where they are compared as such."""
    rows: list[LabelScore]
    matched: NDArray[Any]
    """The result in the truth's numbers; as classes, -1 where a label has no partner."""
    truth: NDArray[Any]
    """What it was compared with."""
    errors: NDArray[np.uint8]
    """By `meanings`; 0 is no error and nothing to find."""
    meanings: dict[int, str]


def compare(
    labels: ArrayLike, truth: ArrayLike, *, foreground: bool = False, kind: Kind = "classes"
) -> Comparison:
    """Score labels against a truth and match them one to one.

    Parameters
    ----------
    labels, truth : integer array-like
    foreground : bool
        Whether all objects of the truth are taken as one, and so as classes.
    kind : str
        Whether labels are classes or objects; automatic: objects if both images look like it.

    Raises
    ------
    ValueError
        If the shapes differ or one holds no whole numbers.
    """
    labels, true = np.asarray(labels), np.asarray(truth)
    if foreground:
        true = (true != 0).astype(np.uint8)
    scores = metrics.scores(labels, true)
    if not foreground and kind == "automatic" and look_like_objects(labels):
        kind = "objects" if look_like_objects(true) else "classes"
    if not foreground and kind == "objects":
        return _of_objects(labels, true, scores)
    return _of_classes(labels, true, scores)


def look_like_objects(labels: NDArray[Any]) -> bool:
    """Tell whether there is a background 0 and two ids or more, most of them in one piece."""
    ids = np.unique(labels)
    if len(ids) < 3 or not (ids == 0).any():
        return False
    numbers = np.searchsorted(ids, labels)
    numbers[labels == 0] = -1
    count = int(connected_pieces(numbers, background=-1, connectivity=labels.ndim).max())
    return len(ids) - 1 >= _WHOLE * count


def errors(matched: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.uint8]:
    """Mark where a matched result agrees with what is there (1), misses it (2), adds to it (3)."""
    agree = (truth != 0) & (matched == truth)
    missed = (truth != 0) & ~agree
    extra = (truth == 0) & (matched != 0)
    marks = np.zeros(truth.shape, np.uint8)
    for mark, where in ((MATCHED, agree), (MISSED, missed), (EXTRA, extra)):
        marks[where] = mark
    return marks


def _of_classes(labels: NDArray[Any], true: NDArray[Any], scores: dict[str, float]) -> Comparison:
    partner = metrics.hungarian_mapping(labels, true)
    values, coded, counts = np.unique(labels, return_inverse=True, return_counts=True)
    table = np.array([partner.get(int(value), -1) for value in values], np.int32)
    matched = table[coded].reshape(labels.shape)
    overlap = np.bincount(coded.ravel()[(matched == true).ravel()], minlength=len(values))
    true_size = _sizes(true)
    rows = []
    for value, pixels, both in zip(values.tolist(), counts.tolist(), overlap.tolist(), strict=True):
        other = partner.get(value)
        union = pixels + true_size.get(other, 0) - both
        rows.append(LabelScore(value, pixels, other, both / union if other is not None else 0.0))
    rows.sort(key=lambda row: -row.pixels)
    return Comparison(scores, rows, matched, true, errors(matched, true), MEANINGS)


def _of_objects(labels: NDArray[Any], true: NDArray[Any], scores: dict[str, float]) -> Comparison:
    found = metrics.object_scores(labels, true)
    matches = metrics.match_objects(labels, true)
    sizes, true_sizes = _sizes(labels), _sizes(true)
    merged = set(matches.merged)
    rows = [
        LabelScore(
            one.label, sizes[one.label], one.truth, one.iou, _told(one.label, "matched", merged)
        )
        for one in matches.pairs
    ]
    rows += [
        LabelScore(one, sizes[one], None, 0.0, _told(one, "extra", merged)) for one in matches.extra
    ]
    rows += [LabelScore(None, true_sizes[one], one, 0.0, "missed") for one in matches.missed]
    rows.sort(key=lambda row: -row.pixels)
    partner = {one.label: one.truth for one in matches.pairs}
    free = max(0, *true_sizes) + 1
    partner |= {one: free + place for place, one in enumerate(matches.extra)}
    ids, coded = np.unique(labels, return_inverse=True)
    table = np.array([partner.get(one, 0) for one in ids.tolist()])
    return Comparison(
        _object_scores(found, len(merged)) | scores,
        rows,
        table[coded].reshape(labels.shape),
        true,
        metrics.object_errors(labels, true),
        OBJECT_MEANINGS,
    )


def _object_scores(found: dict[float, ObjectScores], n_merged: int) -> dict[str, float]:
    half = found[0.5]
    return {
        "object_f1_50": half.f1,
        "object_f1_75": found[0.75].f1,
        "object_ap_50": half.ap,
        "object_ap_mean": float(np.mean([one.ap for one in found.values()])),
        "panoptic_quality": half.panoptic_quality,
        "segmentation_quality": half.segmentation_quality,
        "n_objects": half.n_objects,
        "n_true": half.n_true,
        "n_matched": half.n_matched,
        "n_missed": half.n_missed,
        "n_extra": half.n_extra,
        "n_merged": n_merged,
    }


def _told(label: int, otherwise: str, merged: set[int]) -> str:
    return "merged" if label in merged else otherwise


def _sizes(labels: NDArray[Any]) -> dict[Any, int]:
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
