"""From a model and an image to its labels: those in memory tile by tile, lazy ones by need."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.engine import Run, Step, drain
from napari_mmtseg.images.frames import Frames, is_lazy
from napari_mmtseg.labels.pieces import pieces
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.prediction import dask_cluster
from napari_mmtseg.prediction.labeller import Labeller, TileCache, TrainedModel
from napari_mmtseg.prediction.lazy_labels import (
    Areas,
    as_dask,
    boxes_of,
    lazy_clusters,
    lazy_uncertainty,
)
from napari_mmtseg.prediction.object_search import check_objects, object_steps, warn_of_cubes
from napari_mmtseg.settings import Method
from napari_mmtseg.system import memory

_MOST_OF_IT, _UNLIKE = 0.8, 0.5
"""A label that covers so much of an image, and less than this of what was learned from, is told."""


@dataclass(frozen=True)
class Segmentation:
    """An image's labels and where they come from."""

    clusters: Any
    """Cluster of each pixel, of the labels' shape, -1 where it is not finite; a dask array if the
    image is lazy."""
    uncertainty: Any
    method: Method
    frame_axes: tuple[int, ...]
    """Which axes are those of a plane, or of a volume."""
    model: Any
    """The `Model`; None for methods whose regions are local: their clusters are the regions, by
    size."""
    objects: Any = None
    """The objects, if the method's output is these; a dask array if the image is lazy."""
    areas_of: Callable[[NDArray[np.int64]], Any] | None = None
    """Gives the areas of a lazy image by the label of each cluster, if the output is these."""
    voters: tuple[Any, Any] | None = None
    """The clusters that each of two networks would give alone, if the uncertainty was asked for and
    the image is in memory."""
    complete: bool = True
    """Whether it came to its end; what was not reached has label 0."""

    def labels(self, n_labels: int | None = None) -> Any:
        """Return the labels, merged to n_labels if given; nothing is computed anew.

        Objects stay as they are, whatever the number of labels.

        Raises
        ------
        ValueError
            If regions without a model are to be merged.
        """
        if self.model is None:
            if n_labels is not None:
                raise ValueError(
                    f"These regions cannot be merged to {n_labels} labels (n_labels): the method "
                    "learns nothing that tells which ones belong together"
                )
            return self.clusters + np.int32(1)
        if self.objects is not None:
            return self.objects
        label_of = self.model.label_of(n_labels)
        if self.areas_of is not None:
            return self.areas_of(label_of)
        return labelled(self.clusters, label_of, self.method, self.frame_axes)


def label_steps(
    model: TrainedModel,
    frames: Frames,
    mask: Any = None,
    *,
    label_of: NDArray[np.int64] | None = None,
    uncertain: bool = True,
    spacing: Sequence[float] | None = None,
    client: Any = None,
    first: Callable[[], int] = lambda: 0,
) -> Run[Segmentation]:
    """Label an image with a model, one tile a step; a lazy image without any.

    Sending True ends it: the tiles that are not reached have label 0.

    Parameters
    ----------
    model : Model
    frames : Frames
        That fit the model.
    mask : array-like, optional
        From `frames.side_image`; pixels where it is 0 get label 0.
    label_of : (K,) int array, optional
        The label of each cluster that the uncertainty is about; by default the model's.
    uncertain : bool
        Whether the uncertainty is wanted.
    spacing : sequence of three numbers, optional
        The voxel's size along Z, Y and X, for objects.
    client : distributed.Client, optional
        Of a cluster that finds the clusters.
    first : callable
        Gives the plane that is labelled first, of all along T and Z; those next to it follow.

    Raises
    ------
    MemoryError
        If the labels do not fit into memory.
    """
    uncertain = uncertain and model.method.has_uncertainty
    label_of = model.label_of() if label_of is None else label_of
    check_objects(model.method, frames)
    if is_lazy(frames.data):
        return _deferred(model, frames, mask, label_of if uncertain else None, spacing, client)
    labeller = Labeller(model, label_of=label_of if uncertain else None)
    pixels = math.prod(frames.shape)
    memory.require((6 + 8 * uncertain) * pixels, f"Labelling {pixels:,} pixels")
    clusters = np.full(frames.shape, -1, np.int16)
    doubt = np.zeros(frames.shape, np.float32) if uncertain else None
    voters = (np.full_like(clusters, -1), np.full_like(clusters, -1)) if uncertain else None
    total = labeller.count(frames)
    stopped: bool | None = None
    plane, number = first(), 0
    if client is None:
        every = labeller.find_all(frames, mask, plane)
    else:
        every = dask_cluster.find_all(client, labeller, frames, mask)
    with memory.kept(), closing(every):
        for number, found in enumerate(every, start=1):
            frames.frame_of(clusters, found.frame)[found.region] = found.clusters
            if doubt is not None:
                frames.frame_of(doubt, found.frame)[found.region] = found.uncertainty
            for whole, own in zip(voters or (), found.voters or (), strict=False):
                frames.frame_of(whole, found.frame)[found.region] = own
            step = Step("labelling", number, total, (), (model.n_clusters,), lambda: model)
            stopped = yield step
            if stopped:
                break
    objects, complete = None, number == total
    if complete and (unlike := unlike_learned(model, clusters)):
        warnings.warn(unlike, stacklevel=2)
    if output_of(model.method) == "objects":
        near = plane if stopped else None
        objects, found_all = yield from object_steps(model, frames, clusters, spacing, near=near)
        complete = complete and found_all
    return Segmentation(
        clusters,
        doubt,
        model.method,
        frames.frame_axes,
        model,
        objects,
        voters=voters,
        complete=complete,
    )


def unlike_learned(model: TrainedModel, clusters: NDArray[np.int16]) -> str:
    """Tell how the labels of an image are shared out otherwise than in what was learned.

    Returns
    -------
    str
        A sentence, empty where they are not, or where nothing is known.
    """
    if not model.sizes.any() or model.classes.any():  # strokes are no image
        return ""
    label_of = model.label_of()
    counts = np.bincount(clusters[clusters >= 0].ravel(), minlength=len(model.sizes))
    if not counts.sum():
        return ""
    names, place = np.unique(label_of, return_inverse=True)  # a class may have any number
    here, there = (np.bincount(place, one) / one.sum() for one in (counts, model.sizes))
    most = int((here - there).argmax())
    if here[most] < _MOST_OF_IT or there[most] > _UNLIKE:
        return ""
    label = int(names[most])
    return (
        f"The image is unlike what the model was trained on: label {label} covers "
        f"{here[most]:.0%} of it, and {there[most]:.0%} of that. Look at the result; if it is "
        "wrong, train on this image"
    )


def labelled(
    clusters: Any, label_of: NDArray[np.int64], method: Method, frame_axes: tuple[int, ...]
) -> Any:
    """Turn clusters into what the method's output asks for: their labels, or pieces of them."""
    table = np.append(label_of, 0).astype(np.int32)  # the last one is for cluster -1
    if is_lazy(clusters):
        labels = clusters.map_blocks(lambda block: table[block], dtype=np.int32)
    else:
        labels = table[clusters]
    return pieces(labels, frame_axes) if output_of(method) == "areas" else labels


def _deferred(
    model: TrainedModel,
    frames: Frames,
    mask: Any,
    label_of: NDArray[np.int64] | None,
    spacing: Sequence[float] | None,
    client: Any,
) -> Segmentation:
    """Return the labels of a lazy image, and the uncertainty of some labels, as dask arrays."""
    output = output_of(model.method)
    labeller = (Labeller if output == "classes" else TileCache)(model, label_of=label_of)
    read = frames if client is None else dask_cluster.read_there(frames)
    clusters = lazy_clusters(labeller, read, mask, client)
    doubt = None if label_of is None else lazy_uncertainty(labeller, read, mask, client)
    found = Segmentation(clusters, doubt, model.method, frames.frame_axes, model)

    def labels(of: NDArray[np.int64]) -> Any:
        boxes = boxes_of(model, labeller, read, mask, spacing, of)
        if isinstance(boxes, Areas) and client is not None:
            # Once by all workers together, instead of by each of them for itself.
            known = Areas(frames, dask_cluster.BlocksAhead(client, clusters), boxes.sides, of)
            drain(known.steps())
            boxes.pieces = known.pieces
        return as_dask(boxes, frames.shape, client=client)

    if output == "areas":
        return replace(found, areas_of=labels)
    if output == "objects":
        warn_of_cubes(frames, spacing)
        return replace(found, objects=labels(model.label_of()))
    return found
