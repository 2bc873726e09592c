"""What holds for every method."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg import load, segment, train
from napari_mmtseg.methods import METHODS, method_from_dict
from napari_mmtseg.segmentation import segment_steps

QUICK = {"n_iterations": 3, "width": 6, "n_blocks": 2, "n_restarts": 2, "min_size": 8}


def quick(cls, **changes):
    """Return the method with settings that are small enough for a test."""
    known = {one.name for one in cls.settings()}
    return cls(**{k: v for k, v in QUICK.items() if k in known}, **changes)


def names_of(classes):
    return [cls.__name__ for cls in classes]


EVERY = list(METHODS.values())
LEARNING = [cls for cls in EVERY if cls.trains]
LOCAL = [cls for cls in EVERY if not cls.trains]
every_class = pytest.mark.parametrize("cls", EVERY, ids=names_of(EVERY))
every_method = pytest.mark.parametrize("method", [quick(cls) for cls in EVERY], ids=names_of(EVERY))
learning_method = pytest.mark.parametrize(
    "method", [quick(cls) for cls in LEARNING], ids=names_of(LEARNING)
)
local_method = pytest.mark.parametrize("method", [quick(cls) for cls in LOCAL], ids=names_of(LOCAL))


# -- settings ---------------------------------------------------------------------------------


@every_class
def test_defaults_are_valid_and_explained(cls):
    assert cls.preset("default") == cls()
    assert cls.title
    assert cls.summary.endswith(".")
    assert cls.source
    for one in cls.settings():
        assert one.check(one.default) == one.default
        assert one.label
        assert one.help.endswith(".")
        assert (one.ge is None) == (one.le is None) == (one.type not in (int, float))


@every_class
def test_presets_are_valid_and_unknown_ones_refused(cls):
    for name in cls.presets:
        assert cls.preset(name, intensity="full").intensity == "full"
    with pytest.raises(ValueError, match="has the presets default"):
        cls.preset("none such")


@every_class
def test_settings_survive_json(cls):
    for method in (cls(), quick(cls, intensity="full"), *map(cls.preset, cls.presets)):
        assert method_from_dict(json.loads(json.dumps(method.to_dict()))) == method


@every_class
def test_settings_out_of_range_are_refused_by_name(cls):
    for one in cls.settings():
        bad = [one.ge - 1, one.le + 1] if one.ge is not None else ["bad"]
        for value in bad:
            with pytest.raises((ValueError, TypeError), match=rf"\({one.name}\) must .*, got"):
                cls(**{one.name: value})
        with pytest.raises((ValueError, TypeError), match=rf"\({one.name}\) must .*, got None"):
            cls(**{one.name: None})


@every_class
def test_numbers_too_large_for_a_computer_are_refused_by_name(cls):
    for one in cls.settings():
        if one.ge is not None:
            with pytest.raises(ValueError, match=rf"\({one.name}\) must lie in"):
                cls(**{one.name: 10**400})


@every_class
def test_settings_are_frozen(cls):
    with pytest.raises(dataclasses.FrozenInstanceError):
        cls().seed = 1


def test_unknown_methods_and_settings_are_refused():
    with pytest.raises(ValueError, match=r"must be one of MMT, .*, got 'UNet'"):
        method_from_dict({"method": "UNet"})
    with pytest.raises(ValueError, match="MMT has no setting depth"):
        method_from_dict({"method": "MMT", "depth": 3})


# -- labels -----------------------------------------------------------------------------------


@every_method
def test_same_seed_gives_the_same_labels(method, gray):
    assert_array_equal(segment(gray, method), segment(gray, method))


@every_method
def test_input_is_left_unchanged(method, gray):
    before = gray.copy()
    gray.setflags(write=False)
    segment(gray, method)
    assert_array_equal(gray, before)


@every_method
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((24, 32), "YX"),
        ((32, 24), "XY"),
        ((2, 2), "YX"),
        ((24, 32, 3), "YXS"),
        ((24, 32, 4), "YXS"),
        ((2, 24, 32), "CYX"),
        ((24, 32, 5), "YXC"),
        ((1, 24, 32), "CYX"),
        ((3, 24, 32), "ZYX"),
        ((3, 24, 32), "TYX"),
        ((2, 3, 12, 16), "TZYX"),
        ((2, 3, 12, 16), "ZCYX"),
        ((2, 12, 16, 3), "ZYXS"),
        ((1, 24, 32), "ZYX"),
    ],
    ids=str,
)
def test_labels_have_the_images_shape_and_are_numbered_by_size(method, shape, axes):
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    labels = segment(image, method, axes=axes)
    assert labels.shape == tuple(n for n, axis in zip(shape, axes, strict=True) if axis not in "CS")
    assert labels.dtype == np.int32
    counts = np.bincount(labels.ravel())
    assert counts[0] == 0
    assert (counts[1:] > 0).all()
    assert (np.diff(counts[1:]) <= 0).all()


@every_method
@pytest.mark.parametrize(
    "dtype", ["u1", "<u2", ">u2", "<i2", ">i2", "<i4", ">u8", "<f2", "<f4", ">f4", "<f8", ">f8"]
)
def test_numbers_of_any_kind_give_the_same_labels(method, dtype, gray):
    method = dataclasses.replace(method, intensity="percentile")
    expected = segment(gray.astype(np.float32), method)
    labels = segment(gray.astype(dtype), method)
    # Values wider than float32 are scaled in float64, which may round a border pixel otherwise.
    assert (labels == expected).mean() > 0.98


@every_method
def test_binary_images_are_taken(method, gray):
    labels = segment(gray > 100, method)
    assert labels.min() == 1


@every_method
def test_pixels_that_are_not_finite_get_label_0(method, gray):
    image = gray.astype(np.float32)
    image[3:6, 20:30] = np.nan
    image[20, 4] = np.inf
    labels = segment(image, method)
    assert_array_equal(labels == 0, ~np.isfinite(image))


@every_method
def test_masked_pixels_get_label_0(method, gray):
    mask = np.ones(gray.shape, bool)
    mask[:5] = False
    labels = segment(gray, method, mask=mask)
    assert_array_equal(labels == 0, ~mask)


@every_method
@pytest.mark.parametrize("value", [0, 7])
def test_constant_image_gets_one_label_and_a_note(method, value):
    with pytest.warns(UserWarning, match="All pixels of the image are equal"):
        labels = segment(np.full((24, 32), value, np.uint8), method)
    assert (labels == 1).all()


@every_method
def test_uncertainty_is_between_0_and_1_where_the_method_has_one(method, gray):
    labels, uncertainty = segment(gray, method, return_uncertainty=True)
    if not method.has_uncertainty:
        assert uncertainty is None
        return
    assert uncertainty.shape == labels.shape
    assert uncertainty.dtype == np.float32
    assert 0 <= uncertainty.min() <= uncertainty.max() <= 1


# -- runs -------------------------------------------------------------------------------------


@every_method
def test_steps_count_up_and_the_last_returns_the_labels(method, gray):
    run, steps = segment_steps(gray, method), []
    while True:
        try:
            steps.append(next(run))
        except StopIteration as end:
            result = end.value
            break
    phases = [step.phase for step in steps]
    assert phases == sorted(phases, reverse=True)  # training, then labelling
    assert ("training" in phases) == method.trains
    for phase in set(phases):
        part = [step for step in steps if step.phase == phase]
        assert [step.done for step in part] == list(range(1, len(part) + 1))
        assert {step.total for step in part} == {part[0].total}
    assert all(np.isfinite(step.loss) == (step.phase == "training") for step in steps)
    assert all(step.n_labels >= 1 for step in steps)
    assert result.method == method
    assert_array_equal(result.labels(), segment(gray, method))


@every_method
def test_stopping_early_keeps_the_labels(method, gray):
    seen = []

    def stop(step):
        seen.append(step.phase)
        return True

    labels = segment(gray, method, on_step=stop)
    assert labels.min() >= 1
    assert seen.count("training") == (1 if method.trains else 0)


@every_method
def test_discarding_a_run_leaves_nothing_behind(method, gray):
    run = segment_steps(gray, method)
    next(run)
    run.close()
    with pytest.raises(StopIteration):
        next(run)


@learning_method
def test_each_step_can_give_a_model(method, gray):
    step = next(segment_steps(gray, method))
    labels = step.snapshot().predict(gray)
    assert labels.shape == gray.shape
    assert labels.min() >= 1


# -- models -----------------------------------------------------------------------------------


@learning_method
def test_saved_model_predicts_the_same(method, rgb, tmp_path):
    model = train(rgb, method, axes="YXS")
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.method == method
    assert_array_equal(again.predict(rgb, axes="YXS"), model.predict(rgb, axes="YXS"))
    assert again.label_of(2).max() <= 2


@learning_method
def test_model_labels_images_of_any_size(method, gray):
    model = train(gray, method)
    for image in (gray[:17, :9], np.tile(gray, (2, 3)), gray[:2, :2]):
        assert model.predict(image).shape == image.shape


@learning_method
def test_a_label_means_the_same_in_every_plane(method, gray):
    labels = segment(np.stack([gray, gray]), method, axes="ZYX")
    assert_array_equal(labels[0], labels[1])


@learning_method
def test_several_images_train_one_model(method, gray):
    model = train([gray, gray[:20, :20]], method)
    assert model.predict(gray).shape == gray.shape


@learning_method
def test_model_refuses_images_with_other_channels(method, gray, rgb):
    model = train(rgb, method, axes="YXS")
    with pytest.raises(ValueError, match=r"trained on images with 3 channels \(RGB\), got 1"):
        model.predict(gray)
    with pytest.raises(ValueError, match="train on images of one kind"):
        train([rgb, rgb[..., :2]], method, axes="YXC")


@learning_method
def test_labels_merge_to_any_smaller_number(method, gray):
    model = train(gray, method)
    for n_labels in range(1, model.n_clusters + 1):
        assert len(np.unique(model.label_of(n_labels))) == n_labels
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        model.label_of(0)


@local_method
def test_method_without_a_model_says_so(method, gray):
    with pytest.raises(ValueError, match="call segment instead of train"):
        train(gray, method)
    result = _result(segment_steps(gray, method))
    assert result.model is None
    with pytest.raises(ValueError, match="cannot be merged to 2 labels"):
        result.labels(2)


@local_method
def test_regions_of_two_planes_never_share_a_label(method, gray):
    labels = segment(np.stack([gray, gray]), method, axes="ZYX")
    assert not set(labels[0].ravel()) & set(labels[1].ravel())


@local_method
def test_stopping_early_leaves_the_other_planes_at_0(method, gray):
    labels = segment(np.stack([gray] * 3), method, axes="ZYX", on_step=lambda step: step.done == 2)
    assert labels[:2].min() == 1
    assert (labels[2] == 0).all()


# -- bad input --------------------------------------------------------------------------------

GRAY = np.arange(24 * 32, dtype=np.float32).reshape(24, 32)
BAD = {
    "complex": (GRAY + 1j, {}, TypeError, "real numbers, got dtype complex64; take its magnitude"),
    "text": (np.full((24, 32), "a"), {}, TypeError, "must hold real numbers, got dtype <U1"),
    "empty": (GRAY[:0], {}, ValueError, r"is empty \(shape \(0, 32\)\)"),
    "thin": (GRAY[:1], {}, ValueError, "at least 2 x 2 pixels a plane, got 1 x 32"),
    "1D": (GRAY[0], {}, ValueError, "name its axes"),
    "3D without axes": (np.stack([GRAY] * 3), {}, ValueError, "name its axes"),
    "unknown axis": (GRAY, {"axes": "YQ"}, ValueError, "hold 'Q'"),
    "axis twice": (GRAY, {"axes": "YY"}, ValueError, "each axis once"),
    "too many axes": (GRAY, {"axes": "ZYX"}, ValueError, "name 3 axes, but the image has 2"),
    "5 colours": (np.stack([GRAY] * 5), {"axes": "SYX"}, ValueError, "length 3 or 4, got 5"),
    "all NaN": (GRAY * np.nan, {}, ValueError, "no finite pixel"),
    "mask shape": (GRAY, {"mask": np.full((3, 3), 0.5)}, TypeError, "mask must hold whole numbers"),
    "mask size": (GRAY, {"mask": np.ones((3, 3), bool)}, ValueError, r"\(24, 32\), got \(3, 3\)"),
    "mask hides all": (GRAY, {"mask": np.zeros((24, 32), bool)}, ValueError, "hides every pixel"),
}


@every_method
@pytest.mark.parametrize(("image", "options", "kind", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_one_sentence(method, image, options, kind, sentence):
    with pytest.raises(kind, match=sentence):
        segment(image, method, **options)


def test_methods_without_networks_need_no_torch():
    program = (
        "import sys, numpy as np, napari_mmtseg as m\n"
        "image = np.arange(100).reshape(10, 10)\n"
        "m.segment(image, m.KMeans(n_labels=2)), m.segment(image, m.Felzenszwalb())\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def _result(run):
    while True:
        try:
            next(run)
        except StopIteration as end:
            return end.value
