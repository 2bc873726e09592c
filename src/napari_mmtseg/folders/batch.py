"""Do a folder of images step by step: look, train the model, do each image, sum up."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from napari_mmtseg.engine import Step
from napari_mmtseg.folders import records
from napari_mmtseg.folders.image_list import Source, find, root_of
from napari_mmtseg.folders.image_task import Outcome, Task, TaskSettings, look
from napari_mmtseg.folders.summary import odd_ones, write_summary
from napari_mmtseg.folders.workers import Workers, default_place
from napari_mmtseg.images.image_files import ImageFile, open_image
from napari_mmtseg.methods import MMT
from napari_mmtseg.model import Model, load, model_file
from napari_mmtseg.output.partial_store import only_writer
from napari_mmtseg.segmentation import train_steps
from napari_mmtseg.settings import Method
from napari_mmtseg.system.whole_files import write_whole

NAME = "batch"
"""Of the files that are about all images: the model, its record, the table."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A folder of images and what is to be done with them.

    Attributes
    ----------
    sources : sequence of path-like
        Files, folders or patterns; see `folders.image_list.find`.
    output : Path, optional
        The folder of the results; by default each lies beside its image.
    method : Method
        The settings to train with; those of a model that is given take their place.
    model : Path or "one" or "each"
        A model's file; one model for all, trained on a sample of the images; or one for each image.
    n_labels : int, optional
        Merge the labels of the model until so many are left.
    axes, spacing
        As for `image_files.open_image`.
    sample : int
        How many images one model for all is trained on.
    measured : bool
        Whether each image gets a table of its objects.
    overwrite : bool
        Whether results of other settings, and files that are none of a batch, may be replaced.
    """

    sources: Sequence[str | os.PathLike[str]]
    output: Path | None = None
    method: Method = field(default_factory=MMT)
    model: Path | Literal["one", "each"] = "one"
    n_labels: int | None = None
    axes: str | None = None
    spacing: tuple[float, ...] | None = None
    sample: int = 8
    measured: bool = False
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where the model and the table of all images go."""
        return Path(os.path.abspath(self.output)) if self.output else root_of(self.sources)


class FileStep(NamedTuple):
    """What has become of an image, and how many have come to an end."""

    outcome: Outcome | None
    """None where there is nothing new."""
    done: int
    total: int


class Summary(NamedTuple):
    """What became of all images."""

    outcomes: list[Outcome]
    table: Path
    model: Path | None
    """The model that was trained for all."""

    @property
    def odd(self) -> dict[str, str]:
        """The images whose result should be looked at, and why."""
        return odd_ones(self.outcomes)

    @property
    def counts(self) -> dict[str, int]:
        """How many images are in which state."""
        return dict(Counter(one.state for one in self.outcomes))


Batching = Generator[Step | FileStep, bool | None, Summary]


def batch_steps(batch: Batch, place: Workers | None = None) -> Batching:
    """Do a folder of images: yields each `Step` of the training, then a `FileStep` an event.

    What an earlier run has done is kept; what is missing, or whose image has changed since, is
    done. One image that fails leaves the others alone. Send True to stop: training keeps what is
    learned, and images under way are finished.

    Parameters
    ----------
    batch : Batch
    place : Workers, optional
        Where images are done; by default in as many processes as the machine has processors.

    Returns
    -------
    Summary

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        Before any work starts: if nothing is named, the settings do not fit, or results of other
        settings are there.
    OSError
        If nothing may be written there.
    """
    if isinstance(batch.model, str) and batch.model not in ("one", "each"):
        batch = replace(batch, model=Path(batch.model))
    if not batch.method.trains and batch.model == "one":
        batch = replace(batch, model="each")  # it learns nothing that others could share
    if isinstance(batch.model, str) and batch.model == "each" and batch.n_labels is not None:
        raise ValueError(
            "Number of labels (n_labels) merges those of one model: set it in the method instead "
            "where each image is trained on by itself"
        )
    sources = find(batch.sources, batch.output)
    folder = batch.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"The folder {folder} cannot be made ({error.strerror}): choose another for the results"
        ) from error
    with ExitStack() as held:
        held.enter_context(only_writer(folder / NAME))
        model, made_with, pixel_um = yield from _model(batch, sources, folder)
        manner = TaskSettings(
            method=batch.method if model is None else model.method,
            made_with=made_with,
            pixel_um=pixel_um,
            n_labels=batch.n_labels,
            trained=batch.method if batch.model == "one" else None,
            axes=batch.axes,
            spacing=batch.spacing,
            measured=batch.measured,
            overwrite=batch.overwrite,
        )
        tasks = [Task(one, manner) for one in sources]
        outcomes: dict[str, Outcome] = {}
        todo: list[Task] = []
        stop: bool | None = None
        for task in tasks:
            there = look(task)
            if there is None:
                todo.append(task)
            outcomes[task.source.name] = there or Outcome(task.source.name, "left")
            if there is not None:
                done = len(outcomes) - len(todo)
                stop = (yield FileStep(there, done, len(tasks))) or stop
        done = len(tasks) - len(todo)
        doing = (place or default_place(len(todo), each=model is None)).run(
            [] if stop else todo, model
        )
        stop = None
        while True:
            try:
                outcome = doing.send(stop)
            except StopIteration:
                break
            if outcome is not None and outcome.state != "working":
                outcomes[outcome.name] = outcome
                done += 1
            stop = yield FileStep(outcome, done, len(tasks))
        table = folder / f"{NAME}.csv"
        write_summary(table, list(outcomes.values()))
    trained = folder / f"{NAME}.safetensors" if batch.model == "one" else None
    return Summary(list(outcomes.values()), table, trained)


def _model(
    batch: Batch, sources: list[Source], folder: Path
) -> Generator[Step, bool | None, tuple[Model | None, dict[str, Any], float | None]]:
    """Load or train the model; refuse a folder of other results.

    Returns
    -------
    model, what results depend on, and how wide the pixels trained on are in µm.
    """
    given = isinstance(batch.model, Path)
    model = load(batch.model) if isinstance(batch.model, Path) else None
    wanted: dict[str, Any] = {
        "method": (batch.method if model is None else model.method).to_dict(),
        "model": digest_of(model) if model is not None else batch.model,
        "n_labels": batch.n_labels,
        "axes": batch.axes,
        "spacing": None if batch.spacing is None else list(batch.spacing),
    }
    about = folder / f"{NAME}.json"
    known = _read(about)
    differs = "" if known is None else records.changes(known["wanted"], wanted)
    others = [folder / f"{NAME}.{end}" for end in ("json", "csv", "safetensors")]
    strange = next((one for one in others if known is None and one.exists()), None)
    if (differs or strange) and not batch.overwrite:
        why = f"results made with other settings ({differs})" if differs else strange
        raise FileExistsError(
            f"The folder {folder} holds {why}: choose another folder for the results, or allow to "
            "overwrite (--overwrite)"
        )
    if given or batch.model == "each":
        _write(about, {"wanted": wanted})
        return model, wanted, None
    file = folder / f"{NAME}.safetensors"
    if known is not None and not differs and file.exists():
        model = load(file)
        if digest_of(model) != known.get("model"):
            raise ValueError(
                f"{file} is not the model that these results were made with: put it back, or "
                "choose another folder for the results"
            )
    else:
        chosen = _sample(batch, sources)
        images = [one.read() for one in chosen]
        model = yield from train_steps(
            images, batch.method, axes=chosen[0].axes, spacing=chosen[0].spacing
        )
        model.save(file, overwrite=batch.overwrite or known is not None)
        on = [str(one.path) for one in chosen]
        known = {"wanted": wanted, "model": digest_of(model), "trained_on": on}
        known["pixel_um"] = chosen[0].pixel_um.get("X")
        _write(about, known)
    return model, wanted | {"model": digest_of(model)}, known.get("pixel_um")


def digest_of(model: Model) -> str:
    """Return what tells a model from others."""
    total = hashlib.sha256()
    for part in model_file.packed({one.name: getattr(model, one.name) for one in fields(model)}):
        total.update(part)
    return total.hexdigest()


def _sample(batch: Batch, sources: list[Source]) -> list[ImageFile]:
    """Choose the images that a model for all is trained on: of the commonest kind, at random.

    Raises
    ------
    ValueError
        If none can be opened.
    """
    opened, first = [], None
    for one in sources:
        try:
            opened.append(open_image(one.path, axes=batch.axes, spacing=batch.spacing))
        except (OSError, ValueError) as error:
            first = first or error
    if not opened:
        raise ValueError(f"None of the {len(sources)} images can be opened. {first}")
    kind, _ = Counter(one.kind for one in opened).most_common(1)[0]
    alike = [one for one in opened if one.kind == kind]
    order = np.random.default_rng(batch.method.seed).permutation(len(alike))
    chosen: list[ImageFile] = []
    for place in order:
        if len(chosen) == batch.sample:
            break
        try:
            alike[place].read()  # the header may be sound, and the pixels not
        except (OSError, ValueError):
            continue
        chosen.append(alike[place])
    if not chosen:
        raise ValueError(f"None of the {len(alike)} images of one kind can be read")
    return sorted(chosen, key=lambda one: one.path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("wanted"), dict) else None


def _write(path: Path, about: dict[str, Any]) -> None:
    write_whole(path, [json.dumps(about, indent=1).encode()], overwrite=True)
