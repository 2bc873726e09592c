"""Measure how well runs with different seeds agree."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.figures import pictures, provenance
from benchmarks.figures.tables import Table
from benchmarks.quality.contenders import Contender
from benchmarks.quality.datasets import Dataset
from benchmarks.quality.scoring import COLUMNS
from benchmarks.quality.store import Job, Result, Store
from benchmarks.quality.summary import FEWEST_IMAGES
from napari_mmtseg.metrics import adjusted_rand

_RESAMPLES = 2000
_SHOWN = 3
Agreement = dict[str, tuple[float, list[float]]]
"""Of each image, the mean pairwise adjusted Rand index and the first score of each seed."""


def write(
    store: Store,
    dataset: Dataset,
    entrants: Sequence[Contender],
    seeds: list[int],
    results: Mapping[Job, Result],
    failed: Mapping[Job, str],
    command: str,
) -> Path:
    """Write stability.md, stability.csv (by image) and stability.png; return the first.

    Raises
    ------
    ValueError
        For fewer than two seeds, a grid, a method without chance, or no complete image.
    """
    main = COLUMNS[dataset.kind][0]
    if len(set(seeds)) < 2:
        raise ValueError(f"Stability takes two different --seeds or more, got {seeds}")
    for one in entrants:
        if one.is_grid or len(one.seeds(seeds)) < 2:
            raise ValueError(f"{one.name} has no seed to vary: leave it out of --methods")
    found = {
        one.name: agreement(store, dataset, one.variants[0], seeds, results, main.key)
        for one in entrants
    }
    if not all(found.values()):
        names = ", ".join(name for name, images in found.items() if not images)
        raise ValueError(f"No image has results of every seed for {names}")
    header = (
        "method",
        "images",
        "mean pairwise adjusted Rand",
        main.title,
        "standard deviation",
        "range",
    )
    cells = [[name, *_cells(images)] for name, images in found.items()]
    note = (
        "Means over images; in brackets the 95 % bootstrap interval, given five images "
        "or more. Standard deviation and range "
        f"are those of the {main.title} over the seeds of an image."
    )
    table = Table(f"{len(seeds)} seeds", header, cells, note)
    facts = Table("Made with", ("what", "which"), [list(x) for x in provenance.facts().items()])
    left_out = len(dataset.skipped)
    about = f"{len(dataset.pictures)} images; {left_out} without ground truth were skipped"
    about += f"; {len(failed)} runs failed." if failed else "."
    shown = _draw(store, dataset, entrants, seeds, found)
    text = [f"# Stability on {dataset.name}", "", about, "", f"```sh\n{command}\n```", ""]
    text += [table.markdown(), f"![Runs with different seeds on {shown}](stability.png)", ""]
    page = store.folder / "stability.md"
    page.write_text("\n".join([*text, facts.markdown()]), "utf-8")
    with (store.folder / "stability.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "image", "adjusted_rand", *(f"seed_{seed}" for seed in seeds)])
        for name, images in found.items():
            for image, (rand, scores) in images.items():
                writer.writerow([name, image, rand, *scores])
    return page


def agreement(
    store: Store,
    dataset: Dataset,
    variant: str,
    seeds: list[int],
    results: Mapping[Job, Result],
    key: str,
) -> Agreement:
    """Compare every pair of seeds on each image that has a result for all of them."""
    found: Agreement = {}
    for picture in dataset.pictures:
        jobs = [Job(dataset.name, picture.name, variant, seed) for seed in seeds]
        if not all(job in results for job in jobs):
            continue
        labels = [store.labels(job) for job in jobs]
        rands = [adjusted_rand(one, other) for one, other in combinations(labels, 2)]
        found[picture.name] = (float(np.mean(rands)), [results[job].scores[key] for job in jobs])
    return found


def _cells(images: Agreement) -> list[str]:
    rands = np.array([rand for rand, _ in images.values()])
    scores = np.array([scores for _, scores in images.values()])  # (images, seeds)
    shown = f"{rands.mean():.3f}"
    if len(rands) >= FEWEST_IMAGES:
        drawn = np.random.default_rng(0).integers(len(rands), size=(_RESAMPLES, len(rands)))
        low, high = np.percentile(rands[drawn].mean(axis=1), (2.5, 97.5))
        shown += f" [{low:.3f}, {high:.3f}]"
    spread = scores.std(axis=1, ddof=1).mean()
    extent = np.ptp(scores, axis=1).mean()
    return [str(len(rands)), shown, f"{scores.mean():.3f}", f"{spread:.3f}", f"{extent:.3f}"]


def _draw(
    store: Store,
    dataset: Dataset,
    entrants: Sequence[Contender],
    seeds: list[int],
    found: Mapping[str, Agreement],
) -> str:
    """Draw the runs on the image where the last method agrees about as much as usual."""
    last = found[entrants[-1].name]
    common = [name for name in last if all(name in images for images in found.values())]
    name = sorted(common or last, key=lambda image: last[image][0])[len(common or last) // 2]
    picture = next(one for one in dataset.pictures if one.name == name)
    image, axes, _ = picture.read()
    n_stack = sum(axis in "TZ" for axis in axes)
    photo = pictures.as_seen(image, axes)
    height = 2.3 * photo.shape[0] / photo.shape[1] + 0.35
    columns = 1 + min(_SHOWN, len(seeds))
    figure = Figure((2.3 * columns, height * len(entrants)), layout="constrained")
    FigureCanvasAgg(figure)
    axs = figure.subplots(len(entrants), columns, squeeze=False)
    for row, entrant in zip(axs, entrants, strict=True):
        if name not in found[entrant.name]:
            continue
        row[0].imshow(photo)
        row[0].set_ylabel(entrant.name)
        row[0].set_title(f"agreement {found[entrant.name][name][0]:.2f}", fontsize=9)
        runs = [
            pictures.middle(
                store.labels(Job(dataset.name, name, entrant.variants[0], seed)), n_stack
            )
            for seed in seeds[:_SHOWN]
        ]
        for ax, run, seed in zip(row[1:], runs, seeds, strict=False):
            ax.imshow(pictures.coloured(run, like=runs[0]), interpolation="nearest")
            ax.set_title(f"seed {seed}", fontsize=9)
    for ax in axs.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    figure.savefig(store.folder / "stability.png", dpi=130)
    return name
