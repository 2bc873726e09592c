"""Score methods on many kinds of images."""

from __future__ import annotations

import argparse
import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import provenance
from benchmarks.figures.provenance import code_state
from benchmarks.figures.tables import Table, number, rounded, write_results
from benchmarks.quality import contenders, method_runs, mosaics, object_sets, summary
from benchmarks.quality.contenders import Contender
from benchmarks.quality.datasets import Dataset, Picture
from benchmarks.quality.object_sets import ObjectPicture
from benchmarks.quality.scoring import Column
from benchmarks.quality.store import Job, Result, Store
from napari_mmtseg import metrics

SEEDS = [0]
TRUE_NUMBER = "n_labels=true"
"""In a method's name: as many labels as the truth has classes."""
DEFAULT = (
    *("blank", "otsu", f"KMeans:plain,{TRUE_NUMBER}", "KMeans:plain"),
    *(f"MMT,{TRUE_NUMBER}", "MMT", f"MMT,look_at=intensity,{TRUE_NUMBER}"),
)
LEFT_OUT = {
    "bsds500": "photographs, with a table of their own",
    "bbbc007": "the labels are scribbles",
    "maize_clsm": "all of it is cells",
    "plant3d_ovule_cells": "all of it is cells",
}
"""Sets that are not scored, and why."""
FOREGROUND = {"vnc_sstem": (1,)}
"""The classes that are looked for where they are not all but 0: membranes."""
_OF_REGIONS = ("mosaic", "brodatz", "texture")
"""How the names of sets begin whose truth numbers regions, none of which is ground."""

NAMING, ACCURACY = "naming", "accuracy"
COLUMNS = (
    Column(
        "best",
        "best label",
        "IoU of the foreground with the single label that fits it best, chosen with the truth.",
        interval=True,
    ),
    Column(
        NAMING,
        "best naming",
        "Each label named as the class that most of its pixels are of: mean IoU of the classes.",
        interval=True,
    ),
    Column("named", "named foreground", "Foreground IoU after the same naming."),
    Column(ACCURACY, "accuracy", "Hungarian accuracy: one label for each class.", interval=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--data", type=Path, help="the folder of the sets; without: mosaics alone")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="how their names begin")
    parser.add_argument("--subset", default="all", help="N of each set, or names (NAME*,NAME)")
    parser.add_argument("--methods", nargs="+", metavar="M", default=list(DEFAULT), help=_HELP)
    parser.add_argument("--output", type=Path, default=Path("bench-output/modalities"))
    parser.add_argument("--workers", type=int, default=1, help="processes at a time; 0: this one")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each process")
    parser.add_argument("--again", nargs="+", default=[], metavar="METHOD", help="run anew")


_HELP = (
    f"blank, otsu, or METHOD[:PRESET][,SETTING=VALUE...]; {TRUE_NUMBER} for as many labels as the "
    "truth has classes"
)


def run(args: argparse.Namespace, command: str) -> int:
    """Score what has no scores yet, print and write the tables; return 1 where runs failed."""
    entrants = [contender(name) for name in dict.fromkeys(args.methods)]
    sets = object_sets.subset(find(args.data, args.sets or ()), args.subset)
    store = Store(args.output)
    if args.again:
        print(f"Running anew: {store.drop(set(args.again))} results dropped")
    wanted = {
        Job(name, _identity(picture), one.variants[0], SEEDS[0]): picture
        for name, dataset in sets.items()
        for picture in dataset.pictures
        for one in entrants
    }
    results, failed = method_runs.run(
        wanted, store, workers=args.workers, threads=args.threads, one=run_one
    )
    made = tables(sets, entrants, results)
    state = code_state()
    old = sum(one.code != state for one in results.values())
    about = "; ".join(f"{key} {value}" for key, value in provenance.facts().items())
    text = [f"```sh\n{command}\n```", "", *(one.markdown() for one in made)]
    text += [f"{old} results come from another state of the package."] if old else []
    page = "\n".join([*text, f"{about}.", ""])
    (store.folder / "tables.md").write_text(page, "utf-8")
    write_results(store.folder / "results.csv", results)
    print(page)
    return 1 if failed else 0


def find(data: Path | None, names: Sequence[str] = ()) -> dict[str, Dataset]:
    """List the sets of a folder and the mosaics; say which are left out.

    Parameters
    ----------
    data : Path, optional
        As for `benchmarks.quality.object_sets.find`.
    names : sequence of str
        How the names of the sets wanted begin; empty for all.

    Raises
    ------
    ValueError
        If none is left.
    """
    found = {}
    if data is not None:
        found = object_sets.find(data, left_out=tuple(LEFT_OUT))
        told = ", ".join(f"{name} ({why})" for name, why in LEFT_OUT.items())
        print(f"Not scored: {told}")
        for name in object_sets.EXPECTED:
            if name not in found:
                print(f"Skipped, not among these images: {name}")
    found |= mosaics.sets()
    wanted = {
        name: one for name, one in found.items() if not names or name.startswith(tuple(names))
    }
    if not wanted:
        raise ValueError(f"No set is called {', '.join(names)}; there are {', '.join(found)}")
    return wanted


def contender(text: str) -> Contender:
    """Read a contender; see `benchmarks.quality.contenders.parse`.

    Raises
    ------
    ValueError, TypeError
        If there is no such method, preset or setting, or it is a grid.
    """
    parsed = contenders.parse(text.replace(TRUE_NUMBER, "n_labels=2"))
    if parsed.is_grid:
        raise ValueError(f"{text} is a grid of settings; name one")
    if TRUE_NUMBER not in text:
        return parsed
    settings = {**json.loads(parsed.variants[0]), "n_labels": "true"}
    return Contender(text, (contenders.canonical(settings),))


def run_one(job: Job, picture: Picture, folder: Path, effort: str) -> Result:
    """Segment and score one image, and keep its labels."""
    image, axes, truths = picture.read()
    truth = classes_of(truths[0], job.dataset)
    settings = json.loads(job.variant)
    if settings.get("n_labels") == "true":
        settings["n_labels"] = len(np.unique(truth))
    voxel = picture.voxel if isinstance(picture, ObjectPicture) else None
    start = time.perf_counter()
    labels = contenders.labels_of(json.dumps(settings), image, axes, SEEDS[0], voxel)
    seconds = time.perf_counter() - start
    Store(folder).save_labels(job, labels)
    scores = score(labels, truth, has_ground=not job.dataset.startswith(_OF_REGIONS))
    return Result(job, round(seconds, 4), len(np.unique(labels)), scores, code_state(), effort)


def classes_of(truth: NDArray[Any], dataset: str) -> NDArray[np.int64]:
    """Return the classes that a set asks for: regions, or foreground 1 on ground 0."""
    if dataset.startswith(_OF_REGIONS):
        return truth.astype(np.int64)
    wanted = np.isin(truth, FOREGROUND[dataset]) if dataset in FOREGROUND else truth != 0
    return wanted.astype(np.int64)


def score(labels: NDArray[Any], truth: NDArray[np.int64], *, has_ground: bool) -> dict[str, float]:
    """Return every score of one image, by the keys of the columns."""
    named = named_by_majority(labels, truth)
    ious = [
        ((named == one) & (truth == one)).sum() / ((named == one) | (truth == one)).sum()
        for one in np.unique(truth)
    ]
    found = {
        "best": metrics.foreground_iou(labels, truth) if has_ground else np.nan,
        NAMING: np.mean(ious),
        "named": ious[-1] if has_ground else np.nan,
        ACCURACY: metrics.hungarian_accuracy(labels, truth),
    }
    return {key: float(value) for key, value in found.items()}


def named_by_majority(labels: NDArray[Any], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each label the class that most of its pixels are of, the smallest of equal ones."""
    names, place = np.unique(labels, return_inverse=True)
    classes, which = np.unique(truth, return_inverse=True)
    flat = place.ravel() * len(classes) + which.ravel()
    counts = np.bincount(flat, minlength=len(names) * len(classes))
    most = counts.reshape(len(names), len(classes)).argmax(1)
    found: NDArray[np.int64] = classes[most[place.ravel()]].reshape(labels.shape)
    return found


def tables(
    sets: Mapping[str, Dataset], entrants: Sequence[Contender], results: Mapping[Job, Result]
) -> list[Table]:
    """Draw up a table for each set, and the means over sets."""
    made = []
    means: dict[str, list[float]] = {one.name: [] for one in entrants}
    for name in sets:
        here = {job: one for job, one in results.items() if job.dataset == name}
        rows = summary.rows(here, entrants, SEEDS, COLUMNS)
        cells = []
        for row in rows:
            means[row.name].append(row.scores[NAMING])
            shown = [number(row.scores[c.key], row.intervals.get(c.key)) for c in COLUMNS]
            counts = f"{np.median(row.of_images('n_labels')):.0f}"
            seconds = rounded(float(np.median(row.of_images("seconds"))))
            cells.append([row.name, str(len(row.values)), *shown, counts, seconds])
        header = ("method", "images", *(c.title for c in COLUMNS), "labels", "time, s")
        made.append(Table(name, header, cells))
    cells = [
        [name, str(len(values)), *map(number, values), number(float(np.mean(values)))]
        for name, values in means.items()
        if len(values) == len(sets)
    ]
    header = ("method", "sets", *sets, "mean")
    note = " ".join(f"{c.title}: {c.meaning}" for c in COLUMNS)
    note += " In brackets the 95 % bootstrap interval over images; labels and time are medians."
    made.append(Table("Best naming, mean of each set, and of the sets", header, cells, note))
    return made


def _identity(picture: Picture) -> str:
    """Return the name with a digest, as folders may hold other images by the same names."""
    if not picture.truths:  # it is made
        return picture.name
    digest = 0
    for path in (picture.image, *picture.truths):
        digest = zlib.crc32(path.read_bytes(), digest)
    return f"{picture.name} {digest:08x}"
