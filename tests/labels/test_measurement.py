"""Objects are measured in physical units, frame by frame, and written to files."""

import csv
import importlib.util
import sys

import dask.array
import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal
from skimage.measure import regionprops

from napari_mmtseg import measure, write_table
from napari_mmtseg.labels.convex_hulls import hull_share
from napari_mmtseg.labels.measurement import measure_steps


@pytest.fixture
def squares():
    """A square of 10 pixels a side that is 7 and a bar of 4 x 20 at the border that is 300."""
    labels = np.zeros((40, 50), np.int32)
    labels[5:15, 8:18] = 7
    labels[36:40, 20:40] = 300
    return labels


def test_sizes_and_places_are_those_of_the_drawing(squares):
    table = measure(squares, spacing=(0.5, 0.5))
    assert_array_equal(table["label"], [7, 300])
    assert_array_equal(table["pixels"], [100, 80])
    assert_allclose(table["area"], [25, 20])
    assert_allclose(table["diameter"], 2 * np.sqrt(np.array([25, 20]) / np.pi))
    assert_allclose(table["y"], [4.75, 18.75])
    assert_allclose(table["x"], [6.25, 14.75])
    assert_array_equal(table["touches_border"], [False, True])
    assert_allclose(table["solidity"], 1)
    assert table["eccentricity"][0] == 0
    assert table["eccentricity"][1] > 0.9
    assert table.units["area"] == "µm²"
    assert table.units["x"] == "µm"
    assert table.heading("major_axis") == "major axis (µm)"
    assert not table.notes


def test_without_a_spacing_sizes_are_in_pixels_and_that_is_said(squares):
    table = measure(squares)
    assert_array_equal(table["area"], [100, 80])
    assert table.units["area"] == "px²"
    assert table.notes == ("The size of a pixel is not known: sizes are in pixels.",)


def test_all_shapes_are_those_of_scikit_image(real):
    labels = tifffile.imread(real("microscopy", "nuclei2d_labels_yx.tif"))
    image = tifffile.imread(real("microscopy", "nuclei2d_yx.tif"))
    table = measure(labels, image, spacing=(0.2, 0.2))
    regions = regionprops(labels, image, spacing=(0.2, 0.2))
    for ours, theirs in {
        "label": "label",
        "area": "area",
        "major_axis": "axis_major_length",
        "perimeter": "perimeter",
        "solidity": "solidity",
        "intensity_mean": "intensity_mean",
        "intensity_std": "intensity_std",
    }.items():
        assert_allclose(table[ours], [getattr(one, theirs) for one in regions], rtol=1e-12)


def test_volumes_are_those_of_scikit_image(real):
    labels = tifffile.imread(real("microscopy", "nuclei3d_labels_zyx.tif"))
    table = measure(labels, axes="ZYX", spacing=(2, 0.5, 0.5))
    regions = regionprops(labels, spacing=(2, 0.5, 0.5))
    assert_allclose(table["volume"], [one.area for one in regions])
    assert_allclose(table["z"], [one.centroid[0] for one in regions])
    assert_allclose(table["minor_axis"], [one.axis_minor_length for one in regions])
    assert_allclose(table["solidity"], [one.solidity for one in regions])
    assert {"perimeter", "eccentricity", "area"}.isdisjoint(table)


def test_a_flat_object_in_a_volume_has_a_hull():
    assert hull_share(np.ones((1, 4, 4), bool)) == 1
    corner = np.ones((1, 9, 9), bool)
    corner[:, 1:, 1:] = False
    assert hull_share(corner) < 0.5


def test_a_disc_is_round_and_a_bar_is_not():
    labels = np.zeros((80, 80), np.uint8)
    rows, columns = np.ogrid[:80, :80]
    labels[(rows - 30) ** 2 + (columns - 30) ** 2 < 400] = 1
    labels[70:74, 10:60] = 2
    labels[5, 75] = 3
    disc, bar, speck = measure(labels)["circularity"]
    assert 0.85 < disc <= 1
    assert bar < 0.4
    assert np.isnan(speck), "a single pixel has no perimeter"


def test_an_object_through_planes_is_one_row(squares):
    stack = np.stack([squares, squares, squares])
    table = measure(stack, axes="ZYX", spacing=(1, 0.5, 0.5))
    assert_array_equal(table["label"], [7, 300])
    assert_allclose(table["volume"], [75, 60])
    assert_allclose(table["z"], 1)
    assert table["touches_border"].all(), "they reach the first and the last plane"
    assert "plane" not in table


def test_objects_that_end_at_each_plane_are_measured_in_it(squares):
    stack = np.stack([squares, np.where(squares, squares + 1, 0)])
    table = measure(stack, axes="ZYX", spacing=(1, 0.5, 0.5))
    assert_array_equal(table["label"], [7, 300, 8, 301])
    assert_array_equal(table["plane"], [0, 0, 1, 1])
    assert_allclose(table["area"], [25, 20, 25, 20])
    assert "plane by plane" in table.notes[0]
    whole = measure(stack, axes="ZYX", by_plane=False)
    assert_array_equal(whole["volume"], [100, 100, 80, 80])


def test_each_plane_of_an_object_can_be_a_row(squares):
    table = measure(np.stack([squares, squares]), axes="ZYX", by_plane=True)
    assert_array_equal(table["label"], [7, 300, 7, 300])
    assert_array_equal(table["plane"], [0, 0, 1, 1])


def test_frames_are_each_for_themselves(squares):
    film = np.stack([squares, np.roll(squares, 3, axis=1), np.zeros_like(squares)])
    table = measure(film, axes="TYX", spacing=(1, 1))
    assert_array_equal(table["label"], [7, 300, 7, 300])
    assert_array_equal(table["frame"], [0, 0, 1, 1])
    assert_allclose(table["x"][2] - table["x"][0], 3)


def test_axes_in_another_order_give_the_same_rows(squares):
    film = np.stack([np.stack([squares, squares]), np.stack([squares, squares * 0])])  # TZYX
    expected = measure(film, axes="TZYX", spacing=(2, 1, 1))
    turned = measure(film.transpose(3, 1, 0, 2), axes="XZTY", spacing=(2, 1, 1))
    assert list(turned) == list(expected)
    for name in expected:
        assert_allclose(turned[name], expected[name])


def test_intensities_have_a_column_a_channel(squares):
    image = np.stack([squares % 10, squares * 0 + 5]).astype(np.uint16)
    table = measure(squares, image, axes="CYX")
    assert_array_equal(table["intensity_mean_0"], [7, 0])
    assert_array_equal(table["intensity_max_1"], [5, 5])
    colours = measure(squares, np.stack([squares > 7] * 3, axis=-1), axes="YXS")
    assert_array_equal(colours["intensity_mean_green"], [0, 1])
    assert_array_equal(colours["intensity_std_blue"], [0, 0])


def test_pixels_that_are_not_finite_spoil_their_own_object_alone(squares):
    image = squares.astype(np.float32)
    image[6, 9] = np.inf
    table = measure(squares, image)
    assert np.isnan(table["intensity_mean"][0])
    assert table["intensity_mean"][1] == 300


def test_no_objects_are_no_rows_but_all_columns(squares):
    full = measure(squares, squares, spacing=(1, 1))
    empty = measure(squares * 0, squares, spacing=(1, 1))
    assert list(empty) == list(full)
    assert empty.n_rows == 0
    assert {name: values.dtype for name, values in empty.items()} == {
        name: values.dtype for name, values in full.items()
    }


def test_all_one_object_is_a_row(squares):
    table = measure(np.ones_like(squares))
    assert_array_equal(table["area"], [2000])
    assert table["touches_border"].all()
    assert measure(np.ones((5, 6), bool))["pixels"] == [30]


def test_large_numbers_cost_no_memory(squares):
    table = measure(np.where(squares == 7, 2**31 - 1, squares))
    assert_array_equal(table["label"], [300, 2**31 - 1])
    assert_array_equal(table["area"], [80, 100])


@pytest.mark.parametrize(("number", "words"), [(2**31, "at most 2147483647"), (-3, "0 or above")])
def test_numbers_out_of_range_are_refused(squares, number, words):
    labels = np.where(squares == 7, number, squares.astype(np.int64))
    with pytest.raises(ValueError, match=rf"must be {words}, got {number}: number the objects"):
        measure(labels)


@pytest.mark.parametrize(
    "spacing", [(0, 1), (1, -1), (1,), (1, 1, 1), (1, np.nan), 2, "fine", (None, 1)]
)
def test_a_spacing_that_is_none_is_refused(squares, spacing):
    with pytest.raises(ValueError, match="two numbers above 0, along Y and X, for example"):
        measure(squares, spacing=spacing)
    with pytest.raises(ValueError, match="three numbers above 0, along Z, Y and X"):
        measure(squares[None], axes="ZYX", spacing=(1, 1))


def test_labels_that_do_not_fit_are_refused(squares):
    with pytest.raises(ValueError, match=r"shape of the image without channels, \(40, 49\)"):
        measure(squares, np.zeros((40, 49)))
    assert_array_equal(measure(squares.astype(float))["label"], [7, 300])
    with pytest.raises(TypeError, match=r"whole numbers, got dtype float64 with fractions"):
        measure(squares / 2)
    with pytest.raises(TypeError, match="whole numbers, got dtype float64"):
        measure(squares / 2, squares)
    with pytest.raises(ValueError, match="name its axes"):
        measure(squares[None])
    with pytest.raises(ValueError, match="Labels have no channels"):
        measure(squares[None], axes="CYX")


def test_pixels_that_are_not_square_have_no_perimeter_and_that_is_said(squares):
    table = measure(squares, spacing=(1, 0.5))
    assert_allclose(table["area"], [50, 40])
    assert np.isnan(table["perimeter"]).all()
    assert np.isnan(table["circularity"]).all()
    assert "Perimeters are left out" in table.notes[0]


def test_lazy_labels_are_read_frame_by_frame(squares):
    film = np.stack([squares, squares * 0, squares])
    most = 0

    def watched(block):
        nonlocal most
        most = max(most, block.size)
        return block

    lazy = dask.array.from_array(film, chunks=(1, -1, -1)).map_blocks(watched, dtype=film.dtype)
    table = measure(lazy, axes="TYX")
    assert_array_equal(table["frame"], [0, 0, 2, 2])
    assert most == squares.size


def test_the_labels_and_the_image_stay_as_they_are(squares):
    image = squares.astype(np.float32)
    image[0, 0] = np.nan
    before, image_before = squares.copy(), image.copy()
    measure(squares, image)
    assert_array_equal(squares, before)
    assert_array_equal(image, image_before)


def test_a_table_is_a_data_frame_at_once(squares):
    frame = pd.DataFrame(measure(squares))
    assert list(frame["label"]) == [7, 300]


def test_a_csv_has_units_in_its_heading_and_empty_cells(squares, tmp_path):
    path = tmp_path / "objects.csv"
    write_table(path, measure(squares, spacing=(1, 0.5)))
    with path.open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["label"] == "7"
    assert rows[0]["area_um2"] == "50.0"
    assert rows[1]["perimeter_um"] == ""
    assert rows[1]["touches_border"] == "True"
    back = pd.read_csv(path)
    assert_allclose(back["diameter_um"], measure(squares, spacing=(1, 0.5))["diameter"], rtol=1e-15)


def test_ten_thousand_rows_are_written_whole(tmp_path):
    numbers = np.arange(25_000)
    write_table(tmp_path / "many.csv", {"label": numbers, "half": numbers / 2})
    back = pd.read_csv(tmp_path / "many.csv")
    assert_array_equal(back["label"], numbers)
    assert_array_equal(back["half"], numbers / 2)


def test_a_file_that_is_there_is_kept_unless_asked(squares, tmp_path):
    path = tmp_path / "objects.csv"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists; pass overwrite=True"):
        write_table(path, measure(squares))
    assert path.read_text() == "mine"
    write_table(path, measure(squares), overwrite=True)
    assert path.read_text().startswith("label,pixels,")
    assert list(tmp_path.iterdir()) == [path]


def test_other_endings_and_ragged_columns_are_refused(squares, tmp_path):
    with pytest.raises(ValueError, match=r"as \.csv or \.parquet, got 'objects\.xlsx'"):
        write_table(tmp_path / "objects.xlsx", measure(squares))
    with pytest.raises(ValueError, match="1D arrays of one length"):
        write_table(tmp_path / "objects.csv", {"a": [1, 2], "b": [1]})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is optional")
def test_parquet_keeps_types_and_lacks(squares, tmp_path):
    table = measure(squares, spacing=(1, 0.5))
    write_table(tmp_path / "objects.parquet", table)
    back = pd.read_parquet(tmp_path / "objects.parquet")
    assert_array_equal(back["label"], table["label"])
    assert back["touches_border"].dtype == bool
    assert_array_equal(back["area_um2"], table["area"])
    assert back["perimeter_um"].isna().all()


def test_parquet_without_pyarrow_says_what_to_do(squares, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'napari-mmtseg\[parquet\]'"):
        write_table(tmp_path / "objects.parquet", measure(squares))
    assert not list(tmp_path.iterdir())


def test_stopping_keeps_the_frames_that_are_measured(squares):
    run = measure_steps(np.stack([squares] * 3), axes="TYX", spacing=(1, 1))
    assert next(run) == (1, 3)
    with pytest.raises(StopIteration) as end:
        run.send(True)
    table = end.value.value
    assert table["frame"].tolist() == [0, 0]
    assert table.notes == ("Stopped: 1 of 3 frames or planes are measured.",)
