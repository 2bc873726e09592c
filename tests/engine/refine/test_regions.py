"""Regions by merging across weak borders."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from napari_mmtseg.engine.refine.regions import halving, regions
from napari_mmtseg.engine.refine.window_means import pooled_grid


def found(responses, weakest_border=0.7, spacing=None):
    """Find the regions and bring them to the resolution of the responses."""
    factors = halving(responses.ndim - 1, spacing)
    small = pooled_grid(torch.from_numpy(responses), factors)
    labels = regions(small, weakest_border, spacing).labels
    for axis, factor in enumerate(factors):
        labels = labels.repeat(factor, axis=axis)
    return labels[tuple(slice(n) for n in responses.shape[1:])]


def soft(values, centres, width):
    """Respond as clusters with these centres do: (*s) -> (K, *s), sums to 1."""
    centres = np.reshape(centres, (-1, *(1,) * values.ndim))
    found = np.exp(-((values - centres) ** 2) / (2 * width**2))
    return (found / found.sum(axis=0)).astype(np.float32)


@pytest.fixture
def blobs():
    y, x = np.mgrid[:90, :120]
    values = np.zeros((90, 120))
    for place, value in (((30, 30), 0.4), ((60, 80), 0.7), ((25, 90), 1.0)):
        values[np.hypot(y - place[0], x - place[1]) < 18] = value
    values += np.random.default_rng(0).normal(0, 0.02, values.shape)
    return soft(values, np.linspace(0, 1, 8), 0.1)


def test_two_flat_halves_are_two_regions():
    values = np.repeat([[0.0, 1.0]], 60, axis=0).repeat(40, axis=1)
    labels = found(soft(values, np.linspace(0, 1, 6), 0.1))
    assert_array_equal(labels, np.where(values == labels[0, 0], *((0, 1), (1, 0))[labels[0, 0]]))


def test_gradual_shading_stays_whole():
    values = np.repeat(np.linspace(0, 1, 200)[None], 120, axis=0)
    assert found(soft(values, np.linspace(0, 1, 8), 0.08)).max() == 0


def test_a_step_is_found_across_shading():
    values = np.linspace(0, 0.4, 120)[:, None] + 0.6 * (np.arange(160) >= 80)
    labels = found(soft(values, np.linspace(0, 1, 12), 0.05))
    assert labels.max() == 1
    assert (labels[:, 2:78] == labels[0, 0]).mean() > 0.98
    assert (labels[:, 82:-2] == labels[0, -1]).mean() > 0.98


def test_a_border_between_regions_that_are_alike_inside_is_weaker():
    ramps = np.repeat(np.tile(np.linspace(0, 1, 80), 2)[None], 96, axis=0)  # the second begins anew
    step = np.repeat(np.repeat([0.0, 1.0], 80)[None], 96, axis=0)
    centres = np.linspace(0, 1, 8)
    assert found(soft(ramps, centres, 0.1), 0.6).max() == 0
    assert found(soft(step, centres, 0.1), 0.6).max() == 1


def test_specks_are_absorbed_before_large_regions(blobs):
    speckled = blobs.copy()
    speckled[:, 70:72, 20:22] = np.eye(8, dtype=np.float32)[7][:, None, None]
    assert found(speckled, 0.5).max() == found(blobs, 0.5).max()


def test_textures_of_equal_mean_are_parted():
    y, x = np.mgrid[:96, :160]
    values = np.where(x < 80, y // 2 % 2, 0.5)  # stripes beside gray
    labels = found(soft(values, np.linspace(0, 1, 5), 0.1), 0.5)
    assert (labels[4:-4, 8:72] == labels[48, 40]).all()
    assert (labels[4:-4, 88:-8] == labels[48, 120]).all()
    assert labels[48, 40] != labels[48, 120]


def test_blobs_and_their_ground_are_the_regions_with_the_strongest_borders(blobs):
    labels = found(blobs, 0.5)
    assert labels.max() == 3
    assert len({labels[30, 30], labels[60, 80], labels[25, 90], labels[0, 0]}) == 4


def test_stronger_borders_leave_fewer_regions_each_made_of_whole_finer_ones(blobs):
    cuts = [found(blobs, border) for border in (2, 0.8, 0.5, 0.2, 0.05, 0)]
    counts = [int(labels.max()) + 1 for labels in cuts]
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert counts[-1] > 20
    for coarse, fine in itertools.pairwise(cuts):
        pairs = np.unique(np.stack([fine.ravel(), coarse.ravel()]), axis=1)
        assert pairs.shape[1] == fine.max() + 1
    for labels in cuts:
        assert len(np.unique(labels)) == labels.max() + 1


def test_the_order_of_the_clusters_does_not_matter(blobs):
    assert (found(blobs[::-1].copy()) == found(blobs)).mean() > 0.99


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2.5, 1, 1), (40, 1, 1)])
def test_a_ball_and_its_ground_are_two_regions_of_a_volume(spacing):
    z, y, x = np.mgrid[:48, :48, :48] - 23.5
    z = z[:: round(spacing[0])] if spacing[0] < 10 else z[20:28:2]
    y, x = y[: len(z)], x[: len(z)]
    truth = np.sqrt((z if spacing[0] < 10 else 0) ** 2 + y**2 + x**2) < 14
    labels = found(soft(truth * 1.0, np.linspace(0, 1, 4), 0.1), 0.4, spacing)
    assert labels.max() == 1
    inside = labels == labels[len(z) // 2, 24, 24]
    assert (inside & truth).sum() / (inside | truth).sum() > 0.75


def test_the_number_of_threads_does_not_matter(blobs):
    one = found(blobs, 0.1)
    try:
        torch.set_num_threads(2)
        assert_array_equal(found(blobs, 0.1), one)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (5, 5), (33, 50), (1, 5, 9), (4, 1, 3)])
@pytest.mark.parametrize("n_clusters", [1, 3])
def test_small_odd_and_flat_planes_are_one_region(shape, n_clusters):
    labels = found(np.full((n_clusters, *shape), 1 / n_clusters, np.float32))
    assert labels.shape == shape
    assert labels.max() == 0
