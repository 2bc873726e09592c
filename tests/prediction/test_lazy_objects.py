"""Areas and objects are the same whatever the chunks, and what crosses a tile is in one piece."""

import pickle

import dask.array as da
import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal
from skimage.draw import disk

from napari_mmtseg import MMT, KMeans, segment, train
from napari_mmtseg.images.frames import Frames, grid
from napari_mmtseg.labels.pieces import TiledPieces, pieces
from napari_mmtseg.labels.tile_seams import A_TILE, StitchedObjects, TileObjects
from napari_mmtseg.metrics import object_scores
from napari_mmtseg.prediction.labeller import TileCache
from napari_mmtseg.prediction.lazy_labels import Areas
from napari_mmtseg.prediction.object_search import Objects, check_objects

PLAIN = {"n_labels": 2, "smoothing_px": 0.0}


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr("napari_mmtseg.prediction.object_search._ONE_PIECE", {2: 100, 3: 100})
    monkeypatch.setattr(
        "napari_mmtseg.prediction.object_search._SIDES", {2: (64, 64), 3: (8, 64, 64)}
    )
    monkeypatch.setattr("napari_mmtseg.engine.kmeans._TILE_SIDE", {2: 48, 3: 48})
    monkeypatch.setattr("napari_mmtseg.engine.voter_prediction._TILE_SIDE", {2: 48, 3: 48})


def discs(shape=(150, 190), count=45, seed=0):
    """Bright discs of radius 5 to 8, some of which touch, on dark ground."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0.2, 0.03, shape)
    for _ in range(count):
        image[disk(rng.uniform(0, shape), rng.uniform(5, 8), shape=shape)] += 0.4
    return np.minimum(image, 0.8)


def handed_over(image, chunks):
    return da.from_array(image, chunks=chunks)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("output", ["areas", "objects"])
def test_any_chunks_give_the_labels_of_the_image_in_memory(output, tmp_path):
    image = discs()
    method = KMeans(output=output, **PLAIN)
    model = train(image, method)
    expected = model.predict(image)
    assert len(np.unique(expected)) > 20
    for chunks in (150, (31, 70)):
        lazy = model.predict(handed_over(image, chunks))
        assert isinstance(lazy, da.Array)
        assert lazy.dtype == np.int32
        assert_array_equal(lazy[60:75, 100:150].compute(), expected[60:75, 100:150])
        assert_array_equal(lazy.compute(), expected)
    store = zarr.create_array(tmp_path / "i.zarr", shape=image.shape, chunks=(40, 60), dtype="f8")
    store[:] = image
    assert_array_equal(np.asarray(segment(store, method)), expected)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("output", ["areas", "objects"])
@pytest.mark.parametrize("axes", ["TYX", "ZYX", "YXT"])
def test_so_do_stacks_in_planes_with_a_mask(output, axes):
    stack = np.stack([discs((70, 90), 12, seed) for seed in range(3)])
    mask = np.ones(stack.shape, np.uint8)
    mask[:, :, 80:] = 0
    if axes == "YXT":
        stack, mask = (np.moveaxis(one, 0, -1) for one in (stack, mask))
    spacing = (1.0, 1.0, 1.0) if axes == "ZYX" else None
    method = KMeans(output=output, work_in="planes", **PLAIN)
    model = train(stack, method, axes=axes, spacing=spacing)
    known = {"axes": axes, "spacing": spacing}
    expected = model.predict(stack, mask=mask, **known)
    lazy = model.predict(handed_over(stack, 40), mask=handed_over(mask, 30), **known)
    assert_array_equal(lazy.compute(), expected)
    assert not expected[mask == 0].any()
    if axes == "TYX":
        planes = [set(np.unique(plane)[1:]) for plane in expected]
        assert not planes[0] & planes[1]
        assert not planes[1] & planes[2]


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("output", ["areas", "objects"])
def test_so_do_volumes(output):
    stack = np.stack([discs((70, 90), 12, seed // 5) for seed in range(12)])
    method = KMeans(output=output, work_in="volume", **PLAIN)
    known = {"axes": "ZYX", "spacing": (1.0, 1.0, 1.0)}
    model = train(stack, method, **known)
    expected = model.predict(stack, **known)
    lazy = model.predict(handed_over(stack, 20), **known)
    assert_array_equal(lazy[5].compute(), expected[5])
    assert_array_equal(lazy.compute(), expected)


def test_objects_of_tiles_are_those_of_the_whole(monkeypatch):
    image = discs((150, 190), 60)
    model = train(image, MMT.preset("nuclei", n_iterations=4))
    whole = model.predict(image)
    assert_array_equal(np.unique(whole), np.arange(whole.max() + 1))
    monkeypatch.setattr("napari_mmtseg.prediction.object_search._ONE_PIECE", {2: 100, 3: 100})
    monkeypatch.setattr(
        "napari_mmtseg.prediction.object_search._SIDES", {2: (64, 64), 3: (8, 64, 64)}
    )
    tiled = model.predict(image)
    assert tiled.max() > A_TILE
    assert len(np.unique(tiled)) == len(np.unique(whole))
    assert object_scores(tiled, whole, thresholds=(0.99,))[0.99].f1 == 1


def test_pieces_of_tiles_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    for shape, sides in (((40, 50), (16, 11)), ((9, 20, 30), (4, 7, 30))):
        labels = rng.integers(0, 3, (2, *shape)).astype(np.int32)
        labels[:, ..., 5:12] = 1  # a piece that crosses many tiles
        expected = pieces(labels, tuple(range(1, labels.ndim)))
        tiled = TiledPieces(shape)
        tiles = [(frame, tile) for frame in range(2) for tile in grid(shape, sides)]
        for frame, tile in tiles:
            tiled.add(frame, tile, labels[(frame, *tile)])
        tiled.join()
        for frame, tile in tiles:
            found = tiled.of(frame, tile, labels[(frame, *tile)])
            assert_array_equal(found, expected[(frame, *tile)])


def stitched(truth, side, views=None):
    """Stitch label images cut into columns, each tile seeing all of it."""
    count = -(-truth.shape[1] // side)
    views = views or [truth] * count

    def see(tile):
        region = (slice(0, truth.shape[0]), slice(tile * side, (tile + 1) * side))
        return TileObjects.of(views[tile].astype(np.int32), region)

    joined = StitchedObjects((1, count), 1, see)
    return joined, lambda: np.concatenate([joined.tile(i) for i in range(count)], axis=1)


def test_an_object_across_many_tiles_has_the_number_of_its_first():
    truth = np.zeros((12, 40), np.int32)
    truth[2:5, 3:38] = 1
    truth[8:11, 14:27] = 2
    joined, whole = stitched(truth, 10)
    last = joined.tile(3)  # before any other
    assert last[3, 5] == 1
    assert set(np.unique(whole())) == {0, 1, A_TILE + 2}
    assert_array_equal(whole() > 0, truth > 0)
    again = pickle.loads(pickle.dumps(StitchedObjects((1, 1), 1, _see_nothing)))
    assert_array_equal(again.tile(0), np.zeros((4, 4)))


def _see_nothing(tile):
    return TileObjects.of(np.zeros((4, 4), np.int32), (slice(0, 4), slice(0, 4)))


def test_where_tiles_disagree_objects_stay_apart_and_slivers_go():
    one = np.zeros((12, 20), np.int32)
    one[1:11, 4:16] = 1
    two = one.copy()
    two[6:11, 4:16] = 2  # the other tile parts it
    two[0, 10:12] = 3  # two pixels that only the other sees
    _, whole = stitched(one, 10, [one, two])
    found = whole()
    assert found[3, 5] == found[3, 14] != found[8, 14]
    assert not found[0].any()
    assert (found > 0).sum() == (one > 0).sum()


def test_too_many_objects_are_refused_with_a_cure():
    frames = Frames(np.broadcast_to(np.zeros((), np.uint8), (21_475, 16, 16)), "TYX")
    with pytest.raises(ValueError, match="Hand over a part"):
        check_objects(KMeans(output="objects"), frames)
    check_objects(KMeans(output="classes"), frames)
    crowd = np.arange(1, A_TILE + 1, dtype=np.int32).reshape(100, -1)
    joined, _ = stitched(crowd, crowd.shape[1] - 1)
    assert joined.tile(1).size == 100
    with pytest.raises(ValueError, match="larger diameter"):
        stitched(np.hstack([crowd, crowd + A_TILE]), crowd.shape[1])[0].tile(0)


@pytest.mark.usefixtures("small_tiles")
def test_each_tile_is_looked_at_once_in_a_sweep(monkeypatch):
    image = discs()
    model = train(image, KMeans(output="objects", **PLAIN))
    frames, labeller = model.frames(image), TileCache(model)
    looked = []
    see = Objects._see
    monkeypatch.setattr(Objects, "_see", lambda self, n: (looked.append(n), see(self, n))[1])
    objects = Objects(model, frames, lambda box: labeller.box(frames, box))
    assert len(list(objects.tiles())) == len(objects) == len(looked) == len(set(looked))


def test_areas_are_not_given_before_all_is_labelled():
    image = discs((70, 90), 12)
    model = train(image, KMeans(output="areas", **PLAIN))
    frames = model.frames(image)
    areas = Areas(frames, lambda box: np.zeros((35, 90), np.int16), (35, 90), model.label_of())
    run = areas.steps()
    assert next(run).total == 2
    with pytest.raises(RuntimeError, match="known only when all of the image is labelled"):
        run.send(True)
    assert areas.pieces is None
