"""A tiny folder of images with ground truth."""

import numpy as np
import pytest
from skimage.io import imsave


@pytest.fixture
def folder(tmp_path):
    """Three 24 x 24 images of a bright square each, in the layout of `folder` and `dsb2018`."""
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "labels").mkdir()
    rng = np.random.default_rng(0)
    for number, name in enumerate(("bright_a", "colour_b", "dark_c")):
        truth = np.zeros((24, 24), np.uint16)
        truth[4 + number : 14, 6:18] = 7
        image = np.where(truth > 0, 180, 60) + rng.integers(0, 20, truth.shape)
        pixels = np.repeat(image[..., np.newaxis], 3, axis=2).astype(np.uint8)
        imsave(data / "images" / f"{name}.png", pixels, check_contrast=False)
        imsave(data / "labels" / f"{name}.png", truth, check_contrast=False)
    return data
