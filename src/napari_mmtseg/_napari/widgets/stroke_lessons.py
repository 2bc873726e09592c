"""Learn from strokes in a thread, and look at a plane with what is learned; the last asked wins."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_mmtseg.methods import Taught
from napari_mmtseg.model import Model
from napari_mmtseg.prediction.labeller import Labeller
from napari_mmtseg.segmentation import train


class LessonRequest(NamedTuple):
    """What to do: learn if something is painted, then look at a plane, or at everything."""

    image: Any
    axes: str
    painted: NDArray[Any] | None
    """The class of each pixel, 0 for none; truth values label all. None to learn nothing."""
    model: Model | None
    """What is known; None to begin anew."""
    plane: int | None
    """None for everything."""


class LessonAnswer(NamedTuple):
    """What was learned and seen."""

    asked: LessonRequest
    model: Model
    labels: NDArray[np.int32]
    uncertainty: NDArray[np.float32] | None
    seconds: float


class LessonThread(QObject):
    """Works on one thing at a time; what is asked meanwhile waits, and only the last of it."""

    answered = Signal(object)
    """A `LessonAnswer`, or the exception that there was instead."""

    _ended = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.busy = False
        self._next: LessonRequest | None = None
        self._ended.connect(self._tell)

    def ask(self, asked: LessonRequest) -> None:
        """Work on this as soon as possible."""
        if self.busy:
            self._next = asked
            return
        self.busy = True
        threading.Thread(target=self._work, args=(asked,), daemon=True).start()

    def _work(self, asked: LessonRequest) -> None:
        found: LessonAnswer | Exception
        try:
            found = answer(asked)
        except Exception as error:  # said in the window, whatever it is
            found = error
        with contextlib.suppress(RuntimeError):  # the widget is gone
            self._ended.emit(found)

    def _tell(self, found: LessonAnswer | Exception) -> None:
        self.busy = False
        self.answered.emit(found)
        waiting, self._next = self._next, None
        if waiting is not None and not self.busy:
            self.ask(waiting)


def answer(asked: LessonRequest) -> LessonAnswer:
    """Learn and look.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `train` and `Model.taught`.
    """
    start = time.perf_counter()
    model = asked.model
    if asked.painted is not None:
        if asked.painted.dtype == bool:
            model = train(
                asked.image, Taught(work_in="planes"), axes=asked.axes, labels=asked.painted
            )
        elif model is None:
            method = Taught(work_in="planes")
            model = train(asked.image, method, axes=asked.axes, scribbles=asked.painted)
        else:
            model = model.taught(asked.image, asked.painted, axes=asked.axes)
    if model is None:
        raise ValueError("Nothing is learned yet: paint at least two classes")
    if asked.plane is None:
        every = np.asarray(model.predict(asked.image, axes=asked.axes))
        return LessonAnswer(asked, model, every, None, time.perf_counter() - start)
    frames = model.frames(asked.image, asked.axes)
    table = np.append(model.label_of(), 0).astype(np.int32)  # the last one is for cluster -1
    found = Labeller(model, label_of=model.label_of()).look(frames, asked.plane)
    seconds = time.perf_counter() - start
    return LessonAnswer(asked, model, table[found.clusters], found.uncertainty, seconds)
