"""Measure folders, the command line and a cluster: ``python -m benchmarks.speed.folders``.

Prints a Markdown table. Images are made (planes of `samples.nuclei_stack`); with ``--data DIR``
the nuclei of DIR/dsb2018 are done on the command line and on a cluster as well. Throughput is given
as measured, and for a machine of two free processors from the processor time that it took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import tifffile
from distributed import Client, LocalCluster
from numpy.typing import NDArray

from benchmarks.figures import provenance
from napari_mmtseg import MMT, Model, load, train
from napari_mmtseg.cli import main as command_line
from napari_mmtseg.engine.threads import use_threads
from napari_mmtseg.images.image_files import open_image
from napari_mmtseg.output.label_files import write_tiff
from napari_mmtseg.samples import nuclei_stack

Row = tuple[str, str, str]
"""What is measured, the aim, the figure."""

_SIDE = 512
_KILLS = 10
_PROCESSORS = 2
_MIB = 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400, help="how many of 512 x 512 (400)")
    parser.add_argument("--tiles", type=int, default=4, help="a side of the image for the cluster")
    parser.add_argument("--data", type=Path, help="a folder with dsb2018")
    parser.add_argument("--only", nargs="*", help="parts: speed bad kills cluster overhead shows")
    parser.add_argument("--window", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.window:
        _window(*args.window)
        return
    parts: dict[str, Callable[[Path], Iterator[Row]]] = {
        "speed": partial(_speed, args.images),
        "bad": _bad,
        "kills": partial(_kills, args.images),
        "cluster": partial(_cluster, args.tiles),
        "overhead": _overhead,
    }
    if args.data is not None:
        parts["shows"] = partial(_shows, args.data)
    print("| what | aim | measured |\n| --- | --- | --- |")
    scratch = Path("bench-output")
    scratch.mkdir(exist_ok=True)
    for name in args.only or parts:
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            for row in parts[name](Path(place)):
                print(f"| {' | '.join(row)} |", flush=True)
    load_of = (
        f"{psutil.getloadavg()[0]:.1f} processes wanted one of {psutil.cpu_count()} processors"
    )
    print(f"\nload: {load_of}")
    print("\n".join(f"{name}: {value}" for name, value in provenance.facts().items()))


def _speed(count: int, place: Path) -> Iterator[Row]:
    images = _images(place / "in", count)
    model = _model(images)
    told = ["batch", str(images), "--model", str(model), "-o", str(place / "out"), "--json"]
    run = _Run(told)
    states = [line["state"] for line in run.lines if "state" in line]
    assert states == ["done"] * count, states
    wall = count / run.seconds
    free = count * _PROCESSORS / run.processor_seconds
    took = f"{wall:.2f} a second, {free:.2f} by processor time ({run.processor_seconds:.0f} s)"
    yield f"{count} images of 512 x 512, one model, objects", ">= 1.5 images a second", took
    early, late = run.peak_mib(0.25, 0.5), run.peak_mib(0.75, 1.0)
    yield (
        "memory of all its processes, second and last quarter",
        "flat",
        f"{early:.0f} MiB, {late:.0f} MiB",
    )


def _bad(place: Path) -> Iterator[Row]:
    images = _images(place / "in", 27)
    model = _model(images)
    whole = (images / "000.tif").read_bytes()
    (images / "corrupt.tif").write_bytes(whole[: len(whole) // 2])
    (images / "empty.tif").touch()
    (images / "foreign.tif").write_text("dear diary")
    told = ["batch", str(images), "--model", str(model), "-o", str(place / "out"), "--json"]
    run = _Run(told)
    results = len(list((place / "out").glob("*_labels.tif")))
    sentences = sum(bool(line.get("error")) for line in run.lines)
    yield (
        "one corrupt, one empty, one foreign file among 30",
        "27 results, 3 sentences, exit code says so",
        f"{results} results, {sentences} sentences, exit code {run.code}",
    )


def _kills(most: int, place: Path) -> Iterator[Row]:
    count = min(60, most)
    images = _images(place / "in", count)
    model, out = _model(images), place / "out"
    told = ["batch", str(images), "--model", str(model), "-o", str(out), "--json", "--quiet"]
    command = [sys.executable, "-m", "napari_mmtseg", *told]
    moment = random.Random(0)
    first: dict[str, int] = {}
    kills = twice = half = 0
    while kills < _KILLS and len(first) < count:
        there = len(first)
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = there + moment.randint(1, 4)
        while len(list(out.glob("*_labels.tif"))) < wanted and child.poll() is None:
            time.sleep(0.005)
        time.sleep(moment.uniform(0, 0.5))
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(child.pid).children(recursive=True)
        child.kill()
        child.wait()
        kills += 1
        psutil.wait_procs(family, timeout=30)
        twice += _note(out, first)
    last = _Run(told)
    twice += _note(out, first)
    half = sum(not _readable(path) for path in out.glob("*_labels.tif"))
    half += len(list(out.glob("*.part")))
    yield (
        f"{kills} kill -9 during a folder",
        "the next run finishes, nothing done twice, no half file",
        f"exit code {last.code}, {len(first)} of {count} results, {twice} done twice, "
        f"{half} half files",
    )


def _cluster(side: int, place: Path) -> Iterator[Row]:
    plane = nuclei_stack((4, _SIDE, _SIDE), n_nuclei=120)[0][2]
    image = np.tile(plane, (2 * side, 2 * side))
    known = train(image[:1024, :1024], MMT.preset("nuclei"))
    classes: dict[str, Any] = {"output": "classes"}
    model = replace(known, method=replace(known.method, **classes))
    alone = model.predict(image)
    alone_seconds, there_seconds = [], []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        equal = True
        for _ in range(4):  # by turns, since the machine may be busy; the first warms up
            start = time.perf_counter()
            there = model.predict(image, client=client)
            there_seconds.append(time.perf_counter() - start)
            equal &= np.array_equal(there, alone)
            start = time.perf_counter()
            model.predict(image)
            alone_seconds.append(time.perf_counter() - start)
        ratio = median(a / t for a, t in zip(alone_seconds[1:], there_seconds[1:], strict=True))
        yield (
            f"2 one-thread workers against one process, {image.shape[0]} x {image.shape[1]}",
            ">= 0.8 of its throughput, labels equal bit for bit",
            f"{ratio:.2f} ({median(there_seconds[1:]):.1f} s, {median(alone_seconds[1:]):.1f} s), "
            f"labels {'equal' if equal else 'DIFFERENT'}",
        )
        workers = client.run(_pid)
        pid = next(iter(workers.values()))
        timer = threading.Timer(median(there_seconds) / 2, partial(_kill, pid))
        timer.start()
        there = model.predict(image, client=client)
        in_time = not timer.is_alive()
        timer.join()
        same = "same labels" if np.array_equal(there, alone) else "OTHER LABELS"
        yield (
            "a worker killed in the middle",
            "finishes, same labels",
            f"finished, {same}" + ("" if in_time else ", killed too late"),
        )
        objects, one = known.predict(image), known.predict(image, client=client)
        same = "equal" if np.array_equal(objects, one) else "DIFFERENT"
        yield "objects on the cluster and in one process", "equal", same


def _overhead(place: Path) -> Iterator[Row]:
    images = _images(place / "in", 1)
    model = _model(images)
    image = images / "000.tif"
    told = ["predict", str(image), "--model", str(model), "--overwrite", "-q"]
    use_threads(1)
    there, here = [], []
    for _ in range(8):  # by turns; the first warms up
        start = time.process_time()
        assert command_line([*told, "-o", str(place / "a.tif")]) == 0
        there.append(time.process_time() - start)
        start = time.process_time()
        file = open_image(image)
        labels = load(model).predict(file.read(), axes=file.axes, spacing=file.spacing)
        write_tiff(place / "b.tif", labels, "YX", file.world, overwrite=True)
        here.append(time.process_time() - start)
    assert (place / "a.tif").read_bytes() == (place / "b.tif").read_bytes()
    ratio = median(there[1:]) / median(here[1:])
    yield (
        "predict on the command line against the same in Python, after import",
        "<= 1.1 x",
        f"{ratio:.2f} x ({1000 * median(there[1:]):.0f} ms, {1000 * median(here[1:]):.0f} ms of "
        "processor time)",
    )
    started = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", _START], capture_output=True, text=True, check=True
        )
        started.append(float(done.stdout.splitlines()[-1]))
    yield (
        "start of a command that needs no torch",
        "0.3 s",
        f"{median(started):.2f} s of processor time",
    )


_START = """
import contextlib, io, time
from napari_mmtseg.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["methods", "MMT"])
print(time.process_time())
"""


def _shows(data: Path, place: Path) -> Iterator[Row]:
    """Do nuclei of the Data Science Bowl in the window, on the command line and on a cluster."""
    pattern = str(data / "dsb2018" / "images" / "dark_2*.png")
    told = ["batch", pattern, "--preset", "nuclei", "--sample", "4", "--json", "-o"]
    here = _Run([*told, str(place / "here")])
    model = str(place / "here" / "batch.safetensors")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        told = ["batch", pattern, "--model", model, "--json", "--scheduler"]
        there = _Run([*told, client.scheduler.address, "-o", str(place / "there")])
    command = [sys.executable, "-m", "benchmarks.speed.folders", "--window", pattern]
    subprocess.run([*command, str(place / "window")], check=True)
    found = {path.name: path.read_bytes() for path in (place / "here").glob("*_labels.tif")}
    same = sum(
        all((place / where / name).read_bytes() == content for where in ("there", "window"))
        for name, content in found.items()
    )
    yield (
        "dsb2018 on the command line, on LocalCluster and in the window",
        "equal files",
        f"{same} of {len(found)} equal, exit codes {here.code} and {there.code}",
    )


def _window(pattern: str, out: str) -> None:
    """Do a folder in the widget, and keep a screenshot in bench-output."""
    import napari

    from napari_mmtseg._napari.demo import wait

    viewer = napari.Viewer()
    viewer.window.resize(1280, 900)
    _, widget = viewer.window.add_plugin_dock_widget("napari-mmtseg", "Folders")
    widget.sources.setText(pattern)
    widget.results.setText(out)
    widget.methods.form.show_method(MMT.preset("nuclei"))
    widget.sample.setValue(4)
    widget.run()
    wait(lambda: not widget.running)
    widget.open_row(widget.rows.index(0, 0))
    for _ in range(20):
        napari.qt.get_qapp().processEvents()
    shot = str(Path("bench-output") / "folders.png")
    viewer.window.screenshot(shot, canvas_only=False, flash=False)
    viewer.close()


class _Run:
    """A command in a process of its own: how long it took, and how much memory all along."""

    def __init__(self, told: list[str]) -> None:
        self._sizes: list[float] = []
        known: dict[int, float] = {}
        start = time.perf_counter()
        with tempfile.TemporaryFile("w+") as out:
            child = subprocess.Popen(
                [sys.executable, "-m", "napari_mmtseg", *told],
                stdout=out,
                stderr=subprocess.DEVNULL,
            )
            whole = psutil.Process(child.pid)
            while child.poll() is None:
                self._sizes.append(_look(whole, known))
                time.sleep(0.2)
            self.seconds = time.perf_counter() - start
            out.seek(0)
            self.lines: list[dict[str, Any]] = [json.loads(line) for line in out]
        self.code = child.returncode
        self.processor_seconds = sum(known.values())

    def peak_mib(self, first: float, last: float) -> float:
        """Return the most memory within a part of the time."""
        count = len(self._sizes)
        return max(self._sizes[int(first * count) : max(int(last * count), 1)])


def _look(whole: psutil.Process, seconds: dict[int, float]) -> float:
    """Note the processor time of a process and those that it started; return their MiB."""
    size = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (whole, *whole.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                seconds[one.pid] = times.user + times.system
                size += one.memory_info().rss / _MIB
    return size


def _images(folder: Path, count: int) -> Path:
    """Write planes of a generated stack, shifted and brightened so that no two are alike."""
    folder.mkdir(parents=True)
    stack, _ = nuclei_stack((12, _SIDE, _SIDE), n_nuclei=150)
    for number in range(count):
        plane: NDArray[Any] = np.roll(stack[number % len(stack)], 37 * number, axis=(0, 1))
        tifffile.imwrite(folder / f"{number:03}.tif", plane, compression="zlib")
    return folder


def _model(images: Path) -> Path:
    """Train on the first images of a folder."""
    path = images.parent / "model.safetensors"
    paths = sorted(images.glob("*.tif"))[:4]
    model: Model = train([tifffile.imread(one) for one in paths], MMT.preset("nuclei"), axes="YX")
    model.save(path)
    return path


def _note(out: Path, first: dict[str, int]) -> int:
    """Note when each result was written; return how many were written again."""
    again = 0
    for path in out.glob("*_labels.tif"):
        at = path.stat().st_mtime_ns
        again += first.setdefault(path.name, at) != at
    return again


def _readable(path: Path) -> bool:
    try:
        return bool(open_image(path).read().shape == (_SIDE, _SIDE))
    except (OSError, ValueError):
        return False


def _pid() -> int:
    return int(psutil.Process().pid)


def _kill(pid: int) -> None:
    psutil.Process(pid).kill()


if __name__ == "__main__":
    main()
