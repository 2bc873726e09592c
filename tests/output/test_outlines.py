"""Outlines follow the pixels, and whoever fills them has the labels again."""

import json
import sys
import zipfile

import numpy as np
import pytest
import roifile
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal
from skimage.data import binary_blobs
from skimage.measure import label

from napari_mmtseg import read_outlines, write_outlines
from napari_mmtseg.cli import main
from napari_mmtseg.labels.outlines import filled, outlines_of

ENDINGS = (".zip", ".geojson")


@pytest.fixture(scope="module")
def cells():
    """A plane of pieces with holes; two ids are in pieces, and one is of a tile."""
    found = label(binary_blobs(160, blob_size_fraction=0.06, volume_fraction=0.35, rng=1)) * 7
    found[found == 21] = 14
    found[found == 35] = 300_017
    return found.astype(np.int32)


def area(ring):
    x, y = ring.T
    return (np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


@settings(max_examples=200, deadline=None)
@given(arrays.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)),
                     elements=st.integers(0, 3)))  # fmt: skip
def test_filling_outlines_gives_the_same_pixels_and_areas_count_them(plane):
    found = outlines_of(plane)
    assert_array_equal(filled(found, plane.shape), plane)
    assert [one.id for one in found] == [i for i in np.unique(plane) if i]
    for one in found:
        assert sum(area(ring) for rings in one.pieces for ring in rings) == (plane == one.id).sum()
        assert all(area(rings[0]) > 0 for rings in one.pieces)
        assert all(area(hole) < 0 for rings in one.pieces for hole in rings[1:])


def test_a_hole_that_meets_the_outside_at_a_corner_is_a_ring_of_its_own():
    plane = np.zeros((5, 5), np.int32)
    plane[1:4, 1:4] = 1
    plane[2, 2] = plane[1, 1] = 0
    (one,) = outlines_of(plane)
    assert [len(rings) for rings in one.pieces] == [2]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "TZYX"])
def test_outlines_written_and_read_are_the_same_labels(cells, tmp_path, ending, axes):
    planes = np.stack([cells, 0 * cells, cells.T, cells[::-1]])
    labels = {"YX": cells, "TZYX": planes.reshape(2, 2, *cells.shape)}.get(axes, planes)
    path = tmp_path / f"cells{ending}"
    count = write_outlines(path, labels, axes=axes)
    frames = labels.reshape(-1, *cells.shape)
    assert count == sum(np.count_nonzero(np.unique(one)) for one in frames)
    found = read_outlines(path, labels.shape, axes=axes)
    assert_array_equal(found.labels, labels)
    assert not found.notes


@pytest.mark.parametrize("ending", ENDINGS)
def test_far_to_the_right_outlines_are_where_they_belong(tmp_path, ending):
    wide = np.zeros((6, 70_000), np.int32)
    wide[2:4, 65_000:65_004] = 5
    wide[2:5, 40_000:40_003] = 6
    wide[3, 40_001] = 0
    wide[1:3, 32_760:32_775] = 9
    path = tmp_path / f"wide{ending}"
    write_outlines(path, wide)
    assert_array_equal(read_outlines(path, wide.shape).labels, wide)


def test_the_same_labels_give_the_same_bytes(cells, tmp_path):
    for ending in ENDINGS:
        paths = [tmp_path / f"{name}{ending}" for name in "ab"]
        for path in paths:
            write_outlines(path, cells)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_fiji_reads_pixel_corners_positions_and_names(tmp_path):
    stack = np.zeros((3, 8, 8), np.int32)
    stack[1, 2:4, 3:6] = 300_017
    path = tmp_path / "cells.zip"
    write_outlines(path, stack, axes="ZYX")
    (roi,) = roifile.roiread(path)
    assert roi.name == "300017"
    assert roi.position == 2
    assert (roi.left, roi.top, roi.right, roi.bottom) == (3, 2, 6, 4)
    assert {tuple(one) for one in roi.coordinates().tolist()} == {(3, 2), (6, 2), (6, 4), (3, 4)}
    write_outlines(path, np.stack([stack, stack]), axes="TZYX", overwrite=True)
    assert [(one.t_position, one.z_position) for one in roifile.roiread(path)] == [(1, 2), (2, 2)]


def test_qupath_reads_closed_rings_with_their_plane(tmp_path):
    stack = np.zeros((2, 8, 8), np.int32)
    stack[1, 2:5, 3:6] = 4
    stack[1, 3, 4] = 0
    path = tmp_path / "cells.geojson"
    write_outlines(path, stack, axes="ZYX")
    (feature,) = json.loads(path.read_text())["features"]
    assert feature["properties"] == {"objectType": "detection", "name": "4"}
    assert feature["geometry"]["type"] == "Polygon"
    assert feature["geometry"]["plane"] == {"c": -1, "z": 1, "t": 0}
    outer, hole = feature["geometry"]["coordinates"]
    assert outer[0] == outer[-1]
    assert hole[0] == hole[-1]
    assert len(outer) == len(hole) == 5


def test_shapes_without_an_inside_are_left_out_and_that_is_said(cells, tmp_path):
    path = tmp_path / "drawn.zip"
    write_outlines(path, cells)
    point = roifile.ImagejRoi.frompoints([[3, 4]], name="spot")
    point.roitype = roifile.ROI_TYPE.POINT
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("spot.roi", point.tobytes())
    found = read_outlines(path, cells.shape)
    assert_array_equal(found.labels, cells)
    assert found.notes == (
        "1 point, line or the like in drawn.zip have no inside and were left out",
    )


def test_names_that_are_no_numbers_are_numbered_on(tmp_path):
    path = tmp_path / "drawn.zip"
    square = np.array([(1, 1), (3, 1), (3, 3), (1, 3)])
    drawn = [roifile.ImagejRoi.frompoints(square + 4 * i, name=name) for i, name in
             enumerate(["cell A", "7", "cell B"])]  # fmt: skip
    roifile.roiwrite(path, drawn)
    labels = read_outlines(path, (16, 16)).labels
    assert [labels[2 + 4 * i, 2 + 4 * i] for i in range(3)] == [8, 7, 9]
    assert np.count_nonzero(labels) == 12


def test_multipolygons_in_micrometres_need_the_pixel_size(tmp_path):
    square = [[10.0, 10.0], [12.0, 10.0], [12.0, 12.0], [10.0, 12.0], [10.0, 10.0]]
    other = [[x + 4, y] for x, y in square]
    geometry = {"type": "MultiPolygon", "coordinates": [[square], [other]]}
    path = tmp_path / "cells.geojson"
    path.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": None}))
    labels = read_outlines(path, (40, 40), pixel_size=0.5).labels
    assert np.count_nonzero(labels) == 2 * 16
    assert labels[22, 22] == labels[22, 30] == 1
    with pytest.raises(ValueError, match=r"None of the 1 outlines .* pixel size"):
        read_outlines(path, (9, 9))


@pytest.mark.parametrize("text", ["", "{", '{"features": [{"geometry": {"type": "Polygon"}}]}',
    '{"type": "Polygon", "coordinates": [[[0, 0], [1, null], [1, 1]]]}', "[1]"])  # fmt: skip
def test_what_is_no_geojson_is_refused_in_a_sentence(tmp_path, text):
    path = tmp_path / "cells.geojson"
    path.write_text(text)
    with pytest.raises(ValueError, match="no GeoJSON of polygons"):
        read_outlines(path, (9, 9))


def test_what_is_no_roi_file_is_refused_in_a_sentence(tmp_path):
    for name in ("cells.zip", "cells.roi"):
        path = tmp_path / name
        path.write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match="no file of ImageJ ROIs"):
            read_outlines(path, (9, 9))


def test_without_roifile_the_sentence_names_it_and_nothing_is_written(cells, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "roifile", None)
    path = tmp_path / "cells.zip"
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'napari-mmtseg\[formats\]'"):
        write_outlines(path, cells)
    assert not path.exists()
    write_outlines(tmp_path / "cells.geojson", cells)


def test_other_endings_channels_and_floats_are_refused_before_anything_is_written(cells, tmp_path):
    with pytest.raises(ValueError, match=r"\.zip .* or \.geojson"):
        write_outlines(tmp_path / "cells.txt", cells)
    with pytest.raises(ValueError, match="no channels"):
        write_outlines(tmp_path / "cells.zip", np.stack([cells] * 2), axes="CYX")
    with pytest.raises(TypeError, match="whole numbers"):
        write_outlines(tmp_path / "cells.zip", cells / 2)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays(cells, tmp_path):
    path = tmp_path / "cells.geojson"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        write_outlines(path, cells)
    assert path.read_text() == "mine"


def test_the_command_line_writes_outlines_and_takes_them_for_labels(cells, tmp_path, capsys):
    source, back = tmp_path / "cells.tif", tmp_path / "back.tif"
    tifffile.imwrite(source, cells)
    for ending in ENDINGS:
        drawn = tmp_path / f"cells{ending}"
        assert main(["outlines", str(source), "-o", str(drawn)]) == 0
        command = ["labels", str(drawn), "--image", str(source), "-o", str(back), "--overwrite"]
        assert main(command) == 0
        assert_array_equal(tifffile.imread(back), cells)
    assert f"{np.count_nonzero(np.unique(cells))} outlines" in capsys.readouterr().out
