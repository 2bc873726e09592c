"""Kanezaki's superpixels and their refinement."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from napari_mmtseg import Kanezaki, Kim, segment, train
from napari_mmtseg.engine.kanezaki import refine
from napari_mmtseg.engine.working_sample import Batch

QUICK = {"n_iterations": 3, "width": 6, "n_blocks": 2}


def batch_of(superpixels, valid=None):
    superpixels = torch.as_tensor(superpixels)
    valid = torch.ones_like(superpixels, dtype=torch.bool) if valid is None else valid
    return Batch(torch.zeros(len(superpixels), 1, *superpixels.shape[1:]), valid, None, superpixels)


def test_each_superpixel_takes_its_most_common_label_the_smallest_of_equal_ones():
    superpixels = [[[0, 0, 1, 1], [0, 2, 1, 1]]]
    own = torch.tensor([[[3, 1, 2, 2], [3, 4, 0, 0]]])
    assert_array_equal(refine(own, batch_of(superpixels), 5), [[[3, 3, 0, 0], [3, 4, 0, 0]]])


def test_refinement_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    superpixels, own = rng.integers(0, 40, (2, 20, 30)), rng.integers(0, 7, (2, 20, 30))
    valid = rng.random((2, 20, 30)) < 0.9
    expected = np.empty_like(own)
    for plane in range(2):  # the planes of a batch have superpixels of their own
        for one in range(40):
            here = superpixels[plane] == one
            counts = np.bincount(own[plane][here & valid[plane]], minlength=7)
            expected[plane][here] = counts.argmax()
    batch = batch_of(superpixels, torch.from_numpy(valid))
    assert_array_equal(refine(torch.from_numpy(own), batch, 7)[valid], expected[valid])


def test_more_superpixels_than_pixels_are_refused(gray):
    with pytest.raises(ValueError, match=r"\(n_superpixels\) must be at most .* 768, got 1000:"):
        segment(gray, Kanezaki(n_superpixels=1000, reduction=1))
    with pytest.raises(ValueError, match=r"\(n_superpixels\) must be at most .* 192, got 768:"):
        segment(gray, Kanezaki(n_superpixels=768, reduction=2))


def test_as_many_superpixels_as_pixels_are_taken(gray):
    assert segment(gray, Kanezaki(n_superpixels=768, reduction=1, **QUICK)).min() == 1


def test_superpixels_can_be_given(gray):
    grid = np.add.outer(np.arange(24) // 4 * 8, np.arange(32) // 4) * 10 - 5  # any numbers do
    for reduction in (1, 3):
        method = Kanezaki(reduction=reduction, **QUICK)
        model = train(gray, method, superpixels=grid)
        assert model.predict(gray).shape == gray.shape
    with pytest.raises(ValueError, match="superpixels must have the shape"):
        train(gray, Kanezaki(), superpixels=grid[1:])
    with pytest.raises(ValueError, match="Kim uses no superpixels; choose Kanezaki"):
        train(gray, Kim(), superpixels=grid)


def test_stacks_train_on_crops_with_superpixels_of_their_own(gray):
    method = Kanezaki(crop_px=16, n_crops=3, **QUICK)
    labels = segment(
        np.stack([gray, gray[::-1], gray.T[:24, :24].repeat(2, 1)[:, :32]]), method, axes="ZYX"
    )
    assert labels.shape == (3, 24, 32)
