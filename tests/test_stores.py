"""Images in zarr and OME-Zarr: opening them, and writing labels to them."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal

from napari_mmtseg.chunks import DamagedChunk, Guarded, missing_chunks
from napari_mmtseg.stores import open_image
from napari_mmtseg.writing import write_labels

LABELS = (np.add.outer(np.arange(300) // 7, np.arange(1100) // 11) % 5).astype(np.int32)
LABELS[100:200, 220:660] = 0


def run(path, labels=LABELS, *, chunk=(100, 220), stop_after=None, calls=None, **options):
    """Write labels and return the path and what was written."""

    def blocks(region):
        if calls is not None:
            calls.append(region)
        return labels[region]

    options = {"axes": "YX", "fingerprint": "a"} | options
    writer = write_labels(path, labels.shape, chunk, blocks, **options)
    steps, answer = [], None
    while True:
        try:
            steps.append(writer.send(answer))
        except StopIteration as end:
            return end.value, steps
        answer = len(steps) == stop_after


def test_what_was_written_is_read_back(tmp_path):
    path, steps = run(tmp_path / "labels.zarr")
    assert path == tmp_path / "labels.zarr"
    assert list(tmp_path.iterdir()) == [path], "nothing else is left"
    group = zarr.open_group(path, mode="r")
    assert_array_equal(group["0"][:], LABELS)
    assert_array_equal(group["1"][:], LABELS[::2, ::2])
    assert_array_equal(group["2"][:], LABELS[::4, ::4])
    assert group["2"].shape == (75, 275)
    assert "3" not in group
    assert group["0"].dtype == np.int32
    assert [s.done for s in steps] == list(range(1, len(steps) + 1))
    assert {s.total for s in steps} == {3 * 5 + 2 * 3 + 1 * 2}
    assert not any(s.found for s in steps)


def test_an_opened_store_tells_axes_scale_place_and_units(tmp_path):
    stack = np.arange(4 * 40 * 1200, dtype=np.uint16).reshape(4, 40, 1200)
    path, _ = run(
        tmp_path / "labels.ome.zarr",
        stack,
        chunk=(2, 32, 512),
        axes="zyx",
        scale=(1.0, 0.5, 0.5),
        units=("micrometer", "µm", "pixel"),
        translate=(10, 20, 30),
        dtype=np.uint16,
    )
    image = open_image(path)
    assert image.axes == "ZYX"
    assert image.units == ("micrometer", "micrometer", None)
    # Y and X are halved until their voxels are as long as those of Z, then all are.
    assert [level.shape for level in image.levels] == [(4, 40, 1200), (4, 20, 600), (2, 10, 300)]
    assert image.scale == ((1.0, 0.5, 0.5), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    assert set(image.translate) == {(10.0, 20.0, 30.0)}
    assert_array_equal(image.levels[2][:], stack[::2, ::4, ::4])
    assert image.levels[0].dtype == np.uint16


def test_the_metadata_have_the_keys_that_ome_zarr_requires(tmp_path):
    labels = np.ones((2, 3, 600, 20), np.int32)
    path, _ = run(
        tmp_path / "cells.zarr",
        labels,
        chunk=(1, 3, 600, 20),
        axes="TZYX",
        scale=(5, 3, 1, 1),
        units=("second", "micrometer", "micrometer", "micrometer"),
    )
    written = json.loads((path / ".zattrs").read_text())
    assert written["image-label"] == {"version": "0.4"}
    (image,) = written["multiscales"]
    assert image["version"] == "0.4"
    assert image["name"] == "cells"
    assert image["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    assert [one["path"] for one in image["datasets"]] == ["0", "1"]
    assert image["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [5.0, 3.0, 2.0, 2.0]},
        {"type": "translation", "translation": [0.0, 0.0, 0.0, 0.0]},
    ]
    for level in ("0", "1"):
        array = json.loads((path / level / ".zarray").read_text())
        assert array["zarr_format"] == 2
        assert array["dimension_separator"] == "/"
        assert array["compressor"]["id"] == "blosc"


def test_without_a_scale_only_planes_are_made_coarser(tmp_path):
    path, _ = run(tmp_path / "a.zarr", np.ones((8, 1030, 4), int), chunk=(8, 99, 4), axes="ZYX")
    shapes = [level.shape for level in open_image(path).levels]
    assert shapes == [(8, 1030, 4), (8, 515, 2), (8, 258, 1)]


def test_a_stopped_writing_goes_on_where_it_was(tmp_path):
    calls = []
    left, steps = run(tmp_path / "a.zarr", stop_after=6, calls=calls)
    assert left == tmp_path / "a.zarr.unfinished"
    assert list(tmp_path.iterdir()) == [left]
    assert len(calls) == len(steps) == 6
    with pytest.raises(FileNotFoundError, match="is not finished: save again under that name"):
        open_image(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=r"is not finished: save again as a\.zarr"):
        open_image(left)

    path, steps = run(tmp_path / "a.zarr", calls=calls)
    assert [s.found for s in steps] == [True] * 6 + [False] * 17
    assert len(calls) == 15, "empty blocks are not computed twice either"
    assert_array_equal(open_image(path).levels[0][:], LABELS)
    assert list(tmp_path.iterdir()) == [path]


def test_stopping_among_the_coarser_levels_is_resumed_too(tmp_path):
    calls = []
    run(tmp_path / "a.zarr", stop_after=17, calls=calls)
    path, steps = run(tmp_path / "a.zarr", calls=calls)
    assert len(calls) == 15
    assert sum(s.found for s in steps) == 17
    assert_array_equal(open_image(path).levels[1][:], LABELS[::2, ::2])


def test_stopping_after_the_last_block_finishes(tmp_path):
    total = run(tmp_path / "a.zarr")[1][0].total
    assert run(tmp_path / "b.zarr", stop_after=total)[0] == tmp_path / "b.zarr"


def test_a_large_block_is_computed_once_and_kept_in_chunks_that_can_be_looked_at(tmp_path):
    labels = np.arange(1100 * 4096, dtype=np.int32).reshape(1100, 4096)
    path, steps = run(tmp_path / "a.zarr", labels, chunk=(4096, 2048), stop_after=3)
    assert path.suffix == ".unfinished"
    calls = []
    path, steps = run(tmp_path / "a.zarr", labels, chunk=(4096, 2048), calls=calls)
    assert [step.found for step in steps[:8]] == [True] * 3 + [False] * 5
    assert [(one[0].stop, one[1].start) for one in calls] == [(1100, 0), (1100, 2048)]
    stored = open_image(path).levels[0]
    assert stored.chunks == (1024, 1024)
    assert_array_equal(stored[:], labels)


def test_closing_the_writer_keeps_what_is_done(tmp_path):
    writer = write_labels(
        tmp_path / "a.zarr",
        (8, 8),
        (4, 4),
        lambda _: np.ones((4, 4), int),
        axes="YX",
        fingerprint="a",
    )
    next(writer)
    writer.close()
    _, steps = run(tmp_path / "a.zarr", np.ones((8, 8), int), chunk=(4, 4))
    assert [s.found for s in steps] == [True, False, False, False]


def test_an_existing_target_is_replaced_only_if_allowed_and_only_when_done(tmp_path):
    run(tmp_path / "a.zarr")
    with pytest.raises(FileExistsError, match="exists: give another name, or allow to replace it"):
        run(tmp_path / "a.zarr", LABELS + 1)
    other = {"fingerprint": "b", "overwrite": True}
    run(tmp_path / "a.zarr", LABELS + 1, stop_after=8, **other)
    assert_array_equal(open_image(tmp_path / "a.zarr").levels[0][:], LABELS)
    run(tmp_path / "a.zarr", LABELS + 1, **other)
    assert_array_equal(open_image(tmp_path / "a.zarr").levels[0][:], LABELS + 1)
    assert [one.name for one in tmp_path.iterdir()] == ["a.zarr"]


def test_what_is_no_zarr_is_never_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("years")
    with pytest.raises(FileExistsError, match="is no zarr store and is not replaced"):
        run(tmp_path / "a.zarr", overwrite=True)
    (tmp_path / "b.zarr.unfinished").mkdir()
    (tmp_path / "b.zarr.unfinished" / "thesis.txt").write_text("years")
    with pytest.raises(FileExistsError, match="is in the way: rename it"):
        run(tmp_path / "b.zarr", overwrite=True)
    assert len(list(tmp_path.rglob("thesis.txt"))) == 2


def test_unfinished_labels_of_another_model_are_not_mixed_in(tmp_path):
    run(tmp_path / "a.zarr", stop_after=3)
    with pytest.raises(FileExistsError, match="unfinished labels of another image, model or"):
        run(tmp_path / "a.zarr", LABELS + 1, fingerprint="b")
    with pytest.raises(FileExistsError, match="unfinished labels of another"):
        run(tmp_path / "a.zarr", chunk=(32, 32))
    path, steps = run(tmp_path / "a.zarr", LABELS + 1, fingerprint="b", overwrite=True)
    assert not any(s.found for s in steps)
    assert_array_equal(open_image(path).levels[0][:], LABELS + 1)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"axes": "XY"}, ValueError, "axes must be of TCZYX in that order"),
        ({"axes": "ZYX"}, ValueError, r'shape must have one entry for each of the axes "ZYX"'),
        ({"scale": (1,)}, ValueError, r"The scale must have one entry .*got \(1,\)"),
        ({"scale": (1, 0)}, ValueError, "The scale must be above 0"),
        ({"dtype": float}, TypeError, "Labels are whole numbers, got dtype float64"),
        ({"dtype": np.uint8, "labels": LABELS + 300}, ValueError, r"0:220\] do not fit uint8"),
        ({"labels": LABELS * 0.5}, ValueError, "must be whole numbers of shape"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, wrong, error, said):
    with pytest.raises(error, match=said):
        run(tmp_path / "a.zarr", **wrong)


def test_blocks_of_a_wrong_shape_are_refused(tmp_path):
    writer = write_labels(
        tmp_path / "a.zarr",
        (8, 8),
        (4, 4),
        lambda _: np.ones((4, 3), int),
        axes="YX",
        fingerprint="a",
    )
    with pytest.raises(ValueError, match=r"\[0:4, 0:4\] must be .* shape \(4, 4\), got int64 of"):
        next(writer)


@pytest.fixture(params=[2, 3, "sharded"])
def stored(request, tmp_path):
    """A plain zarr array of 20 x 30, not 0, in chunks of 8 x 8."""
    options = {"zarr_format": 2 if request.param == 2 else 3}
    if request.param == "sharded":
        options["shards"] = (16, 16)
    path = tmp_path / "plain.zarr"
    array = zarr.create_array(path, shape=(20, 30), chunks=(8, 8), dtype="uint16", **options)
    array[:] = np.arange(1, 601).reshape(20, 30)
    return path


def test_plain_arrays_open_without_axes(stored):
    image = open_image(stored)
    (level,) = image.levels
    assert image.axes is None
    assert image.scale == ((1.0, 1.0),)
    assert (level.shape, level.chunks, level.dtype, level.ndim) == ((20, 30), (8, 8), "uint16", 2)
    assert_array_equal(level[3:9, ::7], np.arange(1, 601).reshape(20, 30)[3:9, ::7])
    assert_array_equal(np.asarray(level), np.arange(1, 601).reshape(20, 30))
    assert_array_equal(pickle.loads(pickle.dumps(level))[5], level[5])


def test_zarr_3_may_name_the_axes(tmp_path):
    names = ("z", "Y", "x")
    zarr.create_array(tmp_path / "a.zarr", shape=(2, 3, 4), dtype="u1", dimension_names=names)
    assert open_image(tmp_path / "a.zarr").axes == "ZYX"


def test_ome_zarr_0_5_opens(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    datasets = []
    for i in range(2):
        group.create_array(str(i), shape=(2, 33 >> i, 40 >> i), dtype="uint8")
        scale = {"type": "scale", "scale": [1, 2**i, 2**i]}
        datasets.append({"path": str(i), "coordinateTransformations": [scale]})
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": name, "type": "space", "unit": "nanometer"} for name in "yx"
    ]
    whole = [
        {"type": "scale", "scale": [1, 0.25, 0.25]},
        {"type": "translation", "translation": [0, 7, 8]},
    ]
    image = {"axes": axes, "datasets": datasets, "coordinateTransformations": whole}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    found = open_image(tmp_path / "a.zarr")
    assert found.axes == "CYX"
    assert found.units == (None, "nanometer", "nanometer")
    assert found.scale == ((1, 0.25, 0.25), (1, 0.5, 0.5))
    assert found.translate[0] == (0, 7, 8)
    assert [level.shape for level in found.levels] == [(2, 33, 40), (2, 16, 20)]


def test_what_is_no_image_is_refused_with_the_reason(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no .*nothing\.zarr: check the name"):
        open_image(tmp_path / "nothing.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="is no zarr store: it holds none of"):
        open_image(tmp_path / "folder")
    group = zarr.open_group(tmp_path / "plate.zarr", mode="w")
    with pytest.raises(ValueError, match=r"without an image's metadata .*: it holds nothing"):
        open_image(tmp_path / "plate.zarr")
    group.create_array("0", shape=(3, 3), dtype="u1")
    with pytest.raises(ValueError, match=r"open one of what it holds \(0\)"):
        open_image(tmp_path / "plate.zarr")
    zarr.create_array(tmp_path / "line.zarr", shape=(3,), dtype="u1")
    with pytest.raises(ValueError, match=r"is no image: it holds uint8 of shape \(3,\)"):
        open_image(tmp_path / "line.zarr")
    zarr.create_array(tmp_path / "complex.zarr", shape=(3, 3), dtype="c8")
    with pytest.raises(ValueError, match="is no image: it holds complex64"):
        open_image(tmp_path / "complex.zarr")
    (tmp_path / "line.zarr" / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match=r"The metadata of .*line\.zarr cannot be read"):
        open_image(tmp_path / "line.zarr")


def _edit(path, change):
    """Change the multiscales metadata of a store."""
    attributes = json.loads((path / ".zattrs").read_text())
    change(attributes["multiscales"][0])
    (path / ".zattrs").write_text(json.dumps(attributes))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.pop("datasets"), "KeyError.*datasets"),
        (lambda m: m.update(axes=["y", "x"], version="0.3"), "its version is 0.3; 0.4 and 0.5 can"),
        (lambda m: m["axes"][0].update(name="row"), "axes must be among .*, got row, x"),
        (lambda m: m["axes"].pop(), "cannot be used: a transformation has 2 entries, not 1"),
        (lambda m: m["datasets"][1].update(path="7"), "KeyError.*7"),
        (lambda m: m["datasets"][1].pop("coordinateTransformations"), "coordinateTransformations"),
        (
            lambda m: m["datasets"][1]["coordinateTransformations"][0].update(scale=[3, 2]),
            r"disagree: level 1 of shape \(150, 550\) and scale \(3.0, 2.0\) is not the image",
        ),
        (lambda m: m["datasets"][1].update(path="0"), "disagree: level 1 of shape"),
        (
            lambda m: m["datasets"].append(m["datasets"][2]),
            "level 3 .* is not smaller than the one",
        ),
        (lambda m: m["datasets"].reverse(), "level 1 of shape .* is not smaller"),
    ],
)
def test_metadata_that_disagree_are_refused_with_the_reason(tmp_path, change, said):
    path, _ = run(tmp_path / "a.zarr")
    _edit(path, change)
    with pytest.raises(ValueError, match=said) as told:
        open_image(path)
    assert str(path) in str(told.value)


def test_levels_of_another_dtype_are_refused(tmp_path):
    path, _ = run(tmp_path / "a.zarr")
    zarr.create_array(path / "1", shape=(150, 550), dtype="u1", zarr_format=2, overwrite=True)
    with pytest.raises(ValueError, match="disagree: level 1 holds uint8, the image int32"):
        open_image(path)


def test_missing_chunks_are_found_and_read_as_fill(stored):
    level = open_image(stored).levels[0]
    assert missing_chunks(level) == []
    sharded = level.array.shards is not None
    name = "1.2" if level.array.metadata.zarr_format == 2 else "c/0/1" if sharded else "c/1/2"
    (stored / name).unlink()
    expected = (slice(0, 16), slice(16, 30)) if sharded else (slice(8, 16), slice(16, 24))
    assert missing_chunks(level) == [expected]
    assert (level[expected] == 0).all()


def test_empty_blocks_of_a_written_store_take_no_file(tmp_path):
    path, _ = run(tmp_path / "a.zarr")
    rows = slice(100, 200)
    assert missing_chunks(open_image(path).levels[0]) == [
        (rows, slice(first, first + 220)) for first in (220, 440)
    ]


def test_a_damaged_chunk_is_named(stored):
    file = _damage(stored)
    level = open_image(stored).levels[0]
    assert_array_equal(level[16:, :8], np.arange(1, 601).reshape(20, 30)[16:, :8])
    with pytest.raises(DamagedChunk, match=r"\[8:16, 16:24\] cannot be read from ") as told:
        level[:]
    assert told.value.region == (slice(8, 16), slice(16, 24))
    assert told.value.file == file.as_posix()
    again = pickle.loads(pickle.dumps(told.value))
    assert (str(again), again.region) == (str(told.value), told.value.region)


@pytest.mark.parametrize(
    "key",
    [
        np.s_[:],
        np.s_[...],
        np.s_[9],
        np.s_[9, 17],
        np.s_[-5, ...],
        np.s_[..., 20],
        np.s_[::3, 5::4],
        np.s_[10:18, 3:-2:5],
        np.s_[8:16, 16:24],
        np.s_[np.int64(9), 16:16],
    ],
    ids=str,
)
def test_one_may_go_on_without_damaged_chunks(stored, key):
    _damage(stored)
    level = open_image(stored, on_damage="blank").levels[0]
    expected = np.arange(1, 601, dtype=np.uint16).reshape(20, 30)
    expected[8:16, 16:24] = 0
    read = level[key]
    assert_array_equal(read, expected[key])
    assert np.shape(read) == expected[key].shape
    level[:], level[9]
    assert level.damaged == [(slice(8, 16), slice(16, 24))]


def test_wrong_indices_are_no_damage(stored):
    _damage(stored)
    level = open_image(stored, on_damage="blank").levels[0]
    for key in (50, (0, 0, 0), np.s_[::-1]):
        with pytest.raises(IndexError):
            level[key]
    assert level.damaged == []


def _damage(path):
    """Overwrite the chunk (1, 2) and return its file."""
    array = zarr.open_array(path, mode="r")
    if array.shards is not None:
        file = path / "c" / "0" / "1"
        packed = bytearray(file.read_bytes())
        index = np.frombuffer(packed[-(4 * 16 + 4) : -4], "<u8").reshape(2, 2, 2)
        offset, size = index[1, 0]
        packed[offset : offset + size] = b"\xff" * int(size)
        file.write_bytes(packed)
        return file
    file = path / ("1.2" if array.metadata.zarr_format == 2 else "c/1/2")
    file.write_bytes(file.read_bytes()[:-5])
    return file


def test_neither_importing_nor_opening_the_package_loads_zarr():
    code = (
        "import sys, napari_mmtseg, napari_mmtseg.stores, napari_mmtseg.writing\n"
        "print('zarr' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_dask_reads_guarded_arrays(stored):
    da = pytest.importorskip("dask.array")
    level = open_image(stored).levels[0]
    assert isinstance(level, Guarded)
    lazy = da.from_array(level, chunks=level.chunks)
    assert_array_equal(lazy[4:].compute(), np.arange(1, 601).reshape(20, 30)[4:])
