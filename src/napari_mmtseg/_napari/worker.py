"""The training process: takes jobs from a pipe and tells into another how they go."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
import traceback
import warnings
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from napari_mmtseg._napari.channel import Receiver, Sender, UnreadableError
from napari_mmtseg._napari.sources import Source
from napari_mmtseg.arrays import Frames
from napari_mmtseg.engine import Run, Step
from napari_mmtseg.grouping import Groups, group_objects_steps
from napari_mmtseg.labelling import Labeller, Segmentation
from napari_mmtseg.methods import ObjectIIC
from napari_mmtseg.model import Labels, Model
from napari_mmtseg.segmentation import predict_steps, segment_steps
from napari_mmtseg.settings import Method

_PREVIEW_SECONDS = 0.35
_PREVIEW_SHARE = 0.15


class Job(NamedTuple):
    """What to do: train and label, label with a model, or group the objects of a label image.

    Scribbles guide the training, or name the clusters of the model.
    """

    image: Source
    axes: str
    method: Method
    model: Model | None = None
    objects: Source | None = None
    scribbles: Source | None = None
    mask: Source | None = None
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


class Grouped(NamedTuple):
    """Objects in groups, and the image of the groups."""

    groups: Groups
    labels: Labels


class Done(NamedTuple):
    """The result of a job."""

    result: Segmentation | Grouped
    seconds: float


class Failed(NamedTuple):
    """Why a job failed, in one sentence, and the details for a report."""

    text: str
    details: str


Message = Progress | Preview | Note | Done | Failed


class _Inputs(NamedTuple):
    """The array-likes of a job."""

    image: Any
    objects: Any
    scribbles: Any
    mask: Any


def main() -> None:
    """Serve jobs until standard input closes."""
    source, out = _channel(sys.argv[1].encode())
    wishes: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, wishes, out), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(5)  # the window comes first
    with contextlib.suppress(ImportError):
        import_module("torch")  # a second or two that the user need not wait on Run
    while True:
        wish = wishes.get()
        if isinstance(wish, Job):
            _serve(wish, wishes, out)
        del wish  # and the image with it


def words_for(error: Exception) -> str:
    """Say in one sentence what went wrong."""
    if isinstance(error, MemoryError) and (type(error) is not MemoryError or not str(error)):
        detail = f" ({error})" if str(error) else ""
        return (
            f"Memory ran out{detail}: close what you do not need, or take a larger working "
            "reduction or a smaller crop"
        )
    if isinstance(error, ValueError | TypeError | MemoryError):
        return str(error)
    return f"The run failed with {type(error).__name__}: {error}"


def _channel(mark: bytes) -> tuple[Receiver, Sender]:
    """Take standard input and output for the messages alone; others print to standard error."""
    source, out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # a window without a console has no standard error
        os.dup2(nothing, 1)
    return Receiver(os.fdopen(source, "rb"), mark), Sender(os.fdopen(out, "wb"), mark)


def _listen(source: Receiver, wishes: queue.SimpleQueue[Any], out: Sender) -> None:
    try:
        while True:
            try:
                wishes.put(source.receive())
            except (MemoryError, UnreadableError) as error:
                reason = words_for(error) if isinstance(error, MemoryError) else str(error)
                text = f"The training process could not take the images in. {reason}"
                out.send(Failed(text, traceback.format_exc()))
    finally:
        os._exit(0)  # the window is gone, and nobody waits for a result


def _serve(job: Job, wishes: queue.SimpleQueue[Any], out: Sender) -> None:
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, category, *_: (
                out.send(Note(str(message))) if category is UserWarning else None
            )
            sources = (job.image, job.objects, job.scribbles, job.mask)
            inputs = _Inputs(*(None if one is None else one.open() for one in sources))
            result = _drive(_run(job, inputs), job, inputs, wishes, out)
        if isinstance(result, Groups):
            result = Grouped(result, result.labels(inputs.objects))
        out.send(Done(result, time.perf_counter() - start))
    except Exception as error:
        out.send(Failed(words_for(error), traceback.format_exc()))


def _run(job: Job, inputs: _Inputs) -> Run[Any]:
    image, axes, model = inputs.image, job.axes, job.model
    if model is not None:
        if inputs.scribbles is not None:
            model = model.with_classes(image, inputs.scribbles, axes=axes)
        return predict_steps(model, image, axes=axes, mask=inputs.mask)
    if isinstance(job.method, ObjectIIC) and inputs.objects is not None:
        return group_objects_steps(image, inputs.objects, job.method, axes=axes)
    return segment_steps(image, job.method, axes=axes, scribbles=inputs.scribbles, mask=inputs.mask)


def _drive(
    run: Run[Any], job: Job, inputs: _Inputs, wishes: queue.SimpleQueue[Any], out: Sender
) -> Any:
    frames = Frames(inputs.image, job.axes)
    plane, last, cost, before = job.plane, -1e9, 0.0, None
    stop, live = False, job.objects is None
    while True:
        try:
            step = run.send(stop or None)
        except StopIteration as end:
            return end.value
        stop = False  # each wish ends one phase: training, then labelling
        while not wishes.empty():
            wish = wishes.get()
            stop = stop or isinstance(wish, Stop)
            if isinstance(wish, View):
                plane, before = wish.plane, None
        out.send(Progress(step.phase, step.done, step.total, step.loss, step.n_labels))
        now = time.perf_counter()
        due = now - last > max(_PREVIEW_SECONDS, cost / _PREVIEW_SHARE)
        if not (live and due and step.phase == "training"):
            continue
        try:
            preview = _preview(step, frames, plane, before)
        except Exception as error:  # a passing look must not cost the result
            live = False
            out.send(Note(f"There is no live view of this run. {words_for(error)}"))
            continue
        before = preview.labels
        out.send(preview)
        last = time.perf_counter()
        cost = last - now


def _preview(step: Step, frames: Frames, plane: int, before: Labels | None) -> Preview:
    model: Model = step.snapshot()
    index = min(plane, len(frames) - 1)
    clusters = Labeller(model.draft()).region(frames, index)
    labels = np.append(model.label_of(), 0).astype(np.int32)[clusters]
    return Preview(index, alike(labels, before))


def alike(labels: Labels, before: Labels | None) -> Labels:
    """Renumber labels to those shown before, so that colours do not jump while training.

    Each label takes the number that it covers most of; of several that want the same, the one
    that covers the most. The others share out the numbers that are left. Time and memory depend
    on how many labels there are, never on their values.
    """
    if before is None:
        return labels
    values, new = _coded(labels)
    values_before, old = _coded(before)
    counted = (labels.ravel() != 0) & (before.ravel() != 0)  # 0 is never a cluster
    ones = np.ones(counted.sum(), np.int32)
    table = csr_array((ones, (new[counted], old[counted])), (len(values), len(values_before)))
    pairs = table.tocoo()
    order = np.argsort(-pairs.data, kind="stable")
    mine, theirs = pairs.row[order], pairs.col[order]
    wanted = np.sort(np.unique(mine, return_index=True)[1])  # by each, the most covered first
    mine, theirs = mine[wanted], theirs[wanted]
    got = np.unique(theirs, return_index=True)[1]
    number = np.zeros(len(values), np.int32)
    number[mine[got]] = values_before[theirs[got]]
    left = (number == 0) & (values != 0)
    free = np.setdiff1d(np.union1d(values, values_before), [0, *number])
    number[left] = free[: left.sum()]
    renumbered: Labels = number[new].reshape(labels.shape)
    return renumbered


def _coded(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values that occur, rising, and for each pixel the place of its own among them."""
    flat = labels.ravel()
    if flat.max() >= flat.size:
        values, place = np.unique(flat, return_inverse=True)
        return values.astype(np.int64), place
    seen = np.bincount(flat) > 0  # many times faster
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[flat]
