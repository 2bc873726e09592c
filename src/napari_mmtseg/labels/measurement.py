"""Measure the objects of a label image: size, place, shape and intensities."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import regionprops_table

from napari_mmtseg.images.frames import Frames, whole_numbers
from napari_mmtseg.labels.convex_hulls import LARGEST_BOX, hull_share
from napari_mmtseg.labels.measurement_table import Table
from napari_mmtseg.labels.object_numbers import check_numbers, coded
from napari_mmtseg.system import memory

_SHARED = ("num_pixels", "area", "equivalent_diameter_area", "centroid", "bbox")
_LENGTHS = ("axis_major_length", "axis_minor_length")
_STATISTICS = ("intensity_mean", "intensity_std", "intensity_min", "intensity_max")
_COLOURS = ("red", "green", "blue")
_BYTES_A_PIXEL = 24


class MeasuredFrames(NamedTuple):
    """How many frames, or planes, are measured, and how many there are."""

    done: int
    total: int


def measure(
    labels: ArrayLike,
    image: ArrayLike | None = None,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    unit: str = "µm",
    by_plane: bool | None = None,
) -> Table:
    """Measure each object of a label image.

    In a stack (Z) an object is what bears one number in all planes; over time (T) each frame is
    for itself, and a number has a row in each frame where it occurs.

    Parameters
    ----------
    labels : integer or bool array-like
        An object's number at each of its pixels, 0 to 2^31 - 1; 0 is background. May be lazy:
        frames are read one by one.
    image : array-like, optional
        What to measure intensities in, of the labels' shape but for a channel axis.
    axes : str, optional
        The axes of the image, or of the labels if there is no image, as for `segment`. May be
        left out in 2D.
    spacing : sequence of float, optional
        Size of a pixel along Y and X, in stacks along Z, Y and X. Without it sizes are in pixels.
    unit : str
        What the spacing is given in.
    by_plane : bool, optional
        Whether each plane of a stack is for itself, as frames are. By default that is so where no
        object reaches into a second plane.

    Returns
    -------
    Table
        A row an object, by frame, plane and number. A dict of 1D arrays with `units` and `notes`:

        - ``label``; ``frame`` over time; ``plane`` in a stack measured by plane
        - ``pixels``; ``area`` or ``volume``; ``diameter``, of the disc or ball of that size
        - ``z``, ``y``, ``x``: the centroid, from the middle of the first pixel
        - ``major_axis``, ``minor_axis``: of the ellipse or ellipsoid with the same moments
        - in 2D ``eccentricity`` (0 a circle, 1 a line), ``orientation`` (of the major axis, from
          Y towards X), ``perimeter``, ``circularity`` (4 pi area / perimeter^2, at most 1)
        - ``solidity``: the share of its convex hull that it fills; ``extent``: of its box
        - ``touches_border``: whether it may go on beyond the image, in volumes along Z as well
        - ``intensity_mean``, ``_std``, ``_min`` and ``_max``; of several channels with their
          number, from 0, or red, green and blue. Of an object with a pixel that is not finite
          they are not a number.

        All are those of `skimage.measure.regionprops_table`. Without objects there are no rows.

    Raises
    ------
    TypeError, ValueError
        If the labels hold no whole numbers, or such as are too large; if image, axes and spacing
        do not fit them.
    MemoryError
        If a frame is too large to be measured.
    """
    run = measure_steps(labels, image, axes=axes, spacing=spacing, unit=unit, by_plane=by_plane)
    while True:
        try:
            next(run)
        except StopIteration as end:
            table: Table = end.value
            return table


def measure_steps(
    labels: ArrayLike,
    image: ArrayLike | None = None,
    *,
    axes: str | Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    unit: str = "µm",
    by_plane: bool | None = None,
) -> Generator[MeasuredFrames, bool | None, Table]:
    """Measure step by step, see `measure`; sending True ends it with the frames that are done."""
    if hasattr(labels, "dtype"):
        labels = whole_numbers(labels)
    frames = Frames(labels if image is None else image, axes, volumes=True)
    if image is None and frames.dtype.kind == "f":
        raise TypeError(
            f"The labels must hold whole numbers, got dtype {frames.dtype} with fractions, or "
            "values that are not finite: choose an image of labels"
        )
    if image is None and set(frames.axes) & {"C", "S"}:
        raise ValueError(
            f"Labels have no channels, got axes {frames.axes!r}: name those of the labels, or pass "
            "the image that has them"
        )
    sizes = _checked_spacing(spacing, "Z" in frames.axes)
    numbers = frames.side_image(labels, "labels")
    notes = []
    if sizes is None:
        notes.append("The size of a pixel is not known: sizes are in pixels.")
        sizes, unit = (1.0,) * len(frames.frame_shape), "px"
    sizes = sizes[-len(frames.frame_shape) :]  # of a single plane along Z, those of the picture
    if frames.volumes and by_plane is None and not _reach_over_planes(frames, numbers):
        notes.append("Objects end at each plane: they are measured plane by plane.")
        by_plane = True
    if frames.volumes and by_plane:
        frames, sizes = Frames(frames.data, frames.axes), sizes[1:]
    if len(sizes) == 2 and not _square(sizes):
        notes.append("Perimeters are left out: they need pixels as high as wide.")
    what = f"Measuring {math.prod(frames.frame_shape):,} pixels at once"
    memory.require(_BYTES_A_PIXEL * math.prod(frames.frame_shape), what)
    parts = []
    for index in range(len(frames)):
        parts.append(_frame(frames, numbers, index, sizes, with_pixels=image is not None))
        done = index + 1
        if (yield MeasuredFrames(done, len(frames))) and done < len(frames):
            notes.insert(0, f"Stopped: {done} of {len(frames)} frames or planes are measured.")
            break
    columns = _joined(parts, frames)
    if np.isnan(columns["solidity"]).any():
        notes.append(f"Solidity is left out in a box of over {LARGEST_BOX:,} voxels.")
    return Table(columns, _units(columns, unit), notes)


def _frame(
    frames: Frames, numbers: Any, index: int, sizes: tuple[float, ...], *, with_pixels: bool
) -> dict[str, NDArray[Any]]:
    """Measure a frame, and say which one it is."""
    left = [
        axis for axis in frames.label_axes if axis == "T" or (axis == "Z" and not frames.volumes)
    ]
    pixels = _intensities(frames.read(index)) if with_pixels else None
    part = _measured(np.asarray(frames.frame_of(numbers, index)), pixels, sizes)
    many = len(part["label"])
    place = {
        {"T": "frame", "Z": "plane"}[axis]: np.full(many, at, np.int64)
        for axis, at in zip(left, frames.position(index), strict=True)
    }
    return {"label": part.pop("label")} | place | part


def _joined(parts: list[dict[str, NDArray[Any]]], frames: Frames) -> dict[str, NDArray[Any]]:
    """Join the rows of frames."""
    named = _COLOURS if frames.is_rgb else tuple(map(str, range(frames.n_channels)))
    renamed = {
        f"{one}-{i}": f"{one}_{name}" if len(named) > 1 else one
        for one in _STATISTICS
        for i, name in enumerate(named)
    }
    return {
        renamed.get(name, name): np.concatenate([part[name] for part in parts]) for name in parts[0]
    }


def _measured(
    labels: NDArray[Any], pixels: NDArray[Any] | None, sizes: tuple[float, ...]
) -> dict[str, NDArray[Any]]:
    """Measure one frame; (Y, X) or (Z, Y, X), pixels with the channels last."""
    check_numbers(labels)
    ids, objects = coded(labels)
    flat = labels.ndim == 2
    properties: tuple[str, ...] = (*_SHARED, *_LENGTHS, "extent")
    square = flat and _square(sizes)
    if square:
        sizes = (sizes[0], sizes[0])
    if flat:
        properties += ("eccentricity", "orientation", "solidity")
        properties += ("perimeter",) if square else ()
    if pixels is not None:
        properties += _STATISTICS
    with np.errstate(all="ignore"):  # of pixels that are not finite
        found = regionprops_table(
            objects,
            pixels,
            properties=("label", *properties),
            extra_properties=None if flat else (hull_share,),
            spacing=sizes,
        )
    box = np.stack([found[f"bbox-{i}"] for i in range(2 * labels.ndim)])
    # A single plane has no plane beyond it.
    across = [i for i, n in enumerate(labels.shape) if n > 1]
    border = np.zeros(box.shape[1], bool)
    for i in across:
        border |= (box[i] == 0) | (box[i + labels.ndim] == labels.shape[i])
    columns = {
        "label": ids[found["label"] - 1],
        "pixels": found["num_pixels"],
        "area" if flat else "volume": found["area"],
        "diameter": found["equivalent_diameter_area"],
    }
    columns |= {
        axis: found[f"centroid-{i}"] for i, axis in enumerate("ZYX"[-labels.ndim :].lower())
    }
    columns |= {"major_axis": found["axis_major_length"], "minor_axis": found["axis_minor_length"]}
    if flat:
        columns |= {name: found[name] for name in ("eccentricity", "orientation")}
        unknown = np.full(len(ids), np.nan)
        around = columns["perimeter"] = found["perimeter"] if square else unknown
        with np.errstate(all="ignore"):  # a single pixel has no perimeter
            round_ = 4 * math.pi * found["area"] / around**2
        columns["circularity"] = np.where(around > 0, np.minimum(round_, 1), np.nan)
    columns["solidity"] = found["solidity" if flat else "hull_share"]
    columns |= {"extent": found["extent"], "touches_border": border}
    columns |= {name: found[name] for name in found if name.startswith(_STATISTICS)}
    return columns


def _intensities(part: NDArray[Any]) -> NDArray[Any]:
    """Turn (C, *spatial) into (*spatial, C) of numbers that can be averaged."""
    if part.dtype.kind == "f":
        part = np.where(np.isfinite(part), part, np.nan).astype(np.float64)
    elif part.dtype.kind == "b":
        part = part.astype(np.uint8)
    else:
        part = part.astype(part.dtype.newbyteorder("="), copy=False)
    return np.moveaxis(part, 0, -1)


def _reach_over_planes(frames: Frames, numbers: Any) -> bool:
    """Tell whether an object has pixels in two planes, or there is only one plane."""
    if frames.frame_shape[0] == 1:
        return False
    for index in range(len(frames)):
        seen: set[int] = set()
        frame = frames.frame_of(numbers, index)
        for at in range(frames.frame_shape[0]):
            plane = np.asarray(frame[at])  # of what is lazy, no more than is needed to tell
            check_numbers(plane)
            here = set(coded(plane)[0].tolist())
            if seen & here:
                return True
            seen |= here
    return False


def _checked_spacing(spacing: Sequence[float] | None, deep: bool) -> tuple[float, ...] | None:
    if spacing is None:
        return None
    wanted, example = ("three", "Z, Y and X") if deep else ("two", "Y and X")
    try:
        sizes = tuple(float(one) for one in spacing)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) != 2 + deep or not all(math.isfinite(one) and one > 0 for one in sizes):
        raise ValueError(
            f"The size of a pixel (spacing) must be {wanted} numbers above 0, along {example}, for "
            f"example {(0.8, 0.25, 0.25)[-2 - deep :]}, got {spacing!r}"
        )
    return sizes


def _square(sizes: tuple[float, ...]) -> bool:
    return math.isclose(*sizes, rel_tol=1e-6)


def _units(columns: dict[str, Any], unit: str) -> dict[str, str]:
    lengths = ("diameter", "z", "y", "x", "major_axis", "minor_axis", "perimeter")
    units = dict.fromkeys(lengths, unit) | {
        "area": f"{unit}²",
        "volume": f"{unit}³",
        "orientation": "rad",
    }
    return {name: units[name] for name in columns if name in units}
