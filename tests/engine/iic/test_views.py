"""Second views of a place: flipped, turned and lit otherwise."""

import pytest
import torch

from napari_mmtseg.engine.iic import views
from napari_mmtseg.engine.iic.view_pairs import on_grid


@pytest.mark.parametrize("code", range(views.N_TURNS))
@pytest.mark.parametrize("shape", [(1, 3, 6, 6), (1, 2, 5, 8)])
def test_every_turn_composed_with_its_inverse_is_exact(code, shape):
    pixels = torch.randn(shape)
    assert torch.equal(views.turn_back(views.turn(pixels, [code]), [code]), pixels)


def test_the_turns_are_eight_different_ones():
    square = torch.arange(9.0).view(1, 1, 3, 3)
    turned = {tuple(views.turn(square, [code]).flatten().tolist()) for code in range(8)}
    assert len(turned) == 8


def test_turning_commutes_with_the_coarser_grid():
    weight = (torch.rand(1, 8, 8) > 0.5).float()
    for code in range(views.N_TURNS):
        there = on_grid(views.turn(weight, [code]), (2, 2))
        assert torch.equal(there, views.turn(on_grid(weight, (2, 2)), [code]))


def test_the_turns_of_a_cube_are_forty_eight_different_ones_that_can_be_undone():
    cube = torch.arange(27.0).view(1, 3, 3, 3)
    codes = views.turns(("a", "a", "a"))
    turned = {tuple(views.turn(cube, [code]).flatten().tolist()) for code in codes}
    assert len(turned) == len(codes) == 48
    pixels = torch.randn(1, 2, 3, 4, 5)
    for code in codes:
        assert torch.equal(views.turn_back(views.turn(pixels, [code]), [code]), pixels)


@pytest.mark.parametrize(
    ("kinds", "number"), [("aa", 8), ("ab", 4), ("aaa", 48), ("abb", 16), ("aab", 16), ("abc", 8)]
)
def test_axes_are_exchanged_only_where_voxels_are_square(kinds, number):
    codes = views.turns(tuple(kinds))
    assert len(codes) == len(set(codes)) == number
    assert codes[0] == 0
    box = torch.rand(1, *("abc".index(kind) + 2 for kind in kinds))
    assert {views.turn(box, [code]).shape for code in codes} == {box.shape}


def test_light_changes_stay_in_range_and_zero_changes_nothing():
    pixels = torch.rand(4, 3, 8, 8)
    generator = torch.Generator().manual_seed(0)
    changed = views.relight(pixels, 1.0, True, generator)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.equal(changed, pixels)
    assert torch.equal(views.relight(pixels, 0.0, True, generator), pixels)
