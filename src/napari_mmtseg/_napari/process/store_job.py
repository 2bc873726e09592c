"""Write a result to OME-Zarr in the training process, block by block."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg._napari.process.layer_pixels import CopiedPixels, Source
from napari_mmtseg._napari.process.view_server import PlaneLabels, ViewOrder
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.model import model_file
from napari_mmtseg.output.ome_zarr import Written, write_labels

_SIDE_PX = 1024


class StoreJob(NamedTuple):
    """Write labels, which are known (`labels`) or to be found (`served`)."""

    path: str
    overwrite: bool
    axes: str
    """Of the labels."""
    shape: tuple[int, ...]
    place: dict[str, Any]
    """scale, units and translate, as in `write_labels`."""
    about: dict[str, Any]
    """What tells the image from others. JSON."""
    labels: Source | None = None
    served: ViewOrder | None = None
    label_of: NDArray[np.int64] | None = None


class StoredLabels(NamedTuple):
    """Where a result was written."""

    path: str
    complete: bool
    """Otherwise it was stopped, and saving again goes on with it."""


def save_steps(save: StoreJob, planes: PlaneLabels | None) -> Generator[Written, bool | None, Path]:
    """Write block by block; sending True stops.

    Parameters
    ----------
    save : StoreJob
    planes : PlaneLabels or None
        Those of `save.served`.
    """
    digest = hashlib.sha256(json.dumps(save.about, sort_keys=True).encode())
    if planes is not None and save.served is not None and save.label_of is not None:
        boxes = planes.labels(save.label_of)
        chunk, block = list(boxes.sides), boxes.box
        _add_model(digest, save.served, save.label_of)
    else:
        assert save.labels is not None
        labels = save.labels.open()
        chunk, block = [_SIDE_PX if axis in "YX" else 1 for axis in save.axes], labels.__getitem__
        digest.update(np.ascontiguousarray(labels).data)  # painted on, perhaps
    return write_labels(
        save.path,
        save.shape,
        chunk,
        block,
        axes=save.axes,
        fingerprint=digest.hexdigest(),
        overwrite=save.overwrite,
        **save.place,
    )


def _add_model(digest: Any, served: ViewOrder, label_of: NDArray[np.int64]) -> None:
    model, mask = served.model, served.mask
    if output_of(model.method) == "classes":
        model = model.with_labels(label_of)  # a saved one may have these labels, and their names
    fields = {one.name: getattr(model, one.name) for one in dataclasses.fields(model)}
    for part in model_file.packed(fields):
        digest.update(part)
    digest.update(np.ascontiguousarray(label_of).data)
    if isinstance(mask, CopiedPixels):
        digest.update(np.ascontiguousarray(mask.pixels).data)
