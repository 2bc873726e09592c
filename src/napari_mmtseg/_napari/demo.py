"""Show the main job: a sample stack, segmented by MMT in napari."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import napari
import tifffile
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from napari_mmtseg._napari.widgets.segment import SegmentWidget

_PATIENCE_SECONDS = 900
_HEARTBEAT_MS = 50


def open_widget(sample: str) -> tuple[napari.Viewer, SegmentWidget]:
    """Open napari on a sample with the widget docked; in the tissue, kinds of it are looked for."""
    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    viewer.open_sample("napari-mmtseg", sample)
    _, widget = viewer.window.add_plugin_dock_widget("napari-mmtseg", "MMT")
    assert isinstance(widget, SegmentWidget)
    if sample == "tissue":
        widget.form.look_for("classes")
    return viewer, widget


def wait(until: Callable[[], bool], seconds: float = _PATIENCE_SECONDS) -> None:
    """Keep the window alive until something is so.

    Raises
    ------
    TimeoutError
        If it takes longer than that many seconds.
    """
    start, heartbeat = time.monotonic(), QTimer()
    heartbeat.start(_HEARTBEAT_MS)  # an idle window has no events
    while not until():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"Nothing came of it in {seconds:g} s")
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)


def run(widget: SegmentWidget) -> None:
    """Press Run and wait for the result, or say why there is none and leave."""
    widget.run()
    wait(lambda: not widget.running)
    if widget.model is None:
        raise SystemExit(f"The run failed: {widget.panel.status.text()}")


def main() -> None:
    """Run the demo; with --output, save labels and a screenshot and leave."""
    parser = argparse.ArgumentParser(description="Segment a sample stack in napari with MMT.")
    parser.add_argument("--sample", default="nuclei", help="nuclei, tissue or cells")
    parser.add_argument("--output", type=Path, help="save labels and screenshot here, and leave")
    arguments = parser.parse_args()
    viewer, widget = open_widget(arguments.sample)
    if arguments.output is None:
        widget.run()
        napari.run()
        return
    run(widget)
    QApplication.processEvents()
    save(viewer, arguments.output, arguments.sample)
    print(f"{widget.panel.status.text()} Labels and screenshot are in {arguments.output.resolve()}")
    viewer.close()


def save(viewer: napari.Viewer, folder: Path, name: str) -> None:
    """Save the result's labels as TIFF and the window as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = viewer.layers[-1].data
    tifffile.imwrite(folder / f"{name}-labels.tif", labels.astype("uint16"), compression="zlib")
    viewer.window.screenshot(str(folder / f"{name}.png"), canvas_only=False)


if __name__ == "__main__":
    main()
