"""What a lazy result knows: planes and tiles, asked for where one looks, as long as they fit."""

from dataclasses import replace
from queue import SimpleQueue
from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Labels
from numpy.testing import assert_array_equal

from napari_mmtseg import MMT, KMeans, train
from napari_mmtseg._napari.layers.lazy_layers import _read_anew
from napari_mmtseg._napari.lazy.planes import KnownPlanes, LazyLabels
from napari_mmtseg._napari.lazy.tiles import LazyTiles
from napari_mmtseg._napari.process.layer_pixels import CopiedPixels
from napari_mmtseg._napari.process.store_job import StoreJob, save_steps
from napari_mmtseg._napari.process.view_places import Places
from napari_mmtseg._napari.process.view_server import ViewOrder, ViewRequest, ViewServer
from napari_mmtseg._napari.process.worker import _drive, _save

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
    monkeypatch.setattr("napari_mmtseg._napari.lazy.planes._KEPT_BYTES", 3 * 4 * 35)
    labels = KnownPlanes((9, 5, 7))
    for plane in range(9):
        labels.put(plane, np.ones((5, 7), np.int32))
        labels[0, :]  # in view
    assert np.asarray(labels).any(axis=(1, 2)).tolist() == [True, *[False] * 6, True, True]


def test_planes_ahead_are_asked_for_in_the_direction_of_scrolling(gray):
    asked = []
    order = ViewOrder(0, train(gray, METHOD), None, "ZYX")
    labels = LazyLabels(order, (20, *gray.shape))
    labels.show(4, asked.append)
    clusters = np.zeros(gray.shape, np.int16)
    for plane in (4, 5):
        labels[plane, :]
        labels[plane, :]
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
    coarse[1, :]  # the layer's small picture comes after
    assert len(asked) == 1
    values = np.arange(2**20, dtype=np.int32).reshape(1024, 1024)
    tiles.put(asked[0], values)
    assert_array_equal(fine[1, 2048:3072, 1024:2048], values)
    assert_array_equal(coarse[1, 256:384, 128:256], values[::8, ::8])
    assert_array_equal(tiles.data[1][1, 1030:1500:7, 700], values[12:952:14, 376])
    assert not fine[0, 2048:3072, 1024:2048].any()
    assert not tiles.shows(asked[0])  # another plane was looked at since
    monkeypatch.setattr("napari_mmtseg._napari.lazy.tiles._KEPT_BYTES", 2**22)
    tiles.put(0, values)  # takes the room of the other, of which every fourth row is left
    assert_array_equal(tiles.data[2][1, 512:768, 256:512], values[::4, ::4])
    assert_array_equal(fine[1, 2048:2052, 1024], [0] * 4)
    before = len(asked)
    np.asarray(coarse)  # all planes at once ask for nothing
    assert len(asked) == before


def test_all_tiles_in_view_have_a_draft_before_the_first_is_exact():
    tiles = LazyTiles((9000, 8000))
    asked = []
    tiles.show(0, lambda place: asked.append((place, tiles.exact)))
    look = np.s_[2000:4000, 1100:1900]  # of three tiles
    draft, exact = (np.full((1024, 1024), value, np.int32) for value in (1, 2))
    for _ in range(3):
        tiles.data[0][look]
        tiles.put(asked[-1][0], draft, draft=True)
    assert (tiles.data[0][look] == 1).all()
    for _ in range(3):
        tiles.put(asked[-1][0], exact)
        assert tiles.wanted is None
        tiles.data[0][look]
    assert asked == [(place, exact) for exact in (False, True) for place in (17, 25, 9)]
    assert (tiles.data[0][look] == 2).all()
    np.asarray(tiles.data[-1])
    assert asked[-1][1]  # from afar drafts of all would take longer than what they stand for


def test_the_coarsest_level_of_a_plane_is_read_again_as_tiles_come(viewer):
    tiles = LazyTiles((9000, 8000))
    layer = Labels(tiles.data, multiscale=True)
    viewer.add_layer(layer)
    assert layer.data_level == len(tiles.data) - 1
    tiles.put(27, np.ones((1024, 1024), np.int32))
    _read_anew(layer)
    assert np.asarray(layer._slice.image.raw).any()


def test_a_place_much_smaller_than_its_tile_has_a_draft_until_it_is_asked_for_exactly(monkeypatch):
    monkeypatch.setattr("napari_mmtseg._napari.process.view_places._LARGEST_PLANE", 0)
    monkeypatch.setattr("napari_mmtseg._napari.process.view_places.SIDE_PX", 100)
    monkeypatch.setattr("napari_mmtseg._napari.process.view_server._SMALL_PLANE", 0)
    image = np.kron(np.random.default_rng(0).random((16, 16)) > 0.5, np.ones((32, 32))) * 0.9
    model = train(image, MMT(n_iterations=3, output="classes", reduction=3))
    sent = []
    server = ViewServer(SimpleNamespace(send=sent.append))
    server.take(ViewOrder(0, model, CopiedPixels(image), "YX"))
    for place, exact in ((14, False), (14, True), (15, False)):
        server.take(ViewRequest(0, place, exact))
        server.answer()
    server.rest()
    assert [one.draft for one in sent] == [True, False, False]  # the tile of 14 is that of 15
    labels = model.label_of()
    assert_array_equal(labels[sent[1].values], model.predict(image)[200:300, 200:300])
    assert (labels[sent[0].values] == labels[sent[1].values]).mean() > 0.9


def test_a_draft_is_shown_until_the_labels_are_there(gray):
    asked = []
    order = ViewOrder(0, train(gray, METHOD), None, "ZYX")
    labels = LazyLabels(order, (9, *gray.shape))
    labels.show(4, asked.append)
    labels[4, :]
    labels.put(4, np.zeros(gray.shape, np.int16), draft=True)
    assert not labels.knows(4)
    assert labels[4].all()
    labels[5, :]
    labels[4, :]
    assert asked == [4, 5, 4]  # what was but a draft is asked for again
    labels.put(4, np.ones(gray.shape, np.int16))
    labels[4, :]
    assert labels.knows(4)
    assert asked == [4, 5, 4]


@pytest.mark.parametrize(("soon", "drafts"), [(0.0, [True, True]), (1e9, [True, False])])
def test_a_draft_is_sent_unless_the_last_look_was_quick(gray, monkeypatch, soon, drafts):
    monkeypatch.setattr("napari_mmtseg._napari.process.view_server._SOON_SECONDS", soon)
    sent = []
    server = ViewServer(SimpleNamespace(send=sent.append))
    model = train(gray, MMT(n_iterations=3, output="classes"))
    server.take(ViewOrder(0, model, CopiedPixels(np.stack([gray] * 2)), "ZYX"))
    for plane in range(2):
        server.take(ViewRequest(0, plane))
        server.answer()
    server.rest()
    assert [one.place for one in sent if not one.draft] == [0, 1]
    assert [any(one.draft for one in sent if one.place == plane) for plane in range(2)] == drafts


def test_looks_that_follow_each_other_leave_a_job_most_of_the_time(monkeypatch):
    now, done, looks = 0.0, [], []

    def job():
        nonlocal now
        for number in range(60):
            now += 2
            done.append(number)
            yield SimpleNamespace(phase="writing", done=number, total=60)

    def answer():
        nonlocal now
        looks.append(len(done))
        now += 20

    monkeypatch.setattr("napari_mmtseg._napari.process.worker.time.perf_counter", lambda: now)
    _drive(job(), lambda step: None, SimpleQueue(), SimpleNamespace(answer=answer))
    assert looks == [1, 31]


def test_a_saved_model_that_has_the_merged_labels_goes_on_with_their_writing(tmp_path, gray):
    model = train(gray, replace(METHOD, n_labels=4))
    merged = model.label_of(2)
    kept = model.with_labels(merged, {1: "ground"})
    shape = (3, *gray.shape)

    def steps(model):
        served = ViewOrder(0, model, CopiedPixels(np.broadcast_to(gray, shape)), "TYX")
        path = str(tmp_path / "labels.zarr")
        save = StoreJob(path, False, "TYX", shape, {}, {}, served=served, label_of=merged)
        return save_steps(save, served.open())

    writing = steps(model)
    next(writing)
    with pytest.raises(StopIteration):
        writing.send(True)
    assert [step.found for step in steps(kept)] == [True, False, False]


def test_blocks_that_were_written_before_say_nothing_of_the_time_left(tmp_path):
    labels = CopiedPixels(np.ones((5, 8, 8), np.uint8))
    save = StoreJob(str(tmp_path / "labels.zarr"), False, "ZYX", (5, 8, 8), {}, {}, labels=labels)
    writing = save_steps(save, None)
    next(writing)
    next(writing)
    with pytest.raises(StopIteration):
        writing.send(True)
    sent = []
    out = SimpleNamespace(send=sent.append)
    done = _save(save, SimpleQueue(), ViewServer(out), out)
    assert done.result.complete
    assert [one.done for one in sent] == [3, 4, 5]


def test_the_place_nearest_to_a_pixel_lies_in_its_plane():
    places = Places((2, 9000, 8000))
    for pixel in ((-5, -5), (3000, 7000), (9999.5, 9999.5)):
        plane, (rows, columns) = places.box(places.at(1, pixel))
        assert plane == 1
        row, column = (min(max(i, 0), n - 1) for i, n in zip(pixel, (9000, 8000), strict=True))
        assert rows.start <= row < rows.stop
        assert columns.start <= column < columns.stop
    assert Places((2, 90, 80)).at(1, (999, -3)) == 1  # planes that are not cut
