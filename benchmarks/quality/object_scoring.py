"""Run one contender on one image, score its objects, and draw up the tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures.provenance import code_state
from benchmarks.figures.tables import Table, number, rounded
from benchmarks.quality import summary
from benchmarks.quality.contenders import Contender
from benchmarks.quality.object_contenders import outcome, specks
from benchmarks.quality.object_sets import ObjectPicture, objects_of
from benchmarks.quality.scoring import Column
from benchmarks.quality.store import Job, Result, Store
from benchmarks.quality.summary import Row
from napari_mmtseg import metrics

SEEDS = [0]
_F1, _COUNT, _FOREGROUND = "f1_50", "count_error", "foreground"
COLUMNS = (
    Column(_F1, "F1 at .5", "2 TP / (2 TP + FP + FN), pairs of IoU .5 or more.", interval=True),
    Column("f1_75", "F1 at .75", "The same at IoU .75."),
    Column("ap_50", "AP at .5", "TP / (TP + FP + FN)."),
    Column("pq_50", "PQ", "Panoptic quality: F1 at IoU .5 times the mean IoU of the pairs."),
    Column(_COUNT, "count error", "|n - n_true| / n_true.", higher_is_better=False),
    Column(_FOREGROUND, "foreground IoU", "All objects together against all true ones."),
)
AIMS = {
    "dsb fluorescence": "F1 .91 / .83, foreground IoU .834",
    "dsb stained": "F1 .68 / .45, foreground IoU .768",
    "nuclei2d": "F1 at .5 .85",
    "monuseg_test": "F1 at .5 .45",
    **dict.fromkeys(("nuclei3d", "qcanet3d", "plant3d_nuclei"), "F1 at .5 above smoothed Otsu"),
}


def run_one(job: Job, picture: ObjectPicture, folder: Path, effort: str) -> Result:
    """Find and score the objects of one image, and keep them; without truth, count specks."""
    image, axes, truths = picture.read()
    start = time.perf_counter()
    output, candidates = outcome(job.variant, image, axes, picture.voxel)
    seconds = time.perf_counter() - start
    found, best = {"specks_output": float(specks(output, axes))}, output
    if truths and candidates:
        truth = objects_of(truths[0], job.dataset)
        scored = [score(one, truth) for one in candidates]
        which = int(np.argmax([one[_F1] for one in scored]))
        best = candidates[which]
        found |= scored[which] | {"specks": float(specks(best, axes))}
    Store(folder).save_labels(job, best)
    n_objects = int(np.count_nonzero(np.unique(best)))
    return Result(job, round(seconds, 4), n_objects, found, code_state(), effort)


def score(labels: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """Return all scores of the objects of one image, by the keys of the columns and more."""
    found = metrics.object_scores(labels, truth)
    half = found[0.5]
    both, either = ((labels != 0) & (truth != 0)).sum(), ((labels != 0) | (truth != 0)).sum()
    return {
        **{f"f1_{100 * threshold:.0f}": one.f1 for threshold, one in found.items()},
        **{f"ap_{100 * threshold:.0f}": one.ap for threshold, one in found.items()},
        "pq_50": half.panoptic_quality,
        _COUNT: half.count_error,
        "n_objects": float(half.n_objects),
        "n_true": float(half.n_true),
        _FOREGROUND: float(both / either) if either else 1.0,
    }


def score_table(title: str, entrants: Sequence[Contender], results: Mapping[Job, Result]) -> Table:
    """Return the means over images of the contenders, in their order."""
    rows = summary.rows(results, entrants, SEEDS, COLUMNS)
    aim = f"Aim: {AIMS[title]}." if title in AIMS else ""
    n_images = max((len(row.values) for row in rows), default=0)
    header = ("method", "images", *(c.title for c in COLUMNS), "pieces <= 5 px", "time, s")
    return Table(f"{title} ({n_images})", header, [_cells(row) for row in rows], aim)


def speck_table(entrants: Sequence[Contender], results: Mapping[Job, Result]) -> Table:
    """Count the pieces of five pixels or fewer in what methods give, whatever it is."""
    cells = []
    for one in entrants:
        counts = [r.scores["specks_output"] for j, r in results.items() if _is(j, one)]
        held = sum(count > 0 for count in counts)
        cells.append([one.name, str(len(counts)), f"{sum(counts):.0f}", str(held)])
    header = ("method", "images", "pieces <= 5 px", "images that have any")
    return Table(
        "Pieces of five pixels or fewer, all images of nuclei, cells, tissue", header, cells
    )


def _is(job: Job, one: Contender) -> bool:
    return job.variant == one.variants[0]


def _cells(row: Row) -> list[str]:
    shown = []
    for column in COLUMNS:
        value = row.scores[column.key]
        if column.key == _COUNT:  # an image without objects would rule a mean
            value = float(np.median(row.of_images(_COUNT)))
        shown.append(number(value, row.intervals.get(column.key)))
    n_specks = f"{row.of_images('specks').sum():.0f}"
    seconds = rounded(float(np.median(row.of_images("seconds"))))
    return [row.name, str(len(row.values)), *shown, n_specks, seconds]
