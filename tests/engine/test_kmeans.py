"""k-means on pixels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_mmtseg import KMeans, segment, train

SHARP = {"smoothing_px": 0, "intensity": "full"}


def test_groups_of_equal_value_are_found_exactly():
    image = np.repeat(np.array([[0, 90, 255]], np.uint8), 4, axis=0).repeat([6, 4, 2], axis=1)
    labels = segment(image, KMeans(n_labels=3, **SHARP))
    assert_array_equal(labels, np.select([image == 0, image == 90], [1, 2], 3))


def test_k_is_lowered_with_a_note_when_there_are_fewer_values(gray):
    with pytest.warns(UserWarning, match=r"2 different values, fewer .* \(n_labels\), 5"):
        labels = segment(gray > 100, KMeans(n_labels=5, **SHARP))
    assert labels.max() == 2


def test_the_centres_are_the_means_of_their_pixels(gray):
    model = train(gray, KMeans(n_labels=2, **SHARP))
    labels = model.predict(gray)
    for cluster, label in enumerate(model.label_of()):
        assert_allclose(model.colours[cluster, 0], gray[labels == label].mean() / 255, atol=1e-6)
    assert_allclose(np.sort(model.weights["clusters"]), np.sort(model.colours), atol=1e-6)


def test_lab_and_rgb_see_colours_differently(rgb):
    models = [train(rgb, KMeans(colour=space, **SHARP), axes="YXS") for space in ("lab", "rgb")]
    assert bool(models[0].weights["lab"])
    assert not bool(models[1].weights["lab"])
    labels = models[0].predict(rgb, axes="YXS")
    assert len({labels[9, 9], labels[14, 23], labels[0, 0]}) == 3  # red, blue, ground


def test_position_splits_what_intensity_cannot(gray):
    binary = (gray > 100).astype(np.uint8)
    near = segment(binary, KMeans(n_labels=3, position_weight=3.0, smoothing_px=0))
    assert near[9, 9] != near[14, 23]


def test_smoothing_quietens_noise(gray):
    noisy = gray + np.random.default_rng(0).normal(0, 60, gray.shape)

    def borders(smoothing):
        method = KMeans(n_labels=2, smoothing_px=smoothing, smallest_px=1)
        return (np.diff(segment(noisy, method)) != 0).sum()

    assert borders(2) < borders(0) / 2


def test_a_pixels_cluster_does_not_depend_on_the_rest_of_the_plane(rgb):
    model = train(rgb, KMeans(n_labels=6, smoothing_px=0, smallest_px=1), axes="YXS")
    whole = model.predict(rgb, axes="YXS")
    parts = [model.predict(rgb[:, x : x + 8], axes="YXS") for x in range(0, 32, 8)]
    assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_centres_to_start_from_can_be_given(gray):
    centres = np.array([[0.1], [0.8]])
    model = train(gray, KMeans(n_labels=2, **SHARP), initial={"clusters": centres})
    assert model.n_clusters == 2


def test_stopping_keeps_the_best_restart_so_far(gray):
    losses = []
    train(gray, KMeans(n_labels=8, n_restarts=5), on_step=lambda step: losses.append(step.loss))
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True)
