"""Tell in advance whether something fits into the computer's memory, and keep what is freed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_GIB = 2**30

# Names and values of glibc's malloc.h, and where its own adaptation of the thresholds ends.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_USUAL = {_M_MMAP_THRESHOLD: 32 * 2**20, _M_TRIM_THRESHOLD: 64 * 2**20}
_KEPT = 2**31 - 1
_counting = threading.Lock()
_n_keeping = 0


def require(needed: int, what: str) -> None:
    """Refuse what cannot fit.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        What they are for, as the beginning of a sentence.

    Raises
    ------
    MemoryError
        If that is more than there is. Where the system does not tell, nothing is refused.
    """
    free = available()
    if free is not None and needed > free:
        raise MemoryError(
            f"{what} needs {needed / _GIB:.3g} GiB of memory, and {free / _GIB:.3g} GiB are free: "
            "crop the image, take a lower resolution of it, or hand it over as a dask or zarr "
            "array, which is labelled piece by piece"
        )


def available() -> int | None:
    """Return how many bytes can still be taken, swap included, or None if nobody knows."""
    if os.name == "nt":
        return _on_windows()
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        named = (line.partition(":") for line in lines)
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in named}
        return 1024 * (kilobytes["MemAvailable"] + kilobytes["SwapFree"])
    with contextlib.suppress(OSError, ValueError):
        # Not all of it is free, but more than that there never is.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Let the C library keep freed memory meanwhile, and give it back at the end.

    By default glibc hands large tensors back to the kernel at each step and gets them anew, which
    takes up to half of the time. Other C libraries are left alone. Of several threads, the last one
    to end gives it back.
    """
    global _n_keeping
    try:
        library = ctypes.CDLL(None)
        adjust, give_back = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):
        yield
        return
    with _counting:
        _n_keeping += 1
        for threshold in _USUAL:
            adjust(threshold, _KEPT)
    try:
        yield
    finally:
        with _counting:
            _n_keeping -= 1
            if not _n_keeping:
                for threshold, value in _USUAL.items():
                    adjust(threshold, value)
                give_back(0)


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("dwLength", ctypes.c_ulong),
        ("dwMemoryLoad", ctypes.c_ulong),
        ("ullTotalPhys", ctypes.c_ulonglong),
        ("ullAvailPhys", ctypes.c_ulonglong),
        ("ullTotalPageFile", ctypes.c_ulonglong),
        ("ullAvailPageFile", ctypes.c_ulonglong),
        ("ullTotalVirtual", ctypes.c_ulonglong),
        ("ullAvailVirtual", ctypes.c_ulonglong),
        ("ullAvailExtendedVirtual", ctypes.c_ulonglong),
    )


def _on_windows() -> int | None:
    status = _MemoryStatus(dwLength=ctypes.sizeof(_MemoryStatus))
    windows = getattr(ctypes, "windll").kernel32  # noqa: B009 - elsewhere there is none
    found = windows.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.ullAvailPageFile) if found else None
