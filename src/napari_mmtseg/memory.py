"""Tell in advance whether something fits into the computer's memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_GIB = 2**30


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
