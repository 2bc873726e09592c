"""The training process: takes jobs on standard input, tells how they go on standard output."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import sys
import threading
import time
import traceback
import warnings
from importlib import import_module
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from napari_mmtseg.arrays import Planes
from napari_mmtseg.engine import Step
from napari_mmtseg.grouping import Groups, group_objects_steps
from napari_mmtseg.methods import ObjectIIC
from napari_mmtseg.model import Labels, Model
from napari_mmtseg.segmentation import Run, Segmentation, predict_steps, segment_steps
from napari_mmtseg.settings import Method

_PREVIEW_SECONDS = 0.35
_PREVIEW_SHARE = 0.15


class Job(NamedTuple):
    """What to do: train and label, label with a model, or group the objects of a label image.

    Scribbles guide the training, or name the clusters of the model.
    """

    image: NDArray[Any]
    axes: str
    method: Method
    model: Model | None = None
    objects: NDArray[Any] | None = None
    scribbles: NDArray[Any] | None = None
    mask: NDArray[Any] | None = None
    plane: int = 0


class View(NamedTuple):
    """The plane in view: show that one while training."""

    plane: int


class Stop(NamedTuple):
    """Stop training and keep what is learned."""


class Progress(NamedTuple):
    """How far a job has come."""

    phase: str
    done: int
    total: int
    loss: float
    n_labels: int


class Preview(NamedTuple):
    """Labels of one plane as they are now."""

    plane: int
    labels: Labels


class Note(NamedTuple):
    """A sentence that the user should read; the job goes on."""

    text: str


class Done(NamedTuple):
    """The result of a job."""

    result: Segmentation | Groups
    seconds: float


class Failed(NamedTuple):
    """Why a job failed, in one sentence, and the details for a report."""

    text: str
    details: str


def main() -> None:
    """Serve jobs until standard input closes."""
    # Prints of other libraries must not get between the messages.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    wishes: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, wishes), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(5)  # the window comes first
    with contextlib.suppress(ImportError):
        import_module("torch")  # a second or two that the user need not wait on Run
    while True:
        wish = wishes.get()
        if isinstance(wish, Job):
            _serve(wish, wishes, out)


def send(out: IO[bytes], message: NamedTuple) -> None:
    """Write one message to a pipe."""
    pickle.dump(message, out, protocol=5)
    out.flush()


def _listen(source: IO[bytes], wishes: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            wishes.put(pickle.load(source))
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(0)  # the window is gone, and nobody waits for a result


def _serve(job: Job, wishes: queue.SimpleQueue[Any], out: IO[bytes]) -> None:
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, category, *_: (
                send(out, Note(str(message))) if category is UserWarning else None
            )
            result = _drive(_run(job), job, wishes, out)
        send(out, Done(result, time.perf_counter() - start))
    except (ValueError, TypeError, MemoryError) as error:
        send(out, Failed(str(error), traceback.format_exc()))
    except Exception as error:
        text = f"The run failed with {type(error).__name__}: {error}"
        send(out, Failed(text, traceback.format_exc()))


def _run(job: Job) -> Run[Any]:
    model = job.model
    if model is not None:
        if job.scribbles is not None:
            model = model.with_classes(job.image, job.scribbles, axes=job.axes)
        return predict_steps(model, job.image, axes=job.axes, mask=job.mask)
    if isinstance(job.method, ObjectIIC) and job.objects is not None:
        return group_objects_steps(job.image, job.objects, job.method, axes=job.axes)
    return segment_steps(
        job.image, job.method, axes=job.axes, scribbles=job.scribbles, mask=job.mask
    )


def _drive(run: Run[Any], job: Job, wishes: queue.SimpleQueue[Any], out: IO[bytes]) -> Any:
    planes = Planes(job.image, job.axes)
    plane, last, cost, shown = job.plane, -1e9, 0.0, None
    stop = False
    while True:
        try:
            step = run.send(stop or None)
        except StopIteration as end:
            return end.value
        while not wishes.empty():
            wish = wishes.get()
            stop = stop or isinstance(wish, Stop)
            if isinstance(wish, View):
                plane, shown = wish.plane, None
        send(out, Progress(step.phase, step.done, step.total, step.loss, step.n_labels))
        now = time.perf_counter()
        shows = step.phase == "training" and job.objects is None
        if shows and now - last > max(_PREVIEW_SECONDS, cost / _PREVIEW_SHARE):
            shown = _alike(_preview(step, planes, plane), shown)
            send(out, Preview(plane, shown))
            last = time.perf_counter()
            cost = last - now


def _preview(step: Step, planes: Planes, plane: int) -> Labels:
    model: Model = step.snapshot()
    return model.predict_plane(planes.plane(min(plane, len(planes) - 1)), draft=True)


def _alike(labels: Labels, before: Labels | None) -> Labels:
    """Renumber labels to those shown before, so that colours do not jump while training."""
    if before is None:
        return labels
    size = int(max(labels.max(), before.max())) + 1
    pairs = np.bincount((labels.astype(np.int64) * size + before).ravel(), minlength=size * size)
    overlap = pairs.reshape(size, size)
    overlap[0] = overlap[:, 0] = 0
    overlap[0, 0] = labels.size + 1  # label 0 is never a cluster
    _, number = linear_sum_assignment(overlap, maximize=True)
    renumbered: Labels = number.astype(np.int32)[labels]
    return renumbered
