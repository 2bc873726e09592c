"""How long a user of the window waits: until it opens, for first labels, after Stop; and memory.

Part of ``python -m benchmarks.speed.window``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QApplication

from benchmarks.speed.memory import resident_mib
from napari_mmtseg._napari.demo import open_widget, run, wait
from napari_mmtseg._napari.process.messages import Progress

_TICK_MS = 5
_SIDE = 256
_SETTLED = 10
_DRAWN_SECONDS = 0.1
Row = tuple[str, str, str]
"""What is measured, the aim, the figure."""


class Ticks:
    """By how many milliseconds the ticks of a timer came late: what the event loop was held up."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._last = 0.0
        self._timer = QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the event loop meanwhile."""
        self._last = time.perf_counter()
        self._timer.start()
        try:
            yield
        finally:
            self._timer.stop()
            QApplication.processEvents()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.late_ms.append(1000 * (now - self._last) - _TICK_MS)
        self._last = now

    def text(self) -> str:
        """Return the 95th percentile and the longest."""
        return f"{np.percentile(self.late_ms, 95):.0f} ms / {max(self.late_ms):.0f} ms"


def opening() -> list[Row]:
    """Open the widget, run at once, and run again."""
    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    viewer.open_sample("napari-mmtseg", "tissue")
    QApplication.processEvents()
    first, dock, widget = _opened(viewer)
    cold = first + _first_labels(viewer, widget)
    wait(lambda: not widget.running)
    warm = _first_labels(viewer, widget)
    wait(lambda: not widget.running)
    viewer.window.remove_dock_widget(dock)
    again, *_ = _opened(viewer)
    viewer.close()
    opened = f"{first:.2f} s, again {again:.2f} s"
    return [
        ("widget opens", "0.5 s", opened),
        ("first labels, 512 x 512 RGB: widget opened and Run, cold", "3 s", f"{cold:.2f} s"),
        ("the same, Run again", "1 s", f"{warm:.2f} s"),
    ]


def stopping() -> list[Row]:
    """Press Stop in training and in labelling."""
    rows = []
    for sample, phase in (("tissue", "training"), ("nuclei", "training"), ("nuclei", "labelling")):
        what = {"tissue": "512 x 512 RGB", "nuclei": "24 x 256 x 256, objects"}[sample]
        viewer, widget = open_widget(sample)
        run(widget)  # so that the process is warm
        answer, result, held = _stop(widget, phase)
        viewer.close()
        rows.append((f"Stop in {phase}, {what}: the window answers", "0.2 s", f"{answer:.2f} s"))
        figure = f"{result:.2f} s, the window held up for {held:.0f} ms at most"
        rows.append((f"Stop in {phase}, {what}: the result is there", "2 s", figure))
    return rows


def growth(runs: int) -> list[Row]:
    """Run many times, and remove each result."""
    viewer, widget = open_widget("tissue")
    pixels = viewer.layers[0].data[:_SIDE, :_SIDE].copy()
    viewer.layers.clear()
    viewer.add_image(pixels, name="tissue", rgb=True)
    before = now = (0, 0)
    for number in range(1, runs + 1):
        run(widget)
        remove_results(viewer)
        if number in (min(_SETTLED, runs), runs):
            before, now = now, _memory(widget)
    viewer.close()
    more = f"{now[0] - before[0]} MiB, training process {now[1] - before[1]} MiB"
    what = f"{runs} runs on {_SIDE} x {_SIDE} RGB, memory of the window above that after the tenth"
    return [(what, "20 MB", more)]


def remove_results(viewer: napari.Viewer) -> None:
    """Leave the image alone, and no event waiting, as in a window that is used."""
    _settle()  # vispy keeps what goes before it was drawn
    for layer in viewer.layers[1:]:
        viewer.layers.remove(layer)
    _settle()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def _settle() -> None:
    """Let the event loop do all that is due."""
    end = time.perf_counter() + _DRAWN_SECONDS
    wait(lambda: time.perf_counter() > end)


def timeline(widget: Any) -> tuple[list[tuple[str, float]], Callable[[], None]]:
    """Note when each phase of a run is first and last heard of; returns also how to end that."""
    heard: list[tuple[str, float]] = []

    def note(message: Any) -> None:
        name = message.phase if isinstance(message, Progress) else type(message).__name__
        if name != "Preview":
            heard.append((name, time.perf_counter()))

    widget.panel.process.said.connect(note)
    return heard, lambda: widget.panel.process.said.disconnect(note)


def spent(heard: list[tuple[str, float]], start: float, end: float) -> str:
    """Say where the time of a run went, from what was heard of it and when."""
    first = dict(reversed(heard))
    last = dict(heard)
    parts = [("until the first iteration", start, first["training"])]
    parts.append(("training", first["training"], last["training"]))
    parts.append(("numbering and labelling", last["training"], last["Done"]))
    parts.append(("showing", last["Done"], end))
    return ", ".join(f"{what} {b - a:.2f}" for what, a, b in parts)


def _opened(viewer: Any) -> tuple[float, Any, Any]:
    """Open the widget; returns how many seconds it took, its dock and itself."""
    start = time.perf_counter()
    dock, widget = viewer.window.add_plugin_dock_widget("napari-mmtseg", "MMT")
    QApplication.processEvents()
    return time.perf_counter() - start, dock, widget


def _first_labels(viewer: Any, widget: Any) -> float:
    """Press Run; return how many seconds later labels are seen."""
    before = {*viewer.layers}
    start = time.perf_counter()
    widget.panel.run_button.click()
    wait(lambda: any(one not in before for one in viewer.layers))
    return time.perf_counter() - start


def _stop(widget: Any, phase: str) -> tuple[float, float, float]:
    """Stop a run in a phase; returns seconds to the answer and the result, and the longest wait."""
    if phase == "training":
        method = widget.form.method()
        widget.form.show_method(replace(method, n_iterations=100_000, min_labels=1))
    heard, forget = timeline(widget)
    widget.panel.run_button.click()
    wait(lambda: sum(name == phase for name, _ in heard) > 3)
    ticks = Ticks()
    with ticks.watching():
        start = time.perf_counter()
        widget.panel.stop_button.click()
        wait(lambda: bool(ticks.late_ms))
        answer = time.perf_counter() - start
        wait(lambda: not widget.running)
        result = time.perf_counter() - start
    forget()
    return answer, result, max(ticks.late_ms)


def _memory(widget: Any) -> tuple[int, int]:
    """Return the memory of the window and of the training process."""
    QApplication.processEvents()
    gc.collect()
    return resident_mib(), resident_mib(widget.panel.process._child.process.pid)
