"""Carry out a command, and say what came of it: words, JSON, and an exit code."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from typing import Any

from napari_mmtseg.cli import folder_command, image_commands, label_commands, outline_commands
from napari_mmtseg.cli.parser import PROGRAM
from napari_mmtseg.cli.progress import Progress
from napari_mmtseg.system.error_text import error_text

_COMMANDS = {
    "segment": image_commands.segment,
    "objects": image_commands.segment,
    "train": image_commands.train,
    "predict": image_commands.predict,
    "demo": image_commands.demo,
    "measure": label_commands.measure,
    "outlines": outline_commands.outlines,
    "labels": outline_commands.labels,
    "compare": label_commands.compare,
}


def carry_out(parsed: argparse.Namespace) -> int:
    """Carry out a command that was parsed, and return the exit code.

    The outcome goes to standard output, all else to standard error.
    """
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # errors are said here
    logging.getLogger("tifffile").propagate = False
    progress = Progress(parsed.quiet)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: progress.tell(f"note: {message}")
        try:
            if parsed.command == "batch":
                return folder_command.batch(parsed, progress)
            outcome: dict[str, Any] = _COMMANDS[parsed.command](parsed, progress)
        except KeyboardInterrupt:
            progress.clear()
            print(f"{PROGRAM}: stopped; nothing was written", file=sys.stderr)
            return 130
        except Exception as error:
            progress.clear()
            print(f"{PROGRAM}: {error_text(error)}", file=sys.stderr)
            return 1
    progress.clear()
    text = outcome.pop("text")
    if parsed.json:
        seconds = round(time.perf_counter() - start, 3)
        print(json.dumps({"command": parsed.command, **outcome, "seconds": seconds}))
    elif not parsed.quiet:
        print(text)
    return 0
