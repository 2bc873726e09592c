"""What a user tells a model: strokes name its labels, a click says what is an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg import engine
from napari_mmtseg.engine.stroke_classes import count_strokes, name_clusters
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.images.spacing import relative
from napari_mmtseg.images.training_input import check_classes
from napari_mmtseg.labels.object_decision import ObjectTraits, about
from napari_mmtseg.prediction.labeller import Labeller
from napari_mmtseg.prediction.survey import SurveyedModel, part_of, tables_of, view_of


class AnnotatedModel(SurveyedModel, Protocol):
    """What is asked of a model here."""

    @property
    def traits(self) -> NDArray[np.floating]: ...
    @property
    def groups(self) -> NDArray[np.int64]: ...


def painted_classes(
    model: AnnotatedModel, images: Sequence[Frames], scribbles: Sequence[ArrayLike]
) -> NDArray[np.int64]:
    """Name each cluster, (K,), by the strokes on some images; see `Model.with_classes`.

    Raises
    ------
    TypeError, ValueError
        If scribbles do not fit, or fewer than two classes are painted where pixels are finite.
    """
    # A stroke inside of an object meets the clusters of its rim unless their borders are sharp.
    each = engine.regrouped(model.weights, model.method, np.arange(len(model.sizes)))
    painted = []
    for frames, its_strokes in zip(images, scribbles, strict=True):
        labeller = Labeller(model.scaled_for(frames), weights=each)
        side = frames.side_image(its_strokes, "scribbles")
        for index, tile in labeller.tiles(frames):
            here = check_classes(np.asarray(frames.frame_of(side, index)[tile]))
            if here.any():
                painted.append((labeller.find(frames, index, tile).clusters, here))
    counts, names = count_strokes(painted, len(model.sizes))
    if counts.any(axis=0).sum() < 2:
        raise ValueError("The scribbles must hold at least two classes: paint a second one")
    return name_clusters(counts, names, model.traits, model.sizes, model.groups)


def point_out(
    model: SurveyedModel,
    frames: Frames,
    at: Sequence[int],
    spacing: Sequence[float] | None,
    mask: Any = None,
) -> ObjectTraits:
    """Take the label of one pixel for that of objects, and measure these around it.

    Of two labels or more, up to five, the first number is taken with which the pixel's label is
    not that of the ground, which covers the most. If it always is, the pixel's label is taken
    all the same: the user knows.

    Parameters
    ----------
    model : Model
    frames : Frames
        The image.
    at : sequence of int
        The pixel, along the labels' axes.
    spacing : sequence of three numbers, optional
        The voxel's size along Z, Y and X.
    mask : array-like, optional
        From `frames.side_image`; pixels where it is 0 are left out.

    Raises
    ------
    ValueError
        If there is no such pixel, or nothing to tell objects from.
    """
    at = _checked(at, frames)
    part = part_of(frames, at)
    view = view_of(model, Labeller(model), frames, part, mask)
    n = view.clusters.ndim
    place = {axis: i - part[axis].start for axis, i in zip(frames.label_axes, at, strict=True)}
    cluster = int(view.clusters[tuple(place[axis] for axis in "ZYX"[-n:])])
    if cluster < 0:
        raise ValueError(
            f"The pixel at {at} is masked or not finite: point at one that is part of the image"
        )
    tables = tables_of(model)
    if not tables:
        raise ValueError(
            "The model has one label alone, and nothing to tell objects from: train again"
        )
    return about([view], _members(cluster, tables, model.sizes), relative(spacing)[-n:])


def _checked(at: Sequence[int], frames: Frames) -> tuple[int, ...]:
    try:
        found = tuple(int(one) for one in at)
    except (TypeError, ValueError):
        found = ()
    inside = len(found) == len(frames.shape) and all(
        0 <= i < n for i, n in zip(found, frames.shape, strict=True)
    )
    if not inside:
        raise ValueError(
            f"The pixel of an object (at) must be {len(frames.shape)} whole numbers within the "
            f"image, whose axes {frames.label_axes} have the lengths {frames.shape}; got {at!r}"
        )
    return found


def _members(
    cluster: int, tables: list[NDArray[np.int64]], sizes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    for table in tables:
        ground = np.bincount(table, weights=sizes).argmax()
        if table[cluster] != ground:
            break
    else:
        table = tables[0]
    found: NDArray[np.bool_] = table == table[cluster]
    return found
