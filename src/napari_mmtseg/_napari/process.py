"""Run jobs in a process of their own, so that the window never waits and memory comes back."""

from __future__ import annotations

import os
import pickle
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
        self._busy = False
        self._heard.connect(self._pass_on)
        # Ends the child when this object goes, in whichever way: deleted, collected, at exit.
        self._children: list[subprocess.Popen[bytes]] = []
        cleanup = weakref.finalize(self, _end_all, self._children)
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
        self._children[:] = [self._child]
        threading.Thread(target=_listen, args=(weakref.ref(self), self._child), daemon=True).start()

    def start(self, job: Job) -> None:
        """Begin a job."""
        self.warm_up()
        self._busy = True
        # Large images fill the pipe faster than the child empties it: never on the main thread.
        threading.Thread(target=_send, args=(self._child, job), daemon=True).start()

    def tell(self, wish: Any) -> None:
        """Tell the running job a `View` or `Stop`."""
        if self._busy:
            _send(self._child, wish)

    def discard(self) -> None:
        """End the running job at once; nothing of it is kept."""
        self._busy = False
        if self._child is not None:
            _end(self._child)
            self._child = None

    def _pass_on(self, child: subprocess.Popen[bytes], message: Any) -> None:
        if child is not self._child:
            return  # said before it was discarded
        if message is None:
            self._child = None
            if not self._busy:
                return
            message = Failed(_DIED.format(child.wait()), "")
        if type(message).__name__ in ("Done", "Failed"):
            self._busy = False
        self.said.emit(message)


def _listen(owner: weakref.ref[TrainingProcess], child: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            message = pickle.load(child.stdout)  # type: ignore[arg-type]
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


def _send(child: subprocess.Popen[bytes] | None, message: Any) -> None:
    try:
        if child is not None and child.stdin is not None:
            send(child.stdin, message)
    except (OSError, ValueError):
        pass  # it ended; the listening thread says so


def _end_all(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:
            pass
