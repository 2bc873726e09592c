"""The commands on one image: segment, objects, train, predict, demo."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from napari_mmtseg.cli.progress import Progress
from napari_mmtseg.engine import Step
from napari_mmtseg.folders.batch import digest_of as digest_of_model
from napari_mmtseg.folders.records import digest_of
from napari_mmtseg.images.frames import is_lazy
from napari_mmtseg.images.image_files import ImageFile, Spot, open_image
from napari_mmtseg.labels.measurement import measure
from napari_mmtseg.labels.measurement_table import write_table
from napari_mmtseg.methods import MMT
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.metrics import object_scores
from napari_mmtseg.model import Model, load
from napari_mmtseg.output.label_files import store_steps, write_tiff
from napari_mmtseg.prediction import dask_cluster
from napari_mmtseg.prediction.label_image import Segmentation
from napari_mmtseg.samples import nuclei_stack
from napari_mmtseg.segmentation import predict_steps, segment_steps, train_steps
from napari_mmtseg.settings import Method

R = TypeVar("R")

_DOING = {"training": "Training", "labelling": "Labelling", "objects": "Finding objects"}


def segment(parsed: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Train on an image and label it; objects may be measured as well."""
    check_output(parsed.out, (".tif", ".tiff", ".zarr"), overwrite=parsed.overwrite)
    check_output(parsed.save_model, overwrite=parsed.overwrite)
    check_output(parsed.uncertainty, (".tif", ".tiff"), overwrite=parsed.overwrite)
    check_output(parsed.table, (".csv", ".parquet"), overwrite=parsed.overwrite)
    if parsed.save_model is not None and not parsed.method.trains:
        raise ValueError(
            f"{parsed.method.title} learns no model that could be kept: leave --save-model"
        )
    file = opened(parsed.image, parsed)
    _check_room(parsed, file, parsed.method)
    pixels, guides = file.read(), _guides(parsed)
    run = segment_steps(
        pixels,
        parsed.method,
        axes=file.axes,
        spacing=file.spacing,
        uncertain=parsed.uncertainty is not None,
        **guides,
    )
    found = drive(run, progress)
    if parsed.save_model is not None:
        found.model.save(parsed.save_model, overwrite=parsed.overwrite)
    labels = found.labels()
    outcome = _written(parsed, file, found, labels, progress)
    if parsed.table is not None:
        table = measure(labels, pixels, axes=file.axes, spacing=file.pixel_size)
        write_table(parsed.table, table, overwrite=parsed.overwrite)
        for note in table.notes:
            progress.tell(f"note: {note}")
        outcome |= {"table": str(parsed.table), "text": f"{outcome['text']} {parsed.table}"}
    return outcome


def train(parsed: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Train on one image or several, and keep the model."""
    check_output(parsed.out, overwrite=parsed.overwrite)
    files = [opened(one, parsed) for one in parsed.images]
    for one in files:
        if one.axes != files[0].axes:
            raise ValueError(
                f"{one.path} has the axes {one.axes} where {files[0].path} has {files[0].axes}: "
                "train on images of one kind"
            )
    pixels = [one.read() for one in files]
    run = train_steps(
        pixels if len(pixels) > 1 else pixels[0],
        parsed.method,
        axes=files[0].axes,
        spacing=files[0].spacing,
        **_guides(parsed),
    )
    model: Model = drive(run, progress)
    model.save(parsed.out, overwrite=parsed.overwrite)
    return {"model": str(parsed.out), "n_labels": int(model.labels.max()), "text": f"{parsed.out}"}


def predict(parsed: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Label an image with a model."""
    check_output(parsed.out, (".tif", ".tiff", ".zarr"), overwrite=parsed.overwrite)
    check_output(parsed.uncertainty, (".tif", ".tiff"), overwrite=parsed.overwrite)
    model, file = load(parsed.model), opened(parsed.image, parsed)
    _check_room(parsed, file, model.method)
    with ExitStack() as held:
        client = (
            held.enter_context(dask_cluster.connected(parsed.scheduler))
            if parsed.scheduler
            else None
        )
        run = predict_steps(
            model,
            file.read(),
            axes=file.axes,
            spacing=file.spacing,
            uncertain=parsed.uncertainty is not None,
            client=client,
            n_labels=parsed.n_labels,
            **_guides(parsed),
        )
        found = drive(run, progress)
        return _written(parsed, file, found, found.labels(parsed.n_labels), progress, client)


def demo(parsed: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Find the nuclei of a generated stack, and score them."""
    check_output(parsed.out / "nuclei.tif", overwrite=parsed.overwrite, folder=False)
    image, truth = nuclei_stack()
    spacing = (0.8, 0.25, 0.25)
    run = segment_steps(image, MMT.preset("nuclei"), axes="ZYX", spacing=spacing, uncertain=False)
    labels = drive(run, progress).labels()
    f1 = object_scores(labels, truth)[0.5].f1
    parsed.out.mkdir(parents=True, exist_ok=True)
    for name, one in (("nuclei", image), ("truth", truth), ("labels", labels)):
        path = parsed.out / f"{name}.tif"
        world = {axis: Spot(size, "µm") for axis, size in zip("ZYX", spacing, strict=True)}
        write_tiff(path, one, "ZYX", world, overwrite=parsed.overwrite)
    count, right = int(labels.max()), int(truth.max())
    text = (
        f"{count} nuclei found of {right}, F1 {f1:.2f} at IoU 0.5; the stack, its truth "
        f"and the labels are in {parsed.out}"
    )
    return {"count": count, "truth": right, "f1": f1, "text": text}


def drive(run: Generator[Step, bool | None, R], progress: Progress) -> R:
    """Drive a run to its end and show how far it is."""
    while True:
        try:
            show_step(next(run), progress)
        except StopIteration as end:
            result: R = end.value
            return result


def show_step(step: Step, progress: Progress) -> None:
    """Show how far a run is."""
    more = f"loss {step.loss:.3g}" if step.phase == "training" else ""
    progress.show(_DOING[step.phase], step.done, step.total, more)


def opened(path: Path, parsed: argparse.Namespace) -> ImageFile:
    """Look at an image with the axes and the spacing that the command names; tell its notes."""
    found = open_image(path, axes=parsed.axes, spacing=parsed.spacing)
    for note in found.notes:
        warnings.warn(note, stacklevel=2)
    return found


def check_output(
    path: Path | None,
    endings: tuple[str, ...] = (),
    *,
    overwrite: bool = False,
    folder: bool = True,
) -> None:
    """Refuse a name that cannot be written to, before any work starts.

    Raises
    ------
    ValueError, FileExistsError, FileNotFoundError, PermissionError
    """
    if path is None:
        return
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"{path} must end in {' or '.join(endings)}: let the name end so")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another name, or add --overwrite")
    if folder and not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}: make it, or choose another")
    if folder and not os.access(path.parent, os.W_OK):
        raise PermissionError(f"The folder {path.parent} may not be written to: choose another")


def _check_room(parsed: argparse.Namespace, file: ImageFile, method: Method) -> None:
    """Refuse what a method does not give, or what its file cannot hold."""
    if parsed.uncertainty is not None and not method.has_uncertainty:
        raise ValueError(
            f"{method.title} has one voter alone and no uncertainty: leave --uncertainty"
        )
    if file.is_lazy and parsed.out.suffix.lower() != ".zarr":
        raise ValueError(
            f"{file.path} is so large that it is read, and its labels written, piece by piece: "
            f"let {parsed.out.name} end in .zarr"
        )


def _guides(parsed: argparse.Namespace) -> dict[str, Any]:
    """Read the scribbles and the mask that the command names."""
    given = {name: getattr(parsed, name, None) for name in ("scribbles", "mask")}
    return {k: open_image(v).read() for k, v in given.items() if v is not None}


def _written(
    parsed: argparse.Namespace,
    file: ImageFile,
    found: Segmentation,
    labels: Any,
    progress: Progress,
    client: Any = None,
) -> dict[str, Any]:
    """Write labels and uncertainty, and say what they are."""
    axes = "".join(axis for axis in file.axes if axis not in "CS")
    outcome: dict[str, Any] = {"labels": str(parsed.out), "axes": axes, "shape": labels.shape}
    if parsed.out.suffix.lower() == ".zarr":
        told = (str(file.path), file.shape, found.method.to_dict(), vars(parsed).get("n_labels"))
        made_by = "" if found.model is None else digest_of_model(found.model)
        mark = digest_of(repr((told, made_by)))
        for step in store_steps(
            parsed.out,
            labels,
            axes,
            file.world,
            fingerprint=mark,
            overwrite=parsed.overwrite,
            client=client,
        ):
            progress.show("Writing", step.done, step.total)
    else:
        write_tiff(parsed.out, labels, axes, file.world, overwrite=parsed.overwrite)
    if not is_lazy(labels):
        outcome["n_labels"] = int(np.count_nonzero(np.unique(labels)))
    if parsed.uncertainty is not None:
        write_tiff(
            parsed.uncertainty,
            np.asarray(found.uncertainty),
            axes,
            file.world,
            overwrite=parsed.overwrite,
        )
        outcome["uncertainty"] = str(parsed.uncertainty)
    what = "objects" if output_of(found.method) == "objects" else "labels"
    count = f": {outcome['n_labels']} {what}" if "n_labels" in outcome else ""
    return outcome | {"text": f"{parsed.out}{count}"}
