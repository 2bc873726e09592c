"""Labels that are written, and what is heard of it."""

import numpy as np

from napari_mmtseg.output.ome_zarr import write_labels

LABELS = (np.add.outer(np.arange(300) // 7, np.arange(1100) // 11) % 5).astype(np.int32)
LABELS[100:200, 220:660] = 0


def run(path, labels=LABELS, *, chunk=(100, 220), stop_after=None, calls=None, **options):
    """Write labels and return the path and what was written."""

    def blocks(region):
        if calls is not None:
            calls.append(region)
        return labels[region]

    options = {"axes": "YX", "fingerprint": "a"} | options
    writer = write_labels(path, labels.shape, chunk, blocks, **options)
    steps, answer = [], None
    while True:
        try:
            steps.append(writer.send(answer))
        except StopIteration as end:
            return end.value, steps
        answer = len(steps) == stop_after
