"""Score objects, count specks and take times: ``python -m benchmarks.quality.objects --data DIR``.

Prints Markdown tables, set by set, and writes them to the output folder beside the results, which
the next run goes on from. `benchmarks.quality.object_sets.find` says what DIR may hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.figures import provenance
from benchmarks.figures.tables import Table, rounded, write_results
from benchmarks.quality import method_runs, object_contenders, object_sets
from benchmarks.quality.contenders import Contender, warm_up
from benchmarks.quality.datasets import Dataset, Picture
from benchmarks.quality.object_contenders import contender
from benchmarks.quality.object_scoring import SEEDS, run_one, score_table, speck_table
from benchmarks.quality.object_sets import EXPECTED, NOT_OBJECTS, VOXELS, Voxel
from benchmarks.quality.store import Job, Result, Store
from napari_mmtseg.samples import nuclei_stack

PARTS = ("scores", "specks", "speed")
SPECKS = (
    *("MMT,output=classes", "MMT,output=areas", "MMT,output=objects"),
    *("MMT:nuclei,output=classes", "MMT:nuclei,output=areas", "MMT:nuclei,output=objects"),
)
_SIZES = {"512 x 512": 1, "64 x 512 x 512": 64}
_VOXEL = (0.8, 0.25, 0.25)  # of the generated stack
_NOTE = (
    "Means over images, in brackets the 95 % bootstrap interval; count error and time are medians, "
    "pieces of five pixels or fewer a sum."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; return 0, 1 where runs failed, 2 for input that cannot be used."""
    args = _parser().parse_args(arguments)
    return method_runs.told(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    entrants = _entrants(args.methods or object_contenders.DEFAULT, always=bool(args.methods))
    store = Store(args.output)
    if args.again:
        print(f"Running anew: {store.drop(set(args.again))} results dropped")
    made: list[Table] = []
    failed: dict[Job, str] = {}
    images = [part for part in ("scores", "specks") if part in args.only]
    if images and args.data is None:
        raise ValueError("Scores and specks want images: name their folder with --data")
    if "scores" in args.only:
        sets = _sets(args, scored=True)
        _tell(sets, args)
        results = _results(sets, entrants, store, args, failed)
        made += _score_tables(sets, entrants, results, args)
        write_results(store.folder / "results.csv", results)
    if "specks" in args.only:
        judged = _entrants([*SPECKS, *(args.methods or ())], always=False)
        results = _results(_sets(args, scored=False), judged, store, args, failed)
        made.append(speck_table(judged, results))
    if "speed" in args.only:
        made.append(_speed_table(entrants))
    state = provenance.code_state()
    old = sum(one.code != state for one in store.read().values())
    if old:
        print(f"{old} results come from another state of the package; --again METHOD runs it anew")
    about = "; ".join(f"{key} {value}" for key, value in provenance.facts().items())
    text = "\n".join([*(one.markdown() for one in made), f"{about}.", ""])
    (store.folder / "tables.md").write_text(text, "utf-8")
    print(text)
    return 1 if failed else 0


def _sets(args: argparse.Namespace, *, scored: bool) -> dict[str, Dataset]:
    found = object_sets.find(args.data, voxels=dict(args.spacing), scored=scored)
    return object_sets.seen(object_sets.subset(found, args.subset), args.seen)


def _entrants(names: Sequence[str], *, always: bool) -> list[Contender]:
    """Read the contenders; unless they were asked for, one that cannot be is skipped and told."""
    found = []
    for name in dict.fromkeys(names):
        try:
            found.append(contender(name))
        except (ValueError, TypeError) as error:
            if always:
                raise
            print(f"Skipped, {name}: {error}")
    return found


def _tell(sets: Mapping[str, Dataset], args: argparse.Namespace) -> None:
    """Say what is left out, and which voxels are taken for cubes."""
    for name in EXPECTED:
        if name not in sets:
            print(f"Skipped, not among these images: {name}")
    told = ", ".join(f"{name} ({why})" for name, why in NOT_OBJECTS.items())
    print(f"Not scored, since their truth is no things to count: {told}")
    known = {*VOXELS, *dict(args.spacing)}
    for name, dataset in sets.items():
        deep = [one for one in dataset.pictures if getattr(one, "voxel", None)]
        if deep and name not in known:
            print(f"{name}: the voxel's size is not known and taken as a cube (--spacing)")


def _results(
    sets: Mapping[str, Dataset],
    entrants: Sequence[Contender],
    store: Store,
    args: argparse.Namespace,
    failed: dict[Job, str],
) -> dict[Job, Result]:
    wanted = {
        Job(name, _identity(picture), one.variants[0], SEEDS[0]): picture
        for name, dataset in sets.items()
        for picture in dataset.pictures
        for one in entrants
    }
    results, wrong = method_runs.run(
        wanted, store, workers=args.workers, threads=args.threads, one=run_one
    )
    failed |= wrong
    return results


def _identity(picture: Picture) -> str:
    """Return the name with a digest: folders may hold other images by the same names."""
    digest = 0
    for path in (picture.image, *picture.truths):
        digest = zlib.crc32(path.read_bytes(), digest)
    return f"{picture.name} {digest:08x} {getattr(picture, 'voxel', None) or ''}".strip()


def _score_tables(
    sets: Mapping[str, Dataset],
    entrants: Sequence[Contender],
    results: Mapping[Job, Result],
    args: argparse.Namespace,
) -> list[Table]:
    scored = {job: one for job, one in results.items() if "f1_50" in one.scores}
    made = [
        score_table(name, entrants, {j: r for j, r in scored.items() if j.dataset == name})
        for name in sets
    ]
    bowl = {job: one for job, one in scored.items() if job.dataset.startswith("dsb ")}
    if len({job.dataset for job in bowl}) > 1:
        made.append(score_table("all of dsb2018", entrants, bowl))
    made[-1] = replace(made[-1], note=f"{made[-1].note} {_NOTE}".strip())
    return made


def _speed_table(entrants: Sequence[Contender]) -> Table:
    """Take the whole time from image to objects, of a generated plane and stack."""
    stack, _ = nuclei_stack((64, 512, 512), n_nuclei=300)
    cells = []
    for one in entrants:
        warm_up(one.variants[0])
        row = [one.name]
        for depth in _SIZES.values():
            image, axes = (stack, "ZYX") if depth > 1 else (stack[32], "YX")
            times = []
            for _ in range(1 if depth > 1 else 3):
                start = time.perf_counter()
                voxel = _VOXEL if depth > 1 else None
                object_contenders.outcome(one.variants[0], image, axes, voxel)
                times.append(time.perf_counter() - start)
            row.append(rounded(median(times)))
        cells.append(row)
    note = "Medians of three, of the stack once. Aim: 3 s and 60 s."
    return Table("Objects, whole time in seconds", ("method", *_SIZES), cells, note)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.quality.objects", description=__doc__)
    parser.add_argument("--data", type=Path, help="the folder of the images")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--subset", default="all", help="N of each set, or names (NAME*,NAME)")
    parser.add_argument("--methods", nargs="+", metavar="M", help=_METHODS_HELP)
    parser.add_argument("--seen", choices=tuple(object_sets.VIEWS), default="whole")
    voxel = "the voxel's size of a set or an image"
    parser.add_argument("--spacing", type=_spacing, nargs="+", default=[], help=voxel)
    parser.add_argument("--output", type=Path, default=Path("bench-output/objects"))
    parser.add_argument("--workers", type=int, default=1, help="processes at a time; 0: this one")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each process")
    parser.add_argument("--again", nargs="+", default=[], metavar="METHOD", help="run anew")
    return parser


_METHODS_HELP = (
    "otsu, smoothed, or METHOD[:PRESET][,SETTING=VALUE...][+watershed], such as MMT:nuclei or "
    "Kim:nuclei,n_labels=2+watershed"
)


def _spacing(text: str) -> tuple[str, Voxel]:
    name, _, sizes = text.partition("=")
    try:
        z, y, x = (float(one) for one in sizes.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no spacing: write it as nuclei3d=2,1,1"
        ) from None
    return name, (z, y, x)


if __name__ == "__main__":
    sys.exit(main())
