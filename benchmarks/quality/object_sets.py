"""Find the images of the objects' benchmark, set by set, with ground truth where there is any."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import resize
from tifffile import TiffFile

from benchmarks.quality import datasets
from benchmarks.quality.datasets import Dataset, Picture

Voxel = tuple[float, float, float]
CUBE: Voxel = (1.0, 1.0, 1.0)

EXPECTED = (
    *("dsb fluorescence", "dsb stained", "dsb brightfield"),
    *("nuclei2d", "monuseg_test", "nuclei3d", "qcanet3d", "plant3d_nuclei"),
)
"""The development sets, in the order of the table; others that are found follow."""
VOXELS: dict[str, Voxel] = {"plant3d_nuclei": (0.28, 0.127, 0.127)}
"""Size along Z, Y and X, µm, as the data's README gives it; of other stacks it is not known."""
NOT_OBJECTS = {
    "bsds500": "photographs",
    "vnc_sstem": "classes of tissue",
    "glas": "glands",
    "bbbc007": "the labels are scribbles",
}
"""What is not scored, and why: the truth holds no things to count."""
BETWEEN_PX = {"isbi2012": 200}
"""Where the truth is what lies between membranes: its pieces of so many pixels are the objects."""


@dataclass(frozen=True)
class ObjectPicture(Picture):
    """An image, the ids of its objects if they are known, and its voxels."""

    voxel: Voxel | None = None
    """Size along Z, Y and X; None for planes."""
    seen: str = "whole"
    """How it is looked at, one of `VIEWS`."""

    def read(self) -> tuple[NDArray[Any], str, list[NDArray[Any]]]:
        """Return what is looked at of the image, its axes and the ids of its objects."""
        image, axes, truths = super().read()
        if self.seen == "whole":
            return image, axes, truths
        if self.seen == "reduced":
            shape = [max(1, round(_REDUCED * n)) for n in image.shape[:2]]
            small = resize(image, shape, preserve_range=True, anti_aliasing=True)
            ids = [
                resize(one, shape, order=0, preserve_range=True, anti_aliasing=False).astype(int)
                for one in truths
            ]
            return small.round().astype(image.dtype), axes, ids
        rows, columns = (
            slice(n // 2, None) if far == "1" else slice(n // 2)
            for n, far in zip(image.shape[:2], self.seen, strict=True)
        )
        return image[rows, columns], axes, [one[rows, columns] for one in truths]


VIEWS = {"whole": ("whole",), "quarters": ("00", "01", "10", "11"), "reduced": ("reduced",)}
_REDUCED = 0.6


def find(
    data: Path,
    *,
    voxels: Mapping[str, Voxel] | None = None,
    scored: bool = True,
    left_out: Collection[str] = tuple(NOT_OBJECTS),
) -> dict[str, Dataset]:
    """List the sets of a folder, the expected ones first.

    Parameters
    ----------
    data : Path
        Itself, its folders and those of ``modalities`` are sets if they hold ``images`` and
        ``labels`` with files of equal names; one that is called ``dsb2018`` is three. In
        ``microscopy``, ``NAME_AXES.tif`` is an image and ``NAME_labels_AXES.tif`` its objects.
    voxels : dict of str to three numbers
        Of a set or an image, the size of a voxel, beside those known here.
    scored : bool
        False: images of all kinds, to count specks in; those of no use for scores lose their
        ground truth.
    left_out : collection of str
        How the names of sets begin that are not scored.

    Raises
    ------
    ValueError
        If there is no such folder, or two files share a name.
    """
    if not data.is_dir():
        raise ValueError(f"There is no folder {data}: name the one of the data with --data")
    known = {**VOXELS, **(voxels or {})}
    folders = [data, *sorted(data.iterdir()), *sorted(data.glob("modalities/*"))]
    found: dict[str, list[ObjectPicture]] = {}
    for folder in folders:
        if (folder / "images").is_dir() and (folder / "labels").is_dir():
            name = folder.resolve().name
            if _wanted(name, scored, left_out):
                for one in _of_folder(folder, name, known):
                    part = f"dsb {one.group}" if name == "dsb2018" else name
                    found.setdefault(part, []).append(one)
    for one in _of_microscopy(data / "microscopy", known, scored, left_out):
        found.setdefault(one.name, []).append(one)
    for name, pictures in found.items():
        if not _wanted(name, True, left_out):
            found[name] = [replace(one, truths=()) for one in pictures]
    names = sorted(found, key=lambda name: (_place(name), name))
    return {
        name: Dataset(name, "folder", tuple(found[name]), (), len(found[name])) for name in names
    }


def seen(sets: Mapping[str, Dataset], how: str) -> dict[str, Dataset]:
    """Look at planes otherwise than whole: at their quarters, or reduced to 0.6 of their size."""
    if how == "whole":
        return dict(sets)
    found = {}
    for name, dataset in sets.items():
        pictures = tuple(
            replace(one, name=f"{one.name} {view}", seen=view)
            for one in dataset.pictures
            if isinstance(one, ObjectPicture) and one.voxel is None
            for view in VIEWS[how]
        )
        if pictures:
            found[name] = replace(dataset, pictures=pictures)
    return found


def subset(sets: Mapping[str, Dataset], wanted: str) -> dict[str, Dataset]:
    """Take some images of each set: all, the number of them, or names; sets without any go.

    Raises
    ------
    ValueError
        If no set has any.
    """
    taken = {}
    for name, dataset in sets.items():
        if wanted.isdigit():
            taken[name] = datasets.subset(dataset, str(min(int(wanted), len(dataset.pictures))))
            continue
        patterns = ["*"] if wanted == "all" else wanted.split(",")
        fitting = tuple(
            one for one in dataset.pictures if any(fnmatchcase(one.name, p) for p in patterns)
        )
        if fitting:
            taken[name] = replace(dataset, pictures=fitting)
    if not taken:
        raise ValueError(f"No set has an image that --subset {wanted} means")
    return taken


def objects_of(truth: NDArray[Any], dataset: str) -> NDArray[Any]:
    """Return the ids of the objects of a set's truth; see `BETWEEN_PX`."""
    if dataset not in BETWEEN_PX:
        return truth
    inside = np.asarray(ndimage.label(truth == 0)[0])
    few = np.bincount(inside.ravel()) < BETWEEN_PX[dataset]
    found: NDArray[Any] = np.where(few[inside], 0, inside)
    return found


def _place(name: str) -> int:
    return EXPECTED.index(name) if name in EXPECTED else len(EXPECTED)


def _wanted(name: str, scored: bool, left_out: Collection[str]) -> bool:
    """Tell whether a set counts; photographs hold nothing to call a speck."""
    if scored:
        return not any(name.startswith(one) for one in left_out)
    return not name.startswith("bsds")


def _of_folder(folder: Path, name: str, voxels: Mapping[str, Voxel]) -> list[ObjectPicture]:
    kind = "dsb2018" if name == "dsb2018" else "folder"
    plain = datasets.find(folder, kind)
    return [
        ObjectPicture(
            one.name,
            "folder",
            one.image,
            one.truths[:1],
            one.group,
            axes := _axes_of(one.image),
            _voxel(axes, name, one.name, voxels),
        )
        for one in plain.pictures
    ]


def _axes_of(path: Path) -> str:
    """Return ZYX for a stack of planes; empty for what a picture file tells by itself."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return ""
    with TiffFile(path) as file:
        shape = file.series[0].shape
    return "ZYX" if len(shape) == 3 and shape[-1] not in (3, 4) else ""


def _of_microscopy(
    folder: Path, voxels: Mapping[str, Voxel], scored: bool, left_out: Collection[str]
) -> list[ObjectPicture]:
    found = []
    for path in sorted(folder.glob("*.tif")):
        match = re.fullmatch(r"(.+)_([tczyx]+)", path.stem)
        if match is None or match[1].endswith("_labels"):
            continue
        name, axes = match[1], match[2].upper()
        truth = path.with_name(f"{name}_labels_{match[2]}.tif")
        if _wanted(name, scored, left_out) and (truth.is_file() or not scored):
            truths = (truth,) if truth.is_file() else ()
            voxel = _voxel(axes, name, name, voxels)
            found.append(ObjectPicture(name, "folder", path, truths, "", axes, voxel))
    return found


def _voxel(axes: str, dataset: str, name: str, voxels: Mapping[str, Voxel]) -> Voxel | None:
    return voxels.get(name, voxels.get(dataset, CUBE)) if "Z" in axes else None
