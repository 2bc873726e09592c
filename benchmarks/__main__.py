"""The command line: tables, modalities, steadiness, stability and figures."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import figure, provenance, report
from benchmarks.quality import contenders, datasets, method_runs, modalities, stability, steadiness
from benchmarks.quality.contenders import Contender
from benchmarks.quality.datasets import Dataset
from benchmarks.quality.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 where runs failed, 2 for input that cannot be used."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = _parser().parse_args(given)
    return method_runs.told(lambda: int(args.run(args, provenance.command(given))))


def _table(args: argparse.Namespace, command: str) -> int:
    dataset = _dataset(args)
    entrants = _entrants(args.methods or contenders.default_names(dataset.kind))
    store = Store(args.output)
    _forget(args, store)
    wanted = method_runs.jobs(dataset, entrants, args.seeds)
    if args.report_only:
        have = store.read()
        wanted = {job: picture for job, picture in wanted.items() if job in have}
    results, failed = method_runs.run(wanted, store, workers=args.workers, threads=args.threads)
    page = report.write(store, dataset, entrants, args.seeds, results, failed, command)
    print(f"{(args.output / 'tables.md').read_text('utf-8')}\nReport: {page}")
    return 1 if failed else 0


def _stability(args: argparse.Namespace, command: str) -> int:
    dataset = _dataset(args)
    entrants = _entrants(args.methods)
    store = Store(args.output)
    _forget(args, store)
    wanted = method_runs.jobs(dataset, entrants, args.seeds)
    results, failed = method_runs.run(wanted, store, workers=args.workers, threads=args.threads)
    page = stability.write(store, dataset, entrants, args.seeds, results, failed, command)
    print(f"{page.read_text('utf-8')}\nReport: {page}")
    return 1 if failed else 0


def _figure(args: argparse.Namespace, command: str) -> int:
    figure.draw(args.data, args.images, _entrants(args.methods or figure.DEFAULT), args.output)
    print(f"Figure: {args.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)

    table = commands.add_parser("table", help="run methods and write a report")
    _add_data(table)
    table.add_argument("--methods", nargs="+", metavar="M", help=_METHODS_HELP)
    table.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="S")
    table.add_argument("--report-only", action="store_true", help="from what there is; run nothing")
    table.set_defaults(run=_table)

    kinds = commands.add_parser("modalities", help=modalities.__doc__)
    modalities.add_arguments(kinds)
    kinds.set_defaults(run=modalities.run)

    changed = commands.add_parser("steady", help=steadiness.__doc__)
    steadiness.add_arguments(changed)
    changed.set_defaults(run=steadiness.run)

    steady = commands.add_parser("stability", help="do different seeds agree?")
    _add_data(steady)
    names = ["Kanezaki", "Kim", "MMT"]
    steady.add_argument("--methods", nargs="+", default=names, metavar="M", help=_METHODS_HELP)
    steady.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="S")
    steady.set_defaults(run=_stability)

    drawn = commands.add_parser("figure", help="draw all methods side by side")
    drawn.add_argument("--data", type=Path, help="a dsb2018 folder; without: samples")
    drawn.add_argument("--images", nargs="+", metavar="NAME", help="default: two stained, one dark")
    drawn.add_argument("--methods", nargs="+", metavar="M", help=_METHODS_HELP)
    drawn.add_argument("--output", type=Path, default=Path("bench-output/methods.png"))
    drawn.set_defaults(run=_figure)
    return parser


_METHODS_HELP = (
    "blank, otsu, KMeans:grid, Felzenszwalb:grid, or METHOD[:PRESET][,SETTING=VALUE...], such as "
    "MMT:paper or Kim,n_iterations=20"
)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="the folder; sample needs none")
    parser.add_argument("--kind", choices=datasets.KINDS, default="folder")
    parser.add_argument("--split", choices=("train", "val", "test"), default="val")
    parser.add_argument("--axes", default="", help="of a folder's images, such as ZYX or CYX")
    parser.add_argument("--subset", default="all", help="N, spread evenly, or names (NAME*,NAME)")
    parser.add_argument("--output", type=Path, default=Path("bench-output/report"))
    parser.add_argument("--workers", type=int, default=1, help="processes at a time; 0: this one")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each process")
    parser.add_argument("--again", nargs="+", default=[], metavar="METHOD", help="run anew")


def _dataset(args: argparse.Namespace) -> Dataset:
    found = datasets.find(args.data, args.kind, split=args.split, axes=args.axes)
    for name in found.skipped:
        print(f"Skipped, no ground truth: {name}")
    return datasets.subset(found, args.subset)


def _entrants(names: Sequence[str]) -> list[Contender]:
    return [contenders.parse(name) for name in dict.fromkeys(names)]


def _forget(args: argparse.Namespace, store: Store) -> None:
    if args.again:
        print(f"Running anew: {store.drop(set(args.again))} results dropped")


if __name__ == "__main__":
    sys.exit(main())
