"""Measure how far labels stay when an image changes in what does not matter."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import provenance
from benchmarks.figures.tables import Table, number
from benchmarks.quality import contenders, datasets
from benchmarks.quality.contenders import Contender
from benchmarks.quality.datasets import Picture
from napari_mmtseg.metrics import adjusted_rand

Image = NDArray[Any]
Change = Callable[[Image], Image]

_NOISE, _GAIN, _CROPPED = 0.02, 1.2, 0.1
KINDS = {"photographs": ("bsds500", "bsds500"), "microscopy": ("dsb2018", "dsb2018")}
"""The folder of each kind, and how it is read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--data", type=Path, required=True, help="holds bsds500 and dsb2018")
    parser.add_argument("--subset", default="12", help="N of each kind, spread evenly")
    parser.add_argument("--methods", nargs="+", metavar="M", default=["MMT", "KMeans:plain"])
    parser.add_argument("--output", type=Path, default=Path("bench-output/steady"))


def run(args: argparse.Namespace, command: str) -> int:
    """Print and write a table for each kind of image."""
    entrants = [contenders.parse(name) for name in dict.fromkeys(args.methods)]
    made = []
    for kind, (folder, how) in KINDS.items():
        found = datasets.subset(datasets.find(args.data / folder, how), args.subset)
        cells = []
        for one in entrants:
            values = [agreements(one, picture) for picture in found.pictures]
            cells.append([one.name, *(number(_mean(values, name)) for name in CHANGES)])
        made.append(Table(f"{kind} ({len(found.pictures)})", ("method", *CHANGES), cells, _NOTE))
    about = "; ".join(f"{key} {value}" for key, value in provenance.facts().items())
    page = "\n".join([f"```sh\n{command}\n```", "", *(one.markdown() for one in made), about, ""])
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "tables.md").write_text(page, "utf-8")
    print(page)
    return 0


_NOTE = (
    "Adjusted Rand index between the labels of an image and of the changed image, changed back; "
    f"noise has a standard deviation of {_NOISE} of the range, a crop has lost {_CROPPED} of each "
    "side."
)


def agreements(entrant: Contender, picture: Picture) -> dict[str, float]:
    """Compare the labels of an image with those of each change of it."""
    image, axes, _ = picture.read()
    variant = entrant.variants[0]

    def labels_of(pixels: Image) -> Image:
        return contenders.labels_of(variant, np.ascontiguousarray(pixels), axes, 0)

    own = labels_of(image)
    return {
        name: adjusted_rand(same(own), labels_of(change(image)))
        for name, (change, same) in CHANGES.items()
    }


def _mean(values: list[dict[str, float]], name: str) -> float:
    return float(np.mean([one[name] for one in values]))


def _noisy(image: Image) -> Image:
    noise = np.random.default_rng(0).normal(0, _NOISE * np.ptp(image), image.shape)
    return image + noise


def _cropped(image: Image) -> Image:
    return image[tuple(slice(int(n * _CROPPED), n - int(n * _CROPPED)) for n in image.shape[:2])]


CHANGES: Mapping[str, tuple[Change, Change]] = {
    "mirror image": (lambda x: x[:, ::-1],) * 2,
    "quarter turn": (np.rot90,) * 2,
    "gain 1.2": (lambda x: x * _GAIN, lambda x: x),
    "light noise": (_noisy, lambda x: x),
    "crop": (_cropped, _cropped),
}
"""What is done to an image, its first two axes being Y and X, and to the labels to compare."""
