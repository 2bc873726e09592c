"""Score learning from strokes and labels: ``python -m benchmarks.quality.teaching --data DIR``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from skimage.io import imread
from sklearn.ensemble import RandomForestClassifier

from benchmarks.figures import provenance
from benchmarks.quality.strokes import simulated
from napari_mmtseg import MMT, train
from napari_mmtseg.methods import Taught

SETS = {
    "stained": ("dsb2018", "colour_*"),
    "fluorescence": ("dsb2018", "dark_*"),
    "brightfield": ("dsb2018", "bright_*"),
    "membranes": ("modalities/isbi2012", "*"),
    "nerve cord": ("modalities/vnc_sstem", "*"),
    "glands": ("modalities/glas", "*"),
    "H&E nuclei": ("modalities/monuseg_test", "*"),
}
"""The folder of each set, and how its files are called."""
COUNTS = (3, 6, 12)
LABELLED = (1, 2, 5)
_SIDE_PX = 512
"""Of the middle of an image, which is used."""
_MEMBRANE = 1

Found = NDArray[np.bool_]
Teachers = Literal["none", "own", "mutual"]


def forest(image: NDArray[Any], axes: str, strokes: NDArray[np.int64]) -> Found:
    """Learn as ilastik, Labkit and APOC do: a random forest on scikit-image's features."""
    rows = _basic_features(image, axes)
    painted = strokes.ravel() > 0
    trees = RandomForestClassifier(100, random_state=0, n_jobs=1)
    trees.fit(rows[painted], strokes.ravel()[painted])
    found: Found = (trees.predict(rows) == 2).reshape(strokes.shape)
    return found


def naming(image: NDArray[Any], axes: str, strokes: NDArray[np.int64]) -> Found:
    """Name the clusters of a model that saw no stroke."""
    model = train(image, MMT(), axes=axes).with_classes(image, strokes, axes=axes)
    found: Found = model.predict(image, axes=axes) == 2
    return found


def binding(image: NDArray[Any], axes: str, strokes: NDArray[np.int64]) -> Found:
    """Train with strokes that bind MMT's own networks."""
    model = train(image, MMT(strokes="bind"), axes=axes, scribbles=strokes)
    found: Found = model.predict(image, axes=axes) == 2
    return found


def teaching(teachers: Teachers, *, perturbed: bool = False) -> Callable[..., Found]:
    """Teach by strokes, with teachers or without."""

    def taught(image: NDArray[Any], axes: str, strokes: NDArray[np.int64]) -> Found:
        method = Taught(teachers=teachers, perturbation="on" if perturbed else "automatic")
        model = train(image, method, axes=axes, scribbles=strokes)
        found: Found = model.predict(image, axes=axes) == 2
        return found

    return taught


ROWS: dict[str, Callable[..., Found]] = {
    "random forest": forest,
    "naming": naming,
    "strokes that bind": binding,
    "taught": teaching("none"),
    "perturbed, no teacher": teaching("none", perturbed=True),
    "own teacher": teaching("own"),
    "mutual teachers": teaching("mutual"),
}


def main() -> None:
    """Score what has no score yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=3, help="of each set")
    parser.add_argument("--seeds", type=int, default=2, help="users for each image")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--counts", nargs="+", type=int, default=list(COUNTS))
    parser.add_argument("--labels", action="store_true", help="labelled images instead of strokes")
    parser.add_argument("--time", action="store_true", help="how long an answer takes, instead")
    parser.add_argument("--every", type=int, default=1, help="of the other images is scored")
    parser.add_argument("--output", type=Path, default=Path("bench-output/teaching.jsonl"))
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    known = _known(args.output)
    command = provenance.command(sys.argv[1:]).replace(
        "-m benchmarks ", "-m benchmarks.quality.teaching "
    )
    print(f"```sh\n{command}\n```\n")
    if args.time:
        print(_of_time(args))
    elif args.labels:
        print(_of_labels(args, known))
    else:
        print(_of_strokes(args, known))
    print("; ".join(f"{key} {value}" for key, value in provenance.facts().items()))


def pictures(data: Path, name: str, count: int) -> list[tuple[str, NDArray[Any], str, Found]]:
    """Read some images of a set, spread evenly: their name, pixels, axes and foreground."""
    folder, pattern = SETS[name]
    files = sorted((data / folder / "images").glob(pattern))
    count = min(count, len(files))
    found = []
    for path in (files[i * len(files) // count] for i in range(count)):
        image = _middle(imread(path))
        truth = _middle(imread(next((data / folder / "labels").glob(f"{path.stem}.*"))))
        if name == "fluorescence":
            image = image[..., 0]
        foreground = truth == _MEMBRANE if name == "nerve cord" else truth > 0
        axes = "YX" if image.ndim == 2 else "YXS"
        found.append((path.stem, image, axes, foreground))
    return found


def foreground_iou(found: Found, truth: Found, left_out: Found) -> float:
    """Return the intersection over union of the foreground, on the rest of the image."""
    either = (found | truth) & ~left_out
    return float((found & truth & ~left_out).sum() / max(1, either.sum()))


def _of_strokes(args: argparse.Namespace, known: dict[str, list[float]]) -> str:
    for name in SETS:
        for stem, image, axes, truth in pictures(args.data, name, args.images):
            for count in args.counts:
                for seed in range(args.seeds):
                    strokes = simulated(truth + np.int64(1), count, seed)
                    for row in args.rows:
                        key = f"{name}|{stem}|{count}|{seed}|{row}"
                        if key not in known:
                            start = time.process_time()
                            found = ROWS[row](image, axes, strokes)
                            seconds = time.process_time() - start
                            score = foreground_iou(found, truth, strokes > 0)
                            _append(args.output, key, known, [score, seconds])
    lines = []
    for count in args.counts:
        lines += [f"{count} strokes", "", f"| | {' | '.join(SETS)} | mean | processor, s |"]
        lines += ["|---" * (len(SETS) + 3) + "|"]
        for row in args.rows:
            each = [_values(known, name, count, row) for name in SETS]
            means = [float(np.mean(one[:, 0])) for one in each]
            seconds = np.median(np.concatenate(each)[:, 1])
            cells = " | ".join(f"{one:.3f}" for one in means)
            lines.append(f"| {row} | {cells} | {np.mean(means):.3f} | {seconds:.1f} |")
        lines += ["", *_against(args, known, count)]
    return "\n".join(lines)


def _of_time(args: argparse.Namespace) -> str:
    """Time the first answer on 512 x 512 and that to a further stroke, labels included."""
    lines = ["| | first answer, s | processor | further stroke, s | processor |", "|---" * 5 + "|"]
    for name in ("membranes", "glands"):
        _, image, axes, truth = pictures(args.data, name, 1)[0]
        first, more = (simulated(truth + np.int64(1), count, 0) for count in (6, 7))
        taken = []
        for number in range(6):
            shifted = np.roll(image, number, axis=0)  # of which nothing is known yet
            clocks = [(time.perf_counter(), time.process_time())]
            model = train(shifted, MMT(), axes=axes, scribbles=np.roll(first, number, axis=0))
            model.predict(shifted, axes=axes, return_uncertainty=True)
            clocks.append((time.perf_counter(), time.process_time()))
            model = model.taught(shifted, np.roll(more, number, axis=0), axes=axes)
            model.predict(shifted, axes=axes, return_uncertainty=True)
            clocks.append((time.perf_counter(), time.process_time()))
            taken.append(np.diff(clocks, axis=0).ravel())
        cells = " | ".join(f"{one:.2f}" for one in np.median(taken[1:], axis=0))
        lines.append(f"| {name}, {axes} | {cells} |")
    return "\n".join(lines)


def _against(args: argparse.Namespace, known: dict[str, list[float]], count: int) -> list[str]:
    """Compare each row with learning without teachers: mean difference and its interval."""
    if "taught" not in args.rows:
        return []
    lines = []
    for row in args.rows:
        if row == "taught":
            continue
        apart = [
            _values(known, name, count, row)[:, 0] - _values(known, name, count, "taught")[:, 0]
            for name in SETS
        ]
        random = np.random.default_rng(0)
        means = [
            np.mean([random.choice(one, len(one)).mean() for one in apart]) for _ in range(2000)
        ]
        low, high = np.percentile(means, [2.5, 97.5])
        mean = np.mean([one.mean() for one in apart])
        lines.append(f"{row} against taught: {mean:+.3f} ({low:+.3f} to {high:+.3f})")
    return [*lines, ""]


def _of_labels(args: argparse.Namespace, known: dict[str, list[float]]) -> str:
    """Learn from some of the stained images labelled in full, and score the others."""
    every = pictures(args.data, "stained", 1000)
    lines = [
        "| labelled images | " + " | ".join(_LABEL_ROWS) + " |",
        "|---" * (len(_LABEL_ROWS) + 1) + "|",
    ]
    for count in LABELLED:
        cells = []
        for row, learn in _LABEL_ROWS.items():
            scores = []
            for seed in range(args.seeds):
                key = f"labels|{count}|{seed}|{row}"
                if key not in known:
                    chosen = np.random.default_rng(seed).permutation(len(every))[:count]
                    others = [i for i in range(len(every)) if i not in chosen]
                    start = time.process_time()
                    predict = learn([every[i] for i in chosen], [every[i] for i in others[:4]])
                    each = [
                        foreground_iou(predict(every[i][1]), every[i][3], np.zeros((), bool))
                        for i in others[:: args.every]
                    ]
                    seconds = time.process_time() - start
                    _append(args.output, key, known, [float(np.mean(each)), seconds])
                scores.append(known[key][0])
            cells.append(f"{np.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})")
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _labelled_forest(shown: list[Any], others: list[Any]) -> Callable[[NDArray[Any]], Found]:
    rows = np.concatenate([_basic_features(one[1], "YXS") for one in shown])
    classes = np.concatenate([one[3].ravel() for one in shown])
    some = np.random.default_rng(0).permutation(len(rows))[:8192]
    trees = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(rows[some], classes[some])

    def predict(image: NDArray[Any]) -> Found:
        found: Found = trees.predict(_basic_features(image, "YXS")).reshape(image.shape[:2])
        return found

    return predict


def _labelled(
    teachers: Teachers, *, perturbed: bool = True
) -> Callable[..., Callable[[NDArray[Any]], Found]]:
    def learn(shown: list[Any], others: list[Any]) -> Callable[[NDArray[Any]], Found]:
        images = [one[1] for one in (*shown, *others)]
        labels = [*(one[3] for one in shown), *(None for _ in others)]
        method = Taught(teachers=teachers, perturbation="on" if perturbed else "off")
        model = train(images, method, axes="YXS", labels=labels)
        return lambda image: model.predict(image, axes="YXS") == 2

    return learn


_LABEL_ROWS = {
    "random forest": _labelled_forest,
    "not perturbed": _labelled("none", perturbed=False),
    "taught": _labelled("none"),
    "own teacher": _labelled("own"),
    "mutual teachers": _labelled("mutual"),
}


def _basic_features(image: NDArray[Any], axes: str) -> NDArray[np.float32]:
    channel = -1 if axes == "YXS" else None
    found = multiscale_basic_features(image / np.float32(255), channel_axis=channel)
    return np.asarray(found.reshape(-1, found.shape[-1]))


def _middle(image: NDArray[Any]) -> NDArray[Any]:
    first = [max(0, n - _SIDE_PX) // 2 for n in image.shape[:2]]
    return image[first[0] :, first[1] :, ...][:_SIDE_PX, :_SIDE_PX, ...][
        ..., : None if image.ndim == 2 else 3
    ]


def _values(known: dict[str, list[float]], name: str, count: int, row: str) -> NDArray[np.float64]:
    found = [
        one
        for key, one in sorted(known.items())
        if key.startswith(f"{name}|") and key.endswith(f"|{row}") and f"|{count}|" in key
    ]
    return np.array(found)


def _known(path: Path) -> dict[str, list[float]]:
    if not path.exists():
        return {}
    return dict(json.loads(line) for line in path.read_text("utf-8").splitlines())


def _append(path: Path, key: str, known: dict[str, list[float]], values: list[float]) -> None:
    known[key] = values
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps([key, values]) + "\n")


if __name__ == "__main__":
    main()
