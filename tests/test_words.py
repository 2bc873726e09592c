"""What a person may well type: it works, or a sentence says what to type instead."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from napari_mmtseg import MMT, Kim, KMeans, ObjectIIC, group_objects, segment, train

TWO = KMeans(n_labels=2, smoothing_px=0.0)


def test_the_class_in_place_of_settings_is_told_apart_from_them(gray):
    with pytest.raises(TypeError, match=r"must be settings such as MMT\(\), .*: write MMT\(\)"):
        segment(gray, MMT)
    with pytest.raises(TypeError, match=r"write KMeans\(\)"):
        train(gray, KMeans)


def test_a_methods_name_in_place_of_settings_is_told_apart_from_them(gray):
    with pytest.raises(TypeError, match=r"must be settings such as MMT\(\), got 'MMT'"):
        segment(gray, "MMT")
    with pytest.raises(TypeError, match=r"such as MMT\(\), got 'UNet'"):
        segment(gray, "UNet")
    with pytest.raises(TypeError, match=r"such as MMT\(\), got 5"):
        segment(gray, 5)


def test_axes_may_be_a_list_of_letters(gray):
    expected = segment(gray, TWO)
    assert_array_equal(segment(gray, TWO, axes=["Y", "X"]), expected)
    assert_array_equal(segment(gray, TWO, axes=("y", "x")), expected)


def test_axes_that_are_no_letters_are_refused(gray):
    with pytest.raises(TypeError, match="axes must be letters such as 'ZYX', got 5"):
        segment(gray, TWO, axes=5)


@pytest.mark.parametrize("spacing", [5, "fine", [1, 1, None], [1, 1], [0, 1, 1], {}])
def test_a_voxel_size_that_is_none_is_refused(spacing):
    with pytest.raises(ValueError, match="three numbers above 0, along Z, Y and X"):
        segment(np.eye(4)[None], TWO, axes="ZYX", spacing=spacing)


def test_initial_weights_that_are_none_are_refused(gray):
    with pytest.raises(TypeError, match="must be arrays of numbers, got x=None: give an array"):
        train(gray, MMT(n_iterations=1), initial={"x": None})


def test_initial_weights_of_unknown_names_are_refused(gray):
    with pytest.raises(ValueError, match="weights do not fit the network: bn1"):
        train(gray, MMT(n_iterations=1, width=4), initial={"x": np.zeros(3)})


@pytest.mark.parametrize("initial", [{}, {"centres": np.zeros((2, 1))}])
def test_k_means_says_what_it_starts_from(gray, initial):
    with pytest.raises(ValueError, match=r"starts from initial=\{'clusters': centres\}, got"):
        train(gray, TWO, initial=initial)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.float64])
def test_a_tensor_of_pytorch_is_an_image(gray, dtype):
    tensor = torch.from_numpy(gray).to(dtype).requires_grad_(dtype.is_floating_point)
    assert_array_equal(segment(tensor, TWO), segment(gray, TWO))
    assert_array_equal(train(gray, TWO).predict(tensor), segment(gray, TWO))


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(8, 8, dtype=torch.bfloat16), torch.zeros(8, 8, device="meta")],
    ids=["bfloat16", "elsewhere"],
)
def test_a_tensor_that_numpy_cannot_take_is_refused(tensor):
    with pytest.raises(TypeError, match=r"cannot be read as an array of numbers: call \.float\(\)"):
        segment(tensor, TWO)


@pytest.mark.parametrize("what", ["image", "mask", "scribbles"])
def test_rows_of_different_lengths_are_refused(gray, what):
    given = {"image": gray, what: [[1, 2], [3]]}
    with pytest.raises(TypeError, match=f"{what} cannot be read .*: all rows must have the same"):
        segment(given.pop("image"), MMT(n_iterations=1, width=4), axes="YX", **given)


def test_an_object_number_that_is_too_large_is_refused(gray):
    objects = np.zeros(gray.shape, np.uint64)
    objects[2:8, 2:8], objects[12:18, 12:18] = 1, 2**63 + 5
    with pytest.raises(ValueError, match=rf"at most {2**63 - 1}, got {2**63 + 5}: number the"):
        group_objects(gray, objects, ObjectIIC(n_groups=2))


@pytest.mark.parametrize(
    ("dtype", "largest"), [("f2", 6e4), ("f4", 3e38), ("f8", 1.7e308), ("f8", 1.797e308)]
)
@pytest.mark.parametrize("lowest", [0, -1])
def test_the_largest_numbers_of_a_type_are_as_good_as_others(gray, dtype, largest, lowest):
    share = (gray > 100).astype(dtype)
    image = (share * largest + (1 - share) * lowest * largest).astype(dtype)
    assert_array_equal(segment(image, TWO) == 1, gray <= 100)
    assert_array_equal(segment(image, MMT(n_iterations=2, width=4)) > 0, True)


def test_channels_that_are_nowhere_finite_together_are_refused():
    image = np.full((2, 8, 8), np.nan)
    image[0, :4], image[1, 4:] = 1, np.arange(8)
    for method in (TWO, MMT(n_iterations=1, width=4), Kim(n_iterations=1, width=4)):
        with pytest.raises(ValueError, match="No pixel that counts is finite in all channels"):
            segment(image, method, axes="CYX")


def test_a_mask_of_pixels_that_are_not_finite_is_refused(gray):
    image = gray.astype(np.float32)
    image[:8] = np.nan
    with pytest.raises(ValueError, match="No pixel that counts is finite"):
        segment(image, TWO, mask=np.isnan(image))


def test_a_masked_pixel_counts_as_little_as_one_that_is_not_finite(gray):
    mask = np.zeros(gray.shape, bool)
    mask[:, 20:] = True
    spoilt = gray.astype(np.float32)
    spoilt[mask] = np.nan
    masked = np.ma.MaskedArray(np.where(mask, 255, gray), mask)
    labels = segment(masked, TWO)
    assert_array_equal(labels == 0, mask)
    assert_array_equal(labels, segment(spoilt, TWO))
