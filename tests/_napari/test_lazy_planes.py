"""What a lazy result knows: planes and tiles, asked for where one looks, as long as they fit."""

import numpy as np
from numpy.testing import assert_array_equal

from napari_mmtseg import KMeans, train
from napari_mmtseg._napari.lazy_labels import KnownPlanes, LazyLabels
from napari_mmtseg._napari.lazy_tiles import LazyTiles
from napari_mmtseg._napari.serving import Serve

METHOD = KMeans(n_labels=2, smoothing_px=0.0)


def test_planes_that_are_known_are_read_by_any_slices():
    labels = KnownPlanes((2, 3, 5, 7))
    values = np.arange(35, dtype=np.int32).reshape(5, 7)
    labels.put(4, values)
    whole = np.zeros((2, 3, 5, 7), np.int32)
    whole[1, 1] = values
    keys = (1, (1, 1), (..., slice(2, 4)), np.s_[::-1, 1:, ::2, ::-3], np.s_[-1, -2, 4], np.s_[:])
    for key in keys:
        assert_array_equal(labels[key], whole[key])
    assert_array_equal(np.asarray(labels), whole)


def test_no_more_planes_are_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr("napari_mmtseg._napari.lazy_labels._KEPT_BYTES", 3 * 4 * 35)
    labels = KnownPlanes((9, 5, 7))
    for plane in range(9):
        labels.put(plane, np.ones((5, 7), np.int32))
        labels[0]  # in view
    assert np.asarray(labels).any(axis=(1, 2)).tolist() == [True, *[False] * 6, True, True]


def test_planes_ahead_are_asked_for_in_the_direction_of_scrolling(gray):
    asked = []
    order = Serve(0, train(gray, METHOD), None, "ZYX")
    labels = LazyLabels(order, (20, *gray.shape))
    labels.show(4, asked.append)
    clusters = np.zeros(gray.shape, np.int16)
    for plane in (4, 5):
        labels[plane]
        labels[plane]
        labels.put(plane, clusters)
    for plane in (6, 7, 8):
        labels.ask_ahead()
        labels.ask_ahead()
        labels.put(plane, clusters)
    labels.ask_ahead()
    assert asked == [4, 5, 6, 7, 8]


def test_tiles_are_asked_for_from_the_middle_of_the_view_on_and_seen_from_afar(monkeypatch):
    asked = []
    tiles = LazyTiles((3, 9000, 8000))
    fine, coarse = tiles.data[0], tiles.data[-1]
    assert [one.step for one in tiles.data] == [1, 2, 4, 8]
    assert coarse.shape == (3, 1125, 1000)
    tiles.show(0, asked.append)
    counts = 9 * 8
    fine[1, 2100:4000, 1100:2000]
    assert asked == [counts + 2 * 8 + 1]
    assert tiles.shows(asked[0])
    coarse[1]  # the layer's small picture comes after
    assert len(asked) == 1
    values = np.arange(2**20, dtype=np.int32).reshape(1024, 1024)
    tiles.put(asked[0], values)
    assert_array_equal(fine[1, 2048:3072, 1024:2048], values)
    assert_array_equal(coarse[1, 256:384, 128:256], values[::8, ::8])
    assert_array_equal(tiles.data[1][1, 1030:1500:7, 700], values[12:952:14, 376])
    assert not fine[0, 2048:3072, 1024:2048].any()
    assert not tiles.shows(asked[0])  # another plane was looked at since
    monkeypatch.setattr("napari_mmtseg._napari.lazy_tiles._KEPT_BYTES", 2**22)
    tiles.put(0, values)  # takes the room of the other, of which every fourth row is left
    assert_array_equal(tiles.data[2][1, 512:768, 256:512], values[::4, ::4])
    assert_array_equal(fine[1, 2048:2052, 1024], [0] * 4)
    before = len(asked)
    np.asarray(coarse)  # all planes at once ask for nothing
    assert len(asked) == before


def test_a_draft_is_shown_until_the_labels_are_there(gray):
    asked = []
    order = Serve(0, train(gray, METHOD), None, "ZYX")
    labels = LazyLabels(order, (9, *gray.shape))
    labels.show(4, asked.append)
    labels[4]
    labels.put(4, np.zeros(gray.shape, np.int16), draft=True)
    assert labels.is_draft(4)
    assert labels[4].all()
    labels[5]
    labels[4]
    assert asked == [4, 5, 4]  # what was but a draft is asked for again
    labels.put(4, np.ones(gray.shape, np.int16))
    labels[4]
    assert not labels.is_draft(4)
    assert asked == [4, 5, 4]
