"""Images in zarr and OME-Zarr are opened, and what is damaged is named."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal

from napari_mmtseg.images.chunks import DamagedChunk, Guarded, missing_chunks
from napari_mmtseg.images.stores import open_image
from tests.output.written import run


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
    assert (np.asarray(level[expected]) == 0).all()
    assert np.ma.getmaskarray(level[expected]).all()
    assert np.ma.getmaskarray(level[:]).sum() == level[expected].size


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
        "import sys, napari_mmtseg, napari_mmtseg.images.stores, napari_mmtseg.output.ome_zarr\n"
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
