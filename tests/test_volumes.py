"""Volumes are labelled as planes are: one answer, looking along Z, in voxels of known shape."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg import IIC, MMT, Kanezaki, Kim, KMeans, load, segment, train
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.methods import METHODS, SpatialMethod
from napari_mmtseg.prediction.labeller import Labeller

SPACING = (0.5, 0.25, 0.25)
TINY = {"n_iterations": 2, "width": 4, "n_blocks": 2}
SMALL = {"n_iterations": 2, "width": 2, "n_heads": 1, "n_crops": 2}
METHODS_TRIED = [
    MMT(work_in="volume", **TINY),
    Kim(work_in="volume", reduction=1, **TINY),
    Kanezaki(work_in="volume", reduction=1, **TINY),
    KMeans(work_in="volume", n_labels=3, n_restarts=1),
    KMeans(work_in="volume", n_labels=3, n_restarts=1, vote_border=0.2, sharpening_px=4),
    IIC(work_in="volume", sharpening_px=4, **SMALL),
    IIC(work_in="volume", sharpening_px=2, vote_border=0.2, pooling=2, sobel=True, **SMALL),
]
IIC_TRIED = METHODS_TRIED[5]
STROKED = [*METHODS_TRIED[:3], IIC_TRIED]
every_method = pytest.mark.parametrize(
    "method", METHODS_TRIED, ids=[f"{type(m).__name__}-{m.vote_border}" for m in METHODS_TRIED]
)
SIDE = 16


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr("napari_mmtseg.engine.voter_prediction._TILE_SIDE", {2: SIDE, 3: SIDE})
    monkeypatch.setattr("napari_mmtseg.engine.kmeans._TILE_SIDE", {2: SIDE, 3: SIDE})


@pytest.fixture
def stack():
    """Two balls of different brightness on noisy ground, cut off by planes: (10, 20, 36) uint16."""
    z, y, x = np.mgrid[:10, :20, :36]
    image = np.full(z.shape, 300.0)
    for depth, row, column, radius, value in ((3, 8, 9, 6, 900), (6, 12, 27, 7, 1400)):
        image[4 * (z - depth) ** 2 + (y - row) ** 2 + (x - column) ** 2 < radius**2] = value
    return (image + np.random.default_rng(0).normal(0, 30, image.shape)).astype(np.uint16)


@pytest.fixture
def options():
    return {"axes": "ZYX", "spacing": SPACING}


@every_method
def test_a_volume_has_one_answer_however_it_is_asked_for(method, stack, options, tmp_path):
    labels, uncertainty = segment(stack, method, return_uncertainty=True, **options)
    model = train(stack, method, **options)
    assert len(model.tile_px) == len(model.halo_px) == 3
    model.save(tmp_path / "model.safetensors")
    for one in (model, load(tmp_path / "model.safetensors")):
        again, doubt = one.predict(stack, return_uncertainty=True, **options)
        assert_array_equal(again, labels)
        if method.has_uncertainty:
            assert_array_equal(doubt, uncertainty)
    lazy = model.predict(da.from_array(stack, chunks=(3, 17, 9)), **options)
    assert_array_equal(lazy.compute(), labels)
    frames, labeller = Frames(stack, "ZYX", volumes=True), Labeller(model)
    region = np.s_[4:9, 3:19, 15:17]
    assert_array_equal(model.label_of()[labeller.region(frames, 0, region)], labels[region])


@every_method
def test_a_volume_in_any_order_of_its_axes_has_the_same_labels(method, stack):
    expected = segment(stack, method, axes="ZYX", spacing=SPACING)
    for axes, order in (("YXZ", (1, 2, 0)), ("XZY", (2, 0, 1))):
        turned = np.ascontiguousarray(stack.transpose(order))
        labels = segment(turned, method, axes=axes, spacing=SPACING)
        assert_array_equal(labels, expected.transpose(order))


@every_method
def test_a_mask_and_pixels_that_are_not_finite_are_0_in_a_volume(method, stack, options):
    mask = np.zeros(stack.shape, np.uint8)
    mask[2:8, 4:16, 5:30] = 1
    labels = segment(stack, method, mask=mask, **options)
    assert_array_equal(labels == 0, mask == 0)
    chunks = {"image": (4, 20, 20), "mask": (5, 7, 36)}
    lazy = da.from_array(stack, chunks=chunks["image"])
    lazy = segment(lazy, method, mask=da.from_array(mask, chunks=chunks["mask"]), **options)
    assert_array_equal(lazy.compute(), labels)
    spoilt = np.where(mask, stack, np.nan).astype(np.float32)
    assert_array_equal(segment(spoilt, method, **options) == 0, mask == 0)


@pytest.mark.parametrize("method", STROKED, ids=lambda method: type(method).__name__)
def test_strokes_in_one_plane_name_what_lies_in_a_volume(method, stack, options):
    strokes = np.zeros(stack.shape, np.uint8)
    strokes[3, 6:11, 6:12], strokes[6, 1:4, 1:30] = 7, 4
    labels = segment(stack, method, scribbles=strokes, **options)
    assert {4, 7} <= set(np.unique(labels))
    assert (labels[strokes == 4] == 4).mean() > 0.5


def test_volumes_of_a_series_are_looked_at_one_by_one(stack, options):
    method = METHODS_TRIED[3]
    model = train(stack, method, **options)
    series = np.stack([stack, stack[::-1]])
    labels = model.predict(series, axes="TZYX", spacing=SPACING)
    assert_array_equal(labels[0], model.predict(stack, **options))
    assert_array_equal(labels[1], model.predict(stack[::-1], **options))


def test_regions_of_a_volume_are_connected_along_z():
    image = np.zeros((6, 12, 12), np.uint8)
    image[1:5, 2:5, 2:5] = 200  # one rod through four planes
    image[2, 8:11, 8:11] = 200
    settings = {"n_labels": 2, "smoothing_px": 0.0, "output": "areas"}
    within = segment(image, KMeans(work_in="volume", **settings), axes="ZYX")
    assert within.max() == 3
    assert len(np.unique(within[1:5, 3, 3])) == 1
    apart = segment(image, KMeans(work_in="planes", **settings), axes="ZYX")
    assert len(np.unique(apart[1:5, 3, 3])) == 4
    assert_array_equal(
        segment(image.transpose(1, 2, 0), KMeans(work_in="volume", **settings), axes="YXZ"),
        within.transpose(1, 2, 0),
    )


def test_the_voxels_shape_chooses_planes_or_a_volume(stack):
    for spacing, axes in ((None, 2), ((2.0, 1, 1), 3), ((0.3, 0.3, 0.3), 3), ((2.1, 1, 1), 2)):
        model = train(stack, KMeans(n_restarts=1), axes="ZYX", spacing=spacing)
        assert len(model.spacing) == axes, spacing
    assert len(train(stack[0], KMeans(n_restarts=1), spacing=(1, 1, 1)).spacing) == 2
    planes = KMeans(n_restarts=1, work_in="planes")
    assert len(train(stack, planes, axes="ZYX", spacing=(1, 1, 1)).spacing) == 2


def test_a_model_of_a_volume_refuses_an_image_without_depth(stack, options):
    model = train(stack, METHODS_TRIED[3], **options)
    with pytest.raises(ValueError, match=r"looks along Z as well, and the image has the axes YX"):
        model.predict(stack[0])
    with pytest.raises(ValueError, match=r"the axes TYX: choose a stack, or train with work_in="):
        model.predict(stack, axes="TYX")


def test_a_model_of_planes_takes_a_stack_of_any_voxels(stack):
    model = train(stack, KMeans(work_in="planes", n_restarts=1), axes="ZYX")
    labels = model.predict(stack, axes="ZYX", spacing=(5, 1, 1))
    assert_array_equal(labels[4], model.predict(stack[4]))


def test_a_model_refuses_voxels_of_another_shape(stack, options, tmp_path):
    model = train(stack, METHODS_TRIED[3], **options)
    model.save(tmp_path / "model.safetensors")
    for one in (model, load(tmp_path / "model.safetensors")):
        one.predict(stack, axes="ZYX", spacing=(2.2, 1, 1))
        one.predict(stack, axes="ZYX")
        with pytest.raises(ValueError, match="voxels 2 times as deep as wide, the image's are 3"):
            one.predict(stack, axes="ZYX", spacing=(3, 1, 1))


@pytest.mark.parametrize("spacing", [(1e-4, 1, 1), (1, 1e4, 1)])
def test_voxels_too_flat_or_too_long_for_a_volume_are_refused(stack, spacing):
    with pytest.raises(ValueError, match=r"by less than a factor of 1000 .*work_in='planes'"):
        segment(stack, METHODS_TRIED[3], axes="ZYX", spacing=spacing)
    model = train(stack, KMeans(n_restarts=1), axes="ZYX", spacing=spacing)
    assert len(model.spacing) == 2  # what is chosen automatically always works


def test_a_voxel_as_deep_as_wide_looks_as_far_along_every_axis(stack):
    method = KMeans(work_in="volume", n_restarts=1, sharpening_px=2)
    model = train(stack, method, axes="ZYX", spacing=(1, 1, 1))
    assert len(set(model.halo_px)) == 1
    flat = train(stack, method, axes="ZYX", spacing=(2, 1, 1))
    assert flat.halo_px[0] < flat.halo_px[1] == flat.halo_px[2]


def test_every_method_that_learns_works_in_volumes():
    learning = {name for name, method in METHODS.items() if method.trains}
    assert {name for name, cls in METHODS.items() if issubclass(cls, SpatialMethod)} == learning
    assert {type(method).__name__ for method in METHODS_TRIED} == learning


def test_strokes_name_the_clusters_of_a_volume(stack, options):
    strokes = np.zeros(stack.shape, np.uint8)
    strokes[3, 6:11, 6:12], strokes[6, 1:4, 1:30] = 7, 4
    named = train(stack, IIC_TRIED, **options).with_classes(stack, strokes, axes="ZYX")
    assert set(np.unique(named.predict(stack, **options))) <= {4, 7}
