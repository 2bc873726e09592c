"""Compute what a large image costs, from measured figures: ``python -m benchmarks.plan``.

``--measure`` takes the figures anew on this machine and keeps them in plan_figures.json; without it
those are read. Prints the tables of docs/plan.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

FIGURES = Path(__file__).with_name("plan_figures.json")
_TERA, _GIGA, _HOUR = 1e12, 1e9, 3600.0


class Figures(NamedTuple):
    """What was measured, in one thread; seconds are of one processor."""

    planes_s_per_mvoxel: float
    """Labelling tiles of planes, halo included."""
    volume_s_per_mvoxel: float
    """Labelling tiles of volumes, halo included."""
    planes_read: float
    """Voxels read for each that is labelled."""
    volume_read: float
    planes_tile: int
    """Voxels of a tile."""
    volume_tile: int
    planes_reduction: int
    """Pixels a side that share a vote, as training chooses for images of this size."""
    volume_reduction: int
    worker_gib: float
    """Most memory of a process that labels such tiles."""
    training_s: float
    """Whatever the size: a bounded sample is read."""
    model_kib: float
    label_bytes: float
    """Of a voxel's label, packed; of the generated nuclei."""
    write_mvoxel_per_s: float
    """Packing and writing labels in one process."""
    tasks_per_s: float
    """By the processor time of a scheduler whose workers do nothing."""
    task_kib: float
    """Memory that the scheduler takes for a task."""


class Asked(NamedTuple):
    """The data, and the machines."""

    terabytes: float = 100.0
    bytes_per_voxel: int = 2
    cores: int = 1000
    storage_gb_per_s: float = 10.0
    """All that the shared storage gives to all workers together."""
    part_terabytes: float = 1.0
    """What is labelled as one dask array, such as a few time points."""


def cost(known: Figures, asked: Asked) -> list[tuple[str, str, str]]:
    """Return rows: what, for planes, for volumes."""
    voxels = asked.terabytes * _TERA / asked.bytes_per_voxel
    ways = (
        (known.planes_s_per_mvoxel, known.planes_read, known.planes_tile),
        (known.volume_s_per_mvoxel, known.volume_read, known.volume_tile),
    )

    def row(what: str, figure: Callable[[float, float, int], str]) -> tuple[str, str, str]:
        planes, volume = (figure(*way) for way in ways)
        return what, planes, volume

    def busy(seconds: float) -> float:
        return voxels / 1e6 * seconds / _HOUR

    def reading(read: float) -> float:
        return asked.terabytes * read * _TERA / (asked.storage_gb_per_s * _GIGA) / _HOUR

    return [
        row("voxels", lambda s, r, t: f"{voxels:.1e}"),
        row("core hours", lambda s, r, t: f"{busy(s):,.0f}"),
        row(
            f"hours on {asked.cores:,} cores, if the storage keeps up",
            lambda s, r, t: f"{busy(s) / asked.cores:.1f}",
        ),
        row("read from storage, halos included", lambda s, r, t: f"{asked.terabytes * r:.0f} TB"),
        row(
            f"hours of reading at {asked.storage_gb_per_s:g} GB/s",
            lambda s, r, t: f"{reading(r):.1f}",
        ),
        row(
            "cores that this storage can feed",
            lambda s, r, t: f"{_fed(asked, s, r):,.0f}",
        ),
        row("labels written", lambda s, r, t: f"{voxels * known.label_bytes / _TERA:.1f} TB"),
        row(
            f"memory of {asked.cores:,} one-thread workers",
            lambda s, r, t: f"{asked.cores * known.worker_gib:,.0f} GiB",
        ),
        row(
            "model sent to them",
            lambda s, r, t: f"{asked.cores * known.model_kib / 1024:.0f} MiB",
        ),
        row("training, once", lambda s, r, t: f"{known.training_s:.0f} s of one core"),
        row("tasks", lambda s, r, t: f"{voxels / t:.1e}"),
    ]


def breaks(known: Figures, asked: Asked) -> list[tuple[str, str, str]]:
    """Return rows: where the plan breaks, the figure, and what to do."""
    voxels = asked.terabytes * _TERA / asked.bytes_per_voxel
    tasks = voxels / known.planes_tile
    in_part = tasks * asked.part_terabytes / asked.terabytes
    most = known.tasks_per_s * known.planes_s_per_mvoxel * known.planes_tile / 1e6
    alone = voxels / 1e6 / known.write_mvoxel_per_s / _HOUR
    return [
        (
            "One dask array of it all: the scheduler's memory",
            f"{tasks * known.task_kib / 2**20:,.0f} GiB for {tasks:.1e} tasks",
            f"Label it in parts of {asked.part_terabytes:g} TB: "
            f"{in_part * known.task_kib / 2**20:.1f} GiB each",
        ),
        (
            "One scheduler for too many cores",
            f"{known.tasks_per_s:,.0f} tasks a second keep {most:,.0f} cores busy",
            "Beyond, one cluster a part",
        ),
        (
            "Labels written by one process, as `predict -o labels.zarr --scheduler` does",
            f"{alone:,.0f} hours",
            "Let the workers write, with `labels.to_zarr(...)`; a part that failed is done again",
        ),
        (
            "The storage",
            f"feeds {_fed(asked, known.planes_s_per_mvoxel, known.planes_read):,.0f} cores",
            "More cores than that wait. In volumes two thirds of the reading is halos: work in "
            "planes, or keep blocks on the workers' own disks",
        ),
        (
            "Areas, which are numbered over the whole image",
            "a first pass over all of it: twice the core hours",
            "Ask for classes or objects, which need no more than a neighbourhood, or for the areas "
            "of each part",
        ),
    ]


def _fed(asked: Asked, seconds: float, read: float) -> float:
    """Return how many cores read as much as the storage gives."""
    a_core = asked.bytes_per_voxel * read * 1e6 / seconds
    return asked.storage_gb_per_s * _GIGA / a_core


def page(known: Figures, asked: Asked) -> str:
    """Return the tables as Markdown."""
    lines = ["| measured, one thread | |", "| --- | --- |"]
    lines += [f"| {name} | {_told(value)} |" for name, value in known._asdict().items()]
    lines += ["", f"| {asked.terabytes:g} TB | planes | volumes |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in cost(known, asked)]
    lines += ["", "| where it breaks | at | what then |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in breaks(known, asked)]
    return "\n".join(lines)


def _told(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def measured() -> Figures:
    """Measure all figures on this machine, in about a minute."""
    from distributed import Client, LocalCluster
    from numcodecs import Blosc

    from benchmarks.speed.memory import forget_peak, peak_mib
    from napari_mmtseg import MMT, train
    from napari_mmtseg.engine.threads import use_threads
    from napari_mmtseg.images.frames import grown
    from napari_mmtseg.prediction.labeller import Labeller
    from napari_mmtseg.samples import nuclei_stack

    use_threads(1)
    small, truth = nuclei_stack((32, 256, 256), n_nuclei=80)
    spacing = (0.5, 0.25, 0.25)
    stack = _Repeated(small, (256, 2048, 2048))  # light-sheet data in kind: sparse and 16-bit
    found: dict[str, Any] = {}
    for name, method in (
        ("planes", MMT(n_labels=2, work_in="planes")),
        ("volume", MMT(n_labels=2, work_in="volume")),
    ):
        start = time.process_time()
        model = train(cast(ArrayLike, stack), method, axes="ZYX", spacing=spacing)
        found["training_s"] = time.process_time() - start
        frames = model.frames(cast(ArrayLike, stack), "ZYX", spacing)
        labeller = Labeller(model)
        tiles = list(labeller.tiles(frames))
        index, tile = _inner(tiles, labeller.halo_px, frames)
        read = grown(tile, labeller.halo_px, frames.frame_shape)
        size, whole = (math.prod(s.stop - s.start for s in one) for one in (tile, read))
        labeller.find(frames, index, tile)  # to warm up
        forget_peak()
        start = time.process_time()
        labeller.find(frames, index, tile)
        spent = time.process_time() - start
        found |= {
            f"{name}_s_per_mvoxel": spent / size * 1e6,
            f"{name}_read": whole / size,
            f"{name}_tile": size,
            f"{name}_reduction": max(labeller.factor),
        }
        found["worker_gib"] = max(found.get("worker_gib", 0), peak_mib() / 1024)
    labels = truth.astype(np.int32)
    start = time.process_time()
    packed = Blosc("zstd", clevel=1).encode(labels)
    found["write_mvoxel_per_s"] = labels.size / 1e6 / (time.process_time() - start)
    found["label_bytes"] = len(packed) / labels.size
    found["model_kib"] = sum(one.nbytes for one in model.weights.values()) / 1024
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        client.gather(client.map(_nothing, range(100)))
        before = _rss_kib()
        start = time.process_time()  # of the scheduler, which is in this process
        futures = client.map(_nothing, range(1000, 6000))
        client.gather(futures)
        found["tasks_per_s"] = 5000 / (time.process_time() - start)
        found["task_kib"] = max(_rss_kib() - before, 0) / 5000
    return Figures(**{name: _rounded(value) for name, value in found.items()})


class _Repeated:
    """A small stack, again and again, as if it were a large one."""

    def __init__(self, small: Any, shape: tuple[int, ...]) -> None:
        self._small, self.shape, self.dtype = small, shape, small.dtype

    def __getitem__(self, key: tuple[int | slice, ...]) -> Any:
        spans = [
            np.atleast_1d(np.arange(n)[one]) % size
            for one, n, size in zip(key, self.shape, self._small.shape, strict=True)
        ]
        part = self._small[np.ix_(*spans)]
        return part[tuple(0 if isinstance(one, int) else slice(None) for one in key)]


def _inner(tiles: Any, halo: Any, frames: Any) -> Any:
    """Return a tile with its whole halo, else the one with the most of it."""
    from napari_mmtseg.images.frames import grown

    def read(one: Any) -> int:
        return math.prod(s.stop - s.start for s in grown(one[1], halo, frames.frame_shape))

    return max(tiles, key=read)


def _nothing(number: int) -> int:
    return number


def _rss_kib() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss / 1024)


def _rounded(value: Any) -> Any:
    return value if isinstance(value, int) else float(f"{value:.3g}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="measure anew on this machine")
    for name, value in Asked()._asdict().items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(value), default=value, help=f"by default {value:g}")
    args = vars(parser.parse_args())
    if args.pop("measure"):
        FIGURES.write_text(json.dumps(measured()._asdict(), indent=1) + "\n")
    print(page(known(), Asked(**args)))


def known() -> Figures:
    """Return the figures that were measured last."""
    return Figures(**json.loads(FIGURES.read_text()))


if __name__ == "__main__":
    main()
