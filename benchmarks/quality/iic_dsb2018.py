"""Score IIC on DSB 2018: ``python benchmarks/quality/iic_dsb2018.py --data DIR --kind colour``.

Foreground IoU of the best label of each image beside Otsu's threshold and 2-means; the spread over
seeds; and labels named by strokes on five images, scored on the others.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt
from skimage.filters import threshold_otsu
from skimage.io import imread
from skimage.measure import label, regionprops
from skimage.morphology import skeletonize
from sklearn.cluster import KMeans

from napari_mmtseg import IIC, Model, train
from napari_mmtseg.metrics import adjusted_rand, foreground_iou

NUCLEI, BACKGROUND = 1, 2
Image = NDArray[np.uint8]
Labels = NDArray[np.int32]


def main() -> None:
    """Train one model for the set for each seed and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/")
    parser.add_argument("--kind", default="colour", help="how the names begin: colour, dark")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--k", type=int, default=IIC().n_labels)
    parser.add_argument("--every", type=int, default=1, help="take every n-th image")
    args = parser.parse_args()

    images, truths = _load(args.data, args.kind, args.every)
    print(f"{len(images)} {args.kind} images; mean foreground IoU of the best label of each")
    print(f"Otsu     {_mean([_otsu(image) for image in images], truths):.3f}")
    print(f"2-means  {_mean([_two_means(image) for image in images], truths):.3f}")
    found, scores = [], []
    for seed in range(args.seeds):
        start = time.perf_counter()
        method = IIC(seed=seed, n_labels=args.k)
        model = train(images, method, axes="YXS")
        seconds = time.perf_counter() - start
        labels = [model.predict(image, axes="YXS") for image in images]
        plain = replace(model, method=replace(method, sharpening_px=0))
        blunt = [plain.predict(image, axes="YXS") for image in images]
        scores.append(_mean(labels, truths))
        found.append(np.concatenate([one.ravel() for one in labels]))
        shares = np.bincount(found[-1], minlength=args.k + 1)[1:] / found[-1].size
        print(
            f"IIC seed {seed}  {scores[-1]:.3f}  (unsharpened {_mean(blunt, truths):.3f}; labels' "
            f"shares {np.round(shares, 2)}; {model.n_clusters} overclusters; {seconds:.0f} s)",
            flush=True,
        )
        _print_few_labels(model, images, truths)
    print(f"IIC over seeds: mean {np.mean(scores):.3f}, lowest {min(scores):.3f}, ", end="")
    print(f"highest {max(scores):.3f}")
    if len(found) > 1:
        pairs = itertools.combinations(found, 2)
        agreement = [adjusted_rand(one[::16], other[::16]) for one, other in pairs]
        print(f"mean pairwise adjusted Rand index of the seeds {np.mean(agreement):.3f}")


def painted(truth: NDArray[np.bool_], rng: np.random.Generator) -> Labels:
    """Paint as a user would: eight nuclei and eight lines between them, the brush 3 px wide."""
    strokes = np.zeros(truth.shape, np.int32)
    nuclei = [one for one in regionprops(label(truth)) if one.area >= 30]
    for number in rng.permutation(len(nuclei))[:8]:
        box = np.s_[tuple(slice(a, b) for a, b in _box(nuclei[number].bbox))]
        nucleus = nuclei[number].image
        strokes[box][binary_dilation(skeletonize(nucleus), np.ones((3, 3))) & nucleus] = NUCLEI
    away = distance_transform_edt(~truth)
    far = np.argwhere(away >= 4)
    for place in rng.permutation(len(far))[:8]:
        row, column = far[place]
        line = away[row, column : column + 40] >= 4
        end = column + int(np.logical_and.accumulate(line).sum())
        strokes[max(row - 1, 0) : row + 2, column:end] = BACKGROUND
    return strokes


def _print_few_labels(model: Model, images: list[Image], truths: list[NDArray[np.bool_]]) -> None:
    rng = np.random.default_rng(0)
    chosen = np.linspace(0, len(images) - 1, 5).round().astype(int).tolist()
    strokes = [painted(truths[i], rng) for i in chosen]
    named = model.with_classes([images[i] for i in chosen], strokes, axes="YXS")
    others = [i for i in range(len(images)) if i not in chosen]
    classes = [named.predict(images[i], axes="YXS") == NUCLEI for i in others]
    labels = [model.predict(images[i], axes="YXS") for i in others]
    # One to one: one label is the nuclei, another the background; chosen for the whole set, with
    # the truth of the very images that it is scored on.
    best = max(
        range(1, int(model.label_of().max()) + 1),
        key=lambda k: _iou([one == k for one in labels], [truths[i] for i in others]),
    )
    given = [truths[i] for i in others]
    one_to_one = [one == best for one in labels]
    print(
        f"    IoU on {len(others)} others, one answer for the set: strokes on 5 images "
        f"{_iou(classes, given):.3f}, best one-to-one {_iou(one_to_one, given):.3f}",
        flush=True,
    )


def _iou(found: list[NDArray[np.bool_]], truths: list[NDArray[np.bool_]]) -> float:
    scores = [(f & t).sum() / max((f | t).sum(), 1) for f, t in zip(found, truths, strict=True)]
    return float(np.mean(scores))


def _box(bbox: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    return [(bbox[0], bbox[2]), (bbox[1], bbox[3])]


def _load(data: Path, kind: str, every: int) -> tuple[list[Image], list[NDArray[np.bool_]]]:
    images, truths = [], []
    for path in sorted((data / "images").glob(f"{kind}_*"))[::every]:
        (labels,) = (data / "labels").glob(f"{path.stem}.*")
        images.append(imread(path)[..., :3])
        truths.append(imread(labels) != 0)
    return images, truths


def _mean(labels: list[Labels], truths: list[NDArray[np.bool_]]) -> float:
    pairs = zip(labels, truths, strict=True)
    return float(np.mean([foreground_iou(one, truth) for one, truth in pairs]))


def _otsu(image: Image) -> Labels:
    grey = image.mean(-1)
    above: Labels = (grey > threshold_otsu(grey)).astype(np.int32)
    return above


def _two_means(image: Image) -> Labels:
    pixels = image.reshape(-1, 3).astype(np.float32)
    found: Labels = KMeans(2, n_init=3, random_state=0).fit_predict(pixels)
    return found.reshape(image.shape[:2])


if __name__ == "__main__":
    main()
