"""Borders drawn by local means."""

import torch
from napari_mmtseg.engine.sharpening import sharpened_groups

GROUPS = torch.tensor([0, 1])


def votes_of(foreground):
    share = foreground.float() * 0.9 + 0.05
    return torch.stack([1 - share, share])[None]


def test_a_border_moves_to_the_edge():
    pixels = torch.zeros(1, 1, 40, 40)
    pixels[..., 20:] = 1
    pixels += 0.02 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    found = sharpened_groups(
        votes_of(torch.arange(40).expand(40, 40) >= 18), GROUPS, pixels, 8, 0.1
    )
    assert torch.equal(found.argmax(1)[0].bool(), (torch.arange(40) >= 20).expand(40, 40))


def test_noise_is_left_alone():
    noise = torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    foreground = noise[0, 0] > 1.2
    found = sharpened_groups(votes_of(foreground), GROUPS, 0.1 * noise, 8, 0.1).argmax(1)[0].bool()
    assert torch.equal(found, foreground)
