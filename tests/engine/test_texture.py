"""Texture counts where it tells areas apart and intensity does not."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from napari_mmtseg import MMT, load, metrics, segment, train
from napari_mmtseg.engine.texture import looked_at
from napari_mmtseg.engine.working_sample import working_sample
from napari_mmtseg.images.frames import Sample

QUICK = {"n_iterations": 1, "width": 6}


def fabric(side=144, sigmas=(0.5, 2)):
    """Fine beside coarse noise of equal histograms, and the truth: (side, side)."""
    noise = np.random.default_rng(0).normal(size=(2, side, side))
    fine, coarse = (
        rankdata(gaussian_filter(one, sigma)).reshape(one.shape)
        for one, sigma in zip(noise, sigmas, strict=True)
    )
    truth = np.where(np.arange(side) < side // 2, 1, 2)[None].repeat(side, axis=0)
    return (np.where(truth == 1, fine, coarse) / side**2).astype(np.float32), truth


def sees_texture(image, **changes):
    sample = Sample([image[None]], [np.ones(image.shape, bool)])
    method = MMT(**changes)
    working = working_sample(sample, method, torch.device("cpu"))
    return looked_at(working, method).axes_of_texture is not None


def test_textures_of_equal_histograms_are_told_apart_without_being_asked():
    image, truth = fabric()
    labels = segment(image, MMT(n_labels=2, **QUICK))
    assert metrics.hungarian_accuracy(labels, truth) > 0.85
    by_intensity = segment(image, MMT(n_labels=2, look_at="intensity", **QUICK))
    assert metrics.hungarian_accuracy(by_intensity, truth) < 0.75


def test_intensity_counts_where_it_parts_areas_or_nothing_does():
    image, truth = fabric()
    assert sees_texture(image)
    assert not sees_texture(image + truth), "two brightnesses"
    assert not sees_texture(image[:, :90]), "a small image"
    assert not sees_texture(np.random.default_rng(1).random((144, 144), np.float32)), "one texture"
    assert not sees_texture(image, output="objects")
    assert not sees_texture(image, start="random")
    assert not sees_texture(image, look_at="intensity")
    assert sees_texture(image + truth, look_at="texture")


def test_coarse_textures_count_though_their_grains_outlast_some_smoothing():
    image, truth = fabric(256, [4, (4, 20)])
    labels = segment(image, MMT(n_labels=2))
    assert metrics.hungarian_accuracy(labels, truth) > 0.8


@pytest.mark.parametrize("shape", [(70, 90), (8, 24, 26)], ids=["plane", "volume"])
def test_a_model_of_texture_gives_one_answer(shape, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_mmtseg.engine.voter_prediction._TILE_SIDE", {2: 32, 3: 16})
    image = np.random.default_rng(0).random(shape)
    axes = "ZYX"[-len(shape) :]
    method = MMT(look_at="texture", work_in="volume" if len(shape) == 3 else "planes", **QUICK)
    model = train(image, method, axes=axes)
    labels = model.predict(image, axes=axes)
    np.testing.assert_array_equal(segment(image, method, axes=axes), labels)
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(image, axes=axes), labels)
    assert model.traits.shape[1] != model.colours.shape[1]


def test_sparse_spots_are_no_texture_though_they_lie_together():
    random = np.random.default_rng(0)
    spots = np.zeros((160, 160))
    rows, columns = random.integers(8, 152, (2, 24))
    spots[rows, columns // 3] = 1
    image = gaussian_filter(spots, 1.6) * 12 + random.normal(0.05, 0.01, spots.shape)
    assert not sees_texture(image.clip(0, 1).astype(np.float32))
