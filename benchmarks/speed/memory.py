"""Tell how much memory this process takes (Linux alone)."""

from __future__ import annotations

from pathlib import Path


def forget_peak() -> None:
    """Let the peak begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_mib(pid: int | str = "self") -> int:
    """Return the memory in use, by this process or another."""
    return _status_kib("VmRSS", pid) // 1024


def peak_mib() -> int:
    """Return the most memory that was in use at a time."""
    return _status_kib("VmHWM") // 1024


def _status_kib(name: str, pid: int | str = "self") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))
