"""The IIC loss has the values that mutual information must have."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from napari_mmtseg.engine.iic.loss import displaced_joint, information_loss, lowest_loss


def _probabilities(*shape, seed=0, sharpness=3.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * sharpness).softmax(1)


def _one_hot(k, side=12):
    labels = torch.arange(side * side).view(1, side, side) % k
    return functional.one_hot(labels, k).movedim(-1, 1).float()


@pytest.mark.parametrize("k", [2, 3, 4, 6])
@pytest.mark.parametrize("collapsed", [False, True])
def test_equal_balanced_one_hot_views_give_minus_log_k(k, collapsed):
    views = _one_hot(k)
    assert information_loss(views, views, collapsed=collapsed) == pytest.approx(-math.log(k))
    for balance in (0.6, 1.0, 1.5):
        found = information_loss(views, views, collapsed=collapsed, balance=balance)
        assert found == pytest.approx(lowest_loss(k, balance))


@pytest.mark.parametrize("displacement", [0, 3])
@pytest.mark.parametrize("collapsed", [False, True])
def test_uniform_and_constant_outputs_give_zero(displacement, collapsed):
    uniform = torch.full((2, 5, 9, 8), 0.2)
    constant = torch.tensor([0.7, 0.2, 0.1, 0, 0]).view(1, 5, 1, 1).expand(2, 5, 9, 8)
    for views in (uniform, constant):
        loss = information_loss(views, views, displacement=displacement, collapsed=collapsed)
        assert loss == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("displacement", [1, 4, 9])
def test_the_joint_is_that_of_the_direct_convolution(displacement):
    first, second = (_probabilities(3, 4, 17, 22, seed=seed).double() for seed in (0, 1))
    direct = functional.conv2d(
        second.transpose(0, 1), first.transpose(0, 1), padding=displacement
    ).permute(2, 3, 1, 0)
    joint = displaced_joint(first, second, displacement)
    torch.testing.assert_close(joint, direct, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("displacement", [(2, 2, 2), (0, 3, 1), (1, 0, 0), (0, 0, 0)])
def test_so_is_that_of_a_volume_with_a_displacement_along_each_axis(displacement):
    first, second = (_probabilities(2, 3, 5, 8, 7, seed=seed).double() for seed in (0, 1))
    direct = functional.conv3d(
        second.transpose(0, 1), first.transpose(0, 1), padding=displacement
    ).permute(2, 3, 4, 1, 0)
    joint = displaced_joint(first, second, displacement)
    assert joint.shape == (*(2 * d + 1 for d in displacement), 3, 3)
    torch.testing.assert_close(joint, direct, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("collapsed", [False, True])
def test_a_volume_of_one_plane_has_the_loss_of_the_plane(collapsed):
    first, second = (_probabilities(2, 3, 10, 9, seed=seed) for seed in (0, 1))
    mask = torch.rand(2, 10, 9) > 0.3
    flat = information_loss(first, second, mask, displacement=2, collapsed=collapsed)
    deep = [one.unsqueeze(-3) for one in (first, second, mask)]
    found = information_loss(*deep, displacement=(0, 2, 2), collapsed=collapsed)
    torch.testing.assert_close(found, flat)


@pytest.mark.parametrize("displacement", [0, 2])
def test_gradients_agree_with_finite_differences(displacement):
    first, second = (_probabilities(2, 3, 6, 5, seed=s, sharpness=1).double() for s in (0, 1))

    def loss(first, second):
        return information_loss(first, second, displacement=displacement)

    assert torch.autograd.gradcheck(loss, (first.requires_grad_(), second.requires_grad_()))


def test_clusters_that_never_meet_teach_nothing():
    first = _one_hot(2).requires_grad_()
    loss = information_loss(first, first.detach(), displacement=1)
    apart = torch.zeros(1, 2, 12, 12)
    apart[:, 0, :, :5], apart[:, 1, :, 7:] = 1, 1
    joint = displaced_joint(apart, apart, 1)
    assert (joint[..., 0, 1] == 0).all()
    loss.backward()
    assert first.grad.isfinite().all()


@pytest.mark.parametrize("displacement", [0, 3])
def test_masked_pixels_have_no_influence(displacement):
    first, second = (_probabilities(2, 3, 10, 10, seed=seed) for seed in (0, 1))
    mask = torch.ones(2, 10, 10, dtype=torch.bool)
    mask[0, 2:5, 3:9] = False
    loss = information_loss(first, second, mask, displacement=displacement)
    other = torch.where(mask[:, None], first, _probabilities(2, 3, 10, 10, seed=7))
    assert information_loss(other, second, mask, displacement=displacement) == loss


def test_a_mask_without_pixels_gives_zero_and_no_gradient():
    first = _probabilities(1, 3, 8, 8).requires_grad_()
    loss = information_loss(first, first.detach(), torch.zeros(1, 8, 8), displacement=2)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert (first.grad == 0).all()


def test_the_order_of_the_views_does_not_matter():
    first, second = (_probabilities(2, 4, 9, 9, seed=seed) for seed in (0, 1))
    there = information_loss(first, second, displacement=2)
    back = information_loss(second, first, displacement=2)
    torch.testing.assert_close(there, back)


def test_more_balance_favours_clusters_of_equal_size():
    even = _one_hot(2)
    uneven = torch.zeros(1, 2, 12, 12)
    uneven[:, 0, :, :2], uneven[:, 1, :, 2:] = 1, 1
    gaps = [
        information_loss(uneven, uneven, balance=b) - information_loss(even, even, balance=b)
        for b in (1.0, 1.5)
    ]
    assert gaps[1] > gaps[0] > 0
