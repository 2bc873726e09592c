"""Felzenszwalb's regions."""

import numpy as np
from numpy.testing import assert_array_equal
from skimage.segmentation import felzenszwalb

from napari_mmtseg import Felzenszwalb, segment

METHOD = Felzenszwalb(scale=100, min_size=10, intensity="full")


def test_regions_are_scikit_images_numbered_by_size(rgb):
    labels = segment(rgb, METHOD, axes="YXS")
    expected = felzenszwalb(rgb, scale=100, sigma=0.8, min_size=10)
    pairs = np.unique(np.stack([labels.ravel(), expected.ravel()]), axis=1).T
    assert len(pairs) == labels.max() == expected.max() + 1
    assert (np.diff(np.bincount(labels.ravel())[1:]) <= 0).all()


def test_the_scale_means_the_same_whatever_the_images_units(gray):
    method = Felzenszwalb(scale=100, min_size=10)
    labels = segment(gray, method)
    assert labels.max() >= 3
    assert_array_equal(segment(gray * 100.0 - 7, method), labels)


def test_a_larger_scale_gives_fewer_regions(gray):
    counts = [segment(gray, Felzenszwalb(scale=s, min_size=1)).max() for s in (1, 30, 3000)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2]


def test_seven_channels_are_taken_without_a_warning(gray):
    assert segment(np.stack([gray] * 7), METHOD, axes="CYX").min() == 1


def test_ids_are_numbered_by_size_over_the_stack(gray):
    labels = segment(np.stack([gray, gray[::-1], gray // 2]), METHOD, axes="ZYX")
    counts = np.bincount(labels.ravel())
    assert counts[0] == 0
    assert (counts[1:] > 0).all()
    assert (np.diff(counts[1:]) <= 0).all()
