"""Group objects of two known kinds, and of images: ``python benchmarks/quality/group_objects.py``.

With ``--image IMAGE --objects LABELS`` the groups of a real image's objects are described by their
mean area and intensity.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.io import imread, imsave
from skimage.measure import regionprops_table

from napari_mmtseg import ObjectIIC, group_objects


def two_kinds(
    seed: int, n: int = 10, cell: int = 28
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Make n x n discs and bars of like area and brightness in any direction, and their kinds."""
    random = np.random.default_rng(seed)
    image, objects = np.zeros((n * cell, n * cell)), np.zeros((n * cell, n * cell), np.int64)
    kinds = random.permutation(np.arange(n * n) % 2)
    y, x = np.mgrid[:cell, :cell] - cell / 2
    for number, kind in enumerate(kinds):
        angle = random.uniform(0, np.pi)
        along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
        radii = np.array([(8, 8), (12, 5)][kind]) * random.uniform(0.9, 1.1, 2)
        inside = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 < 1
        rows, columns = divmod(number, n)
        here = np.s_[rows * cell : (rows + 1) * cell, columns * cell : (columns + 1) * cell]
        image[here][inside], objects[here][inside] = random.uniform(0.6, 1), number + 1
    return image + random.normal(0, 0.03, image.shape), objects, kinds


def main() -> None:
    """Print the purity for each seed, or what the groups of an image are like."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--objects", type=Path)
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--picture", type=Path, help="where to write the groups as an image")
    args = parser.parse_args()

    if args.image is not None:
        _describe(args)
        return
    for seed in range(args.seeds):
        image, objects, kinds = two_kinds(seed)
        start = time.perf_counter()
        result = group_objects(image, objects, ObjectIIC(seed=seed))
        seconds = time.perf_counter() - start
        best = [np.bincount(kinds[result.groups == g]).max() for g in np.unique(result.groups)]
        print(f"seed {seed}: purity {sum(best) / len(kinds):.3f} of {len(kinds)}, {seconds:.0f} s")


def _describe(args: argparse.Namespace) -> None:
    image, objects = imread(args.image), imread(args.objects)
    start = time.perf_counter()
    result = group_objects(image, objects, ObjectIIC(n_groups=args.groups))
    print(f"{len(result.ids)} objects in {time.perf_counter() - start:.0f} s")
    names = ("label", "area", "mean_intensity", "eccentricity")
    table = regionprops_table(objects, image, properties=names)
    for group in np.unique(result.groups):
        own = np.isin(table["label"], result.ids[result.groups == group])
        means = ", ".join(f"{name} {table[name][own].mean():.3g}" for name in names[1:])
        print(f"group {group}: {own.sum()} objects; mean {means}")
    if args.picture:
        scale = 255 // result.groups.max()
        imsave(args.picture, (result.labels(objects) * scale).astype(np.uint8))


if __name__ == "__main__":
    main()
