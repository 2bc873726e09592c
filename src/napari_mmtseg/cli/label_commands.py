"""The commands on labels: measure and compare."""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np

from napari_mmtseg.cli.image_commands import check_output, opened
from napari_mmtseg.cli.progress import Progress
from napari_mmtseg.images.image_files import open_image
from napari_mmtseg.labels import measurement
from napari_mmtseg.labels.measurement_table import write_table
from napari_mmtseg.metrics import object_scores, scores


def measure(parsed: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Measure each object of a label image."""
    check_output(parsed.out, (".csv", ".parquet"), overwrite=parsed.overwrite)
    if parsed.image is None:
        file = opened(parsed.labels, parsed)
        numbers, pixels = file.read(), None
    else:
        file = opened(parsed.image, parsed)
        own = "".join(axis for axis in file.axes if axis not in "CS")
        numbers, pixels = open_image(parsed.labels, axes=own).read(), file.read()
    table = measurement.measure(
        numbers, pixels, axes=file.axes, spacing=file.pixel_size, by_plane=parsed.by_plane
    )
    write_table(parsed.out, table, overwrite=parsed.overwrite)
    for note in table.notes:
        progress.tell(f"note: {note}")
    median = float(np.median(table["diameter"])) if table.n_rows else math.nan
    unit = table.units.get("diameter", "px")
    text = f"{parsed.out}: {table.n_rows} objects, median diameter {median:.3g} {unit}"
    about = {"count": table.n_rows, "median_diameter": _plain(median), "unit": unit}
    return {"table": str(parsed.out), **about, "text": text}


def compare(parsed: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Score labels against a ground truth, pixel by pixel or as objects."""
    found, truth = (opened(one, parsed).read() for one in (parsed.labels, parsed.truth))
    if parsed.objects:
        each = object_scores(found, truth)
        known = each[0.5].to_dict() | {f"f1_at_{at:g}": one.f1 for at, one in each.items()}
    else:
        known = scores(found, truth)
    text = "\n".join(f"{name.replace('_', ' '):28}{value:.4f}" for name, value in known.items())
    return {"scores": {name: _plain(value) for name, value in known.items()}, "text": text}


def _plain(value: float) -> float | None:
    """Return a number that JSON knows."""
    return float(value) if math.isfinite(value) else None
