"""The features that pixels are described by."""

import pytest
import torch

from napari_mmtseg.engine.features import Features
from napari_mmtseg.engine.working_sample import with_margin

SMALL = {"n_scales": 2, "n_steps": 2, "n_contrasts": 1}


def described(pixels, **changes):
    features = Features(pixels.shape[1], pixels.ndim - 2, **(SMALL | changes))
    return features, features(with_margin(pixels, features.margin))


@pytest.fixture(params=[(2, 2, 33, 47), (1, 1, 9, 14, 17)], ids=["plane", "volume"])
def pixels(request):
    return torch.rand(request.param, generator=torch.Generator().manual_seed(0))


def test_every_pixel_has_every_feature_of_every_channel(pixels):
    features, found = described(pixels)
    assert found.shape == (len(pixels), features.width, *pixels.shape[2:])
    assert found.isfinite().all()
    assert features.width == len(features.of_texture) == 17 * pixels.shape[1]


def test_a_block_has_the_features_of_the_whole_to_the_last_bit(pixels):
    features, whole = described(pixels)
    seen = with_margin(pixels, features.margin)
    for first, side in ((0, 1), (1, 7), (3, 5)):
        block = (..., *(slice(first, first + side + 2 * features.margin),) * (pixels.ndim - 2))
        inner = (..., *(slice(first, first + side),) * (pixels.ndim - 2))
        assert torch.equal(features(seen[block]), whole[inner])


def test_mirroring_mirrors_the_features_to_the_last_bit(pixels):
    _, found = described(pixels)
    for axis in range(2, pixels.ndim):
        _, mirrored = described(pixels.flip(axis))
        assert torch.equal(mirrored.flip(axis), found)


def test_a_quarter_turn_turns_the_features(pixels):
    _, found = described(pixels)
    _, turned = described(pixels.rot90(1, (-2, -1)))
    torch.testing.assert_close(turned.rot90(-1, (-2, -1)), found, atol=1e-6, rtol=0)


def test_stripes_and_noise_of_equal_histograms_differ_in_texture_alone():
    places = torch.arange(64).expand(64, 64)
    stripes = (places // 4 % 2).float()
    noise = stripes.flatten()[torch.randperm(64 * 64, generator=torch.Generator().manual_seed(0))]
    both = torch.cat([stripes, noise.view(64, 64)], 1)[None, None]
    _, found = described(both, n_steps=4, n_contrasts=0)
    striped, noisy = found[0, :, 20:44, 20:44], found[0, :, 20:44, 84:108]
    apart = (striped.mean((1, 2)) - noisy.mean((1, 2))).abs()
    spread = striped.std((1, 2)) + noisy.std((1, 2))
    told = (apart > 2 * spread).view(2, 8)
    assert told[:, 4:].all(), "energies tell the textures apart"
    assert not told[:, :2].any(), "intensity and slope do not"


def test_a_plain_image_has_no_texture():
    _, found = described(torch.full((1, 1, 20, 20), 0.5))
    plain = torch.full((20, 20), 0.5)
    assert all(torch.equal(one, plain) for one in found[0, :16:8])
    assert not found[0, 1:8].any()
    assert not found[0, 9:].any()


def test_contrast_does_not_depend_on_light_and_gain():
    pixels = torch.rand(1, 1, 40, 50, generator=torch.Generator().manual_seed(0))
    _, found = described(pixels)
    _, dim = described(0.2 + 0.5 * pixels)
    torch.testing.assert_close(dim[:, -1], found[:, -1], rtol=0.1, atol=0.02)
    assert found[:, -1].std() > 0.2
