"""A model learns the user's classes from strokes and labels, and stays a model as any other."""

import warnings
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.ndimage import gaussian_filter

from napari_mmtseg import MMT, KMeans, load, segment, train
from napari_mmtseg.methods import Taught

GROUND, DISC, BAR = 2, 5, 9


@pytest.fixture
def scene():
    """Discs of fine stripes on a ground of the same mean: (64, 96) uint16, with its truth."""
    rows, columns = np.ogrid[:64, :96]
    discs = ((rows % 32 - 16) ** 2 + (columns % 32 - 16) ** 2) < 90
    stripes = 200 * ((rows + columns) % 4 < 2)
    image = np.where(discs, 300 + stripes, 400) + np.random.default_rng(0).normal(0, 10, (64, 96))
    return image.astype(np.uint16), discs


@pytest.fixture
def strokes():
    painted = np.zeros((64, 96), np.uint8)
    painted[12:20, 12:20] = DISC
    painted[30:34, 4:90] = GROUND
    return painted


@pytest.fixture
def model(scene, strokes):
    return train(scene[0], Taught(n_iterations=20), scribbles=strokes)


def test_strokes_tell_textures_of_one_brightness_apart(scene, strokes, model):
    labels = model.predict(scene[0])
    assert set(np.unique(labels)) == {GROUND, DISC}
    assert ((labels == DISC) == scene[1]).mean() > 0.9


def test_borders_are_sharpened_where_that_leaves_strokes_right(scene, strokes):
    rows, columns = np.indices(scene[1].shape)
    broad = (rows + columns) % 8 < 4  # every other stripe is as bright as the ground
    striped = np.where(scene[1] & broad, 600.0, 400.0)
    striped += np.random.default_rng(0).normal(0, 10, striped.shape)
    taught = train(striped, Taught(n_iterations=20), scribbles=strokes)
    assert not taught.weights["sharp"]
    bright = gaussian_filter(np.where(scene[1], 500.0, 100.0), 1.5)
    bright += np.random.default_rng(0).normal(0, 5, bright.shape)
    taught = train(bright, Taught(n_iterations=20), scribbles=strokes)
    assert taught.weights["sharp"]
    found = taught.predict(bright) == DISC
    dull = replace(taught, weights={**taught.weights, "sharp": np.array(0)})
    assert (found != scene[1]).sum() < ((dull.predict(bright) == DISC) != scene[1]).sum()
    whole = train(bright, Taught(n_iterations=5), labels=scene[1])
    assert not whole.weights["sharp"]  # labels tell where borders are


@pytest.mark.parametrize("method", [MMT(n_iterations=1), KMeans()], ids=["MMT", "KMeans"])
def test_any_model_is_taught_and_keeps_its_scaling(method, scene, strokes):
    first = train(scene[0], method)
    taught = first.taught(scene[0], strokes)
    assert isinstance(taught.method, Taught)
    assert_array_equal(taught.scaling.high, first.scaling.high)
    assert set(np.unique(taught.predict(scene[0]))) == {GROUND, DISC}


def test_segmenting_with_strokes_is_teaching(scene, strokes):
    labels = segment(scene[0], MMT(), scribbles=strokes)
    assert_array_equal(labels, train(scene[0], MMT(), scribbles=strokes).predict(scene[0]))


def test_a_taught_model_gives_one_answer(scene, model, monkeypatch, tmp_path):
    monkeypatch.setattr("napari_mmtseg.engine.voter_prediction._TILE_SIDE", {2: 32, 3: 32})
    labels, doubt = model.predict(scene[0], return_uncertainty=True)
    assert 0 < doubt.max() <= 1
    lazy, unsure = model.predict(da.from_array(scene[0], chunks=25), return_uncertainty=True)
    assert_array_equal(lazy.compute(), labels)
    assert_array_equal(unsure.compute(), doubt)
    model.save(tmp_path / "taught.safetensors")
    again = load(tmp_path / "taught.safetensors")
    assert_array_equal(again.predict(scene[0]), labels)
    wide = np.tile(scene[0], (4, 3))
    before = model.predict(wide)
    beyond = 32 + model.halo_px[0]
    wide[beyond:] = 0
    wide[:, beyond:] = 0
    assert_array_equal(model.predict(wide)[:32, :32], before[:32, :32])


def test_a_damaged_file_of_a_taught_model_is_refused(model, tmp_path):
    odd = replace(model, weights={**model.weights, "mean": model.weights["mean"][1:]})
    odd.save(tmp_path / "odd.safetensors")
    with pytest.raises(ValueError, match="do not fit"):
        load(tmp_path / "odd.safetensors")


def test_a_stroke_in_another_image_refines_what_is_known(scene, model):
    image, discs = scene
    bright = image[:, ::-1] + 4000
    strokes = np.zeros(image.shape, int)
    strokes[4:8, 4:90] = BAR
    taught = model.taught(np.where(image > 0, bright, image), strokes)
    assert set(taught.classes) == {GROUND, DISC, BAR}
    labels = taught.predict(image)
    assert ((labels == DISC) == discs).mean() > 0.85
    assert len(taught.weights["examples"]) > len(model.weights["examples"])
    assert set(model.classes) == {GROUND, DISC}, "the model that was there is left alone"


def test_of_contradicting_strokes_the_last_wins_and_it_is_said_once(scene, strokes, model):
    other = np.where(strokes == GROUND, DISC, np.where(strokes == DISC, GROUND, 0))
    with pytest.warns(UserWarning, match="the last one counts") as told:
        turned = model.taught(scene[0], other)
    assert len(told) == 1
    labels = turned.predict(scene[0])
    assert ((labels == GROUND) == scene[1]).mean() > 0.9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = turned.taught(scene[0], other)
    assert len(same.weights["examples"]) == (strokes > 0).sum()


def test_a_stack_learns_from_the_one_plane_that_is_painted(scene, strokes):
    stack = np.stack([scene[0]] * 4)
    painted = np.zeros(stack.shape, int)
    painted[2] = strokes
    for spacing in (None, (1.0, 1.0, 1.0)):
        model = train(stack, MMT(), axes="ZYX", spacing=spacing, scribbles=painted)
        labels = model.predict(stack, axes="ZYX", spacing=spacing)
        assert ((labels == DISC) == scene[1]).mean() > 0.85
        assert len(model.spacing) == (2 if spacing is None else 3)


def test_some_labelled_images_teach_the_others_and_the_score_is_told(scene):
    image, discs = scene
    part = np.where(discs, DISC, GROUND)
    part[:, 64:] = 0
    steps = []
    model = train(
        [image, image[::-1].copy(), image[:, ::-1].copy()],
        labels=[part, None, discs.astype(int) * 0 + part],
        on_step=steps.append,
    )
    assert 0.5 < steps[-1].score <= 1
    assert ((model.predict(image[:, ::-1]) == DISC) == discs[:, ::-1]).mean() > 0.9
    full = train([image], labels=[discs])
    assert set(full.classes) == {1, 2}, "truth values label all pixels"
    assert ((full.predict(image) == 2) == discs).mean() > 0.9


@pytest.mark.parametrize("teachers", ["own", "mutual"])
def test_teachers_may_teach_on_what_nobody_painted(teachers, scene, strokes, model):
    image, discs = scene
    taught = train(image, Taught(teachers=teachers), scribbles=strokes)
    assert ((taught.predict(image) == DISC) == discs).mean() > 0.8
    assert not np.array_equal(
        taught.weights["student1.in.weight"], model.weights["student1.in.weight"]
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: np.where(s == DISC, DISC, 0), "at least two classes: paint a second one"),
        (lambda s: s * 0, "Nothing is painted where"),
        (lambda s: s[1:], r"must have the shape .*\(64, 96\), got \(63, 96\)"),
        (lambda s: s.astype(int) - 9, "0 \\(unpainted\\) or a class"),
        (lambda s: np.arange(1, s.size + 1).reshape(s.shape), "a model has 512 at most"),
    ],
    ids=["one class", "none", "shape", "negative", "many classes"],
)
def test_bad_strokes_are_refused(change, sentence, scene, strokes):
    with pytest.raises(ValueError, match=sentence):
        train(scene[0], KMeans()).taught(scene[0], change(strokes))


def test_strokes_on_an_empty_plane_are_refused(scene, strokes):
    stack = np.stack([scene[0], np.zeros_like(scene[0])])
    painted = np.stack([strokes * 0, strokes])
    with pytest.raises(ValueError, match="all pixels are equal: nothing tells"):
        train(stack, MMT(), axes="ZYX", scribbles=painted)
    holes = stack.astype(float)
    holes[1] = np.nan
    with pytest.raises(ValueError, match="Nothing is painted where pixels are finite"):
        train(holes, MMT(), axes="ZYX", scribbles=painted)


def test_labels_that_do_not_fit_are_refused(scene, strokes):
    image, discs = scene
    with pytest.raises(ValueError, match="got 2 images and 1 labels"):
        train([image, image], labels=[discs])
    with pytest.raises(ValueError, match="must have the shape"):
        train([image], labels=[discs[1:]])
    with pytest.raises(ValueError, match="not both"):
        train(image, labels=[discs], scribbles=strokes)
    with pytest.raises(ValueError, match="Nothing is painted"):
        train([image], labels=[None])
    with pytest.raises(ValueError, match="learns from what you paint"):
        train(image, Taught())
