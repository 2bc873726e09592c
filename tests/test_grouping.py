"""Objects are sorted into groups that look alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_mmtseg import ObjectIIC, group_objects
from napari_mmtseg.engine.iic import objects as object_iic
from napari_mmtseg.grouping import Groups, crop_objects, group_objects_steps
from napari_mmtseg.images.frames import Frames

QUICK = ObjectIIC(n_iterations=3, width=2, n_heads=2, n_restarts=1)


def two_kinds(n=5, cell=28, seed=0):
    """Make n x n discs and bars of like area and brightness in any direction, and their kinds."""
    random = np.random.default_rng(seed)
    image, objects = np.zeros((n * cell, n * cell)), np.zeros((n * cell, n * cell), int)
    kinds = random.permutation(np.arange(n * n) % 2)
    y, x = np.mgrid[:cell, :cell] - cell / 2
    for number, kind in enumerate(kinds):
        angle = random.uniform(0, np.pi)
        along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
        radii = np.array([(8, 8), (12, 5)][kind]) * random.uniform(0.9, 1.1, 2)
        inside = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 < 1
        rows, columns = divmod(number, n)
        here = np.s_[rows * cell : (rows + 1) * cell, columns * cell : (columns + 1) * cell]
        image[here][inside], objects[here][inside] = random.uniform(0.6, 1), number + 3
    return image + random.normal(0, 0.03, image.shape), objects, kinds


def purity(groups, kinds):
    best = [np.bincount(kinds[groups == group]).max() for group in np.unique(groups)]
    return sum(best) / len(kinds)


@pytest.fixture(scope="module")
def cells():
    return two_kinds()


def test_two_kinds_of_objects_are_told_apart():
    image, objects, kinds = two_kinds(n=5, seed=1)
    groups = group_objects(image, objects, ObjectIIC(n_iterations=40, width=8))
    assert purity(groups.groups, kinds) >= 0.95


def test_each_object_gets_a_group_and_the_image_is_left_alone(cells):
    image, objects, _ = cells
    before = image.copy(), objects.copy()
    result = group_objects(image, objects, QUICK)
    assert np.array_equal(result.ids, np.unique(objects)[1:])
    assert set(result.groups) <= {1, 2}
    assert (np.diff(np.bincount(result.groups)[1:]) <= 0).all()
    assert ((result.confidence > 0) & (result.confidence <= 1)).all()
    labels = result.labels(objects)
    assert (labels[objects == 0] == 0).all()
    for number, group in zip(result.ids, result.groups, strict=True):
        assert (labels[objects == number] == group).all()
    assert np.array_equal(image, before[0])
    assert np.array_equal(objects, before[1])


def test_the_same_seed_gives_the_same_groups(cells):
    image, objects, _ = cells
    first, again = (group_objects(image, objects, QUICK) for _ in range(2))
    assert np.array_equal(first.groups, again.groups)
    assert np.array_equal(first.confidence, again.confidence)


def test_stopping_early_keeps_the_groups_and_a_passing_look_is_usable(cells):
    image, objects, _ = cells
    run = group_objects_steps(image, objects, QUICK)
    step = next(run)
    assert (step.done, step.total) == (1, 3)
    assert isinstance(step.snapshot(), Groups)
    with pytest.raises(StopIteration) as end:
        run.send(True)
    assert len(end.value.value.ids) == 25


def test_training_starts_again_until_a_loss_is_good_or_the_restarts_are_used_up(cells, monkeypatch):
    image, objects, _ = cells
    done = []
    method = dataclasses.replace(QUICK, n_restarts=3)
    group_objects(image, objects, method, on_step=lambda step: done.append(step.done))
    assert done == list(range(1, 10))
    monkeypatch.setattr(object_iic, "lowest_loss", lambda k, balance: 0.0)
    done.clear()
    group_objects(image, objects, method, on_step=lambda step: done.append(step.done))
    assert done == [1, 2, 3]


def test_objects_rotate_by_any_angle_about_their_middle():
    crops = torch.zeros(50, 2, 21, 21)
    crops[:, :, 10, 4:17] = 1  # a line through the middle
    turned = object_iic._rotated(crops, torch.Generator().manual_seed(0))
    assert (turned[:, :, 10, 10] > 0.9).all()
    torch.testing.assert_close(turned[:, 0], turned[:, 1])
    assert (turned[:, 0, 2:19, 2:19].sum((1, 2)) - 13).abs().max() < 2
    slanted = turned[:, 0, 4:9, 4:9].amax((1, 2)) > 0.5
    assert 0.2 < slanted.float().mean() < 0.8


def test_colours_stacks_and_restarts(cells):
    image, objects, _ = cells
    colour = np.stack([image] * 3, -1)
    method = ObjectIIC(n_iterations=2, width=2, n_heads=1, n_restarts=2, surroundings=True)
    assert len(group_objects(colour, objects, method, axes="YXS").ids) == 25
    stack, numbers = (
        np.stack([image, image]),
        np.stack([objects, np.where(objects > 9, objects, 0)]),
    )
    assert len(group_objects(stack, numbers, QUICK, axes="ZYX").ids) == 25


def test_an_object_is_seen_where_it_is_largest():
    image, objects = np.zeros((2, 20, 20)), np.zeros((2, 20, 20), int)
    image[0], image[1] = 1, 2
    objects[0, 2:4, 2:4], objects[1, 2:8, 2:8] = 5, 5
    objects[0, 12:18, 12:18] = 9
    _, crops = crop_objects(Frames(image, "ZYX"), objects, ObjectIIC())
    assert crops[0, 0].max() == 1
    assert crops[1, 0].max() == 0


def test_objects_at_the_border_are_kept_and_padded():
    image, objects = np.full((20, 30), 5.0), np.zeros((20, 30), int)
    image[0, 0] = 0
    objects[:4, :4], objects[16:, 26:], objects[8:12, 10:14] = 1, 2, 3
    ids, crops = crop_objects(
        Frames(image), objects[None], ObjectIIC(crop_px=32, surroundings=True)
    )
    assert ids.tolist() == [1, 2, 3]
    assert (crops[:, -1].sum((1, 2)) == 16).all()
    assert crops[0, 0, :14].max() == 0
    assert crops[2, 0, 14:18, 14:18].min() == 1


def test_fewer_objects_than_groups_are_refused(cells):
    image, objects, _ = cells
    with pytest.raises(ValueError, match=r"fewer objects \(25\) than groups \(n_groups 26\)"):
        group_objects(image, objects, ObjectIIC(n_groups=26))
    with pytest.raises(ValueError, match=r"fewer objects \(0\)"):
        group_objects(image, np.zeros_like(objects))


def test_objects_of_another_shape_or_type_are_refused(cells):
    image, objects, _ = cells
    with pytest.raises(ValueError, match="shape of the image"):
        group_objects(image, objects[:-1], QUICK)
    with pytest.raises(TypeError, match="whole numbers"):
        group_objects(image, objects + 0.5, QUICK)
