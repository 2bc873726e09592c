"""Find the images of a benchmark and their ground truth."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from skimage.io import imread

from napari_mmtseg.samples import nuclei_stack

KINDS = ("bsds500", "dsb2018", "folder", "sample")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_DSB_GROUPS = {"dark": "fluorescence", "colour": "stained", "bright": "brightfield"}


@dataclass(frozen=True)
class Picture:
    """One image with its ground truth, read when it is needed."""

    name: str
    kind: str
    image: Path
    truths: tuple[Path, ...]
    """Label images, one an annotator; for bsds500 one file that holds them all."""
    group: str = ""
    axes: str = ""
    """One letter an axis; empty for a flat picture file, which is gray or RGB."""

    def read(self) -> tuple[NDArray[Any], str, list[NDArray[Any]]]:
        """Return the image, its axes and the label images of the annotators.

        Raises
        ------
        ValueError
            If the image's axes are not told, or the ground truth does not fit it.
        """
        if self.kind == "sample":
            stack, truth = _generated()
            return stack[int(self.name[1:])], "YX", [truth[int(self.name[1:])]]
        image = np.asarray(imread(self.image))
        axes = self.axes or _flat_axes(self.name, image)
        if len(axes) != image.ndim:
            raise ValueError(
                f"{self.name}: the axes {axes} name {len(axes)} dimensions, but the image has the "
                f"shape {image.shape}; correct --axes"
            )
        if self.kind == "bsds500":
            truths = _berkeley_truths(self.truths[0])
        else:
            truths = [np.asarray(imread(path)) for path in self.truths]
        shape = tuple(n for n, axis in zip(image.shape, axes, strict=True) if axis not in "CS")
        for truth in truths:
            if truth.dtype.kind not in "biu":
                raise ValueError(
                    f"{self.name}: the ground truth holds {truth.dtype}; save label images as "
                    "whole numbers"
                )
            if truth.shape != shape:
                raise ValueError(
                    f"{self.name}: the ground truth has the shape {truth.shape}, the image "
                    f"{shape}; crop or resample one of them"
                )
        if self.kind == "dsb2018":  # which nucleus is which is no question of classes
            truths = [(truth != 0).astype(np.uint8) for truth in truths]
        return image, axes, truths


@dataclass(frozen=True)
class Dataset:
    """The pictures of a benchmark, and the images left out for want of ground truth."""

    name: str
    kind: str
    pictures: tuple[Picture, ...]
    skipped: tuple[str, ...] = ()
    n_found: int = 0
    """Images with ground truth before a subset was taken."""


def find(data: Path | None, kind: str, *, split: str = "val", axes: str = "") -> Dataset:
    """List a data set's pictures, sorted by name.

    Parameters
    ----------
    data : Path
        bsds500: holds images/SPLIT/NAME.jpg and groundTruth/SPLIT/NAME.mat. dsb2018 and folder:
        holds images/ and labels/ with files of equal names; further folders labels* hold further
        annotators. sample: not used.
    kind : str
        One of `KINDS`.
    split : str
        For bsds500: train, val or test.
    axes : str
        For folder: one letter an axis, as in `napari_mmtseg.segment`.

    Raises
    ------
    ValueError
        If a folder is missing, holds no image, or none with ground truth.
    """
    if kind == "sample":
        pictures = tuple(
            Picture(f"z{z:02d}", kind, Path(), (), axes="YX") for z in range(1, _SAMPLE[0] - 1, 2)
        )
        return Dataset("sample", kind, pictures, (), len(pictures))
    if data is None or not data.is_dir():
        raise ValueError(f"There is no folder {data}: name the one of the data with --data")
    if kind == "bsds500":
        images, annotators = data / "images" / split, [data / "groundTruth" / split]
        name = f"{kind} {split}"
    else:
        images = data / "images"
        annotators = sorted(path for path in data.glob("labels*") if path.is_dir())
        name = data.resolve().name
    for folder in [images, *annotators[:1]] if annotators else [images, data / "labels"]:
        if not folder.is_dir():
            raise ValueError(
                f"There is no folder {folder.relative_to(data)} in {data}; {kind} wants one"
            )
    return _matched(name, kind, images, annotators, axes)


def subset(dataset: Dataset, choice: str) -> Dataset:
    """Take N pictures spread evenly over the sorted names, or those named (patterns allowed).

    Raises
    ------
    ValueError
        If there are fewer pictures, or a name fits none.
    """
    pictures = dataset.pictures
    if not choice or choice == "all":
        return dataset
    if choice.isdecimal():
        n = int(choice)
        if not 1 <= n <= len(pictures):
            raise ValueError(f"The subset must be 1 to {len(pictures)} images, got {n}")
        chosen = [pictures[i * len(pictures) // n] for i in range(n)]
    else:
        chosen = []
        for pattern in choice.split(","):
            fitting = [one for one in pictures if fnmatchcase(one.name, pattern.strip())]
            if not fitting:
                raise ValueError(f"No image of {dataset.name} is named {pattern.strip()}")
            chosen += [one for one in fitting if one not in chosen]
    return Dataset(dataset.name, dataset.kind, tuple(chosen), dataset.skipped, dataset.n_found)


def _matched(name: str, kind: str, folder: Path, annotators: Sequence[Path], axes: str) -> Dataset:
    truth_suffixes = (".mat",) if kind == "bsds500" else _SUFFIXES
    known = [_by_stem(folder, truth_suffixes) for folder in annotators]
    pictures, skipped = [], []
    for stem, path in _by_stem(folder, _SUFFIXES).items():
        truths = tuple(files[stem] for files in known if stem in files)
        if not truths:
            skipped.append(stem)
            continue
        prefix = stem.split("_")[0]
        group = _DSB_GROUPS.get(prefix, prefix) if kind == "dsb2018" else ""
        told = "YXS" if kind == "bsds500" else axes
        pictures.append(Picture(stem, kind, path, truths, group, told))
    if not pictures:
        what = "no image has ground truth" if skipped else "there is no image"
        raise ValueError(
            f"Nothing to measure: {what} in {folder}; images end in {', '.join(_SUFFIXES)}, and "
            f"their ground truth has the same name, ending in {', '.join(truth_suffixes)}"
        )
    return Dataset(name, kind, tuple(pictures), tuple(skipped), len(pictures))


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(
                f"{found[path.stem].name} and {path.name} share a name in {folder}: rename one"
            )
        found[path.stem] = path
    return found


def _flat_axes(name: str, image: NDArray[Any]) -> str:
    if image.ndim == 2:
        return "YX"
    if image.ndim == 3 and image.dtype == np.uint8 and image.shape[2] in (3, 4):
        return "YXS"
    raise ValueError(
        f"{name} has the shape {image.shape} and type {image.dtype}, neither gray nor 8-bit RGB: "
        "name its axes with --axes, such as ZYX or CYX"
    )


def _berkeley_truths(path: Path) -> list[NDArray[Any]]:
    cells = loadmat(path)["groundTruth"][0]
    return [np.asarray(cell["Segmentation"][0, 0]).astype(np.int32) for cell in cells]


_SAMPLE = (12, 192, 192)


@functools.cache
def _generated() -> tuple[NDArray[Any], NDArray[Any]]:
    image, truth = nuclei_stack(_SAMPLE, n_nuclei=25)
    return image, (truth != 0).astype(np.uint8)
