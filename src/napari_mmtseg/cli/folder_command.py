"""The command batch: a folder of images, a line for each."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from napari_mmtseg.cli.image_commands import show_step
from napari_mmtseg.cli.parser import PROGRAM
from napari_mmtseg.cli.progress import Progress
from napari_mmtseg.folders import Batch, FileStep, batch_steps
from napari_mmtseg.folders.batch import Batching, Summary
from napari_mmtseg.folders.image_task import Outcome
from napari_mmtseg.folders.workers import Cluster, Processes, ThisProcess, Workers
from napari_mmtseg.prediction import dask_cluster

_WORDS = {"done": "done", "kept": "there already", "failed": "failed", "left": "not reached"}


def batch(parsed: argparse.Namespace, progress: Progress) -> int:
    """Do a folder of images; 0 if all of them are done, 1 if one failed or was not reached."""
    given = Batch(
        sources=parsed.sources,
        output=parsed.out,
        method=parsed.method,
        model=parsed.model or ("each" if parsed.each else "one"),
        n_labels=_n_labels(parsed),
        axes=parsed.axes,
        spacing=None if parsed.spacing is None else tuple(parsed.spacing),
        sample=parsed.sample,
        measured=parsed.measure,
        overwrite=parsed.overwrite,
    )
    with ExitStack() as held:
        place: Workers | None = None
        if parsed.workers is not None:
            place = Processes(parsed.workers) if parsed.workers > 1 else ThisProcess()
        if parsed.scheduler is not None:
            place = Cluster(held.enter_context(dask_cluster.connected(parsed.scheduler)))
        summary = _drive(batch_steps(given, place), parsed, progress)
    progress.clear()
    counts = summary.counts
    if parsed.json:
        about = {"command": "batch", "counts": counts, "table": str(summary.table)}
        about["odd"] = summary.odd
        print(json.dumps(about | {"model": summary.model and str(summary.model)}))
    elif not parsed.quiet:
        told = ", ".join(f"{counts[state]} {_WORDS[state]}" for state in _WORDS if state in counts)
        odd = "".join(f"\nlook at {name}: {why}" for name, why in summary.odd.items())
        print(f"{len(summary.outcomes)} images: {told}; {summary.table}{odd}")
    return 1 if {"failed", "left"} & set(counts) else 0


def _n_labels(parsed: argparse.Namespace) -> int | None:
    """Return to how many labels those of a given model are merged.

    Raises
    ------
    ValueError
        If other settings are given beside a model, which has its own.
    """
    if parsed.model is None:
        return None
    others = [name for name in parsed.settings if name != "n_labels"]
    if others or parsed.preset is not None:
        named = " ".join(f"--{name.replace('_', '-')}" for name in others) or "--preset"
        raise ValueError(
            f"{parsed.model} has settings of its own: leave {named}, or train another model"
        )
    n_labels: int | None = parsed.settings.get("n_labels") or None
    return n_labels


def _drive(run: Batching, parsed: argparse.Namespace, progress: Progress) -> Summary:
    """Drive a batch; the first Ctrl-C lets images under way end, the second does not.

    Raises
    ------
    KeyboardInterrupt
        While training, of which nothing is kept.
    """
    with _interrupts() as pressed:
        stop: bool | None = None
        while True:
            try:
                step = run.send(stop)
            except StopIteration as end:
                summary: Summary = end.value
                return summary
            if isinstance(step, FileStep):
                _tell(step, parsed, progress)
                if pressed and not stop:
                    progress.tell("Stopping; images under way are finished. Again: leave at once")
                stop = bool(pressed)
            else:
                show_step(step, progress)
                if pressed:
                    raise KeyboardInterrupt


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Note Ctrl-C in a list; the second time leave at once."""
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            os._exit(130)

    if threading.current_thread() is not threading.main_thread():
        yield pressed  # where signals do not come
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(step: FileStep, parsed: argparse.Namespace, progress: Progress) -> None:
    one = step.outcome
    if one is not None and one.state not in ("working", "waiting"):
        if parsed.json:
            print(json.dumps(_as_data(one)), flush=True)
        if one.state == "failed":
            progress.clear()
            print(f"{PROGRAM}: {one.name}: {one.error}", file=sys.stderr)
        elif one.state == "done" and not progress.is_bar:
            count = "" if one.count is None else f", {one.count} labels"
            progress.tell(f"{step.done}/{step.total} {one.name}{count}, {one.seconds:.1f} s")
    progress.show("Images", step.done, step.total, one.name if one is not None else "")


def _as_data(one: Outcome) -> dict[str, Any]:
    about = {"file": one.name, "state": one.state, "seconds": round(one.seconds, 3)}
    return about | {"count": one.count, "error": one.error}
