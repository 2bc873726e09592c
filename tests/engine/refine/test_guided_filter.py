"""Probabilities that are guided by the image are even within things and end at their edges."""

import torch
from torch.testing import assert_close

from napari_mmtseg.engine.refine.guided_filter import guided, guided_reach


def scene():
    """A bright square, and noisy probabilities of three classes that hold its edges vaguely."""
    random = torch.Generator().manual_seed(0)
    square = torch.zeros(48, 56)
    square[14:34, 16:40] = 1
    noisy = torch.rand(2, 3, 48, 56, generator=random) + 0.5
    noisy[:, 0] += square
    return square, noisy / noisy.sum(1, keepdim=True)


def test_they_follow_the_image_and_sum_to_1():
    square, shares = scene()
    found = guided(shares, square[None], 3)
    assert_close(found.sum(1), torch.ones(2, 48, 56))
    assert found.min() >= 0
    inside = found[:, 0] > 0.41  # half way between the means of the two sides
    assert ((inside == (square > 0)).float().mean((1, 2)) > 0.97).all()
    assert (((shares[:, 0] > 0.41) == (square > 0)).float().mean((1, 2)) < 0.9).all()


def test_a_plain_image_averages_them():
    _, shares = scene()
    found = guided(shares, torch.full((2, 48, 56), 0.3), 3)
    assert (found.std((2, 3)) < 0.7 * shares.std((2, 3))).all()


def test_they_do_not_depend_on_the_block():
    square, shares = scene()
    whole = guided(shares, square[None], 1)
    margin = guided_reach(1) + 2 * 3  # as far as the intensity itself is smoothed
    part = (slice(4, 40), slice(6, 52))
    cut = guided(shares[:, :, *part], square[None, *part], 1)
    inner = (slice(margin, -margin), slice(margin, -margin))
    assert torch.equal(cut[:, :, *inner], whole[:, :, *part][:, :, *inner])
