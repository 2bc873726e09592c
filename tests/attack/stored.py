"""Labels that are written in the attacks, and what a journal says of them."""

import contextlib
import json

import numpy as np

from napari_mmtseg.output.ome_zarr import write_labels

LABELS = np.random.default_rng(0).integers(1, 9, (600, 40)).astype(np.int32)
LABELS[200:400, :20] = 0


def write(path, *, labels=LABELS, calls=None, overwrite=False, fingerprint="a", stop_after=None):
    """Write a few blocks, or until some were not found finished, and return the path."""

    def blocks(region):
        if calls is not None:
            calls.append(region)
        return labels[region]

    writer = write_labels(
        path,
        labels.shape,
        (200, 20),
        blocks,
        axes="YX",
        fingerprint=fingerprint,
        overwrite=overwrite,
    )
    made = 0
    with contextlib.closing(writer):
        try:
            while made != stop_after:
                made += not next(writer).found
        except StopIteration as end:
            return end.value
    return None


def journalled(folder):
    """Return the blocks that a journal calls finished."""
    try:
        lines = (folder / "journal.jsonl").read_bytes().split(b"\n")[1:-1]
    except FileNotFoundError:
        return set()
    return {json.loads(line)["block"] for line in lines if line}
