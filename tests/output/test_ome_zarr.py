"""Labels are written to OME-Zarr, stopped, resumed, and refused where they do not fit."""

import json

import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal

from napari_mmtseg.images.stores import open_image
from napari_mmtseg.output.ome_zarr import write_labels
from tests.output.written import LABELS, run


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


def writer_of(folder, shape):
    """Write 8 x 8 labels in blocks of 4 x 4, whatever shape they are given in."""
    ones = np.ones(shape, int)
    return write_labels(
        folder / "a.zarr", (8, 8), (4, 4), lambda _: ones, axes="YX", fingerprint="a"
    )


def test_closing_the_writer_keeps_what_is_done(tmp_path):
    writer = writer_of(tmp_path, (4, 4))
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
    writer = writer_of(tmp_path, (4, 3))
    with pytest.raises(ValueError, match=r"\[0:4, 0:4\] must be .* shape \(4, 4\), got int64 of"):
        next(writer)
