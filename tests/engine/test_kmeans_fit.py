"""k-means and gradient descent take the steps of the libraries that are not loaded for them."""

import numpy as np
import pytest
import torch
from skimage.data import astronaut, coins
from skimage.filters import gaussian
from sklearn.cluster import KMeans

from napari_mmtseg.engine.gradient_descent import Descent
from napari_mmtseg.engine.kmeans_fit import fit


def rows_of(image):
    """Return smoothed values, of which none is as near to one centre as to another."""
    smooth = gaussian(image, 2, channel_axis=2 if image.ndim == 3 else None)[::6, ::6]
    return smooth.reshape(-1, *image.shape[2:] or (1,)), np.arange(
        smooth.shape[0] * smooth.shape[1]
    ) % 7 + 1


@pytest.mark.parametrize("image", [astronaut(), coins()], ids=["RGB", "gray"])
@pytest.mark.parametrize("k", [1, 4, 24])
@pytest.mark.parametrize("seed", [0, 5])
def test_k_means_ends_where_scikit_learns_does(image, k, seed):
    rows, counts = rows_of(image)
    wanted = KMeans(k, n_init=1, random_state=seed).fit(rows, sample_weight=counts)
    centres, inertia = fit(rows, k, counts, seed)
    np.testing.assert_allclose(centres, wanted.cluster_centers_, atol=1e-6)
    assert inertia == pytest.approx(wanted.inertia_, rel=1e-6)


def test_k_means_starts_from_given_centres_and_leaves_none_without_rows():
    rows, _ = rows_of(astronaut())
    start = np.concatenate([rows[:3], [[7.0, 7, 7], [9, 9, 9]]])
    wanted = KMeans(5, init=start, n_init=1).fit(rows)
    centres, _ = fit(rows, start)
    np.testing.assert_allclose(centres, wanted.cluster_centers_, atol=1e-6)
    assert centres.max() < 1.01


def test_centres_on_equal_rows_stay():
    centres, inertia = fit(np.ones((5, 2)), np.array([[1.0, 1], [3, 3]]))
    np.testing.assert_array_equal(centres, [[1, 1], [3, 3]])
    assert inertia == 0


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_descent_takes_the_steps_of_torchs(momentum):
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    descent = Descent(ours.parameters(), 0.1, momentum)
    optimiser = torch.optim.SGD(theirs.parameters(), 0.1, momentum)
    for _ in range(5):
        given = torch.randn(8, 5)
        descent.step(ours(given).square().mean())
        optimiser.zero_grad()
        theirs(given).square().mean().backward()
        optimiser.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
