"""Measure one answer, exact blocks, any size: ``python -m benchmarks.speed.scale [--data DIR]``.

Prints a Markdown table. DIR holds bsds500, dsb2018 and microscopy, of which six images are taken;
without it the samples alone are. The stores that it writes (up to ``--gpixel`` of them) go to a
temporary folder beside the output.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray
from skimage import data
from skimage.io import imread
from skimage.transform import resize

from benchmarks.figures import provenance
from benchmarks.speed.memory import forget_peak, peak_mib, resident_mib
from napari_mmtseg import MMT, load, segment, train
from napari_mmtseg.engine.cluster_merges import cut, merges
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.methods import METHODS, RefinedMethod
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.output.ome_zarr import write_labels
from napari_mmtseg.prediction.labeller import Labeller
from napari_mmtseg.samples import nuclei_stack
from napari_mmtseg.settings import Method

Row = tuple[str, str, str]
"""What is measured, the aim, the figure."""

_BLOCKS = (64, 100, 256, 1000)
_REPEATS = {8192: 5, 16384: 3}
_KILLS = 10


class Picture(NamedTuple):
    """An image with the letters of its axes."""

    name: str
    pixels: NDArray[Any]
    axes: str


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder with bsds500, dsb2018 and microscopy")
    parser.add_argument("--gpixel", type=float, default=1.0, help="size of the largest image")
    parser.add_argument("--only", nargs="*", help="parts: equality blocks speed size kills merging")
    parser.add_argument("--methods", nargs="*", help="of equality and blocks, such as MMT KMeans")
    parser.add_argument("--crop", type=int, default=0, help="side of the images of these two, px")
    parser.add_argument("--write", nargs=2, metavar=("IMAGE", "TARGET"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        _write(Path(args.write[0]), Path(args.write[1]), log=True)
        return
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "equality": partial(_equality, args.data, args.methods, args.crop),
        "blocks": partial(_blocks, args.methods, args.crop),
        "speed": _speed,
        "merging": _merging,
        "size": partial(_size, args.gpixel),
        "kills": _kills,
    }
    print("| what | aim | measured |\n| --- | --- | --- |")
    for name in args.only or parts:
        for row in parts[name]():
            print(f"| {' | '.join(row)} |", flush=True)
    print("\n" + "\n".join(f"{name}: {value}" for name, value in provenance.facts().items()))


def _pictures(folder: Path | None) -> list[Picture]:
    """Return the samples, and six real images if there is a folder of them."""
    found = [
        Picture("immunohistochemistry", data.immunohistochemistry(), "YXS"),
        Picture("coins", data.coins(), "YX"),
        Picture("nuclei sample", nuclei_stack()[0], "ZYX"),
    ]
    if folder is None:
        return found
    photographs = sorted((folder / "bsds500").rglob("images/val/*.jpg"))[:2]
    dark = sorted((folder / "dsb2018" / "images").glob("dark_*"))[:1]
    colour = sorted((folder / "dsb2018" / "images").glob("colour_*"))[:1]
    named = [Picture(p.stem, imread(p)[..., :3], "YXS") for p in (*photographs, *dark, *colour)]
    for path in sorted((folder / "microscopy").glob("*"))[:50]:
        if path.stem.startswith(("hela_cells", "maize_clsm_yx")) and path.suffix == ".tif":
            named.append(Picture(path.stem, imread(path), path.stem.rsplit("_", 1)[1].upper()))
    return found + named[:6]


def _cropped(picture: Picture, side: int) -> Picture:
    """Take the first pixels of each plane, if a side is given."""
    if not side:
        return picture
    cut = tuple(slice(side if axis in "YX" else None) for axis in picture.axes)
    return picture._replace(pixels=np.ascontiguousarray(picture.pixels[cut]))


def _learning(named: list[str] | None) -> Iterator[Method]:
    """Give each method that learns, at its default, refined where it is not, and other outputs."""
    for name, cls in METHODS.items():
        if cls.trains and name in (named or METHODS):
            known = {one.name for one in cls.settings()}
            quick = {"n_iterations": 10} if "n_iterations" in known else {}
            method = cls.preset("default", **quick)
            yield method
            if isinstance(method, RefinedMethod) and not method.vote_border:
                yield dataclasses.replace(method, vote_border=0.2, sharpening_px=8)
            if isinstance(method, RefinedMethod):
                for output in ("areas", "objects"):
                    changes: dict[str, Any] = {"output": output}
                    yield dataclasses.replace(method, **changes)


def _equality(folder: Path | None, named: list[str] | None, side: int) -> Iterator[Row]:
    pictures = [_cropped(one, side) for one in _pictures(folder)]
    for method in _learning(named):
        equal = 0
        for one in pictures:
            labels, doubt = segment(one.pixels, method, axes=one.axes, return_uncertainty=True)
            model = train(one.pixels, method, axes=one.axes)
            again, doubt_again = model.predict(one.pixels, axes=one.axes, return_uncertainty=True)
            with tempfile.TemporaryDirectory() as place:
                model.save(Path(place) / "model.safetensors")
                kept = load(Path(place) / "model.safetensors")
            saved = kept.predict(one.pixels, axes=one.axes)
            same = np.array_equal(labels, again) and np.array_equal(labels, saved)
            doubts = [one for one in (doubt, doubt_again) if one is not None]
            equal += same and (not doubts or np.array_equal(doubts[0], doubts[-1]))
        what = f"{_name(method)}: segment = train + predict = save + load"
        yield what, "all equal", f"{equal} of {len(pictures)} images"


def _blocks(named: list[str] | None, side: int) -> Iterator[Row]:
    tissue = data.immunohistochemistry()
    pictures = [
        Picture("tissue 1200 x 1500", _of_shape(tissue, (1200, 1500)), "YXS"),
        Picture("nuclei sample", nuclei_stack((6, 256, 256))[0], "ZYX"),
    ]
    pictures = [_cropped(one, side) for one in pictures]
    for method in _learning(named):
        equal = 0
        for one in pictures:
            model = train(one.pixels, method, axes=one.axes)
            whole = model.predict(one.pixels, axes=one.axes)
            for side in _BLOCKS:
                chunks = tuple(
                    3 if a == "S" else min(side, n)
                    for a, n in zip(one.axes, one.pixels.shape, strict=True)
                )
                lazy: Any = model.predict(da.from_array(one.pixels, chunks=chunks), axes=one.axes)
                equal += np.array_equal(lazy.rechunk(side).compute(), whole)
        what = f"{_name(method)}: blocks of {', '.join(map(str, _BLOCKS))} = whole"
        yield what, "all equal", f"{equal} of {len(pictures) * len(_BLOCKS)}"


def _speed() -> Iterator[Row]:
    stack, _ = nuclei_stack((8, 1024, 1024), n_nuclei=700)
    stack = np.concatenate([stack] * 8)
    seconds, _ = _timed(partial(segment, stack, MMT(), axes="ZYX"))
    yield "stack of 64 x 1024 x 1024, default, whole", "40 s", f"{seconds:.0f} s"
    image = _of_shape(data.immunohistochemistry(), (4096, 4096))
    model = train(image, MMT(), axes="YXS")
    times = [_timed(partial(model.predict, image, axes="YXS"))[0] for _ in range(3)]
    rate = image.shape[0] * image.shape[1] / 1e6 / median(times)
    yield "prediction, default, 4096 x 4096 RGB", "5 Mpixel/s", f"{rate:.1f} Mpixel/s"


def _merging() -> Iterator[Row]:
    random_numbers = np.random.default_rng(0)
    colours, sizes = random_numbers.random((512, 3)), random_numbers.integers(1, 9999, 512)
    classes = np.zeros(512, np.int64)
    order = merges(colours, sizes, classes)
    times = [_timed(partial(cut, order, sizes, classes, n))[0] for n in range(2, 512, 17)]
    yield "merging 512 clusters, a slider tick", "50 ms", f"{1000 * median(times):.1f} ms"


def _size(gpixel: float) -> Iterator[Row]:
    rates, efforts, peaks = [], [], []
    sides = [8192]
    while (sides[-1] * 2) ** 2 <= 1.1 * gpixel * 2**30:
        sides.append(sides[-1] * 2)
    with tempfile.TemporaryDirectory(dir=_scratch()) as place:
        for side in sides:
            image = _stored(Path(place) / f"{side}.zarr", side)
            forget_peak()
            before = resident_mib()
            training, _ = _timed(partial(_model_of, image))
            times, works = [], []
            for repeat in range(_REPEATS.get(side, 1)):  # what is short is soon disturbed
                target, worked = Path(place) / f"labels{repeat}.zarr", time.process_time()
                times.append(_timed(partial(_write, image, target))[0])
                works.append(time.process_time() - worked)
                shutil.rmtree(target)
            efforts.append(median(works) / (side * side / 1e6))
            rates.append(median(times) / (side * side / 1e6))
            peaks.append(peak_mib() - before)
            figures = f"{training:.1f} s, {rates[-1]:.3f} s/Mpixel, {peaks[-1]:.0f} MiB"
            figures += f"; processor time {efforts[-1]:.3f} s/Mpixel"
            yield f"{side} x {side}, zarr in, OME-Zarr out: training, labelling, peak", "", figures
    spread, other = (100 * (max(one) / min(one) - 1) for one in (rates, efforts))
    figure = f"{spread:.0f} %, processor time {other:.0f} %"
    yield "time per Mpixel from the smallest to the largest", "flat within 15 %", figure
    yield "peak memory above the import, the largest", "1.5 GB", f"{max(peaks) / 954:.2f} GB"


def _kills() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(dir=_scratch()) as place:
        image = _stored(Path(place) / "image.zarr", 8192)
        _model_of(image)
        whole, target = Path(place) / "whole.zarr", Path(place) / "killed.zarr"
        command = [
            sys.executable,
            "-m",
            "benchmarks.speed.scale",
            "--write",
            str(image),
            str(target),
        ]
        seconds, _ = _timed(
            partial(subprocess.run, [*command[:-1], str(whole)], check=True, capture_output=True)
        )
        expected = np.asarray(zarr.open_array(whole / "0")[:])
        moment = random.Random(0)
        kills = equal = twice = finished = 0
        computed: list[str] = []
        while kills < _KILLS or computed:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            if kills < _KILLS:
                time.sleep(moment.uniform(seconds / 4, seconds))
                child.kill()
                kills += 1
            computed += child.communicate()[0].split("\n")[:-1]
            if target.exists():
                finished += 1
                equal += np.array_equal(np.asarray(zarr.open_array(target / "0")[:]), expected)
                twice += len(computed) - len(set(computed))
                computed.clear()
                shutil.rmtree(target)
        figure = f"{equal} of {finished} results identical, {twice} blocks finished twice"
        yield f"{kills} kill -9 while writing 64 Mpixel", "identical", figure


def _write(image: Path, target: Path, log: bool = False) -> None:
    """Write the labels of a stored image."""
    pixels: Any = zarr.open_array(image, mode="r")
    model = load(_model_of(image))
    frames, labeller = Frames(pixels, "YXS"), Labeller(model)
    table = np.append(model.label_of(), 0).astype(np.int32)

    def labels(region: tuple[slice, ...]) -> NDArray[np.int32]:
        found: NDArray[np.int32] = table[labeller.find(frames, 0, region).clusters]
        return found

    fingerprint = hashlib.sha256(_model_of(image).read_bytes() + str(image).encode()).hexdigest()
    writing = write_labels(
        target, frames.shape, labeller.tile_px, labels, axes="YX", fingerprint=fingerprint
    )
    for step in writing:
        if log and step.level == 0 and not step.found:
            print(step.region, flush=True)


def _model_of(image: Path) -> Path:
    """Train on a stored image, unless that is done, and return the model's file."""
    path = image.with_suffix(".safetensors")
    if not path.exists():
        pixels: Any = zarr.open_array(image, mode="r")
        train(pixels, MMT(), axes="YXS").save(path)
    return path


def _stored(path: Path, side: int) -> Path:
    """Generate a tissue of side x side as a zarr array, a row of tiles at a time."""
    tissue = data.immunohistochemistry()
    array = zarr.create_array(path, shape=(side, side, 3), chunks=(1024, 1024, 3), dtype="u1")
    wide = np.tile(np.concatenate([tissue, tissue[:, ::-1]], axis=1), (1, side // 1024, 1))
    for top in range(0, side, 512):
        array[top : top + 512] = wide if top // 512 % 2 else wide[::-1]
    return path


def _of_shape(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    scaled: NDArray[np.uint8] = (255 * resize(image, shape)).astype(np.uint8)
    return scaled


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _name(method: Method) -> str:
    refined = isinstance(method, RefinedMethod) and method.vote_border
    output = "" if output_of(method) == "classes" else f", {output_of(method)}"
    return type(method).__name__ + (", votes and sharpening" if refined else "") + output


def _scratch() -> Path:
    folder = Path("bench-output")
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
