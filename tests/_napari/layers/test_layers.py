"""What is told of the labels of a layer."""

import numpy as np
from numpy.testing import assert_array_equal

from napari_mmtseg._napari.layers.layers import features


def test_pixels_are_counted_whatever_the_largest_label():
    for largest in (3, 2**31 - 1):
        table = features(np.array([[0, 1, 1], [largest, 1, 1]], np.int32))
        assert_array_equal(table["index"], [0, 1, largest])
        assert_array_equal(table["pixels"], [1, 4, 1])
