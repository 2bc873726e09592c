"""Keep a zarr store unfinished, block by block, until all of it is on the disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from napari_mmtseg.images.stores import is_store

if TYPE_CHECKING:
    import zarr

_WHAT = (
    "Labels that are not finished. Save again under the same name, with the same model and image, "
    "and only what is missing is computed; or delete this folder."
)


class PartialStore:
    """A store in a folder `<name>.unfinished`, with a journal of the blocks that are on the disk.

    A block has a line of the journal from when its file is there. The line holds size and checksum
    of the file, since no order of writing is certain after a power cut; a block whose file is
    another one is not finished.

    Parameters
    ----------
    target : Path
        The final name.
    header : dict
        What tells this store from others, with the chunk and the dtype. JSON.
    shapes : list of tuple of int
        Of each level.
    overwrite : bool
        Whether the target may be replaced, and an unfinished store with another header discarded.

    Attributes
    ----------
    folder : Path
        Where it lies.
    arrays : list of zarr.Array
        One for each level, whole but for the blocks that are not finished.

    Raises
    ------
    FileExistsError
        If the target, or something else, is in the way.
    """

    def __init__(
        self,
        target: Path,
        header: dict[str, Any],
        shapes: list[tuple[int, ...]],
        *,
        overwrite: bool,
    ) -> None:
        import zarr

        self.folder = target.with_name(target.name + ".unfinished")
        self._target, self._overwrite = target, overwrite
        self._store, self._journal = self.folder / "store", self.folder / "journal.jsonl"
        if not self._found({"what": _WHAT} | header):
            _make(self.folder, {"what": _WHAT} | header, shapes)
        for leftover in self.folder.rglob("*.partial"):  # of zarr, killed while it wrote a file
            leftover.unlink()
        self._group = zarr.open_group(self._store, mode="r+")
        levels = dict(self._group.arrays())
        self.arrays: list[zarr.Array[Any]] = [levels[str(i)] for i in range(len(shapes))]
        written = self._journal.read_bytes()
        self._stamps: dict[str, Any] = {}
        for line in written.splitlines()[1:]:
            with suppress(ValueError, TypeError, KeyError):  # the last line may be cut short
                entry = json.loads(line)
                self._stamps[entry["block"]] = entry["stamp"]
        self._new_line = b"" if written.endswith(b"\n") else b"\n"
        self._file = self._journal.open("ab", buffering=0)

    def __enter__(self) -> PartialStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def holds(self, key: str) -> bool:
        """Return whether a block is finished, its file being the one that was written."""
        return key in self._stamps and self._stamps[key] == _stamp(self._store / key)

    def add(self, key: str) -> None:
        """Note that a block is finished, once its file is on the disk."""
        file = self._store / key
        if file.exists():
            _sync(file)
        stamp = _stamp(file)
        line = self._new_line + json.dumps({"block": key, "stamp": stamp}).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file.fileno())
        self._new_line = b""
        self._stamps[key] = stamp

    def finish(self, attributes: dict[str, Any]) -> None:
        """Describe the store by attributes and give it its final name."""
        self._file.close()  # Windows renames no folder with open files
        lost = [
            key for key, stamp in self._stamps.items() if not _has_size(self._store / key, stamp)
        ]
        if lost or not self._journal.exists():
            raise FileNotFoundError(
                f"{self.folder} was changed while labels were written to it, {len(lost)} blocks "
                "are lost: save again, and they are computed again"
            )
        self._group.attrs.update(attributes)
        _sync_all(self._store)
        if os.path.lexists(self._target):
            if not self._overwrite:
                raise FileExistsError(
                    f"{self._target} came to be meanwhile: rename it and save again"
                )
            self._target.rename(self.folder / "replaced")
        self._store.rename(self._target)
        _sync_folder(self._target.parent)
        _discard(self.folder)

    def _found(self, header: dict[str, Any]) -> bool:
        """Return whether there is one to go on with; clear the way, or say why not."""
        target, folder, replaced = self._target, self.folder, self.folder / "replaced"
        if os.path.lexists(replaced) and not os.path.lexists(target):
            replaced.rename(target)  # killed between the two renames of `finish`
        found = _header(self._journal)
        if os.path.lexists(folder) and (found is None or not self._store.exists()):
            _discard(folder)  # killed before the first block, or after the last rename
            found = None
        if os.path.lexists(target) and not self._overwrite:
            raise FileExistsError(f"{target} exists: give another name, or allow to replace it")
        if os.path.lexists(target) and not is_store(target):
            raise FileExistsError(
                f"{target} is no zarr store and is not replaced: give another name"
            )
        if found is None or found == json.loads(json.dumps(header)):
            return found is not None
        if not self._overwrite:
            raise FileExistsError(
                f"{folder} holds unfinished labels of another image, model or setting: "
                "delete it, give another name, or allow to replace it"
            )
        _discard(folder)
        return False


@contextmanager
def only_writer(target: Path) -> Iterator[None]:
    """Refuse a second writer; the system drops the lock of a process that was killed."""
    file = target.with_name(target.name + ".lock")
    with in_words(target):
        handle = _locked(file)
    if handle is None:
        raise BlockingIOError(
            f"{target} is being written already: wait until that is done, or give another name"
        )
    try:
        yield
    finally:
        # The name goes while the lock still holds, but for Windows, which deletes no open file.
        if sys.platform == "win32":
            handle.close()
        with suppress(OSError):
            file.unlink()
        handle.close()


def _locked(file: Path) -> BinaryIO | None:
    """Return the file, open and locked, or None if it is locked already."""
    while True:
        handle = file.open("ab")
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                handle.close()
                return None
            # Some network drives know no locks; one writer is then the user's care.
        # The writer before may have deleted the file between its opening and locking here.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle.fileno()), file.stat()):
                return handle
        handle.close()


@contextmanager
def in_words(target: Path) -> Iterator[None]:
    """Say what an error of the file system means for the labels, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # ours
            raise
        kept = "what is finished stays, and saving again under the same name goes on from there"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            said = f"The disk of {target.parent} is full: make room; {kept}"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            said = f"There is no permission to write to {target.parent}: choose another folder"
        elif error.errno in (errno.ENOENT, errno.ENOTDIR) and not target.parent.is_dir():
            said = f"There is no folder {target.parent}: make it, or choose another"
        else:
            said = f"{target} could not be written ({error}); {kept}"
        told = type(OSError(error.errno, ""))(said)  # the subclass that fits the number
        told.errno = error.errno
        raise told from error


def _stamp(file: Path) -> list[int] | None:
    """Return size and checksum; None without a file, which is a block of zeros."""
    try:
        packed = file.read_bytes()
    except FileNotFoundError:
        return None
    return [len(packed), zlib.crc32(packed)]


def _has_size(file: Path, stamp: list[int] | None) -> bool:
    if stamp is None:
        return not file.exists()
    return file.exists() and file.stat().st_size == stamp[0]


def _make(folder: Path, header: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    """Make an empty store, and last the journal that says that it is ready."""
    import zarr
    from numcodecs import Blosc

    folder.mkdir()
    group = zarr.open_group(folder / "store", mode="w", zarr_format=2)
    for level, shape in enumerate(shapes):
        group.create_array(
            str(level),
            shape=shape,
            chunks=tuple(min(c, n) for c, n in zip(header["chunk"], shape, strict=True)),
            dtype=header["dtype"],
            compressors=Blosc("zstd", clevel=1, shuffle=Blosc.SHUFFLE),
            fill_value=0,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
    _sync_all(folder)
    new = folder / "journal.new"
    new.write_text(json.dumps(header) + "\n", "utf-8")
    _sync(new)
    new.rename(folder / "journal.jsonl")


def _header(journal: Path) -> dict[str, Any] | None:
    """Return the first line of a journal; None if there is none."""
    try:
        with journal.open("rb") as file:
            found = json.loads(file.readline())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("what") == _WHAT else None


def _discard(folder: Path) -> None:
    """Delete an unfinished folder, unless it holds what no writing put there."""
    ours = {"journal.jsonl", "journal.new", "store", "replaced"}
    if not folder.is_dir() or not {one.name for one in folder.iterdir()} <= ours:
        raise FileExistsError(f"{folder} is in the way: rename it, or give another name")
    # The journal goes first: without it, what a kill leaves of the rest is never taken for whole.
    (folder / "journal.jsonl").unlink(missing_ok=True)
    while folder.exists():
        with suppress(FileNotFoundError):  # a write that failed may be tidying up in its thread
            shutil.rmtree(folder)


def _sync(file: Path) -> None:
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    if sys.platform != "win32":  # which opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sync_all(folder: Path) -> None:
    """Put on the disk what describes a store, and the names of all that is in it."""
    for here, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".z"):
                _sync(Path(here, name))
        _sync_folder(Path(here))
