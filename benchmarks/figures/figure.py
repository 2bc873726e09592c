"""Draw all methods side by side on a few images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.data import immunohistochemistry
from tqdm import tqdm

from benchmarks.figures import pictures
from benchmarks.quality import contenders, datasets
from benchmarks.quality.contenders import Contender
from napari_mmtseg.methods import METHODS

_ORDER = ("KMeans", "Felzenszwalb", "Kanezaki", "Kim", "IIC", "MMT")
DEFAULT = [name for name in _ORDER if name in METHODS]
_WIDTH_IN = 1.9


class Shown(NamedTuple):
    """A row of the figure."""

    name: str
    image: NDArray[Any]
    axes: str
    truth: NDArray[Any] | None


def draw(
    data: Path | None,
    names: Sequence[str] | None,
    entrants: Sequence[Contender],
    output: Path,
) -> None:
    """Segment each image with each method, with seed 0, and write the picture.

    Parameters
    ----------
    data : Path, optional
        A dsb2018 folder; without one, samples that need no download.
    names : sequence of str, optional
        Images in it; by default two stained ones and a dark one.
    entrants : sequence of Contender
        The columns; no grids.
    output : Path
        PNG, SVG or PDF.

    Raises
    ------
    ValueError
        If an image is missing or a method is a grid.
    """
    grids = [one.name for one in entrants if one.is_grid]
    if grids:
        raise ValueError(f"A figure wants one setting a method; {grids[0]} is a grid of them")
    rows = _samples() if data is None else _chosen(data, names)
    with_truth = any(row.truth is not None for row in rows)
    columns = 1 + with_truth + len(entrants)
    shapes = [pictures.as_seen(row.image, row.axes).shape for row in rows]
    heights = [height / width for height, width, _ in shapes]
    size = (_WIDTH_IN * columns, _WIDTH_IN * sum(heights) + 0.35)
    figure = Figure(size, layout="constrained")
    FigureCanvasAgg(figure)
    axs = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    with tqdm(total=len(rows) * len(entrants)) as bar:
        for row, places in zip(rows, axs, strict=True):
            _draw_row(row, places, entrants, with_truth, bar)
    titles = ["image", *(["truth"] if with_truth else []), *(_title(one) for one in entrants)]
    for ax, title in zip(axs[0], titles, strict=True):
        ax.set_title(title, fontsize=11)
    for ax in axs.flat:
        ax.set_axis_off()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)


def _draw_row(
    row: Shown, places: NDArray[Any], entrants: Sequence[Contender], with_truth: bool, bar: Any
) -> None:
    places[0].imshow(pictures.as_seen(row.image, row.axes))
    reference = row.truth
    if reference is not None:
        places[1].imshow(pictures.coloured(reference), interpolation="nearest")
    for ax, entrant in zip(places[1 + with_truth :], entrants, strict=True):
        labels = contenders.labels_of(entrant.variants[0], row.image, row.axes, seed=0)
        if reference is None:
            reference = labels
        ax.imshow(pictures.coloured(labels, like=reference), interpolation="nearest")
        bar.update()


def _title(entrant: Contender) -> str:
    cls = METHODS.get(entrant.name)
    return cls.title if cls else entrant.name


def _samples() -> list[Shown]:
    tissue = immunohistochemistry()[:256, :320]
    planes = datasets.find(None, "sample").pictures
    rows = [Shown("tissue", tissue, "YXS", None)]
    for picture in (planes[len(planes) // 3], planes[2 * len(planes) // 3]):
        image, axes, truths = picture.read()
        rows.append(Shown(picture.name, image, axes, truths[0]))
    return rows


def _chosen(data: Path, names: Sequence[str] | None) -> list[Shown]:
    found = datasets.find(data, "dsb2018")
    if names:
        chosen = datasets.subset(found, ",".join(names)).pictures
    else:
        stained = [one for one in found.pictures if one.name.startswith("colour_")]
        dark = [one for one in found.pictures if one.name.startswith("dark_")]
        if len(stained) < 2 or not dark:
            raise ValueError("There are no two colour_* images and one dark_*: give --images")
        chosen = (stained[0], stained[len(stained) // 2], dark[len(dark) // 2])
    rows = []
    for picture in chosen:
        image, axes, truths = picture.read()
        rows.append(Shown(picture.name, np.asarray(image), axes, truths[0]))
    return rows
