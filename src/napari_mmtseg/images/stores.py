"""Open images kept as zarr or OME-Zarr."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_mmtseg.images.chunks import Guarded
from napari_mmtseg.images.levels import Levels

if TYPE_CHECKING:
    import zarr

_METADATA = (".zgroup", ".zarray", "zarr.json")


@dataclass(frozen=True)
class StoredImage:
    """An image in a store, opened lazily.

    Attributes
    ----------
    levels : tuple of Guarded
        The whole image first, then ever coarser ones.
    axes : str or None
        One letter an axis (of TCZYX); None if the store does not tell.
    scale, translate : tuple of tuple of float
        For each level, the size of a voxel and the place of the first along each axis.
    units : tuple of (str or None)
        The unit of each axis.
    labels : bool
        Whether the store says that it holds a label image.
    """

    levels: tuple[Guarded, ...]
    axes: str | None
    scale: tuple[tuple[float, ...], ...]
    translate: tuple[tuple[float, ...], ...]
    units: tuple[str | None, ...]
    labels: bool = False
    notes: tuple[str, ...] = ()
    """What a user should know of it, in sentences."""

    @property
    def pixels(self) -> Levels | Guarded:
        """The image as `train` takes it, with its coarser levels if it has some."""
        return Levels(self.levels) if len(self.levels) > 1 else self.levels[0]


def open_image(
    path: str | os.PathLike[str], *, on_damage: Literal["raise", "blank"] = "raise"
) -> StoredImage:
    """Open a zarr array (format 2 or 3) or an OME-Zarr image (0.4 or 0.5), and read no pixel.

    Parameters
    ----------
    path : str or path-like
        The folder of the array or of the image.
    on_damage : {"raise", "blank"}
        See `Guarded`.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is no image, or if its levels disagree.
    """
    import zarr

    path = Path(path)
    _refuse_absent_or_unfinished(path)
    try:
        node = zarr.open(path, mode="r")
    except PermissionError:
        raise
    except Exception as error:
        raise ValueError(f"The metadata of {path} cannot be read: {error}") from error
    if isinstance(node, zarr.Array):
        image = _plain(Guarded(node, on_damage=on_damage))
    else:
        image = _multiscale(path, node, on_damage)
    first = image.levels[0]
    if first.dtype.kind not in "biuf" or first.ndim < 2 or 0 in first.shape:
        raise ValueError(
            f"{path} is no image: it holds {first.dtype} of shape {first.shape}; an image holds "
            "real numbers and has two axes or more"
        )
    try:
        _check_levels(image)
    except ValueError as error:
        raise ValueError(f"The levels of {path} disagree: {error}") from None
    return image


def name_of(path: str | Path) -> str:
    """Return what a store is called, without the suffixes that say what it is."""
    return Path(path).name.removesuffix(".zarr").removesuffix(".ome")


def is_store(path: Path) -> bool:
    """Return whether a folder is a zarr array or group."""
    return any((path / name).is_file() for name in _METADATA)


def _refuse_absent_or_unfinished(path: Path) -> None:
    beside = path.with_name(path.name + ".unfinished")
    if not path.exists() and beside.exists():
        raise FileNotFoundError(
            f"{path} is not finished: save again under that name, with the same model and image, "
            "and only what is missing is computed"
        )
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: check the name")
    if path.suffix == ".unfinished" and (path / "journal.jsonl").exists():
        raise ValueError(
            f"{path} is not finished: save again as {path.stem}, with the same model and image, "
            "and only what is missing is computed"
        )
    if not is_store(path):
        raise ValueError(f"{path} is no zarr store: it holds none of {', '.join(_METADATA)}")


def _plain(array: Guarded) -> StoredImage:
    """Describe an array that stands by itself; zarr 3 may name its axes."""
    names = getattr(array.array.metadata, "dimension_names", None) or ()
    letters = "".join(name.upper() for name in names if isinstance(name, str))
    told = len(letters) == array.ndim == len(set(letters)) and set(letters) <= set("TCZYXS")
    ones, zeros = (1.0,) * array.ndim, (0.0,) * array.ndim
    return StoredImage((array,), letters if told else None, (ones,), (zeros,), (None,) * array.ndim)


def _multiscale(path: Path, group: zarr.Group, on_damage: Literal["raise", "blank"]) -> StoredImage:
    attributes = group.attrs.asdict()
    described: Any = attributes.get("ome", attributes)  # 0.5 moved all under "ome"
    if not isinstance(described, dict) or not described.get("multiscales"):
        raise ValueError(_no_image(path, group))
    try:
        image = described["multiscales"][0]
        axes, units = _axes(image, described.get("version", image.get("version")))
        levels = tuple(
            Guarded(
                _array(group, one["path"]),
                on_damage=on_damage,
                fill_counts="image-label" in described,
            )
            for one in image["datasets"]
        )
        outer = image.get("coordinateTransformations", [])
        placed = [
            _scale_and_translation([*one["coordinateTransformations"], *outer], len(axes))
            for one in image["datasets"]
        ]
        scale, translate = zip(*placed, strict=True)
        scale, translate, note = _sound(axes, scale, translate, [one.shape for one in levels])
    except Exception as error:  # anything may stand in a file
        said = error if isinstance(error, ValueError) else repr(error)
        raise ValueError(f"The OME-Zarr metadata of {path} cannot be used: {said}") from error
    labels = "image-label" in described and levels[0].dtype.kind in "iu"
    return StoredImage(levels, axes, scale, translate, units, labels, (note,) if note else ())


def _axes(image: dict[str, Any], version: str | None) -> tuple[str, tuple[str | None, ...]]:
    """Return the letters and the units of the axes."""
    axes = image.get("axes")
    if not axes or not all(isinstance(axis, dict) for axis in axes):
        raise ValueError(f"its version is {version}; 0.4 and 0.5 can be opened")
    names = [str(axis["name"]) for axis in axes]
    letters = "".join(names).upper()
    if len(letters) != len(names) or not set(letters) <= set("TCZYX"):
        raise ValueError(f"axes must be among t, c, z, y, x, got {', '.join(names)}")
    return letters, tuple(axis.get("unit") for axis in axes)


def _array(group: zarr.Group, path: str) -> zarr.Array[Any]:
    import zarr

    found = group[path]
    if not isinstance(found, zarr.Array):
        raise ValueError(f"{path} is no array")
    return found


def _no_image(path: Path, group: zarr.Group) -> str:
    inside = [name for name, _ in _first(group.members(), 6)]
    where = f"open one of what it holds ({', '.join(inside)})" if inside else "it holds nothing"
    return f"{path} is a zarr group without an image's metadata (multiscales): {where}"


def _first(items: Iterable[Any], count: int) -> Iterator[Any]:
    return (item for item, _ in zip(items, range(count), strict=False))


def _scale_and_translation(
    steps: list[dict[str, Any]], ndim: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what transformations do together, applied one after the other."""
    scale, translation = np.ones(ndim), np.zeros(ndim)
    for step in steps:
        kind = step["type"]
        if kind == "identity":
            continue
        if kind not in ("scale", "translation"):
            raise ValueError(f"there is a transformation of the type {kind}")
        if len(step[kind]) != ndim:
            raise ValueError(f"a transformation has {len(step[kind])} entries, not {ndim}")
        if kind == "scale":
            with np.errstate(invalid="ignore"):  # a step may be none, which is said later
                scale, translation = scale * step[kind], translation * step[kind]
        else:
            translation = translation + step[kind]
    return tuple(scale.tolist()), tuple(translation.tolist())


Steps = tuple[tuple[float, ...], ...]


def _sound(
    axes: str, scale: Steps, translate: Steps, shapes: list[tuple[int, ...]]
) -> tuple[Steps, Steps, str]:
    """Take 1 for steps that are none, and for places that are none 0, and say so."""
    first = scale[0]
    wrong = [
        axis for axis, *steps in zip(axes, *scale, strict=True) if not all(map(is_step, steps))
    ]
    if not wrong:
        places = tuple(tuple(t if math.isfinite(t) else 0.0 for t in one) for one in translate)
        return scale, places, ""
    mended = tuple(
        tuple(
            whole / n if axis in wrong else step
            for axis, step, whole, n in zip(axes, own, shapes[0], shape, strict=True)
        )
        for own, shape in zip(scale, shapes, strict=True)
    )
    places = tuple(
        tuple(
            0.0 if axis in wrong or not math.isfinite(t) else t
            for axis, t in zip(axes, one, strict=True)
        )
        for one in translate
    )
    told = ", ".join(f"{first[axes.index(axis)]:g} along {axis}" for axis in wrong)
    return mended, places, f"The file gives steps that are none ({told}): 1 is taken there."


def is_step(size: float) -> bool:
    """Tell whether a number can be the size of a pixel, or the time between frames."""
    return math.isfinite(size) and size > 0


def _check_levels(image: StoredImage) -> None:
    """Raise ValueError unless every level is the first one, coarser."""
    first = image.levels[0]
    if len(image.scale[0]) != first.ndim:
        raise ValueError(f"the image has shape {first.shape}, its axes are {image.axes}")
    for number, level in enumerate(image.levels[1:], 1):
        if level.dtype != first.dtype:
            raise ValueError(f"level {number} holds {level.dtype}, the image {first.dtype}")
        if level.ndim != first.ndim:
            raise ValueError(f"level {number} has shape {level.shape}, the image {first.shape}")
        # Writers round the size of a level up or down: it may miss the extent by one of its voxels.
        extent = np.multiply(first.shape, image.scale[0])
        voxel = np.asarray(image.scale[number])
        if np.any(np.abs(level.shape * voxel - extent) > 1.001 * voxel):
            raise ValueError(
                f"level {number} of shape {level.shape} and scale {image.scale[number]} is not the "
                f"image of shape {first.shape} and scale {image.scale[0]} made coarser"
            )
    for number, (fine, coarse) in enumerate(pairwise(image.levels), 1):
        larger = any(b > a for a, b in zip(fine.shape, coarse.shape, strict=True))
        if larger or fine.shape == coarse.shape:
            raise ValueError(
                f"level {number} of shape {coarse.shape} is not smaller than the one before, "
                f"{fine.shape}"
            )
