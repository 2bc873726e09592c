"""Borders drawn by local means."""

import pytest
import torch

from napari_mmtseg.engine.refine.sharp_borders import sharpened, sharpened_groups
from napari_mmtseg.engine.voter_prediction import sharpening_radius
from napari_mmtseg.methods import MMT

GROUPS = torch.tensor([0, 1])


def votes_of(foreground):
    share = foreground.float() * 0.9 + 0.05
    return torch.stack([1 - share, share])


def test_a_border_moves_to_the_edge():
    pixels = torch.zeros(1, 40, 40)
    pixels[..., 20:] = 1
    pixels += 0.02 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    found = sharpened_groups(
        votes_of(torch.arange(40).expand(40, 40) >= 18), GROUPS, pixels, (8, 8), 0.1
    )
    assert torch.equal(found.argmax(0).bool(), (torch.arange(40) >= 20).expand(40, 40))


def test_noise_is_left_alone():
    noise = torch.randn(1, 40, 40, generator=torch.Generator().manual_seed(0))
    foreground = noise[0] > 1.2
    found = (
        sharpened_groups(votes_of(foreground), GROUPS, 0.1 * noise, (8, 8), 0.1).argmax(0).bool()
    )
    assert torch.equal(found, foreground)


@pytest.mark.parametrize("radius", [5, 24])
def test_wide_windows_on_a_coarser_grid_find_the_same_edge(radius):
    y, x = torch.meshgrid(torch.arange(90), torch.arange(110), indexing="ij")
    truth = (y - 40) ** 2 + (x - 60) ** 2 < 25**2
    blunt = (y - 40) ** 2 + (x - 60) ** 2 < 29**2
    pixels = 0.2 + 0.6 * truth[None] + 0.0002 * x
    found = sharpened(votes_of(blunt), pixels, (radius, radius)).argmax(0).bool()
    assert (found != truth).float().mean() < 0.002


def test_a_volume_of_equal_planes_is_sharpened_as_its_planes_are():
    pixels = torch.rand(2, 20, 30, generator=torch.Generator().manual_seed(0))
    votes = votes_of(torch.arange(30).expand(20, 30) >= 13)
    flat = sharpened(votes, pixels, (4, 4))
    deep = [one[:, None].expand(-1, 5, -1, -1) for one in (votes, pixels)]
    for radius in ((0, 4, 4), (2, 4, 4)):
        found = sharpened(*deep, radius)
        torch.testing.assert_close(found, flat[:, None].expand(-1, 5, -1, -1), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("wanted_px", "step_px", "votes"), [(28, 1.0, 28), (28, 8.0, 3), (3, 8.0, 1), (0, 1.0, 0)]
)
def test_a_window_smaller_than_a_vote_is_one_and_none_stays_none(wanted_px, step_px, votes):
    method = MMT(sharpening_px=wanted_px)
    assert sharpening_radius(method, [step_px, step_px]) == (votes, votes)
