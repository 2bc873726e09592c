"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterable
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_PART = re.compile(r"\.napari-mmtseg-[0-9a-f]{32}\.part")
_ORPHANED_SECONDS = 600
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def write_whole(
    path: str | os.PathLike[str], blocks: Iterable[bytes | memoryview], *, overwrite: bool = False
) -> None:
    """Write a file that nobody ever sees half, not even when the process is killed.

    The blocks go to a temporary file in the target's folder, under a name that cannot be foreseen;
    once it is on the disk it takes the target's place in one step, with the target's permissions.
    What killed processes of the same user left behind in that folder is removed.

    Parameters
    ----------
    path : path-like
        Of a regular file, or of nothing: a link is not followed, since what it leads to may be
        anyone's choice.
    blocks : iterable of bytes-like
        What to write.
    overwrite : bool
        Whether to replace a file that is there already.

    Raises
    ------
    FileExistsError
        If something is there and overwrite is False, or if it is not a regular file.
    FileNotFoundError, PermissionError, OSError
        If there is no such folder, no right to write there, or no room. The target is unchanged.
    """
    target = Path(path)
    replaced = _checked(target, overwrite)
    part = target.parent / f".napari-mmtseg-{secrets.token_hex(16)}.part"
    try:
        _clear_orphans(target.parent)
        descriptor = _create(part, replaced)
        try:
            _write(descriptor, blocks, replaced)
            if overwrite:
                _replace(part, target)
            else:
                _put(part, target)
        finally:
            part.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except OSError as error:
        if error.errno is None:  # a sentence already
            raise
        why = error.strerror or str(error)
        if error.errno in _FULL:
            why = "the disk is full or the file too large for it; make room or choose another disk"
        elif isinstance(error, FileNotFoundError):
            why = f"there is no folder {target.parent}; make it, or choose another"
        elif isinstance(error, PermissionError):
            why = f"the folder {target.parent} may not be written to; choose another"
        raise type(error)(f"{target} was not saved, {why}") from error


def _checked(target: Path, overwrite: bool) -> os.stat_result | None:
    """Return what is known of the file to be replaced, None if there is none."""
    try:
        found = target.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise type(error)(f"{target} was not saved, {error.strerror or error}") from error
    if stat.S_ISLNK(found.st_mode):
        raise FileExistsError(
            f"{target} is a link; save to the file that it leads to, {os.path.realpath(target)}"
        )
    if not stat.S_ISREG(found.st_mode):
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "device or pipe"
        raise FileExistsError(f"{target} is a {kind}, not a file; choose another name")
    if not overwrite:
        raise _exists(target)
    return found


def _exists(target: Path) -> FileExistsError:
    return FileExistsError(f"{target} exists; pass overwrite=True to replace it")


def _create(part: Path, replaced: os.stat_result | None) -> int:
    """Open a file that was not there, to write to it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT"):
        flags |= getattr(os, name, 0)
    # Never readable by more people than the file that it replaces.
    mode = 0o666 if replaced is None else 0o600
    return os.open(part, flags, mode)


def _write(
    descriptor: int, blocks: Iterable[bytes | memoryview], replaced: os.stat_result | None
) -> None:
    """Write an open file, wait until it is on the disk, and close it."""
    with open(descriptor, "wb") as file:
        with contextlib.suppress(OSError):  # some network drives have no locks
            _lock(file.fileno())
        for block in blocks:
            file.write(block)
        file.flush()
        if replaced is not None:
            _take_permissions(file.fileno(), replaced)
        os.fsync(file.fileno())


def _take_permissions(descriptor: int, replaced: os.stat_result) -> None:
    """Give a file the owner, as far as that is allowed, and the permissions of another."""
    if sys.platform != "win32":
        mode = stat.S_IMODE(replaced.st_mode) & 0o777
        for owner in (replaced.st_uid, -1):
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, owner, replaced.st_gid)
                break
        else:
            mode &= ~0o070  # what one group may do is not for another
        with contextlib.suppress(PermissionError):  # memory sticks know no permissions
            os.fchmod(descriptor, mode)


def _replace(part: Path, target: Path) -> None:
    """Move a file to where another one may be, in one step."""
    _checked(target, overwrite=True)
    for wait in (0.02, 0.05, 0.1, 0.2, 0.5):
        try:
            os.replace(part, target)
            return
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(wait)  # Windows moves nothing onto a file that is being read
    os.replace(part, target)


def _put(part: Path, target: Path) -> None:
    """Move a file to where nothing is, in one step; raises FileExistsError if something is."""
    try:
        if sys.platform == "win32":
            os.rename(part, target)
            return
        try:
            os.link(part, target)
            return
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links, as on memory sticks: take the name, then fill it.
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise _exists(target) from error
    try:
        os.replace(part, target)
    except OSError:
        target.unlink(missing_ok=True)
        raise


def _lock(descriptor: int) -> None:
    """Show other processes that a file is being written, for as long as it is open."""
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _clear_orphans(folder: Path) -> None:
    """Remove what killed processes of this user left behind in a folder."""
    parts: list[Path] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        parts = [Path(one.path) for one in entries if _PART.fullmatch(one.name)]
    for part in parts:
        with contextlib.suppress(OSError):  # being written, not one's own, or removed meanwhile
            known = part.lstat()
            if not stat.S_ISREG(known.st_mode) or time.time() - known.st_mtime < _ORPHANED_SECONDS:
                continue
            if sys.platform != "win32":  # where it is, a file that is open cannot be removed
                if known.st_uid != os.geteuid():
                    continue
                descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    _lock(descriptor)
                finally:
                    os.close(descriptor)
            part.unlink()


def _sync_folder(folder: Path) -> None:
    """Wait until a folder's list of files is on the disk, where folders can be asked for that."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
