"""Know how much memory there is, to refuse in advance what cannot fit."""

from __future__ import annotations

import os
from pathlib import Path

_SPARE = 0.9


def check_fits(n_bytes: int, what: str) -> None:
    """Refuse what is larger than the memory that is free.

    Parameters
    ----------
    n_bytes : int
    what : str
        What needs it, to begin a sentence with.

    Raises
    ------
    MemoryError
        If it cannot fit; where a system does not tell what is free, nothing is refused.
    """
    free = available()
    if free is not None and n_bytes > _SPARE * free:
        raise MemoryError(
            f"{what} would take {n_bytes / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
            "free: take a part of the image, or hand it over as a dask or zarr array, which is "
            "labelled piece by piece"
        )


def available() -> int | None:
    """Return the bytes of memory that a program can still take, None if the system hides it."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(found.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        pass
    try:  # macOS and others: all that is there
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
