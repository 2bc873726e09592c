"""Run jobs in a process of their own, so that the window never waits and memory comes back."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
import weakref
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_mmtseg._napari.worker import Failed, Job, main, send

_DIED = (
    "The training process ended unexpectedly (code {}), perhaps because memory ran out. Your "
    "layers are untouched; a larger working reduction or a smaller crop needs less memory"
)


class TrainingProcess(QObject):
    """A child process that is kept warm, and what it says as Qt signals on the main thread.

    A thread in the window's own process would slow training by a third and could not be discarded
    at once; a process can, and the viewer survives whatever happens to it.
    """

    said = Signal(object)
    """One of the messages of `worker`."""

    _heard = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._child: subprocess.Popen[bytes] | None = None
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._busy = False
        self._heard.connect(self._pass_on)
        # Ends the child when this object goes, in whichever way: deleted, collected, at exit.
        self._open: list[tuple[subprocess.Popen[bytes], queue.SimpleQueue[Any]]] = []
        cleanup = weakref.finalize(self, _end_all, self._open)
        self.destroyed.connect(lambda: cleanup())

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._busy

    def warm_up(self) -> None:
        """Start the process, unless there is one, so that it is ready when a job comes."""
        if self._child is not None and self._child.poll() is None:
            return
        # A passive wait leaves the processor to the window while threads wait for each other.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
        self._child = subprocess.Popen(
            [sys.executable, "-c", f"from {main.__module__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
        )
        # Large images fill the pipe faster than the child empties it: never on the main thread.
        self._outbox = queue.SimpleQueue()
        self._open[:] = [(self._child, self._outbox)]
        for work, owner in ((_post, self._outbox), (_listen, weakref.ref(self))):
            threading.Thread(target=work, args=(owner, self._child), daemon=True).start()

    def start(self, job: Job) -> None:
        """Begin a job."""
        self.warm_up()
        self._busy = True
        self._outbox.put(job)

    def tell(self, wish: Any) -> None:
        """Tell the running job a `View` or `Stop`."""
        if self._busy:
            self._outbox.put(wish)

    def discard(self) -> None:
        """End the running job at once; nothing of it is kept."""
        self._busy = False
        _end_all(self._open)
        self._child = None

    def _pass_on(self, child: subprocess.Popen[bytes], message: Any) -> None:
        if child is not self._child:
            return  # said before it was discarded
        if message is None:
            self._child = None
            self._outbox.put(None)
            if not self._busy:
                return
            message = Failed(_DIED.format(child.wait()), "")
        if type(message).__name__ in ("Done", "Failed"):
            self._busy = False
        self.said.emit(message)


def _listen(owner: weakref.ref[TrainingProcess], child: subprocess.Popen[bytes]) -> None:
    assert child.stdout is not None
    while True:
        try:
            message = pickle.load(child.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            message = None
        process = owner()
        try:
            if process is not None:
                process._heard.emit(child, message)
        except RuntimeError:  # the Qt side is deleted
            return
        if message is None or process is None:
            return
        del process


def _post(outbox: queue.SimpleQueue[Any], child: subprocess.Popen[bytes]) -> None:
    """Send what is put into the outbox, in order, until there is None or nobody to send it to."""
    assert child.stdin is not None
    while (message := outbox.get()) is not None:
        try:
            send(child.stdin, message)
        except (OSError, ValueError):
            return  # it ended; the listening thread says so


def _end_all(open_ones: list[tuple[subprocess.Popen[bytes], queue.SimpleQueue[Any]]]) -> None:
    while open_ones:
        child, outbox = open_ones.pop()
        child.kill()
        child.wait()
        outbox.put(None)
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
