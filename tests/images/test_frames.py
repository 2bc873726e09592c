"""Axes and intensity scaling."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_mmtseg.images.frames import Frames
from napari_mmtseg.images.scaling import Scaling


@pytest.mark.parametrize(
    ("shape", "axes", "n_planes", "plane_shape", "label_shape"),
    [
        ((6, 7), None, 1, (1, 6, 7), (6, 7)),
        ((6, 7), "XY", 1, (1, 7, 6), (6, 7)),
        ((6, 7), "yx", 1, (1, 6, 7), (6, 7)),
        ((6, 7, 3), "YXS", 1, (3, 6, 7), (6, 7)),
        ((6, 7, 4), "YXS", 1, (3, 6, 7), (6, 7)),  # alpha is dropped
        ((3, 6, 7), "ZYX", 3, (1, 6, 7), (3, 6, 7)),  # three planes are no colours
        ((3, 6, 7), "CYX", 1, (3, 6, 7), (6, 7)),
        ((6, 3, 7), "YCX", 1, (3, 6, 7), (6, 7)),
        ((5, 6, 7), "YXZ", 7, (1, 5, 6), (5, 6, 7)),
        ((2, 3, 6, 7), "TZYX", 6, (1, 6, 7), (2, 3, 6, 7)),
        ((2, 3, 6, 7), "TCYX", 2, (3, 6, 7), (2, 6, 7)),
        ((2, 3, 4, 6, 7), "TZCYX", 6, (4, 6, 7), (2, 3, 6, 7)),
    ],
    ids=str,
)
def test_axes_are_taken_as_named(shape, axes, n_planes, plane_shape, label_shape):
    planes = Frames(np.arange(np.prod(shape)).reshape(shape), axes)
    assert len(planes) == n_planes
    assert planes.read(0).shape == plane_shape
    assert planes.n_channels == plane_shape[0]
    assert planes.shape == label_shape
    assert planes.is_rgb == ("S" in (axes or "").upper())


def test_planes_hold_the_images_own_values():
    image = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    assert_array_equal(Frames(image, "TZCYX").read(5), image[1, 2])
    assert_array_equal(Frames(image, "TCYXZ").read(7), image[1, ..., 1])
    assert_array_equal(Frames(image[0, 0], "XYC").read(0), image[0, 0].transpose(2, 1, 0))


def test_lists_of_numbers_are_images():
    assert Frames([[1, 2], [3, 4]]).shape == (2, 2)


def test_percentiles_leave_hot_pixels_out():
    plane = np.linspace(100, 200, 10_000).reshape(1, 100, 100)
    plane[0, 0, 0] = 1e6
    scaling = Scaling.fit([plane], "percentile")
    assert_allclose([scaling.low[0], scaling.high[0]], [100, 200], atol=0.2)
    pixels, valid = scaling.apply(plane)
    assert pixels.dtype == np.float32
    assert pixels[0, 0, 0] == 1
    assert valid.all()
    assert_allclose(pixels[0, 50, 0], 0.5, atol=0.01)


def test_full_range_divides_8_bit_images_by_255():
    plane = np.array([[[0, 51], [102, 255]]], np.uint8)
    pixels, _ = Scaling.fit([plane], "full").apply(plane)
    assert_allclose(pixels, plane / 255, rtol=1e-6)
    wide = plane.astype(np.uint16) + 1000
    pixels, _ = Scaling.fit([wide], "full").apply(wide)
    assert_allclose([pixels.min(), pixels.max()], [0, 1])


def test_channels_have_a_range_each_and_colours_share_one():
    planes = [np.stack([np.linspace(0, 10, 100), np.linspace(0, 1000, 100)]).reshape(2, 10, 10)]
    alone, shared = (Scaling.fit(planes, "full", shared=s) for s in (False, True))
    assert_allclose(alone.high, [10, 1000])
    assert_allclose(shared.high, [1000, 1000])


def test_channels_that_do_not_vary_and_values_that_are_not_finite_become_0():
    plane = np.stack([np.full((4, 5), 7.0), np.arange(20.0).reshape(4, 5)])
    plane[1, 2, 3] = np.nan
    plane[0, 0, 1] = -np.inf
    pixels, valid = Scaling.fit([plane], "percentile").apply(plane)
    assert (pixels[0] == 0).all()
    assert pixels[1, 2, 3] == 0
    assert_array_equal(np.argwhere(~valid), [[0, 1], [2, 3]])


@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int64, np.float32, ">f8"])
def test_scaling_is_the_same_for_every_kind_of_number(dtype):
    plane = np.random.default_rng(0).integers(0, 4096, (1, 20, 30))
    expected, _ = Scaling.fit([plane], "percentile").apply(plane.astype(np.float64))
    given = plane.astype(dtype)
    pixels, _ = Scaling.fit([given], "percentile").apply(given)
    assert_allclose(pixels, expected, atol=1e-6)


def test_images_beside_the_image_must_fit_it():
    planes = Frames(np.zeros((3, 6, 7, 2)), "ZYXC")
    side = np.arange(126).reshape(3, 6, 7)
    assert_array_equal(planes.side_image(side, "mask"), side)
    with pytest.raises(
        ValueError, match=r"The mask must have the shape .*\(3, 6, 7\), got \(6, 7\)"
    ):
        planes.side_image(side[0], "mask")
    with pytest.raises(TypeError, match="The mask must hold whole numbers, got dtype float32"):
        planes.side_image(side.astype(np.float32) + 0.5, "mask")
    assert_array_equal(planes.side_image(side.astype(np.float32), "mask"), side)
