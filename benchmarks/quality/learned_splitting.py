"""Score learned splits of nuclei: ``python -m benchmarks.quality.learned_splitting --data DIR``.

All rows split the nuclei that the preset `nuclei` of MMT finds; its label is the one that suits the
truth best, so the table judges the split and nothing else. No row sees a true object.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.io import imread

from benchmarks.quality import splitting
from benchmarks.quality.splitting import Scene, Teaching, scene
from benchmarks.quality.splitting.classical import Nuclei, nuclei
from napari_mmtseg import MMT, train
from napari_mmtseg.metrics import object_scores

Numbers = NDArray[np.int32]
SETS = {
    "dark": ("dsb2018/images/dark_*", "dsb2018/labels/{}"),
    "colour": ("dsb2018/images/colour_*", "dsb2018/labels/{}"),
    "nuclei2d": ("microscopy/nuclei2d_yx.tif", "microscopy/nuclei2d_labels_yx.tif"),
}
LEARNED = {
    "one network": Teaching(),
    "mean teacher": Teaching(teachers="mean", trust=0.3),
    "mutual mean teachers": Teaching(teachers="mutual", trust=0.3),
}
_DROPPED = 0.05


class Case(NamedTuple):
    """An image that is scored."""

    truth: Numbers
    nuclei: Nuclei
    scene: Scene


def main() -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds dsb2018 and microscopy")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--every", type=int, default=2, help="take every n-th image")
    parser.add_argument("--rows", nargs="*", choices=LEARNED, default=list(LEARNED))
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each row")
    parser.add_argument("--steps", type=int, default=Teaching().n_steps)
    parser.add_argument("--alone", type=int, default=0, help="steps of a network for each image")
    parser.add_argument("--bfloat16", action="store_true", help="train in bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    print("| images | split | F1 at .5 | F1 at .75 | above the roundest at .5 | s |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in args.sets:
        cases = _read(args.data, name, args.every)
        title = f"{name}, {len(cases)}"
        rows = {
            "distance, smoothed by a tenth": lambda c: c.nuclei.splits["distance 0.1"],
            "the roundest of eight": lambda c: c.nuclei.best,
            "the same, specks dropped": lambda c: _without_specks(c.nuclei),
        }
        reference = _scores(cases, rows["the roundest of eight"])
        for row, split in rows.items():
            _print(title, row, _scores(cases, split), reference, 0)
        for row in args.rows:
            for seed in range(args.seeds):
                teaching = replace(
                    LEARNED[row], seed=seed, n_steps=args.steps, bfloat16=args.bfloat16
                )
                start = time.perf_counter()
                splitter = _finished(splitting.train([case.scene for case in cases], teaching))
                seconds = time.perf_counter() - start
                found = _scores(cases, partial(_split, splitter))
                _print(title, f"{row}, seed {seed}", found, reference, seconds)
        if args.alone:
            start = time.perf_counter()
            found = _scores(cases, partial(_taught_alone, args.alone, args.bfloat16))
            seconds = (time.perf_counter() - start) / len(cases)
            _print(title, f"one network an image, {args.alone} steps", found, reference, seconds)


def _read(data: Path, name: str, every: int) -> list[Case]:
    images, labels = SETS[name]
    paths = sorted(data.glob(images))[::every]
    if not paths:
        raise SystemExit(f"{data} holds no {images}; give the folder with dsb2018 and microscopy")
    cases = []
    for path in paths:
        image, truth = imread(path), imread(data / labels.format(path.name)).astype(np.int32)
        image, axes = (image[..., :3], "YXS") if image.ndim == 3 else (image, "YX")
        model = train(image, MMT.preset("nuclei", output="classes"), axes=axes)
        found = model.predict(image, axes=axes)
        pixels, _ = model.scaling.apply(model.frames(image, axes).read(0))
        label = max(np.setdiff1d(found, 0), key=lambda one: _iou(found == one, truth > 0))
        one = nuclei(pixels, found, int(label))
        splits = [one.best, *one.splits.values()]
        contrast = one.contrast.astype(np.float32)
        cases.append(Case(truth, one, scene(contrast, one.foreground, splits, one.diameter_px)))
    return cases


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _without_specks(one: Nuclei) -> Numbers:
    areas = np.bincount(one.best.ravel())
    kept = areas >= _DROPPED * np.pi / 4 * one.diameter_px**2
    return np.where(kept[one.best], one.best, 0)


def _split(splitter: splitting.Splitter, case: Case) -> Numbers:
    return splitter.split(case.scene, case.nuclei.foreground)


def _taught_alone(steps: int, bfloat16: bool, case: Case) -> Numbers:
    """Train on one image; where none of its objects can be trusted, keep the classical split."""
    teaching = Teaching(n_steps=steps, lessons_per_step=4, n_lessons=100, bfloat16=bfloat16)
    try:
        splitter = _finished(splitting.train([case.scene], teaching))
    except ValueError:
        return case.nuclei.best
    return _split(splitter, case)


def _finished(training: Any) -> splitting.Splitter:
    while True:
        try:
            next(training)
        except StopIteration as end:
            splitter: splitting.Splitter = end.value
            return splitter


def _scores(cases: Sequence[Case], split: Callable[[Case], Numbers]) -> NDArray[np.float64]:
    """Return F1 at IoU .5 and .75, (N, 2)."""
    return np.array([list(_f1(split(case), case.truth)) for case in cases])


def _f1(found: Numbers, truth: Numbers) -> Iterable[float]:
    return (one.f1 for one in object_scores(found, truth, thresholds=(0.5, 0.75)).values())


def _print(
    title: str,
    row: str,
    found: NDArray[np.float64],
    reference: NDArray[np.float64],
    seconds: float,
) -> None:
    gain = found[:, 0] - reference[:, 0]
    spread = f" ± {gain.std(ddof=1) / len(gain) ** 0.5:.3f}" if len(gain) > 1 else ""
    half, most = found.mean(0)
    print(
        f"| {title} | {row} | {half:.3f} | {most:.3f} | {gain.mean():+.3f}{spread} "
        f"| {seconds:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
