"""Show how far a command has come, on standard error."""

from __future__ import annotations

import sys
import time

_WIDTH = 28
_EVERY_SECONDS = 0.1


class Progress:
    """A bar on a terminal; elsewhere nothing but the lines that are told.

    Parameters
    ----------
    quiet : bool
        Whether to show nothing at all.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self.is_bar = not quiet and sys.stderr.isatty()
        self._began: dict[str, float] = {}
        self._last = 0.0
        self._shown = False

    def show(self, phase: str, done: int, total: int, more: str = "") -> None:
        """Draw the bar of a phase."""
        now = time.monotonic()
        began = self._began.setdefault(phase, now)
        if not self.is_bar or (now - self._last < _EVERY_SECONDS and done < total):
            return
        self._last = now
        filled = round(_WIDTH * done / max(total, 1))
        left = f"{(now - began) / done * (total - done):.0f} s left" if done else ""
        parts = (f"{done}/{total}", more, left if done < total else "")
        bar = "#" * filled + "-" * (_WIDTH - filled)
        self._write(f"\r\x1b[K{phase} [{bar}] {' '.join(filter(None, parts))}")
        self._shown = True

    def tell(self, line: str) -> None:
        """Print a line above the bar."""
        if not self._quiet:
            self.clear()
            self._write(f"{line}\n")

    def clear(self) -> None:
        """Take the bar away."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
