"""Connected pieces of labels."""

import numpy as np
from numpy.testing import assert_array_equal

from napari_mmtseg import MMT, segment
from napari_mmtseg.labels.pieces import pieces


def test_pieces_are_numbered_by_size_and_nothing_stays_nothing():
    labels = np.array([[1, 1, 2, 0], [2, 1, 2, 1], [2, 2, 2, 1]], np.int32)
    assert_array_equal(pieces(labels), [[2, 2, 1, 0], [1, 2, 1, 3], [1, 1, 1, 3]])


def test_no_two_planes_share_a_piece():
    found = pieces(np.ones((2, 3, 4), np.int32))
    assert_array_equal(np.unique(found), [1, 2])
    assert found[0, 0, 0] != found[1, 0, 0]


def test_areas_part_what_classes_join():
    image = np.full((60, 90), 0.1)
    image[15:45, 10:35] = image[15:45, 55:80] = 0.9
    image += np.random.default_rng(0).normal(0, 0.01, image.shape)
    classes, areas = (segment(image, MMT(output=output)) for output in ("classes", "areas"))
    assert classes[30, 22] == classes[30, 67] != classes[5, 45]
    assert len({areas[30, 22], areas[30, 67], areas[5, 45]}) == 3
