"""Measure the default engine against its aims: waiting, cost, memory, steadiness, scores.

    python -m benchmarks.speed.engine [--data DIR]

Prints a Markdown table. DIR holds the folders bsds500 and dsb2018, as
``python -m benchmarks table`` reads them; without it there are no scores.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from skimage.data import immunohistochemistry
from skimage.transform import resize
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.figures import provenance
from benchmarks.quality import contenders, datasets, method_runs, scoring, summary
from benchmarks.quality.store import Store
from benchmarks.speed.memory import forget_peak, peak_mib, resident_mib
from napari_mmtseg import MMT, Kanezaki, Kim, segment, train
from napari_mmtseg.engine import Run, drain
from napari_mmtseg.metrics import adjusted_rand
from napari_mmtseg.prediction.label_image import Segmentation
from napari_mmtseg.segmentation import segment_steps
from napari_mmtseg.settings import Method

R = TypeVar("R")
Row = tuple[str, str, str]
"""What is measured, the aim, the figure."""

PAPER_ITERATIONS = 1000
_SIDES = (256, 512, 1024, 2048, 4096)
_SEEDS = range(5)

FELZENSZWALB = "Felzenszwalb,scale=700,min_size=200,intensity=full"
"""The best of the grid on all validation images of BSDS500; so is k = 2 for k-means."""
K_MEANS = "KMeans:plain,n_labels=2"
TWO = "MMT,n_labels=2"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a folder with bsds500 and dsb2018 in it")
    parser.add_argument("--subset", default="all", help="of its images: N, or names")
    parser.add_argument("--images", type=int, default=5, help="for the agreement of seeds")
    parser.add_argument("--output", type=Path, default=Path("bench-output/engine"))
    parser.add_argument("--profile", action="store_true", help="where an iteration's time goes")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    tissue = immunohistochemistry()
    if args.profile:
        print(_profile(tissue))
        return
    if args.peak:
        print(_peak_mib(args.peak))
        return
    parts = [_speed(tissue, args.repeats), _growth(tissue)]
    if args.data:
        bsds500, dsb2018 = args.data / "bsds500", args.data / "dsb2018"
        parts += [
            _steadiness(bsds500, args.images),
            photographs(bsds500, args.subset, args.output),
            nuclei(dsb2018, args.subset, args.output),
        ]
    print("| what | aim | measured |\n| --- | --- | --- |")
    for row in itertools.chain(*parts):
        print(f"| {' | '.join(row)} |", flush=True)
    print("\n" + "\n".join(f"{name}: {value}" for name, value in provenance.facts().items()))


def _speed(tissue: NDArray[np.uint8], repeats: int) -> Iterator[Row]:
    plain = _plain_step(tissue, repeats)  # first: ours leaves memory that it would find
    segment(tissue, MMT(), axes="YXS")
    times = [_waiting(tissue) for _ in range(repeats)]
    first, whole = (median(column) for column in zip(*times, strict=True))
    both = f"{whole:.1f} s / {first:.1f} s"
    yield "default, 512 x 512 RGB: whole / first labels", "5 s / 0.7 s", both

    ours, gflop = _paper_step(tissue, repeats)
    literal = plain * PAPER_ITERATIONS / whole
    yield f"default against the plain loop x {PAPER_ITERATIONS}", "1000x", f"{literal:.0f}x"
    faster = f"{plain / ours:.1f}x ({plain:.1f} s, {ours:.1f} s)"
    yield "`paper` preset, an iteration, against a plain loop", "3x", faster
    limit = _matrix_product_gflops(repeats)
    rate = f"{gflop / ours:.0f} of {limit:.0f} GFLOP/s ({gflop:.0f} GFLOP)"
    yield "the same: arithmetic a second, of a matrix product's", "", rate

    models = [train(tissue, MMT(), axes="YXS")]
    with torch.autocast("cpu", torch.bfloat16):
        halved, _ = _paper_step(tissue, repeats)
        models.append(train(tissue, MMT(), axes="YXS"))
    agreement = adjusted_rand(*(model.predict(tissue, axes="YXS") for model in models))
    measured = f"{ours / halved:.1f}x faster / {agreement:.2f}"
    yield "`paper` iteration in bfloat16 / the default's labels: adjusted Rand", "", measured


def _growth(tissue: NDArray[np.uint8]) -> Iterator[Row]:
    for side in _SIDES:
        image = _of_side(tissue, side)
        learning, model = _timed(partial(train, image, MMT(), axes="YXS"))
        labelling, _ = _timed(partial(model.predict, image, axes="YXS"))
        aim = "constant / linear" if side == _SIDES[0] else ""
        measured = f"{learning:.1f} s / {labelling:.1f} s"
        yield f"{side} x {side}: training / labelling", aim, measured
    image = _of_side(tissue, 2048)
    result = drain(segment_steps(image, MMT(), axes="YXS"), None)
    recolouring, _ = _timed(lambda: result.labels(2))
    yield "recolouring 2048 x 2048 to two labels", "200 ms", f"{1000 * recolouring:.0f} ms"
    command = [sys.executable, "-m", "benchmarks.speed.engine", "--peak", "2048"]
    peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    yield "peak memory beyond the import, 2048 x 2048 RGB", "1 GB", f"{peak} MiB"


def _steadiness(folder: Path, n_images: int) -> Iterator[Row]:
    found = datasets.subset(datasets.find(folder, "bsds500"), str(n_images))
    images = [picture.read()[0] for picture in found.pictures]
    methods: tuple[type[Method], ...] = (MMT, Kim, Kanezaki)
    for cls in methods:
        agreement = np.mean([_agreement(image, cls) for image in images])
        what = f"{cls.__name__}, five seeds, {len(images)} images: adjusted Rand"
        yield what, "0.90" if cls is MMT else "", f"{agreement:.3f}"
    mirrored = np.mean([_mirrored(image) for image in images])
    yield "MMT, image against its mirror image: adjusted Rand", "", f"{mirrored:.3f}"


def photographs(folder: Path, subset: str, output: Path) -> Iterator[Row]:
    """Score classes and regions on the validation images of BSDS500."""
    names = [K_MEANS, FELZENSZWALB, "MMT:areas", "MMT:areas,output=areas"]
    table, dataset = _table(folder, "bsds500", names, subset, output)
    kmeans, felzenszwalb, classes, regions = (table[name].scores for name in names)
    on = f"BSDS500 val, {len(dataset.pictures)} images, `areas`"
    for key, aim in (("accuracy", "0.65"), ("covering", "0.57")):
        measured = f"{regions[key]:.3f} against {felzenszwalb[key]:.3f}"
        yield f"{on}: regions, {key}", f"{aim}, above Felzenszwalb", measured
    measured = f"{classes['accuracy']:.3f} against {kmeans['accuracy']:.3f}"
    yield f"{on}: classes, accuracy", "0.10 above k-means", measured


def nuclei(folder: Path, subset: str, output: Path) -> Iterator[Row]:
    """Score two labels on the images of dsb2018, all and kind by kind."""
    table, dataset = _table(folder, "dsb2018", ["otsu", TWO], subset, output)
    pictures = dataset.pictures
    for group in ("", *sorted({picture.group for picture in pictures})):
        images = [picture.name for picture in pictures if group in ("", picture.group)]
        ours, otsu = (
            np.nanmean(table[name].of_images("foreground", images)) for name in (TWO, "otsu")
        )
        what = f"dsb2018, {len(images)} {group or 'of all kinds'}, two labels: foreground IoU"
        aim = "above Otsu" if group else "0.80, above Otsu"
        yield what, aim, f"{ours:.3f} against {otsu:.3f}"


def _table(
    folder: Path, kind: str, names: list[str], subset: str, output: Path
) -> tuple[dict[str, summary.Row], datasets.Dataset]:
    """Run what has no result yet, and return each contender's row and the images."""
    dataset = datasets.subset(datasets.find(folder, kind), subset)
    entrants = [contenders.parse(name) for name in names]
    wanted = method_runs.jobs(dataset, entrants, [0])
    results, failed = method_runs.run(wanted, Store(output / kind), threads=os.cpu_count() or 1)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed; the same command tries them again")
    rows = summary.rows(results, entrants, [0], scoring.COLUMNS[kind])
    return {row.name: row for row in rows}, dataset


def _timed(work: Callable[[], R]) -> tuple[float, R]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _waiting(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Return seconds to the first labels, as the widget shows them, and to the result."""
    start = time.perf_counter()
    run = segment_steps(image, MMT(), axes="YXS")
    next(run).snapshot().draft().predict(image, axes="YXS")
    first = time.perf_counter() - start
    for _ in run:
        pass
    return first, time.perf_counter() - start


def _paper_run(image: NDArray[np.uint8]) -> Run[Segmentation]:
    """Begin a run of the preset "paper" that already has all the memory that it needs."""
    run = segment_steps(image, MMT.preset("paper"), axes="YXS")
    for _ in range(6):
        next(run)
    return run


def _paper_step(image: NDArray[np.uint8], repeats: int) -> tuple[float, float]:
    """Return the median seconds of an iteration of the preset "paper", and its GFLOP."""
    run = _paper_run(image)
    times = [_timed(lambda: next(run))[0] for _ in range(repeats)]
    with FlopCounterMode(display=False) as counter:
        next(run)
    run.close()
    return median(times), counter.get_total_flops() / 1e9


def _matrix_product_gflops(repeats: int) -> float:
    """Return how many GFLOP a second a product of large matrices reaches, in float32."""
    n = 2048
    a, b = torch.rand(n, n), torch.rand(n, n)
    seconds = median(_timed(lambda: a @ b)[0] for _ in range(10 * repeats))
    return float(2 * n**3 / seconds / 1e9)


def _profile(image: NDArray[np.uint8]) -> str:
    """Return a table of where the time of an iteration of the preset "paper" goes."""
    run = _paper_run(image)
    with torch.profiler.profile() as profile:
        next(run)
    run.close()
    table: str = profile.key_averages().table("self_cpu_time_total", row_limit=12)
    return table


def _plain_step(image: NDArray[np.uint8], repeats: int) -> float:
    """Return the median seconds of an iteration, written as the paper reads."""

    def network() -> nn.Sequential:
        layers: list[nn.Module] = []
        for channels in (3, 100, 100):
            layers += [nn.Conv2d(channels, 100, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(100)]
        return nn.Sequential(*layers, nn.Conv2d(100, 100, 1), nn.BatchNorm2d(100))

    pixels = torch.from_numpy(image / 255).float().permute(2, 0, 1)[None]
    students, teachers = [network(), network()], [network(), network()]
    optimisers = [torch.optim.SGD(one.parameters(), 0.1, 0.9) for one in students]

    def step() -> None:
        for one, other in ((0, 1), (1, 0)):
            responses = students[one](pixels)
            with torch.no_grad():
                taught = teachers[other](pixels).argmax(1).flatten()
            own = responses.argmax(1).flatten()
            overlap = np.zeros((100, 100))
            np.add.at(overlap, (taught.numpy(), own.numpy()), 1)
            order = torch.from_numpy(linear_sum_assignment(overlap, maximize=True)[1])
            loss = functional.cross_entropy(
                responses, order[taught].view_as(responses[:, 0]).long()
            )
            for axis in (2, 3):
                loss = loss + responses.diff(dim=axis).abs().mean()
            optimisers[one].zero_grad()
            loss.backward()
            optimisers[one].step()
            with torch.no_grad():
                both = zip(teachers[one].parameters(), students[one].parameters(), strict=True)
                for mean, new in both:
                    mean.mul_(0.999).add_(new, alpha=0.001)

    step()
    return median(_timed(step)[0] for _ in range(repeats))


def _of_side(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    scaled: NDArray[np.uint8] = (255 * resize(image, (side, side))).astype(np.uint8)
    return scaled


def _peak_mib(side: int) -> int:
    """Return the peak memory of a run beyond what importing and the image take (Linux alone)."""
    image = _of_side(immunohistochemistry(), side)
    segment(image[:64, :64], MMT(n_iterations=1), axes="YXS")
    forget_peak()
    before = resident_mib()
    segment(image, MMT(), axes="YXS")
    return peak_mib() - before


def _agreement(image: NDArray[np.uint8], cls: type[Method]) -> float:
    """Return the mean pairwise adjusted Rand index of five seeds."""
    found = [segment(image, cls.preset("default", seed=seed), axes="YXS") for seed in _SEEDS]
    return float(np.mean([adjusted_rand(a, b) for a, b in itertools.combinations(found, 2)]))


def _mirrored(image: NDArray[np.uint8]) -> float:
    """Return how far the labels of an image agree with those of its mirror image."""
    plain = segment(image, MMT(), axes="YXS")
    mirror = segment(np.ascontiguousarray(image[:, ::-1]), MMT(), axes="YXS")[:, ::-1]
    return adjusted_rand(plain, mirror)


if __name__ == "__main__":
    main()
