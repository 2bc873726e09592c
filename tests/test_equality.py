"""One image has one answer: however it is cut, handed over, or asked for."""

import dask.array as da
import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal

from napari_mmtseg import load, segment, train
from napari_mmtseg.engine import drain
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.methods import METHODS
from napari_mmtseg.prediction.labeller import Labeller
from napari_mmtseg.segmentation import segment_steps

SIDE = 32
"""Of the tiles in these tests, so that small images have several."""
TINY = {"n_iterations": 2, "width": 4, "n_blocks": 2, "n_restarts": 1, "n_heads": 1}


def tiny(cls, **changes):
    known = {one.name for one in cls.settings()}
    return cls(**{k: v for k, v in TINY.items() if k in known}, **changes)


LEARNING = [cls for cls in METHODS.values() if cls.trains]
PLAIN = [tiny(cls, vote_border=0.0, sharpening_px=0) for cls in LEARNING]
REFINED = [tiny(cls, vote_border=0.2, sharpening_px=4) for cls in LEARNING]
METHODS_TRIED = [*PLAIN, *REFINED]
every_method = pytest.mark.parametrize(
    "method", METHODS_TRIED, ids=[f"{type(m).__name__}-{m.vote_border}" for m in METHODS_TRIED]
)
every_refined_method = pytest.mark.parametrize(
    "method", REFINED, ids=[type(method).__name__ for method in REFINED]
)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr("napari_mmtseg.engine.voter_prediction._TILE_SIDE", {2: SIDE, 3: SIDE})
    monkeypatch.setattr("napari_mmtseg.engine.kmeans._TILE_SIDE", {2: SIDE, 3: SIDE})


@pytest.fixture
def scene():
    """Discs of three brightnesses on uneven, noisy ground: (40, 56) uint16."""
    rows, columns = np.mgrid[:40, :56]
    image = 300.0 + 2 * columns
    for row, column, radius, value in ((12, 14, 8, 900), (24, 40, 10, 700), (34, 10, 4, 1200)):
        image[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = value
    return (image + np.random.default_rng(0).normal(0, 25, image.shape)).astype(np.uint16)


@every_method
def test_segmenting_is_training_and_predicting(method, scene):
    labels, uncertainty = segment(scene, method, return_uncertainty=True)
    model = train(scene, method)
    again, doubt = model.predict(scene, return_uncertainty=True)
    assert_array_equal(labels, again)
    assert_array_equal(labels, model.predict(scene))
    if method.has_uncertainty:
        assert_array_equal(uncertainty, doubt)


@every_method
def test_any_block_of_any_size_has_the_labels_of_the_whole(method, scene):
    model = train(scene, method)
    labels, uncertainty = model.predict(scene, return_uncertainty=True)
    for side in (19, 200):
        lazy, doubt = model.predict(da.from_array(scene, chunks=side), return_uncertainty=True)
        assert_array_equal(lazy.compute(), labels)
        if method.has_uncertainty:
            assert_array_equal(doubt.compute(), uncertainty)
    frames, labeller = Frames(scene), Labeller(model)
    for region in (np.s_[3:11, 30:56], np.s_[31:33, 0:56], np.s_[39:40, 55:56]):
        part = labeller.region(frames, 0, region)
        assert_array_equal(model.label_of()[part], labels[region])


@pytest.mark.filterwarnings("ignore:The image is unlike")  # a tile of noise, on purpose
@every_method
def test_a_pixel_depends_on_its_tile_and_halo_alone(method, scene):
    model = train(scene, method)
    wide = np.tile(scene, (4, 2))
    before = model.predict(wide)
    beyond = [t + h for t, h in zip(model.tile_px, model.halo_px, strict=True)]
    wide[min(beyond[0], len(wide) - 1) :] = 0
    wide[:, min(beyond[1], wide.shape[1] - 1) :] = 0
    corner = tuple(slice(0, side) for side in model.tile_px)
    assert_array_equal(model.predict(wide)[corner], before[corner])


@pytest.mark.parametrize("kind", ["dask", "zarr", "fortran", "big-endian", "torch", "list"])
@pytest.mark.parametrize("method", [PLAIN[0], REFINED[-1]], ids=["MMT", "KMeans"])
def test_however_an_image_is_handed_over_it_has_the_same_labels(method, kind, scene, tmp_path):
    expected = segment(scene, method)
    if kind == "zarr":
        store = zarr.create_array(
            tmp_path / "image.zarr", shape=scene.shape, chunks=(40, 25), dtype="u2"
        )
        store[:] = scene
        given = store
    elif kind == "torch":
        import torch

        given = torch.from_numpy(scene.astype(np.int32)).requires_grad_(False)
    else:
        given = {
            "dask": lambda: da.from_array(scene, chunks=(40, 25)),
            "fortran": lambda: np.asfortranarray(scene),
            "big-endian": lambda: scene.astype(">u2"),
            "list": lambda: scene.tolist(),
        }[kind]()
    labels = segment(given, method)
    assert isinstance(labels, da.Array) == (kind in ("dask", "zarr"))
    assert_array_equal(np.asarray(labels), expected)


@every_refined_method
def test_axes_in_any_order_give_labels_in_that_order(method, scene):
    stack = np.stack([scene, scene[::-1, ::-1]])
    expected = segment(stack, method, axes="ZYX")
    turned = np.ascontiguousarray(stack.transpose(1, 2, 0))
    assert_array_equal(segment(turned, method, axes="YXT"), expected.transpose(1, 2, 0))
    lazy = segment(da.from_array(turned, chunks=20), method, axes=["Y", "X", "Z"])
    assert_array_equal(lazy.compute(), expected.transpose(1, 2, 0))


@every_method
def test_a_saved_model_and_every_step_of_a_run_give_one_answer(method, scene, tmp_path):
    model = train(scene, method)
    labels, uncertainty = model.predict(scene, return_uncertainty=True)
    model.save(tmp_path / "model.safetensors")
    again, doubt = load(tmp_path / "model.safetensors").predict(scene, return_uncertainty=True)
    assert_array_equal(again, labels)
    result = drain(segment_steps(scene, method))
    assert_array_equal(result.labels(), labels)
    if method.has_uncertainty:
        assert_array_equal(doubt, uncertainty)
        assert_array_equal(result.uncertainty, uncertainty)
    for n_labels in range(1, model.n_clusters + 1):
        assert_array_equal(result.labels(n_labels), model.predict(scene, n_labels=n_labels))


@every_refined_method
def test_masks_may_be_lazy(method, scene):
    mask = np.zeros(scene.shape, np.uint8)
    mask[8:36, 10:50] = 1
    expected = segment(scene, method, mask=mask)
    assert_array_equal(expected == 0, mask == 0)
    lazy = segment(da.from_array(scene, chunks=30), method, mask=da.from_array(mask, chunks=17))
    assert_array_equal(lazy.compute(), expected)


def test_stopping_while_labelling_leaves_the_rest_at_0(scene):
    method = tiny(METHODS["MMT"])
    labels = segment(scene, method, on_step=lambda step: step.phase == "labelling")
    assert (labels[:SIDE, :SIDE] > 0).all()
    assert (labels[SIDE:] == 0).all()
