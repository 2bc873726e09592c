"""Carry messages over a pipe into which others may print before the first one."""

from __future__ import annotations

import os
import pickle
import struct
import threading
from typing import IO, Any

import numpy as np

_MOST_PRINTED = 1_000_000  # bytes
_MOST_BUFFERS = 1_000_000


class GarbledError(Exception):
    """What came over the pipe is no message; its text says what it is."""


class UnreadableError(GarbledError):
    """A message that cannot be unpacked; the next one can be read."""


class Sender:
    """Writes messages; from several threads at once if need be.

    Parameters
    ----------
    pipe : binary file
    mark : bytes
        What each message begins with: unlike anything that is printed, and known to both ends.
    """

    def __init__(self, pipe: IO[bytes], mark: bytes) -> None:
        self._pipe = pipe
        self._mark = mark
        self._lock = threading.Lock()

    def send(self, message: Any) -> None:
        """Write one message, its arrays without a copy.

        It is packed before anything is written: if that fails the pipe is as it was.

        Raises
        ------
        OSError
            If nobody reads any more. Whatever else is raised, the message could not be packed.
        """
        buffers: list[pickle.PickleBuffer] = []
        packed = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
        pieces = [memoryview(packed), *(buffer.raw() for buffer in buffers)]
        sizes = struct.pack(f"<I{len(pieces)}Q", len(pieces), *(one.nbytes for one in pieces))
        with self._lock:
            self._pipe.write(self._mark + sizes)
            for piece in pieces:
                self._pipe.write(piece)
            self._pipe.flush()


class Receiver:
    """Reads what a `Sender` writes; what is printed ahead of the first message is passed over."""

    def __init__(self, pipe: IO[bytes], mark: bytes) -> None:
        self._pipe = pipe
        self._mark = mark
        self._begun = False

    def receive(self) -> Any:
        """Wait for a message and return it.

        Raises
        ------
        EOFError, OSError
            If the other end is gone.
        GarbledError
            If something else comes.
        UnreadableError
            If the message cannot be unpacked.
        MemoryError
            If there is no room for the message; the next one can be read.
        """
        self._find_mark()
        (count,) = struct.unpack("<I", self._read(4))
        if not 0 < count <= _MOST_BUFFERS:
            raise GarbledError(f"a message of {count} parts")
        sizes = struct.unpack(f"<{count}Q", self._read(8 * count))
        pieces = []
        for number, size in enumerate(sizes):
            try:
                pieces.append(self._read(size))
            except MemoryError:
                pieces.clear()
                self._skip(sum(sizes[number:]))
                raise
        packed, *buffers = pieces
        try:
            return pickle.loads(packed, buffers=buffers)
        except MemoryError:
            raise
        except Exception as error:  # pickles raise whatever the classes in them do
            raise UnreadableError(f"{type(error).__name__}: {error}") from error

    def _find_mark(self) -> None:
        seen = bytes(self._read(len(self._mark)))
        printed = 0
        while seen != self._mark:
            printed += 1
            if self._begun or printed > _MOST_PRINTED:
                raise GarbledError("something is printed where only messages belong")
            seen = seen[1:] + bytes(self._read(1))
        self._begun = True

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._read(min(size, 65536)))

    def _read(self, size: int) -> memoryview:
        try:
            view = np.empty(size, np.uint8).data
        except ValueError:  # beyond what an index can tell
            raise GarbledError(f"a part of {size} bytes") from None
        done = 0
        while done < size:
            got = self._pipe.readinto(view[done:])  # type: ignore[attr-defined]
            if not got:
                raise EOFError
            done += got
        return view


def standard(mark: bytes) -> tuple[Receiver, Sender]:
    """Take standard input and output for the messages alone; others print to standard error."""
    source, out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # a window without a console has no standard error
        os.dup2(nothing, 1)
    return Receiver(os.fdopen(source, "rb"), mark), Sender(os.fdopen(out, "wb"), mark)
