"""Sort the objects of a label image into groups that look alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import find_objects
from skimage.transform import resize

from napari_mmtseg.engine import OnStep, Run, drain
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.images.scaling import Scaling
from napari_mmtseg.methods import ObjectIIC

_SIDE = 32
"""Side of the squares that the network sees, in its own pixels."""
_SCALING_VALUES = 8_000_000


@dataclass(frozen=True, eq=False)
class Groups:
    """The group of each object.

    Attributes
    ----------
    ids : (N,) int64 array
        The objects' numbers in the label image, rising.
    groups : (N,) int64 array
        The group of each, numbered from 1 by the number of objects.
    confidence : (N,) float32 array
        The network's probability of that group, in 0..1.
    """

    ids: NDArray[np.int64]
    groups: NDArray[np.int64]
    confidence: NDArray[np.float32]

    def labels(self, objects: ArrayLike) -> NDArray[np.int32]:
        """Return the label image with each object's group in place of its number.

        Parameters
        ----------
        objects : integer array-like
            The label image, or another one with the same numbers; unknown ones become 0.
        """
        image = np.asarray(objects)
        place = np.searchsorted(self.ids, image).clip(max=len(self.ids) - 1)
        return np.where(self.ids[place] == image, self.groups[place], 0).astype(np.int32)


def group_objects(
    image: ArrayLike,
    objects: ArrayLike,
    method: ObjectIIC | None = None,
    *,
    axes: str | Sequence[str] | None = None,
    on_step: OnStep | None = None,
) -> Groups:
    """Sort objects into groups that look alike, by training on crops of them.

    Parameters
    ----------
    image : array-like
        bool, integers or floats.
    objects : integer array-like
        Of the image's shape without channels: 0 for background, otherwise an object's number. In
        a stack an object may lie in several planes; the one where it is largest is looked at.
        Objects at the border are kept; what lies beyond it is blank.
    method : ObjectIIC, optional
        The settings, by default ``ObjectIIC()``.
    axes : str, optional
        The image's axes, as for `segment`.
    on_step : callable, optional
        Called with each `Step`; training stops early, keeping what is learned, once it returns
        True.

    Returns
    -------
    Groups

    Raises
    ------
    TypeError, ValueError
        If image and objects do not fit, or there are fewer objects than groups.

    References
    ----------
    Ji, Henriques and Vedaldi, ICCV 2019, section 4.1.
    """
    return drain(group_objects_steps(image, objects, method, axes=axes), on_step)


def group_objects_steps(
    image: ArrayLike,
    objects: ArrayLike,
    method: ObjectIIC | None = None,
    *,
    axes: str | Sequence[str] | None = None,
) -> Run[Groups]:
    """Group step by step: yields each `Step`, whose snapshot makes `Groups`; returns `Groups`.

    Send True to stop and keep what is learned; close the generator to discard it.
    """
    # Loading torch takes seconds, which importing this module should not.
    from napari_mmtseg.engine.iic import objects as object_iic

    method = method or ObjectIIC()
    planes = Frames(image, axes)
    side = planes.side_image(objects, "objects")
    every = np.stack([np.asarray(planes.frame_of(side, index)) for index in range(len(planes))])
    if every.dtype.kind == "u" and every.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"An object's number must be at most {np.iinfo(np.int64).max}, got {every.max()}: "
            "number the objects anew, for example with skimage.segmentation.relabel_sequential"
        )
    ids, crops = crop_objects(planes, every, method)
    training = object_iic.train(crops, planes.is_rgb, method)
    sent = None
    while True:
        try:
            step = training.send(sent)
        except StopIteration as end:
            return _grouped(ids, end.value)
        snapshot = partial(_grouped_later, ids, step.snapshot)
        sent = yield dataclasses.replace(step, snapshot=snapshot)


def crop_objects(
    planes: Frames, objects: NDArray[Any], method: ObjectIIC
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Cut out each object, all to one scale, except that the largest are shrunk to fit.

    Parameters
    ----------
    planes : Frames
        The image.
    objects : (P, Y, X) integer array
        The number of the object at each pixel, 0 for none.
    method : ObjectIIC
        The settings.

    Returns
    -------
    ids : (N,) int64 array
        The objects' numbers, rising.
    crops : (N, C + 1, S, S) float32 array
        Pixels in 0..1, and the object's own shape as the last channel.

    Raises
    ------
    ValueError
        If there are fewer objects than groups.
    """
    ids, home = _homes(objects)
    if len(ids) < method.n_groups:
        raise ValueError(
            f"There are fewer objects ({len(ids)}) than groups (n_groups {method.n_groups}): ask "
            "for fewer groups, or choose a label image with more objects"
        )
    in_plane = {int(index): np.flatnonzero(home == index) for index in np.unique(home)}
    room = max(1, _SCALING_VALUES // (planes.n_channels * objects[0].size))
    sparse = list(in_plane)[:: -(-len(in_plane) // room)]
    raw = [planes.read(index) for index in sparse]
    scaling = Scaling.fit(raw, method.intensity, shared=planes.is_rgb)
    boxes = [
        box for index, numbers in in_plane.items() for box in _boxes(objects[index], ids[numbers])
    ]
    sides = [max(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in boxes]
    common = method.crop_px or int(np.percentile(sides, 90)) + 2
    crops = np.empty((len(ids), planes.n_channels + 1, _SIDE, _SIDE), np.float32)
    following = zip(boxes, sides, strict=True)
    for index, numbers in in_plane.items():
        pixels, valid = scaling.apply(planes.read(index))
        # Pixels that are not finite belong to no object.
        number_at = np.where(valid, objects[index], 0)
        for number in numbers:
            box, side = next(following)
            square = partial(_square, box=box, side=max(common, side))
            mask = square(number_at[np.newaxis]) == ids[number]  # (1, s, s)
            shown = square(pixels) if method.surroundings else square(pixels) * mask
            crops[number] = _resized(np.concatenate([shown, mask], dtype=np.float32))
    return ids, crops


def _homes(objects: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the objects' numbers and, for each, the plane where it has the most pixels."""
    counts = [np.unique(plane[plane != 0], return_counts=True) for plane in objects]
    ids = np.unique(np.concatenate([found for found, _ in counts]))
    most, home = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
    for index, (found, sizes) in enumerate(counts):
        place = np.searchsorted(ids, found)
        larger = sizes > most[place]
        most[place[larger]], home[place[larger]] = sizes[larger], index
    return ids.astype(np.int64), home


def _boxes(plane: NDArray[Any], ids: NDArray[np.int64]) -> list[tuple[slice, slice]]:
    """Return the rows and columns that each object spans in a plane, in the order of ids."""
    place = np.searchsorted(ids, plane).clip(max=len(ids) - 1)
    boxes: list[tuple[slice, slice]] = find_objects(np.where(ids[place] == plane, place + 1, 0))
    return boxes


def _square(channels: NDArray[Any], box: tuple[slice, slice], side: int) -> NDArray[Any]:
    """Cut the square around a box's middle from (C, Y, X); beyond the border it is 0."""
    square = np.zeros((len(channels), side, side), channels.dtype)
    inner, outer = [], []
    for span, length in zip(box, channels.shape[1:], strict=True):
        start = (span.start + span.stop - side) // 2
        first, last = max(start, 0), min(start + side, length)
        outer.append(slice(first, last))
        inner.append(slice(first - start, last - start))
    square[:, *inner] = channels[:, *outer]
    return square


def _resized(square: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring (C, s, s) to the side that the network sees."""
    if square.shape[1] == _SIDE:
        return square
    smooth = square.shape[1] > _SIDE
    resized: NDArray[np.float32] = resize(
        square, (len(square), _SIDE, _SIDE), order=1, mode="edge", anti_aliasing=smooth
    )
    return resized


def _grouped(ids: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Groups:
    winners = probabilities.argmax(1)
    sizes = np.bincount(winners, minlength=probabilities.shape[1])
    rank = np.argsort(-sizes, kind="stable").argsort()
    return Groups(ids, rank[winners] + 1, probabilities.max(1))


def _grouped_later(
    ids: NDArray[np.int64], probabilities: Callable[[], NDArray[np.float32]]
) -> Groups:
    return _grouped(ids, probabilities())
