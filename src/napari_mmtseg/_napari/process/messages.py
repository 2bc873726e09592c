"""What the window and its training process say to each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg._napari.process.layer_pixels import Source
from napari_mmtseg._napari.process.store_job import StoredLabels
from napari_mmtseg._napari.process.view_server import PlaceFailure, PlaceLabels
from napari_mmtseg.folders import Batch
from napari_mmtseg.folders.batch import Summary
from napari_mmtseg.folders.image_task import Outcome
from napari_mmtseg.grouping import Groups
from napari_mmtseg.labels.measurement_table import Table
from napari_mmtseg.labels.pieces import TiledPieces
from napari_mmtseg.model import Labels, Model
from napari_mmtseg.prediction.label_image import Segmentation
from napari_mmtseg.settings import Method


class View(NamedTuple):
    """What is in view: while training that plane is shown, and of a large one the middle first."""

    plane: int = 0
    pixel: tuple[float, float] = (0.0, 0.0)
    """In the middle of the view; perhaps outside of the image."""


class Job(NamedTuple):
    """What to do: train and label, label with a model, or group the objects of a label image.

    Strokes guide the training, or name the clusters of the model. With clusters that are
    `found` already, objects are found anew with the model. Its objects are of what is `at` a pixel
    if one is given.
    """

    image: Source
    axes: str
    method: Method
    spacing: tuple[float, ...] | None = None
    model: Model | None = None
    objects: Source | None = None
    scribbles: Source | None = None
    mask: Source | None = None
    view: View = View()
    uncertain: bool = False
    found: Segmentation | None = None
    at: tuple[int, ...] | None = None


class FolderJob(NamedTuple):
    """Do a folder of images."""

    batch: Batch


class Stop(NamedTuple):
    """Stop training and keep what is learned."""


class Progress(NamedTuple):
    """How far a job has come."""

    phase: str
    done: int
    total: int
    loss: float
    n_labels: int


class Preview(NamedTuple):
    """Labels of one plane as they are now."""

    plane: int
    labels: Labels


class Note(NamedTuple):
    """A sentence that the user should read; the job goes on."""

    text: str


class GroupedObjects(NamedTuple):
    """Objects in groups, and the image of the groups."""

    groups: Groups
    labels: Labels


class FileNote(NamedTuple):
    """What has become of an image of a folder."""

    outcome: Outcome


class LazyTraining(NamedTuple):
    """What was trained on a lazy image, which is labelled where one looks."""

    model: Model
    plane: int
    """The plane in view."""
    place: int
    """What was looked at of it, as `Places` counts."""
    values: NDArray[np.integer]
    """The clusters there, or the areas or objects."""
    uncertainty: NDArray[np.float32] | None = None
    """Of its labels, if it is wanted."""
    areas: TiledPieces | None = None
    """All areas, if the model's output is these."""
    draft: bool = False
    """Whether the clusters are to be asked for again, as of `PlaceLabels`."""


class ShownLabels(NamedTuple):
    """The labels of a result, and the pixels of each that occurs."""

    labels: Labels
    present: NDArray[np.int64]
    pixels: NDArray[np.int64]


class Done(NamedTuple):
    """The result of a job."""

    result: Segmentation | GroupedObjects | LazyTraining | StoredLabels | Summary | Table
    seconds: float
    shown: ShownLabels | None = None
    """Of a segmentation."""


class Failed(NamedTuple):
    """Why a job failed, in one sentence, and the details for a report."""

    text: str
    details: str


Message = Progress | Preview | Note | FileNote | Done | Failed | PlaceLabels | PlaceFailure
