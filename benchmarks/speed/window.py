"""What the window costs training, and training its user: ``python -m benchmarks.speed.window``.

It opens napari, so it wants a display; ``make bench-engine`` brings one along.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import dask.array as da
import numpy as np
from skimage.data import immunohistochemistry

from benchmarks.speed import waiting
from napari_mmtseg import MMT, segment
from napari_mmtseg._napari.demo import open_widget, run, wait
from napari_mmtseg._napari.process.messages import Progress
from napari_mmtseg.samples import nuclei_stack


def main() -> None:
    """Print what is measured as rows of a table, each beside its aim."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runs", type=int, default=0, help="so many runs, and memory; then alone")
    parser.add_argument("--only", choices=tuple(_PARTS))
    parser.add_argument("--outside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--lazy", action="store_true", help="looking at a lazy stack instead")
    args = parser.parse_args()
    if args.lazy:
        _lazy()
    elif args.outside:
        _outside()  # to warm up
        print(median(_outside() for _ in range(args.repeats)))
    elif args.runs:
        _show(waiting.growth(args.runs))
    elif args.only is None:  # each in a program of its own, which the others leave as it is
        for name in _PARTS:
            command = [sys.executable, "-m", "benchmarks.speed.window", "--only", name]
            subprocess.run([*command, "--repeats", str(args.repeats)], check=True)
    else:
        _show(_PARTS[args.only](args.repeats))


def _show(rows: list[waiting.Row]) -> None:
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def _running(repeats: int) -> list[waiting.Row]:
    """Compare runs in the window with runs outside, and watch the window meanwhile."""
    command = [sys.executable, "-m", "benchmarks.speed.window", "--outside"]
    command += ["--repeats", str(repeats)]
    outside = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    viewer, widget = open_widget("tissue")
    run(widget)  # to warm up
    seconds, ticks, went = [], waiting.Ticks(), ""
    for _ in range(repeats):
        waiting.remove_results(viewer)  # napari takes longer to add a layer to many
        heard, forget = waiting.timeline(widget)
        start = time.perf_counter()
        run(widget)
        end = time.perf_counter()
        seconds.append(end - start)
        went = waiting.spent(heard, start, end)
        forget()
    for _ in range(repeats):  # others, since whoever watches the event loop keeps it busy
        waiting.remove_results(viewer)
        with ticks.watching():
            run(widget)
    viewer.close()
    inside = median(seconds)
    ratio = f"{inside / outside:.2f}x ({inside:.2f} s, {outside:.2f} s)"
    what = "default, 512 x 512 RGB: from Run to labels in the window / outside"
    return [
        (what, "1.3x", ratio),
        ("where the last run in the window spent its seconds", "", went),
        (
            "the window's event loop meanwhile, 95th percentile / longest",
            "50 ms / 200 ms",
            ticks.text(),
        ),
    ]


def _lazy() -> None:
    """Print rows for looking at the planes of a lazy (T, Z, 1024, 1024) stack."""
    stack, _ = nuclei_stack((12, 1024, 1024), n_nuclei=900)
    image = da.from_array(np.stack([stack] * 4), chunks=(1, 1, 1024, 1024))
    viewer, widget = open_widget("tissue")
    viewer.layers.clear()
    viewer.add_image(
        image, name="lazy", axis_labels=("t", "z", "y", "x"), contrast_limits=(0, 4000)
    )
    trained: list[float] = []  # when each step of the training was heard of
    widget.panel.process.said.connect(partial(_note_training, trained))
    run(widget)
    first = time.perf_counter() - trained[-1]
    labels = viewer.layers[-1].data
    times: list[float] = []
    seen: list[float] = []  # when anything was heard of a place
    widget.panel.process.seen.connect(lambda _: seen.append(time.perf_counter()))
    soon: list[float] = []
    ticks = waiting.Ticks()
    with ticks.watching():
        for t, z in ((0, 3), (0, 9), (1, 0), (1, 6), (2, 2), (3, 11), (3, 5)):
            seen.clear()
            start = time.perf_counter()
            viewer.dims.set_current_step((0, 1), (t, z))
            wait(partial(labels.knows, 12 * t + z))
            times.append(time.perf_counter() - start)
            soon.append(seen[0] - start)
    viewer.close()
    what = "plane in view of a lazy 4D layer, 1024 x 1024"
    print(f"| {what}, first look, from the last step of the training on: exact | | {first:.2f} s |")
    for how, taken in (("in view, perhaps as a draft", soon), ("exact", times)):
        figure = f"{median(taken):.2f} s, longest {max(taken):.2f} s"
        print(f"| {what}, another place: {how} | 0.5 s | {figure} |")
    what = "the window's event loop meanwhile, 95th percentile / longest"
    print(f"| {what} | 50 ms / | {ticks.text()} |")


def _note_training(times: list[float], message: Any) -> None:
    if isinstance(message, Progress) and message.phase == "training":
        times.append(time.perf_counter())


def _outside() -> float:
    start = time.perf_counter()
    segment(immunohistochemistry(), MMT(), axes="YXS")
    return time.perf_counter() - start


# Each takes how often runs are repeated.
_PARTS: dict[str, Callable[[int], list[waiting.Row]]] = {
    "opening": lambda _: waiting.opening(),
    "running": _running,
    "stopping": lambda _: waiting.stopping(),
}


if __name__ == "__main__":
    main()
