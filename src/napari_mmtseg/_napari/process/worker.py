"""The training process: takes jobs from a pipe and tells into another how they go."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from napari_mmtseg._napari.process.label_numbers import alike, counted
from napari_mmtseg._napari.process.measure_job import MeasureJob
from napari_mmtseg._napari.process.messages import (
    Done,
    Failed,
    FileNote,
    FolderJob,
    GroupedObjects,
    Job,
    LazyTraining,
    Note,
    Preview,
    Progress,
    ShownLabels,
    Stop,
    View,
)
from napari_mmtseg._napari.process.pipe import Receiver, Sender, UnreadableError, standard
from napari_mmtseg._napari.process.store_job import StoredLabels, StoreJob, save_steps
from napari_mmtseg._napari.process.view_server import PlaneLabels, ViewServer
from napari_mmtseg.engine import Run, Step
from napari_mmtseg.folders import FileStep, batch_steps
from napari_mmtseg.grouping import Groups, group_objects_steps
from napari_mmtseg.images.frames import is_lazy
from napari_mmtseg.labels.measurement import MeasuredFrames
from napari_mmtseg.methods import ObjectIIC
from napari_mmtseg.model import Labels, Model
from napari_mmtseg.output.ome_zarr import Written
from napari_mmtseg.segmentation import part_steps, predict_steps, segment_steps
from napari_mmtseg.system.error_text import error_text

_PREVIEW_SECONDS = 0.35
_PREVIEW_SHARE = 0.15
_GRACE_SECONDS = 1.0
"""After a stop, for what follows the phase that it met: the result is to be there in two."""
_WAITED_SECONDS = 0.5
"""What is left of a phase is waited for after a stop if it takes no longer, as far as is known."""
_WORK_A_LOOK = 3.0
"""A job goes on for so many times as long as looks at other results have held it up: the window
asks for one tile after the other."""
_FINAL_SHARE = 0.5
"""The final labels of a plane that is more of the image are not shown ahead of the result."""


class _Inputs(NamedTuple):
    """The array-likes of a job."""

    image: Any
    objects: Any
    scribbles: Any
    mask: Any


def main() -> None:
    """Serve jobs until standard input closes."""
    source, out = standard(sys.argv[1].encode())
    wishes: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, wishes, out), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(5)  # the window comes first
    with contextlib.suppress(ImportError):
        import_module("torch")  # a second or two that the user need not wait on Run
    server = ViewServer(out, lambda: not wishes.empty())
    works: dict[type, Callable[..., Done]]
    works = {Job: _do, StoreJob: _save, FolderJob: _folder, MeasureJob: _measure}
    while True:
        try:
            wish = wishes.get(timeout=server.patience)
        except queue.Empty:
            server.rest()
            continue
        if type(wish) in works:
            _serve(partial(works[type(wish)], wish, wishes, server, out), out)
        else:
            server.take(wish)
        del wish  # and the image with it
        if wishes.empty():
            server.answer()


def _listen(source: Receiver, wishes: queue.SimpleQueue[Any], out: Sender) -> None:
    try:
        while True:
            try:
                wishes.put(source.receive())
            except (MemoryError, UnreadableError) as error:
                reason = error_text(error) if isinstance(error, MemoryError) else str(error)
                text = f"The training process could not take the images in. {reason}"
                out.send(Failed(text, traceback.format_exc()))
    finally:
        os._exit(0)  # the window is gone, and nobody waits for a result


def _serve(work: Callable[[], Done], out: Sender) -> None:
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, category, *_: (
                out.send(Note(str(message))) if category is UserWarning else None
            )
            done = work()
        out.send(done._replace(seconds=time.perf_counter() - start))
    except Exception as error:
        out.send(Failed(error_text(error), traceback.format_exc()))


def _do(job: Job, wishes: queue.SimpleQueue[Any], server: ViewServer, out: Sender) -> Done:
    sources = (job.image, job.objects, job.scribbles, job.mask)
    inputs = _Inputs(*(None if one is None else one.open() for one in sources))
    look = _LiveView(job, inputs, out)
    run = _run(job, inputs, look.plane)
    result = _drive(run, look.show, wishes, server, look.turn)
    if isinstance(result, Groups):
        return Done(GroupedObjects(result, result.labels(inputs.objects)), 0)
    if result.model is not None and is_lazy(result.clusters):
        planes = look.planes(result.model, uncertain=job.uncertain)
        if planes.areas is not None:
            _drive(planes.areas.steps(), look.show, wishes, server, look.turn)
        plane = look.plane_of(planes)
        areas = None if planes.areas is None else planes.areas.pieces
        place = planes.places.at(plane, look.pixel)
        draft = planes.is_far(place)
        values, uncertainty = (planes.glance(place), None) if draft else planes.result(place)
        found = LazyTraining(result.model, plane, place, values, uncertainty, areas, draft)
        return Done(found, 0)
    labels = result.labels()
    return Done(result, 0, ShownLabels(labels, *counted(labels)))


def _save(save: StoreJob, wishes: queue.SimpleQueue[Any], server: ViewServer, out: Sender) -> Done:
    planes = None if save.served is None else save.served._replace(uncertain=False).open()
    done = total = 0

    def tell(step: Written) -> None:
        nonlocal done, total
        done, total = step.done, step.total
        if not step.found:  # else the time left would be told by blocks that took none
            out.send(Progress("writing", done, total, math.nan, 0))

    path = _drive(save_steps(save, planes), tell, wishes, server)
    return Done(StoredLabels(str(path), done == total), 0)


def _folder(
    job: FolderJob, wishes: queue.SimpleQueue[Any], server: ViewServer, out: Sender
) -> Done:
    def tell(step: Step | FileStep) -> None:
        if isinstance(step, Step):
            out.send(Progress(step.phase, step.done, step.total, step.loss, step.n_labels))
            return
        if step.outcome is not None:
            out.send(FileNote(step.outcome))
        out.send(Progress("files", step.done, step.total, math.nan, 0))

    run = batch_steps(job.batch)  # whose images are done with what was learned until a stop
    return Done(_drive(run, tell, wishes, server, ends_all=False), 0)


def _measure(
    job: MeasureJob, wishes: queue.SimpleQueue[Any], server: ViewServer, out: Sender
) -> Done:
    def tell(step: MeasuredFrames) -> None:
        out.send(Progress("measuring", step.done, step.total, math.nan, 0))

    return Done(_drive(job.steps(), tell, wishes, server), 0)


def _run(job: Job, inputs: _Inputs, in_view: Callable[[], int]) -> Run[Any]:
    image, axes, spacing, model = inputs.image, job.axes, job.spacing, job.model
    if model is not None and job.at is not None:
        model = model.with_objects(image, job.at, axes=axes, spacing=spacing, mask=inputs.mask)
    if model is not None and job.found is not None:
        return part_steps(job.found, model, image, axes=axes, spacing=spacing)
    if model is not None:
        if inputs.scribbles is not None:
            model = model.with_classes(image, inputs.scribbles, axes=axes)
        return predict_steps(
            model,
            image,
            axes=axes,
            spacing=spacing,
            mask=inputs.mask,
            uncertain=job.uncertain,
            first=in_view,
        )
    if isinstance(job.method, ObjectIIC) and inputs.objects is not None:
        return group_objects_steps(image, inputs.objects, job.method, axes=axes)
    return segment_steps(
        image,
        job.method,
        axes=axes,
        spacing=spacing,
        scribbles=inputs.scribbles,
        mask=inputs.mask,
        uncertain=job.uncertain,
        first=in_view,
    )


def _drive(
    run: Generator[Any, bool | None, Any],
    on_step: Callable[[Any], None],
    wishes: queue.SimpleQueue[Any],
    server: ViewServer,
    turn: Callable[[View], None] = lambda view: None,
    *,
    ends_all: bool = True,
) -> Any:
    """Drive a run to its end, and meanwhile do what the window wishes.

    A stop ends the phase that it meets, and after a moment those that follow, unless they are
    nearly at their end: what was learned so far labels what can be done at once. Unless it
    `ends_all`, a stop in training ends nothing else.
    """
    stopped: tuple[str, float] | None = None
    phase, began, first, left = "", time.perf_counter(), 0, math.inf
    next_look = began
    while True:
        stop = False
        if stopped is not None:
            late = time.perf_counter() - stopped[1] > _GRACE_SECONDS and left > _WAITED_SECONDS
            stop = stopped[0] == phase or (late and (ends_all or stopped[0] != "training"))
        try:
            step = run.send(stop or None)
        except StopIteration as end:
            return end.value
        if getattr(step, "phase", "") != phase:
            phase, began, first = getattr(step, "phase", ""), time.perf_counter(), step.done
        done = step.done - first
        left = (time.perf_counter() - began) / done * (step.total - step.done) if done else 0
        while not wishes.empty():
            wish = wishes.get()
            if isinstance(wish, Stop):
                stopped = phase, time.perf_counter()
            elif isinstance(wish, View):
                turn(wish)
            else:
                server.take(wish)
        if stopped is None or stopped[0] == phase or not ends_all:
            on_step(step)  # a look at what follows a stop would hold it up
        looked = time.perf_counter()
        if looked >= next_look:
            server.answer()
            now = time.perf_counter()
            next_look = now + _WORK_A_LOOK * (now - looked)


class _LiveView:
    """Tells how far a run is, and now and then what the plane in view looks like."""

    def __init__(self, job: Job, inputs: _Inputs, out: Sender) -> None:
        self._job, self._inputs, self._out = job, inputs, out
        self._view = job.view
        self._live = job.objects is None and job.found is None
        self._trained = False
        self._last, self._cost = -1e9, 0.0
        self._before: Labels | None = None

    def plane(self) -> int:
        """Return which plane is in view."""
        return self._view.plane

    @property
    def pixel(self) -> tuple[float, float]:
        """The one in the middle of the view."""
        return self._view.pixel

    def turn(self, view: View) -> None:
        """Note what is in view."""
        if view.plane != self._view.plane:
            self._before = None
        self._view = view

    def show(self, step: Step) -> None:
        """Tell of a step, and show its plane if it is time for that."""
        self._out.send(Progress(step.phase, step.done, step.total, step.loss, step.n_labels))
        if not self._live or self._trained:
            return
        now = time.perf_counter()
        self._trained = step.phase != "training"
        if not self._trained and step.done == step.total:
            return  # what is final comes next
        due = now - self._last > max(_PREVIEW_SECONDS, self._cost / _PREVIEW_SHARE)
        if not (due or self._trained):
            return
        try:
            preview = self._preview(step)
        except Exception as error:  # a passing look must not cost the result
            self._live = False
            self._out.send(Note(f"There is no live view of this run. {error_text(error)}"))
            return
        if preview is not None:
            self._before = preview.labels
            self._out.send(preview)
        self._last = time.perf_counter()
        self._cost = self._last - now

    def planes(self, model: Model, *, uncertain: bool = False) -> PlaneLabels:
        """Return the image's planes, to be looked at with a model."""
        job, inputs = self._job, self._inputs
        return PlaneLabels(model, inputs.image, job.axes, job.spacing, inputs.mask, uncertain)

    def plane_of(self, planes: PlaneLabels) -> int:
        """Return the plane in view."""
        return min(self._view.plane, len(planes) - 1)

    def _preview(self, step: Step) -> Preview | None:
        """Return a passing look while training, then the final labels."""
        model: Model | None = step.snapshot()
        if model is None:
            return None  # a method that learns nothing
        if not self._trained:
            model = model.draft()
        planes = self.planes(model)
        if planes.places.cut or (self._trained and planes.share(0) > _FINAL_SHARE):
            return None  # it would take long, or the result itself comes as soon
        plane = self.plane_of(planes)
        clusters, _ = planes.look(plane)
        labels = np.append(model.label_of(), 0).astype(np.int32)[clusters]
        return Preview(plane, labels if self._trained else alike(labels, self._before))
