"""The command line ``napari-mmtseg``, made from the catalogue of methods."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from napari_mmtseg.cli.parser import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command and return the exit code: 0 all is done, 1 something failed, 2 usage.

    Parameters
    ----------
    argv : sequence of str, optional
        By default those of the process.
    """
    try:
        parsed = parse(sys.argv[1:] if argv is None else argv)
    except SystemExit as end:  # --help, --version, or what was not understood
        return end.code if isinstance(end.code, int) else 2
    # The catalogue starts at once, since it needs neither numpy nor anything that computes.
    home = "catalogue" if parsed.command == "methods" else "execution"
    try:
        code: int = import_module(f"{__name__}.{home}").carry_out(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
