"""Do one image: read it, label it, write its result and the record of it."""

from __future__ import annotations

import math
import platform
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from napari_mmtseg._version import __version__
from napari_mmtseg.folders import records
from napari_mmtseg.folders.image_list import Source
from napari_mmtseg.images.frames import is_lazy
from napari_mmtseg.images.image_files import ImageFile, open_image
from napari_mmtseg.labels.measurement import measure
from napari_mmtseg.labels.measurement_table import Table, write_table
from napari_mmtseg.labels.shapes import diameter_of
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.model import Model
from napari_mmtseg.output.label_files import store_steps, tiff_of
from napari_mmtseg.segmentation import segment
from napari_mmtseg.settings import Method
from napari_mmtseg.system.error_text import error_text
from napari_mmtseg.system.whole_files import write_whole

State = Literal["waiting", "working", "done", "kept", "failed", "left"]
"""Of an image: kept is what an earlier run has done, left what a stopped run did not reach."""

_ALIKE = 1.25
_OTHER_WIDTH = 1.7
"""Objects so many times narrower or wider than those learned are others, or crumbs."""
_NOT_MEASURED = {"label", "frame", "plane", "z", "y", "x", "orientation", "touches_border"}


@dataclass(frozen=True)
class TaskSettings:
    """How each image is done; all images of a batch alike."""

    method: Method
    """Of the model, or what each image is trained with."""
    made_with: Mapping[str, Any]
    """What the results depend on beside the images; JSON."""
    pixel_um: float | None = None
    """How wide the pixels are that the model was trained on, where that is known."""
    n_labels: int | None = None
    trained: Method | None = None
    """What an image unlike those that the model was trained on is trained with by itself."""
    axes: str | None = None
    spacing: tuple[float, ...] | None = None
    measured: bool = False
    """Whether a table of the objects is wanted as well."""
    overwrite: bool = False


class Task(NamedTuple):
    """An image to do."""

    source: Source
    manner: TaskSettings


@dataclass(frozen=True)
class Outcome:
    """What became of an image."""

    name: str
    state: State
    seconds: float = 0.0
    count: int | None = None
    """Labels or objects; None if nobody has counted them."""
    error: str = ""
    row: Mapping[str, Any] | None = None
    """What the table of all images says of it."""


def look(task: Task) -> Outcome | None:
    """Tell without any work what is there already of an image; None if it is to be done."""
    source, manner = task
    try:
        if source.problem:
            raise ValueError(source.problem)
        found = records.standing(
            source, _result(source, _opened(task)), manner.made_with, overwrite=manner.overwrite
        )
        if found.what == "refused":
            raise FileExistsError(found.why)
        if found.record is None or (manner.measured and not source.table.exists()):
            return None
    except Exception as error:
        return failed(source, error)
    row = {**found.record["row"], "state": "kept"}
    return Outcome(source.name, "kept", count=row.get("count"), row=row)


def do(task: Task, model: Model | None) -> Outcome:
    """Do an image; whatever goes wrong with it is said in the outcome.

    Parameters
    ----------
    task : Task
    model : Model or None
        None trains on each image by itself.
    """
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            row = _do(task, model, start, said)
    except Exception as error:  # the next image may be sound
        return failed(task.source, error, time.perf_counter() - start)
    spent = time.perf_counter() - start
    return Outcome(task.source.name, "done", spent, row.get("count"), row=row)


def failed(source: Source, error: Exception, seconds: float = 0.0) -> Outcome:
    """Return the outcome of an image that could not be done."""
    row = {"file": source.name, "state": "failed", "error": error_text(error)}
    return Outcome(source.name, "failed", seconds, error=row["error"], row=row)


def _opened(task: Task) -> ImageFile:
    return open_image(task.source.path, axes=task.manner.axes, spacing=task.manner.spacing)


def _result(source: Source, file: ImageFile) -> Path:
    return source.result(store=file.is_store or file.is_lazy)


def _do(task: Task, model: Model | None, start: float, said: list[Any]) -> dict[str, Any]:
    """Do an image and return its row of the table."""
    source, manner = task
    file = _opened(task)
    result = _result(source, file)
    found = records.standing(source, result, manner.made_with, overwrite=manner.overwrite)
    if found.what == "refused":
        raise FileExistsError(found.why)
    ours = records.read(source.record) is not None
    if manner.measured and source.table.exists() and not (ours or manner.overwrite):
        raise FileExistsError(
            f"{source.table} exists and is no table of a batch: choose another folder for the "
            "results, or allow to overwrite (--overwrite)"
        )
    before = records.state_of(source.path)
    pixels = file.read()
    if found.record is not None:  # all but the table is there
        labels = open_image(result).read()
        table = _table(file, pixels, labels)
        row = found.record["row"] | _medians(table)
        records.write(source, found.record | {"row": row})
        write_table(source.table, table, overwrite=True)
        return {**row, "state": "done"}
    labels = _labels(pixels, file, manner, model)
    if records.state_of(source.path) != before:
        raise ValueError(
            f"{source.path} was written to while it was read: run again when that has ended"
        )
    row = {"file": source.name, "state": "done", "error": ""} | _row(file, manner)
    if not is_lazy(labels):
        row |= _counted(labels)
    wanted = _table(file, pixels, labels) if manner.measured else None
    if wanted is not None:
        row |= _medians(wanted)
    axes = "".join(axis for axis in file.axes if axis not in "CS")
    store = result.suffix != ".tif"
    content = b"" if store else tiff_of(labels, axes, file.world)
    replace = found.what == "replace"
    row["seconds"] = round(time.perf_counter() - start, 3)
    notes = [*file.notes, *_other_size(file, manner), *(str(one.message) for one in said)]
    row["notes"] = " ".join(dict.fromkeys(notes))
    source.record.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "made_with": manner.made_with,
        "image": before,
        "result": result.name,
        "result_sha256": None if store else records.digest_of(content),
        "replaces": records.digest(result) if replace else None,
        "row": row,
    }
    records.write(source, record)
    if store:
        mark = records.digest_of(repr((before["sha256"], sorted(manner.made_with.items()))))
        for _ in store_steps(result, labels, axes, file.world, fingerprint=mark, overwrite=replace):
            pass
    else:
        write_whole(result, [content], overwrite=replace)
    if wanted is not None:
        write_table(source.table, wanted, overwrite=ours or manner.overwrite)
    return row


def _labels(pixels: Any, file: ImageFile, manner: TaskSettings, model: Model | None) -> Any:
    axes, spacing = file.axes, file.spacing
    if model is not None:
        found = model.predict(pixels, axes=axes, spacing=spacing, n_labels=manner.n_labels)
        why = "" if manner.trained is None or is_lazy(found) else _unlike(found, model)
        if not why or not model.in_other_light(pixels, axes):
            return found
        alone = segment(pixels, manner.trained, axes=axes, spacing=spacing)
        if not alone.any():
            return found
        warnings.warn(
            f"It differs in exposure from the images learned from, and {why}: it has a model of "
            "its own.",
            stacklevel=2,
        )
        return alone
    return segment(pixels, manner.method, axes=axes, spacing=spacing)


def _unlike(labels: Any, model: Model) -> str:
    """Tell how objects differ from those that a model was made for; nothing if they do not."""
    if output_of(model.method) != "objects" or not model.diameter_px:
        return ""
    sizes = np.bincount(labels[labels > 0].ravel())
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return "no object was found"
    if labels.ndim > 2:
        return ""
    diameter = float(np.median(diameter_of(sizes, 2)))
    if 1 / _OTHER_WIDTH < diameter / model.diameter_px < _OTHER_WIDTH:
        return ""
    return f"objects were {diameter:.3g} px wide, those learned {model.diameter_px:.3g} px"


def _other_size(file: ImageFile, manner: TaskSettings) -> list[str]:
    """Tell if pixels are wider or narrower than those trained on."""
    own, known = file.pixel_um.get("X"), manner.pixel_um
    if not own or not known or 1 / _ALIKE < own / known < _ALIKE:
        return []
    return [f"Its pixels are {own:.3g} µm wide, those trained on {known:.3g} µm."]


def _row(file: ImageFile, manner: TaskSettings) -> dict[str, Any]:
    """Return what the table of all images says of one, before what is found in it."""
    sizes = {f"pixel_{axis.lower()}_um": file.pixel_um.get(axis, "") for axis in "ZYX"}
    settings = {f"set_{name}": value for name, value in manner.method.to_dict().items()}
    others = {k: v for k, v in manner.made_with.items() if k != "method" and v is not None}
    shape = " x ".join(map(str, file.shape))
    about = {"axes": file.axes, "shape": shape, **sizes}
    return about | settings | {f"with_{k}": v for k, v in others.items()} | versions()


def _counted(labels: Any) -> dict[str, Any]:
    """Return how many labels there are, what share of the image they cover, and how large."""
    if int(labels.max()) < max(labels.size, 2**16):
        pixels = np.bincount(labels.ravel())[1:]
        pixels = pixels[pixels > 0]
    else:
        numbers, pixels = np.unique(labels, return_counts=True)
        pixels = pixels[numbers > 0]
    median = float(np.median(pixels)) if len(pixels) else math.nan
    covered = round(float(pixels.sum()) / labels.size, 6)
    return {"count": len(pixels), "covered": covered, "median_pixels": median}


def _table(file: ImageFile, pixels: Any, labels: Any) -> Table:
    return measure(labels, pixels, axes=file.axes, spacing=file.pixel_size)


def _medians(table: Table) -> dict[str, float]:
    """Return the median of each column that one says something of, named with its unit."""
    plain = str.maketrans({"µ": "u", "²": "2", "³": "3"})
    medians = {}
    for name, values in table.items():
        if name not in _NOT_MEASURED and np.isfinite(values).any():
            unit = table.units.get(name, "").translate(plain)
            medians["_".join(filter(None, ("median", name, unit)))] = float(np.nanmedian(values))
    return medians


def versions() -> dict[str, str]:
    """Return the versions of what labels depend on."""
    found = {"python": platform.python_version(), "napari-mmtseg": __version__}
    for name in ("numpy", "scikit-image", "scikit-learn", "scipy", "torch"):
        found[name] = version(name)
    return {f"version_{name}": number for name, number in found.items()}
