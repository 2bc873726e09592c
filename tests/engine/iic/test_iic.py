"""IIC segments, stops, keeps, refuses, and names its clusters by strokes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from napari_mmtseg import IIC, MMT, engine, load, segment, train
from napari_mmtseg.engine.iic import views
from napari_mmtseg.engine.iic.network import _slopes, factor_of
from napari_mmtseg.engine.iic.view_pairs import Drawer
from napari_mmtseg.engine.refine.sharp_borders import sharpened
from napari_mmtseg.engine.stroke_classes import count_strokes, name_clusters
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.prediction.labeller import Labeller
from napari_mmtseg.segmentation import segment_steps, train_steps

QUICK = {
    "n_iterations": 4,
    "width": 2,
    "crop_px": 16,
    "n_crops": 2,
    "n_heads": 2,
    "sharpening_px": 4,
}
TINY = IIC(**QUICK)


@pytest.fixture(scope="module")
def halves():
    """Return a dark and a bright half with noise."""
    random = np.random.default_rng(0)
    image = np.where(np.arange(40) < 20, 60, 190) + random.normal(0, 8, (32, 40))
    return image.round().astype(np.uint8)


@pytest.fixture(scope="module")
def model(halves):
    return train(halves, TINY)


@pytest.mark.parametrize(
    ("spacing", "sides", "factor"),
    [
        ((1, 1, 1), (8, 8, 8), (2, 2, 2)),
        ((1.05, 1, 1), (8, 8, 8), (2, 2, 2)),
        ((0.5, 1, 1), (8, 8, 8), (2, 2, 2)),
        ((2, 1, 1), (4, 8, 8), (1, 2, 2)),
        ((100, 1, 1), (1, 8, 8), (1, 2, 2)),
        ((1, 1, 2), (8, 8, 4), (2, 2, 1)),
    ],
)
def test_boxes_and_pooling_are_flatter_along_deep_voxels(spacing, sides, factor):
    from napari_mmtseg.images.frames import Sample

    volume = np.random.default_rng(0).random((1, 9, 12, 14), np.float32)
    sample = Sample([volume], [np.ones(volume.shape[1:], bool)], spacing=spacing)
    method = IIC(crop_px=8, n_crops=1, n_repeats=2, jitter=0)
    drawer = Drawer(sample, method, torch.Generator().manual_seed(0), torch.device("cpu"))
    pairs = drawer.pairs()
    assert pairs.first.shape[2:] == sides
    for view, code in zip(pairs.second, pairs.codes, strict=True):
        assert torch.equal(views.turn_back(view[None], [code]), pairs.first)
    assert factor_of(IIC(pooling=2), spacing) == factor


def test_slopes_are_those_of_a_ramp_along_each_axis():
    places = torch.stack(torch.meshgrid(*(torch.arange(5.0),) * 3, indexing="ij"))
    ramp = (torch.tensor([3.0, 2, 1]).view(3, 1, 1, 1) * places).sum(0)[None, None]
    inner = _slopes(ramp)[0, :, 1:-1, 1:-1, 1:-1]
    assert torch.equal(inner, torch.tensor([1.0, 2, 3]).view(3, 1, 1, 1).expand(inner.shape))
    assert torch.equal(_slopes(ramp[:, :, 2])[0, :, 2, 2], torch.tensor([1.0, 2]))


def test_a_volume_is_told_apart_along_z():
    random = np.random.default_rng(0)
    planes = np.where(np.arange(16) < 8, 60, 190)[:, None, None]
    volume = planes + random.normal(0, 8, (16, 20, 20))
    settings = {"n_iterations": 20, "width": 4, "crop_px": 8, "n_labels": 2, "work_in": "volume"}
    model = train(volume, IIC(**QUICK | settings), axes="ZYX")
    assert len(model.spacing) == len(model.halo_px) == 3
    labels = model.predict(volume, axes="ZYX")
    low, high = labels[:6], labels[10:]
    assert max((low == k).mean() for k in (1, 2)) > 0.9
    assert np.bincount(low.ravel()).argmax() != np.bincount(high.ravel()).argmax()


def test_sharpening_brings_borders_to_the_edges_of_the_image():
    pixels = torch.zeros(1, 24, 24)
    pixels[..., 9:15, 9:15] = 1
    blunt = torch.full((2, 24, 24), 0.1)
    blunt[1, 7:17, 7:17] = 0.9
    blunt[0] = 1 - blunt[1]
    assert torch.equal(sharpened(blunt, pixels, (6, 6)).argmax(0), pixels[0].long())
    assert torch.equal(sharpened(blunt, pixels, (0, 0)), blunt)
    same = torch.full_like(pixels, 0.5)
    assert torch.equal(sharpened(blunt, same, (6, 6)).argmax(0), blunt.argmax(0))


def test_two_kinds_of_pixels_are_told_apart(halves):
    settings = {"n_iterations": 40, "width": 4, "n_crops": 2, "n_labels": 2}
    labels = segment(halves, IIC(**{**QUICK, **settings}))
    left, right = labels[:, :17], labels[:, 23:]
    assert set(np.unique(labels)) == {1, 2}
    assert max((left == k).mean() for k in (1, 2)) > 0.9
    assert np.bincount(left.ravel()).argmax() != np.bincount(right.ravel()).argmax()


def test_the_same_seed_gives_the_same_labels(halves, model):
    again = train(halves, TINY).predict(halves)
    assert np.array_equal(model.predict(halves), again)


def test_the_labels_are_the_main_heads_and_the_overclusters_stay_within_reach(halves, model):
    assert model.predict(halves).max() <= TINY.n_labels
    assert len(np.unique(model.groups)) <= TINY.n_labels
    if model.n_clusters > TINY.n_labels:
        assert len(np.unique(model.label_of(model.n_clusters))) == model.n_clusters
    for label in np.unique(model.label_of()):
        assert len(np.unique(model.groups[model.label_of() == label])) == 1


def test_stopping_early_keeps_the_labels(halves):
    done = []
    labels = segment(halves, TINY, on_step=lambda s: done.append(s.done) or s.done == 2)
    assert done == [1, 2, 1]
    assert labels.shape == halves.shape
    assert labels.min() == 1


def test_a_passing_look_is_a_usable_model(halves):
    run = train_steps(halves, TINY)
    look = next(run).snapshot()
    assert look.predict(halves).shape == halves.shape
    run.close()


def test_a_saved_model_predicts_the_same(halves, model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    for n_labels in (None, 2, 5):
        expected = model.predict(halves, n_labels=n_labels)
        assert np.array_equal(again.predict(halves, n_labels=n_labels), expected)


def test_prediction_is_local(halves, model):
    big = np.tile(halves, (3, 2))
    whole = model.predict(big)
    part = model.predict(big[:64])
    assert np.array_equal(whole[:32], part[:32])


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((20, 23, 3), "YXS"), ((3, 18, 20), "ZYX"), ((2, 2, 18, 20), "TCYX"), ((17, 2), "YX")],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_stacks_channels_and_types(shape, axes, dtype):
    image = (np.random.default_rng(1).random(shape) * 200).astype(dtype)
    method = IIC(
        **QUICK | {"crop_px": 0, "n_iterations": 2, "n_repeats": 2, "sobel": True, "pooling": 2}
    )
    before = image.copy()
    labels = segment(image, method, axes=axes)
    spatial = tuple(n for n, a in zip(shape, axes, strict=True) if a not in "CS")
    assert labels.shape == spatial
    assert labels.min() >= 1
    assert np.array_equal(image, before)


def test_many_images_of_different_sizes_train_one_model(halves):
    model = train([halves, halves[:20, :24]], TINY)
    assert model.predict(halves[:10]).shape == (10, 40)


def test_the_collapsed_form_and_restarts_run(halves):
    settings = {"information": "collapsed", "n_restarts": 2, "turns": False, "neighbours": 0}
    steps = []
    segment(halves, IIC(**QUICK | settings), on_step=lambda s: steps.append((s.done, s.total)))
    assert steps[:8] == [(n, 8) for n in range(1, 9)]


def test_neighbouring_planes_are_positives_along_one_axis(halves):
    from napari_mmtseg.engine.iic.view_pairs import _neighbours
    from napari_mmtseg.images.frames import Sample

    places = [(0, t, z) for t in range(2) for z in range(3)] + [(1, 0, 1)]
    sample = Sample([halves[None]] * 7, [np.ones_like(halves, bool)] * 7, places=places)
    near = _neighbours(sample, list(range(7)), 1)
    assert near[0] == [0, 1, 3]
    assert near[4] == [1, 3, 4, 5]
    assert near[6] == [6]


def test_windows_of_one_frame_are_no_views_of_each_other(halves):
    from napari_mmtseg.engine.iic.view_pairs import _neighbours
    from napari_mmtseg.images.frames import Sample

    places, corners = [(0, 0), (0, 0), (0, 1), (0, 1)], [(0, 0), (0, 40)] * 2
    valid = [np.ones_like(halves, bool)] * 4
    sample = Sample([halves[None]] * 4, valid, places=places, corners=corners)
    assert _neighbours(sample, list(range(4)), 1) == [[0, 2], [1, 3], [0, 2], [1, 3]]


def test_masked_pixels_get_no_label_and_do_not_matter(halves):
    mask = np.ones(halves.shape, bool)
    mask[:, 30:] = False
    changed = halves.astype(np.float32)
    changed[:, 30:] = np.nan
    labels = segment(halves, TINY, mask=mask)
    assert (labels[:, 30:] == 0).all()
    assert (labels[:, :30] > 0).all()
    assert (segment(changed, TINY)[:, 30:] == 0).all()


def test_every_crop_holds_a_pixel_that_counts(halves):
    from napari_mmtseg.images.frames import Sample

    valid = np.zeros(halves.shape, bool)
    valid[5, 33] = True
    sample = Sample([np.float32(halves[None]) / 255], [valid])
    drawer = Drawer(sample, TINY, torch.Generator().manual_seed(0), torch.device("cpu"))
    for _ in range(5):
        assert (drawer.pairs().weight.sum((1, 2)) == 1).all()


def test_an_image_of_one_value_gets_one_label():
    with pytest.warns(UserWarning, match="All pixels"):
        labels = segment(np.full((24, 24), 7, np.uint8), TINY)
    assert (labels == 1).all()


# What is refused or noted


def test_fewer_than_two_clusters_are_refused():
    with pytest.raises(ValueError, match=r"Labels at most \(n_labels\) must lie in 2 to 32, got 1"):
        IIC(n_labels=1)


def test_a_displacement_larger_than_the_crop_is_refused():
    with pytest.raises(ValueError, match="must be smaller than the crop's side"):
        IIC(crop_px=8, displacement_px=8)


def test_crops_larger_than_the_image_are_reduced_with_a_note(halves):
    with pytest.warns(UserWarning, match="crop_px 64.*reduced"):
        labels = segment(halves, IIC(**QUICK | {"crop_px": 64, "n_iterations": 1}))
    assert labels.shape == halves.shape


def test_the_automatic_crop_fits_itself_without_a_note(halves):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segment(halves[:3, :3], IIC(**QUICK | {"crop_px": 0, "n_iterations": 1}))


def test_a_mask_that_hides_everything_is_refused(halves):
    with pytest.raises(ValueError, match="hides every pixel"):
        segment(halves, TINY, mask=np.zeros_like(halves))
    image = halves.astype(np.float32)
    image[:, 20:] = np.nan
    with pytest.raises(ValueError, match="No pixel that counts is finite"):
        segment(image, TINY, mask=np.arange(40) >= 20 * np.ones((32, 1)))


# Names from a few strokes


def test_clusters_take_the_class_they_meet_most():
    clusters = np.array([[0, 0, 0, 1, 1, -1, 2]])
    strokes = np.array([[5, 5, 9, 9, 0, 5, 0]])
    counts, names = count_strokes([(clusters, strokes)], 4)
    assert counts.tolist() == [[2, 1], [0, 1], [0, 0], [0, 0]]
    colours = np.array([[0.0], [1.0], [0.9], [0.2]])
    sizes = np.array([30, 30, 30, 10])
    assert name_clusters(counts, names, colours, sizes).tolist() == [5, 9, 9, 5]


def test_strokes_count_by_the_area_that_each_stands_for():
    """Nuclei are painted densely and the ground thinly; a mixed cluster is mostly ground."""
    counts = np.array([[400, 0], [0, 100], [60, 40]])  # nuclei, ground
    colours, names = np.array([[0.9], [0.1], [0.4]]), np.array([1, 2])
    few_nuclei = np.array([1_000, 50_000, 5_000])
    assert name_clusters(counts, names, colours, few_nuclei).tolist() == [1, 2, 2]
    evenly = np.array([40_000, 10_000, 10_000])
    assert name_clusters(counts, names, colours, evenly).tolist() == [1, 2, 1]
    together = np.array([0, 1, 1])
    assert name_clusters(counts, names, colours, few_nuclei, together).tolist() == [1, 2, 2]


@pytest.mark.parametrize("method", [TINY, MMT(n_iterations=4, width=8)])
def test_a_few_strokes_name_the_labels_of_any_model_at_once(halves, method):
    strokes = np.zeros(halves.shape, int)
    strokes[8, 2:15], strokes[20, 25:38] = 7, 3
    model = train(halves, method)
    named = model.with_classes(halves, strokes)
    labels = named.predict(halves)
    assert set(np.unique(labels)) <= {3, 7}
    assert not model.classes.any()
    several = model.with_classes([halves, halves], [strokes, strokes])
    assert np.array_equal(several.classes, named.classes)


def test_strokes_meet_the_clusters_with_sharpened_borders(halves, model):
    count = len(model.sizes)
    each = engine.regrouped(model.weights, TINY, np.arange(count))
    sharp, blunt = (
        Labeller(one, weights=each).region(Frames(halves), 0) for one in (model, model.draft())
    )
    # The two clusters between which sharpening moves the most pixels.
    moved = np.zeros((count, count), int)
    np.add.at(moved, (blunt[sharp != blunt], sharp[sharp != blunt]), 1)
    moved[~np.isin(np.arange(count), blunt[sharp == blunt])] = 0
    before, after = np.unravel_index(moved.argmax(), moved.shape)
    assert moved[before, after] >= 2
    strokes = np.zeros(halves.shape, int)
    strokes[(blunt == before) & (sharp == after)] = 7
    strokes[tuple(np.argwhere((blunt == before) & (sharp == before))[0])] = 3
    classes = model.with_classes(halves, strokes).classes
    assert (classes[after], classes[before]) == (7, 3)


def test_strokes_given_to_segment_name_its_labels(halves):
    strokes = np.zeros(halves.shape, int)
    strokes[8, 2:15], strokes[20, 25:38] = 7, 3
    assert set(np.unique(segment(halves, TINY, scribbles=strokes))) <= {3, 7}


def test_strokes_name_planes_of_a_stack(halves):
    stack = np.stack([halves, halves[:, ::-1]])
    strokes = np.zeros(stack.shape, int)
    strokes[1, 8, 2:15], strokes[1, 20, 25:38] = 2, 1
    labels = train(stack, TINY, axes="ZYX").with_classes(stack, strokes, axes="ZYX")
    assert set(np.unique(labels.classes)) <= {1, 2}


def test_strokes_of_one_class_or_another_shape_are_refused(halves, model):
    strokes = np.zeros(halves.shape, int)
    strokes[3, 3] = 1
    with pytest.raises(ValueError, match="at least two classes"):
        model.with_classes(halves, strokes)
    with pytest.raises(ValueError, match="at least two classes"):
        model.with_classes(halves, np.zeros_like(strokes))
    with pytest.raises(ValueError, match="shape of the image"):
        model.with_classes(halves, strokes[:5])
    with pytest.raises(ValueError, match="2 images and 1"):
        model.with_classes([halves, halves], [strokes])


def test_closing_the_run_discards_it(halves):
    run = segment_steps(halves, TINY)
    next(run)
    run.close()
    with pytest.raises(StopIteration):
        next(run)
