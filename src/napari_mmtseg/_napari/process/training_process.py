"""Run jobs in a process of their own, so that the window never waits and memory comes back."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import weakref
from typing import IO, Any, NamedTuple

from qtpy.QtCore import QObject, Signal

from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.process.measure_job import MeasureJob
from napari_mmtseg._napari.process.messages import Done, Failed, FolderJob, Job, Message
from napari_mmtseg._napari.process.pipe import GarbledError, Receiver, Sender
from napari_mmtseg._napari.process.store_job import StoreJob
from napari_mmtseg._napari.process.view_server import (
    PlaceFailure,
    PlaceLabels,
    ViewEnd,
    ViewOrder,
    ViewRequest,
)
from napari_mmtseg._napari.process.worker import main
from napari_mmtseg.system.error_text import error_text

_PROGRAM = f"from {main.__module__} import main; main()"
_SHORT_WAITS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Threads that wait for each other soon leave the processor to the window. At once would cost a run
a quarter more time."""
_PATIENCE_SECONDS = 5  # for threads whose pipes are shut, before they are left to themselves
_SPARED = (
    "Your layers are untouched; a larger working reduction or a smaller crop needs less memory"
)
_KEPT = "Save again under that name to go on; what is written is kept"


class TrainingProcess(QObject):
    """A child process that is kept warm, and what it says as Qt signals on the main thread.

    A thread in the window's own process would slow training by a third and could not be discarded
    at once; a process can, and the viewer survives whatever happens to it.
    """

    said = Signal(object)
    """One of `messages` on the job under way."""
    seen = Signal(object)
    """A `PlaceLabels` or `PlaceFailure`, whether or not a job is under way."""
    renewed = Signal()
    """A new process takes the place of one that is no more, and knows nothing of what that was
    told."""
    ended = Signal(str)
    """The process is no more, or did not understand what it was asked, for this reason."""

    _heard = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._child: _Child | None = None
        self._busy = False
        self._spared = _SPARED
        self._heard.connect(self._pass_on)
        # Ends the child when this object goes, in whichever way: deleted, collected, at exit.
        self._open: list[_Child] = []
        cleanup = weakref.finalize(self, _kill_all, self._open)
        # A lambda would go with this object when Python collects both, and Qt call what is no more.
        self.destroyed.connect(cleanup)

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._busy

    def warm_up(self) -> None:
        """Start the process, unless there is one, so that it is ready when a job comes."""
        if self._child is None:
            with contextlib.suppress(OSError):  # the next job says so
                self._child = _Child(weakref.ref(self))
                self._open.append(self._child)
                self.renewed.emit()

    def start(self, job: Job | StoreJob | FolderJob | MeasureJob) -> None:
        """Begin a job."""
        self.warm_up()
        self._busy = True
        self._spared = _KEPT if isinstance(job, StoreJob) else _SPARED
        if self._child is None:
            reason = "The training process cannot be started"
            self._heard.emit(None, Failed(f"{reason}; perhaps the computer is out of memory", ""))
        else:
            self._child.outbox.put(job)

    def tell(self, wish: Any) -> None:
        """Tell the running job a `View` or `Stop`."""
        if self._busy and self._child is not None:
            self._child.outbox.put(wish)

    def ask(self, message: ViewOrder | ViewRequest | ViewEnd) -> None:
        """Tell the process something that is no part of a job."""
        if not isinstance(message, ViewEnd):
            self.warm_up()
        if self._child is not None:
            self._child.outbox.put(message)

    def discard(self) -> None:
        """End the running job at once; nothing of it is kept."""
        self._busy = False
        self._child = None
        _kill_all(self._open)

    def _pass_on(self, child: _Child | None, message: Any) -> None:
        if child is not self._child:
            return  # said before it was discarded
        if isinstance(message, _Ended):
            self._child = None
            self._open.clear()
            spared = self._spared if self._busy else _SPARED
            message = Failed(f"{message.text} {spared}", "")
            if self._busy:
                self.ended.emit(message.text)
        if isinstance(message, PlaceLabels | PlaceFailure):
            self.seen.emit(message)
            return
        if not self._busy:
            if isinstance(message, Failed):
                self.ended.emit(message.text)
            return
        if isinstance(message, Done | Failed):
            self._busy = False
        self.said.emit(message)


class _Ended(NamedTuple):
    """The process is no more."""

    text: str


class _Child:
    """A process and the three threads that deal with it: one sends, one listens, one waits.

    What happens is told to the owner, in those threads; nothing here makes the caller wait.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, owner: weakref.ref[TrainingProcess]) -> None:
        self._owner = owner
        self._fault = ""
        mark = os.urandom(16).hex()
        # The working directory may hold anything, a torch.py even: nothing is imported from it.
        # It stays the working directory, because paths within lazy layers may be relative to it.
        isolated = "-I" if sys.flags.isolated else "-P"
        self.process = subprocess.Popen(
            [sys.executable, isolated, "-c", _PROGRAM, mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**_SHORT_WAITS, **os.environ, **_threads()},
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._pipes: tuple[IO[bytes], IO[bytes]] = (self.process.stdin, self.process.stdout)
        self.outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        sender = Sender(self.process.stdin, mark.encode())
        receiver = Receiver(self.process.stdout, mark.encode())
        talks = [
            threading.Thread(target=self._post, args=(sender,), daemon=True),
            threading.Thread(target=self._listen, args=(receiver,), daemon=True),
        ]
        for thread in (*talks, threading.Thread(target=self._wait, args=(talks,), daemon=True)):
            thread.start()

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()

    def _post(self, sender: Sender) -> None:
        """Send what is put into the outbox, in order, until there is None."""
        while (message := self.outbox.get()) is not None:
            try:
                sender.send(message)
            except OSError:
                return  # it ended, and the waiting thread says so
            except Exception as error:
                self._tell(Failed(error_text(error), ""))
            del message  # a copy of the image

    def _listen(self, receiver: Receiver) -> None:
        try:
            while isinstance(message := receiver.receive(), Message):
                self._tell(message)
                del message
            self._fault = "sent something that is no message"
        except (EOFError, OSError, ValueError):  # a closed file is a ValueError
            pass
        except MemoryError:
            self._fault = "has a result for which there is no room in memory"
        except GarbledError as error:
            self._fault = f"sent something that is no message ({error})"
        finally:
            self.kill()  # whatever it still does, nobody hears of it

    def _wait(self, talks: list[threading.Thread]) -> None:
        code = self.process.wait()
        self.outbox.put(None)
        for thread in talks:
            thread.join(_PATIENCE_SECONDS)
        fault = self._fault or f"ended unexpectedly (code {code}), perhaps because memory ran out"
        self._tell(_Ended(f"The training process {fault}."))
        if not any(thread.is_alive() for thread in talks):
            for pipe in self._pipes:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _tell(self, message: Any) -> None:
        owner = self._owner()
        if owner is not None:
            with contextlib.suppress(RuntimeError):  # the Qt side is deleted
                owner._heard.emit(self, message)


def _kill_all(children: list[_Child]) -> None:
    while children:
        children.pop().kill()


def _threads() -> dict[str, str]:
    """Return how many threads the user wants, for the environment; nothing if as many as are."""
    count = preferences.threads()
    return {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count)} if count else {}
