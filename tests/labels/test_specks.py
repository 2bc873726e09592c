import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.ndimage import gaussian_filter
from skimage.measure import label

from napari_mmtseg import KMeans, segment, train
from napari_mmtseg.labels.specks import without_specks


def smallest_piece(labels):
    pieces = label(labels + 1, background=0, connectivity=1)
    return np.bincount(pieces.ravel())[1:].min()


def halves(shape=(20, 30)):
    clusters = np.zeros(shape, np.int16)
    clusters[:, shape[1] // 2 :] = 1
    return clusters


def test_a_speck_takes_the_cluster_that_it_touches_most():
    clusters = halves()
    clusters[5, 14] = 2  # three of its sides touch 0
    assert_array_equal(without_specks(clusters, 6), halves())


def test_pieces_of_the_least_size_stay():
    clusters = halves()
    clusters[5, 2:8] = 1
    clusters[9, 2:7] = 1
    found = without_specks(clusters, 6)
    assert (found[5, 2:8] == 1).all()
    assert (found[9, 2:7] == 0).all()


def test_a_speck_in_a_corner_goes_too():
    clusters = halves()
    corner = clusters.copy()
    corner[:2, -2:] = corner[2, -1] = 0  # five pixels
    assert_array_equal(without_specks(corner, 6), clusters)
    corner[3, -1] = 0  # and a sixth
    assert_array_equal(without_specks(corner, 6), corner)


@pytest.mark.parametrize("shape", [(64, 64), (9, 24, 24)])
def test_noise_leaves_no_speck(shape):
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 2, shape).astype(np.int16) * rng.integers(0, 3, shape).astype("i2")
    clusters[..., :10] = 5
    found = without_specks(clusters, 6)
    assert smallest_piece(clusters) < 6 <= smallest_piece(found)


def test_no_speck_lies_across_the_border_of_tiles(monkeypatch):
    monkeypatch.setattr("napari_mmtseg.engine.kmeans._TILE_SIDE", {2: 16, 3: 16})
    image = gaussian_filter(np.random.default_rng(0).random((64, 80)), 1)
    model = train(image, KMeans(n_labels=3))
    assert max(model.tile_px) == 16
    assert smallest_piece(model.predict(image)) >= 6


def test_none_is_given_to_nothing():
    clusters = halves()
    clusters[5, 3] = -1
    clusters[10, 3:5] = 2
    clusters[9, 2:6] = clusters[11, 2:6] = clusters[10, [2, 5]] = -1
    found = without_specks(clusters, 6)
    assert_array_equal(found, clusters)


def test_single_pixels_stay_where_the_user_asks_for_it():
    image = np.zeros((40, 40))
    image[:, 20:] = 1
    image[10, 10] = 1
    plain = {"n_labels": 2, "smoothing_px": 0.0, "vote_border": 0.0}
    assert segment(image, KMeans(**plain))[10, 10] == segment(image, KMeans(**plain))[9, 9]
    kept = segment(image, KMeans(**plain, smallest_px=1))
    assert kept[10, 10] != kept[9, 9]
