"""Measure the default engine: waiting time, cost, memory, agreement of seeds.

    python -m benchmarks.engine [--repeats 3] [--data BSDS500 --images 5]

Prints a Markdown table. Scores on images with ground truth are those of
``python -m benchmarks table``.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
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
from sklearn.metrics import adjusted_rand_score
from torch import nn
from torch.nn import functional

from benchmarks import datasets, provenance
from napari_mmtseg import MMT, Kanezaki, Kim, segment, train
from napari_mmtseg.segmentation import drain, segment_steps
from napari_mmtseg.settings import Method

R = TypeVar("R")

PAPER_ITERATIONS = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a BSDS500 folder, for the agreement of seeds")
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where an iteration's time goes")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.profile:
        print(_profile(immunohistochemistry()))
        return
    if args.peak:
        print(_peak_mib(args.peak))
        return
    tissue = immunohistochemistry()
    print("| what | measured |\n| --- | --- |")

    segment(tissue, MMT(), axes="YXS")
    times = [_waiting(tissue) for _ in range(args.repeats)]
    first, whole = (median(column) for column in zip(*times, strict=True))
    _row("default, 512 x 512 RGB: whole / first labels", f"{whole:.1f} s / {first:.1f} s")

    ours, plain = _paper_step(tissue, args.repeats), _plain_step(tissue, args.repeats)
    _row("`paper` preset, an iteration, against a plain loop", f"{ours:.1f} s, {plain / ours:.1f}x")
    literal = plain * PAPER_ITERATIONS
    _row(f"default against the plain loop x {PAPER_ITERATIONS}", f"{literal / whole:.0f}x faster")

    for side in (256, 512, 1024, 2048):
        image = _of_side(tissue, side)
        learning, model = _timed(partial(train, image, MMT(), axes="YXS"))
        labelling, _ = _timed(partial(model.predict, image, axes="YXS"))
        _row(f"{side} x {side}: training / labelling", f"{learning:.1f} s / {labelling:.1f} s")
    result = drain(segment_steps(image, MMT(), axes="YXS"), None)
    recolouring, _ = _timed(lambda: result.labels(2))
    _row("recolouring 2048 x 2048 to two labels", f"{1000 * recolouring:.0f} ms")
    command = [sys.executable, "-m", "benchmarks.engine", "--peak", "2048"]
    peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    _row("peak memory beyond the import, 2048 x 2048 RGB", f"{peak} MiB")

    if args.data:
        found = datasets.subset(datasets.find(args.data, "bsds500"), str(args.images))
        images = [picture.read()[0] for picture in found.pictures]
        methods: tuple[type[Method], ...] = (MMT, Kim, Kanezaki)
        for cls in methods:
            agreement = np.mean([_agreement(image, cls) for image in images])
            _row(f"{cls.__name__}, five seeds, {len(images)} images: ARI", f"{agreement:.3f}")
        mirrored = np.mean([_mirrored(image) for image in images])
        _row("MMT, image against its mirror image: ARI", f"{mirrored:.3f}")
    print("\n" + "\n".join(f"{name}: {value}" for name, value in provenance.facts().items()))


def _row(what: str, measured: str) -> None:
    print(f"| {what} | {measured} |", flush=True)


def _timed(work: Callable[[], R]) -> tuple[float, R]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _waiting(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Return seconds to the first labels, as the widget shows them, and to the result."""
    start = time.perf_counter()
    run = segment_steps(image, MMT(), axes="YXS")
    next(run).snapshot().predict_plane(np.moveaxis(image, -1, 0), draft=True)
    first = time.perf_counter() - start
    for _ in run:
        pass
    return first, time.perf_counter() - start


def _paper_step(image: NDArray[np.uint8], repeats: int) -> float:
    """Return the median seconds of an iteration of the preset "paper"."""
    run = segment_steps(image, MMT.preset("paper"), axes="YXS")
    next(run)
    times = [_timed(lambda: next(run))[0] for _ in range(repeats)]
    run.close()
    return median(times)


def _profile(image: NDArray[np.uint8]) -> str:
    """Return a table of where the time of an iteration of the preset "paper" goes."""
    run = segment_steps(image, MMT.preset("paper"), axes="YXS")
    next(run)
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
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status_kib("VmRSS")
    segment(image, MMT(), axes="YXS")
    return (_status_kib("VmHWM") - before) // 1024


def _status_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def _agreement(image: NDArray[np.uint8], cls: type[Method]) -> float:
    """Return the mean pairwise adjusted Rand index of five seeds."""
    found = [segment(image, cls(seed=seed), axes="YXS").ravel() for seed in range(5)]
    return float(np.mean([adjusted_rand_score(a, b) for a, b in itertools.combinations(found, 2)]))


def _mirrored(image: NDArray[np.uint8]) -> float:
    """Return how far the labels of an image agree with those of its mirror image."""
    plain = segment(image, MMT(), axes="YXS")
    mirror = segment(np.ascontiguousarray(image[:, ::-1]), MMT(), axes="YXS")[:, ::-1]
    return float(adjusted_rand_score(plain.ravel(), mirror.ravel()))


if __name__ == "__main__":
    main()
