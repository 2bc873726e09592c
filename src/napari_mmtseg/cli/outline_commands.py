"""The commands on outlines: outlines, which writes them, and labels, which reads them."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from napari_mmtseg.cli.image_commands import check_output, opened
from napari_mmtseg.cli.progress import Progress
from napari_mmtseg.output.label_files import write_tiff
from napari_mmtseg.output.outline_files import read_outlines, write_outlines


def outlines(parsed: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Write the outlines of labels."""
    check_output(parsed.out, (".zip", ".geojson", ".json"), overwrite=parsed.overwrite)
    file = opened(parsed.labels, parsed)
    count = write_outlines(parsed.out, file.read(), axes=file.axes, overwrite=parsed.overwrite)
    what = "1 outline" if count == 1 else f"{count} outlines"
    return {"outlines": str(parsed.out), "count": count, "text": f"{parsed.out}: {what}"}


def labels(parsed: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Make labels of outlines."""
    check_output(parsed.out, (".tif", ".tiff"), overwrite=parsed.overwrite)
    file = opened(parsed.image, parsed)
    axes, shape = zip(
        *((a, n) for a, n in zip(file.axes, file.shape, strict=True) if a not in "CS"), strict=True
    )
    found = read_outlines(parsed.outlines, shape, axes="".join(axes), pixel_size=parsed.pixel_size)
    write_tiff(parsed.out, found.labels, "".join(axes), file.world, overwrite=parsed.overwrite)
    for note in found.notes:
        progress.tell(f"note: {note}")
    count = int(np.count_nonzero(np.unique(found.labels)))
    text = f"{parsed.out}: {count} objects"
    return {"labels": str(parsed.out), "count": count, "text": text}
