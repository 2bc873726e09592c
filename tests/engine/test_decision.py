"""Votes become clusters and disagreement at the image's resolution."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn import functional

from napari_mmtseg.engine.refine import refined
from napari_mmtseg.engine.refine.decision import decide, disagreement, pooled
from napari_mmtseg.engine.refine.windows import doubled_smoothly


@pytest.fixture
def votes():
    """Votes of 5 clusters that win in patches, with noise at some places: (5, 12, 17, 13)."""
    random = torch.Generator().manual_seed(0)
    rough = torch.rand(1, 5, 4, 5, 4, generator=random)
    return functional.interpolate(rough, (12, 17, 13), mode="trilinear")[0]


def enlarged(votes, factor, shape):
    mode = "bilinear" if votes.ndim == 3 else "trilinear"
    whole = functional.interpolate(votes[None], scale_factor=factor, mode=mode)[0]
    return whole[:, *(slice(n) for n in shape)].numpy()


@pytest.mark.parametrize(("factor", "shape"), [((1, 1), (17, 13)), ((3, 3), (50, 37))])
def test_the_winner_of_a_plane_is_that_of_its_enlarged_votes(votes, factor, shape):
    plane = votes[:, 4]
    want = enlarged(plane, tuple(map(float, factor)), shape).argmax(0)
    assert_array_equal(decide(plane, factor, shape), want)


@pytest.mark.parametrize(
    ("factor", "shape"), [((2, 2, 2), (23, 34, 25)), ((1, 4, 4), (12, 66, 51))]
)
def test_the_winner_in_a_volume_is_that_of_its_enlarged_votes(votes, factor, shape):
    want = enlarged(votes, tuple(map(float, factor)), shape).argmax(0)
    assert (decide(votes, factor, shape) == want).mean() > 0.9999


def test_disagreement_is_the_variation_distance_between_the_voters_labels():
    voters = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])[:, :, None, None].expand(-1, -1, 4, 4)
    found = disagreement(voters, (2, 2), (7, 8), np.array([1, 5, 1]))
    assert_allclose(found, np.full((7, 8), 0.1), atol=1e-6)


def test_regions_vote_by_their_mean(votes):
    where = torch.arange(17 * 13).view(17, 13) // 40
    found = pooled(votes[:, 3], where)
    for region in range(6):
        here = where == region
        want = votes[:, 3][:, here].mean(1, keepdim=True).expand(-1, int(here.sum()))
        torch.testing.assert_close(found[:, here], want)


@pytest.mark.parametrize("shape", [(8, 10), (9, 7), (3, 1)])
def test_stairs_are_smoothed_as_by_a_mean_over_five_pixels(shape):
    small = torch.rand(2, *(-(-n // 2) for n in shape), generator=torch.Generator().manual_seed(1))
    stairs = small.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, : shape[0], : shape[1]]
    want = functional.avg_pool2d(stairs, 5, 1, 2, count_include_pad=False)
    found = doubled_smoothly(small, (2, 2), shape)
    torch.testing.assert_close(found[:, 2:-2, 2:-2], want[:, 2:-2, 2:-2])
    assert found.shape == stairs.shape


@pytest.mark.parametrize("spacing", [(1, 1, 1), (4, 1, 1)])
def test_a_volume_goes_through_the_whole_stage(spacing):
    truth = torch.zeros(16, 48, 48, dtype=torch.int64)
    truth[4:12, 12:36, 12:36] = 1
    voters = torch.stack([0.1 + 0.8 * (truth == k) for k in (0, 1)])[None].repeat(2, 1, 1, 1, 1)
    found = refined(
        voters,
        truth[None].float(),
        torch.tensor([0, 1]),
        vote_border=0.1,
        radius=(2, 4, 4),
        spacing=spacing,
    )
    assert_array_equal(decide(found.votes, (1, 1, 1), (16, 48, 48)), truth.numpy())
    factors = (2 if spacing[0] < 2 else 1, 2, 2)
    assert found.reduction == factors
    unsure = disagreement(found.voters, factors, (16, 48, 48), np.array([1, 2]))
    assert unsure.max() == 0


def test_one_winner_everywhere_is_enlarged_too():
    votes = torch.tensor([0.9, 0.1])[:, None, None].expand(2, 3, 4)
    assert (decide(votes, (2, 3), (6, 12)) == 0).all()
