"""The noise of an image is measured whatever lies in it."""

import numpy as np
import pytest
from scipy import ndimage

from napari_mmtseg.labels.noise import noise_of


def spots(shape):
    """Return bright spots with clear borders, over a third of the image."""
    grid = np.indices(shape)
    away = sum((axis % 24 - 12.0) ** 2 for axis in grid)
    return ndimage.gaussian_filter(np.where(away < 8**2, 200.0, 40.0), 1)


@pytest.mark.parametrize("sigma", [5.0, 20.0, 80.0])
@pytest.mark.parametrize("shape", [(200, 220), (12, 90, 90)])
def test_noise_on_objects_is_measured_within_a_tenth(sigma, shape):
    image = spots(shape) + np.random.default_rng(1).normal(0, sigma, shape)
    assert noise_of(image) == pytest.approx(sigma, rel=0.1)


def test_an_image_without_noise_has_next_to_none():
    assert noise_of(spots((200, 220))) < 1
    assert noise_of(np.add.outer(np.arange(50.0), 3 * np.arange(60.0))) == pytest.approx(
        0, abs=1e-9
    )


def test_pixels_that_are_not_finite_do_not_count():
    image = np.random.default_rng(2).normal(0, 10, (100, 100))
    image[:20], image[50, 50] = np.nan, np.inf
    assert noise_of(image) == pytest.approx(10, rel=0.1)
    assert noise_of(np.full((20, 20), np.nan)) == 0


def test_an_image_too_small_to_tell_has_no_noise():
    assert noise_of(np.arange(20.0).reshape(2, 10)) == 0
