"""What the window costs the training, and the training the window: ``python -m benchmarks.window``.

It opens napari, so it wants a display; ``make bench-engine`` brings one along.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median

import numpy as np
from qtpy.QtCore import QTimer
from skimage.data import immunohistochemistry

from napari_mmtseg import MMT, segment
from napari_mmtseg._napari.demo import open_widget, run

_TICK_MS = 5


def main() -> None:
    """Print two further rows of the table of `benchmarks.engine`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--outside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.outside:
        _outside()  # to warm up
        print(median(_outside() for _ in range(args.repeats)))
        return
    command = [sys.executable, "-m", "benchmarks.window", "--outside"]
    command += ["--repeats", str(args.repeats)]
    outside = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    inside, delays = _inside(args.repeats)
    p95, worst = np.percentile(delays, 95), max(delays)
    ratio = f"{inside / outside:.2f}x ({inside:.1f} s, {outside:.1f} s)"
    print(f"| default, 512 x 512 RGB: in the window's process / outside | 1.15x | {ratio} |")
    what = "delay of the window's event loop, 95th percentile / longest"
    print(f"| {what} | 50 ms / | {p95:.0f} ms / {worst:.0f} ms |")


def _outside() -> float:
    start = time.perf_counter()
    segment(immunohistochemistry(), MMT(), axes="YXS")
    return time.perf_counter() - start


def _inside(repeats: int) -> tuple[float, list[float]]:
    """Return the median seconds of a run, and by how many milliseconds each tick came late."""
    viewer, widget = open_widget("tissue")
    seconds: list[float] = []
    widget.panel.finished.connect(lambda done: seconds.append(done.seconds))
    ticks: list[float] = []
    timer = QTimer()
    timer.setInterval(_TICK_MS)
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    delays: list[float] = []
    for repeat in range(repeats + 1):
        ticks.clear()
        timer.start()
        run(widget)
        timer.stop()
        if repeat:  # the first one warms up
            delays += (1000 * np.diff(ticks) - _TICK_MS).tolist()
    viewer.close()
    return median(seconds[1:]), delays


if __name__ == "__main__":
    main()
