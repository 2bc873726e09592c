"""Networks that start from the image."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from napari_mmtseg import MMT, segment
from napari_mmtseg.engine.initial_weights import start
from napari_mmtseg.engine.networks.convolution import winners
from napari_mmtseg.engine.working_sample import even_crops, working_sample
from napari_mmtseg.images.frames import Sample


def working_of(pixels, method):
    sample = Sample([pixels], [np.ones(pixels.shape[1:], bool)])
    return working_sample(sample, method, torch.device("cpu"))


def started(pixels, seed=0, **changes):
    method = MMT(seed=seed, **changes)
    working = working_of(pixels, method)
    networks = start(working, method, torch.Generator().manual_seed(seed), None, count=2)
    return [winners(network(working.planes[0].pixels))[0].numpy() for network in networks]


@pytest.fixture
def bars():
    values = np.repeat([0.1, 0.4, 0.7, 0.9], 16)[None].repeat(48, axis=0)
    return np.stack([values, values**2]).astype(np.float32)


def test_labels_make_sense_before_any_training(bars):
    first, second = started(bars, width=6)
    inside = np.arange(64) % 16
    kept = (inside > 3) & (inside < 12)
    truth = np.repeat(np.arange(4), 16)[None].repeat(48, axis=0)
    assert adjusted_rand_score(truth[:, kept].ravel(), first[:, kept].ravel()) == 1
    np.testing.assert_array_equal(first, second)


def test_more_channels_than_the_network_can_hand_on_are_projected(bars):
    many = np.concatenate([bars * weight for weight in np.linspace(0.2, 1, 9)])
    first, _ = started(many, width=6)
    assert len(np.unique(first[:, 4::16])) == 4


def test_the_seed_does_not_change_the_result_of_an_image():
    image = np.random.default_rng(0).random((70, 90)).cumsum(1) % 7
    one, other = (segment(image, MMT(seed=seed)) for seed in (0, 5))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("turn", [lambda x: x[..., ::-1], lambda x: x[..., ::-1, :]])
def test_the_labels_of_a_mirror_image_are_mirrored(turn):
    pixels = np.random.default_rng(0).random((2, 96, 80), np.float32).cumsum(1) % 1
    first, second = started(pixels, width=6)
    for labels, mirrored in zip(
        (first, second), started(turn(pixels).copy(), width=6), strict=True
    ):
        assert adjusted_rand_score(labels.ravel(), turn(mirrored).ravel()) > 0.99


def test_crops_lie_the_same_seen_from_either_end():
    working = working_of(np.random.default_rng(0).random((1, 101, 103), np.float32), MMT())
    crops = even_crops(working.planes, [16, 16], 16)
    seen = torch.stack([one.own_pixels for one in crops]).flip(-1).flatten(1)
    mirrored = working_of(working.planes[0].own_pixels[0].flip(-1).numpy(), MMT())
    found = torch.stack([one.own_pixels for one in even_crops(mirrored.planes, [16, 16], 16)])
    assert {tuple(one.tolist()) for one in found.flatten(1)} == {tuple(x.tolist()) for x in seen}
