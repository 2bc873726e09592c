"""Find the objects of an image whose clusters are known: plane by plane, or through Z."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg import memory
from napari_mmtseg.arrays import Frames
from napari_mmtseg.engine import Run, Step
from napari_mmtseg.labels.objects import find_objects
from napari_mmtseg.labels.seeking import contrast_of
from napari_mmtseg.methods.refining import output_of
from napari_mmtseg.scaling import Scaling
from napari_mmtseg.settings import Method
from napari_mmtseg.spacing import relative

_BYTES_A_PIXEL = 100
"""What finding objects in a plane or volume takes, as measured."""


class Known(Protocol):
    """What is asked of a model here."""

    @property
    def scaling(self) -> Scaling: ...
    @property
    def n_clusters(self) -> int: ...
    @property
    def objects(self) -> NDArray[np.int64]: ...
    @property
    def contrast(self) -> NDArray[np.float64]: ...
    @property
    def diameter_px(self) -> float: ...


def check_diameter(method: Method, frames: Frames) -> None:
    """Refuse settings by which objects are wider than a plane.

    Raises
    ------
    ValueError
    """
    diameter = getattr(method, "diameter_px", 0.0)
    rows, columns = (frames.shape[frames.label_axes.index(axis)] for axis in "YX")
    if output_of(method) == "objects" and diameter > max(rows, columns):
        raise ValueError(
            f"Objects as wide as the image or wider cannot be found: the diameter (diameter_px) is "
            f"{diameter:g} px, the image {rows} x {columns}. Give that of one object, or 0 to have "
            "it measured"
        )


def object_steps(
    model: Known,
    frames: Frames,
    clusters: NDArray[np.int16],
    spacing: Sequence[float] | None = None,
    *,
    whole: bool = True,
) -> Run[NDArray[np.int32]]:
    """Find the objects of an image, one plane or, of a stack along Z, one volume a step.

    Sending True ends it: what is not reached has no objects.

    Parameters
    ----------
    model : Model
    frames : Frames
        The image.
    clusters : int16 array
        Of the labels' shape, -1 where there is none.
    spacing : sequence of three numbers, optional
        The voxel's size along Z, Y and X.
    whole : bool
        Whether the labelling came to its end; otherwise what it did not reach takes no time.

    Returns
    -------
    int32 array
        Of the labels' shape: objects numbered from 1, each in one time frame alone; 0 elsewhere.

    Raises
    ------
    MemoryError
        If a volume is too large to be looked at as a whole.
    """
    wholes = Frames(frames.data, frames.axes, volumes=True)
    if wholes.volumes and spacing is None:
        warnings.warn(
            "The voxels' size is not known: objects are joined through Z as if voxels were cubes. "
            "Give it as spacing=(z, y, x), or as the scale of the layer",
            stacklevel=2,
        )
    n = len(wholes.frame_shape)
    size = relative(spacing)[-n:]
    what = "Finding objects in a " + ("volume" if wholes.volumes else "plane")
    memory.require(_BYTES_A_PIXEL * math.prod(wholes.frame_shape), what)
    member = np.append(model.objects != 0, False)  # the last is for cluster -1
    found = np.zeros(clusters.shape, np.int32)
    last = 0
    for index in range(len(wholes)):
        everything = wholes.frame_of(clusters, index)
        reached = slice(0, len(everything)) if whole else _reached(everything)
        own = everything[reached]
        inside = member[own]
        if inside.any():
            region = (reached, *(slice(0, side) for side in own.shape[1:]))
            pixels, _ = model.scaling.apply(wholes.read(index, region))
            contrast = contrast_of(pixels, model.contrast)
            contrast[own < 0] = 0
            here = find_objects(inside, contrast, model.diameter_px, size)
            here[own < 0] = 0
            wholes.frame_of(found, index)[reached] = np.where(here, here + np.int32(last), 0)
            last += int(here.max(initial=0))
        step = Step("objects", index + 1, len(wholes), (), (model.n_clusters,), lambda: model)
        if (yield step):
            break
    return found


def _reached(clusters: NDArray[np.int16]) -> slice:
    """Return the part along the first axis that has clusters."""
    there = np.flatnonzero((clusters >= 0).any(axis=tuple(range(1, clusters.ndim))))
    return slice(int(there[0]), int(there[-1]) + 1) if len(there) else slice(0, 0)
