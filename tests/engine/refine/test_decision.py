"""Votes become clusters and disagreement at the image's resolution."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn import functional

from napari_mmtseg.engine.refine import refined, voting_grid
from napari_mmtseg.engine.refine.decision import by_label, decide, disagreement, pooled
from napari_mmtseg.engine.refine.region_votes import RegionVotes
from napari_mmtseg.engine.refine.regions import Regions
from napari_mmtseg.engine.refine.sharp_borders import favoured
from napari_mmtseg.engine.refine.window_means import doubled_smoothly, pooled_grid


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
    apart = by_label(voters[0] - voters[1], np.array([1, 5, 1]))
    found = disagreement(apart, (2, 2), (7, 8))
    assert_allclose(found, np.full((7, 8), 0.1), atol=1e-6)


def test_regions_vote_by_their_mean(votes):
    where = torch.arange(17 * 13).view(17, 13) // 40
    found = pooled(votes[:, 3], where.numpy())
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
    factors = voting_grid(0.1, 3, spacing)
    assert factors == (2 if spacing[0] < 2 else 1, 2, 2)
    smaller = torch.stack([pooled_grid(one, factors) for one in voters])
    found = refined(
        smaller,
        truth[None].float(),
        torch.tensor([0, 1]),
        vote_border=0.1,
        radius=(2, 4, 4),
        spacing=spacing,
    )
    whole = tuple(slice(0, n) for n in truth.shape)
    assert_array_equal(found.clusters(whole, (1, 1, 1), truth.shape), truth.numpy())
    part = (slice(3, 9), slice(7, 30), slice(20, 41))
    want = truth.numpy()[part]
    assert_array_equal(found.clusters(part, (1, 1, 1), want.shape), want)
    seen = tuple(slice(0, n) for n in smaller.shape[2:])
    unsure = found.uncertainty(seen, factors, truth.shape, np.array([1, 2]))
    assert unsure.max() == 0


@pytest.mark.parametrize(
    ("factors", "shape"), [((2, 2), (31, 44)), ((2, 2, 2), (9, 14, 17)), ((1, 2, 2), (6, 15, 12))]
)
@pytest.mark.parametrize("groups", [[0] * 6, [0, 1, 0, 1, 1, 0]])
def test_regions_have_the_winners_of_their_smooth_votes(factors, shape, groups):
    random = torch.Generator().manual_seed(2)
    small = [-(-n // f) for n, f in zip(shape, factors, strict=True)]
    labels = torch.randint(5, small, generator=random)
    table = torch.rand(5, 6, generator=random)
    regional = RegionVotes(Regions(labels.numpy(), table.numpy()), np.array(groups), factors, shape)
    totals = regional.totals()
    wanted = favoured(regional.votes(), torch.tensor(groups), totals).argmax(0).numpy()
    for seen in (tuple(slice(0, n) for n in shape), tuple(slice(1, n - 2) for n in shape)):
        won = totals[:, *seen].argmax(0).numpy()
        assert_array_equal(regional.winners(won, seen), wanted[seen])


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (1, 4), (8, 8)])
def test_boxes_are_averaged_as_pytorch_does(factors):
    values = torch.rand(3, 21, 30, generator=torch.Generator().manual_seed(3))
    want = functional.avg_pool2d(values, factors, ceil_mode=True, count_include_pad=False)
    torch.testing.assert_close(pooled_grid(values, factors), want)


def test_one_winner_everywhere_is_enlarged_too():
    votes = torch.tensor([0.9, 0.1])[:, None, None].expand(2, 3, 4)
    assert (decide(votes, (2, 3), (6, 12)) == 0).all()
