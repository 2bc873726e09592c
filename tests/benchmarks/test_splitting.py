"""Touching objects split by networks that the image's own objects have taught."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks.quality.splitting import Scene, Teaching, certain, scene, train
from benchmarks.quality.splitting.clumps import cutouts, lesson
from benchmarks.quality.splitting.scenes import OBJECT_PX, ellipses
from benchmarks.quality.splitting.separating import separate
from benchmarks.quality.splitting.training import _drawn, _lessons

QUICK = Teaching(n_steps=60, lessons_per_step=4, n_lessons=60, device="cpu")
FEW = Teaching(n_steps=3, lessons_per_step=2, n_lessons=4, device="cpu")


def discs(centres, radius=8, shape=(160, 160)):
    y, x = np.indices(shape)
    return np.array([np.hypot(y - a, x - b) <= radius for a, b in centres])


def painted(objects):
    """Blurred discs as an image, their union, and the pieces of it."""
    foreground = objects.any(0)
    noise = np.random.default_rng(0).normal(0, 0.03, foreground.shape)
    contrast = ndimage.gaussian_filter(foreground.astype(float), 1) + noise
    return contrast.astype(np.float32), foreground, ndimage.label(foreground)[0]


@pytest.fixture(scope="module")
def lonely():
    contrast, foreground, labels = painted(
        discs([(a, b) for a in (25, 65, 105) for b in (30, 75, 120)])
    )
    return scene(contrast, foreground, [labels], OBJECT_PX)


def drained(training):
    while True:
        try:
            next(training)
        except StopIteration as end:
            return end.value


def test_a_round_object_is_trusted_and_a_clump_is_not():
    _, _, labels = painted(discs([(30, 30), (90, 60), (90, 74), (104, 60)]))
    assert labels.max() == 2
    trusted = certain(labels, [labels])
    assert trusted[labels[30, 30]]
    assert not trusted[labels[90, 60]]
    assert not trusted[0]


def test_an_object_on_which_the_splits_differ_is_not_trusted():
    _, _, labels = painted(discs([(30, 30), (90, 60)]))
    halved = labels.copy()
    halved[:31][labels[:31] == labels[30, 30]] = 3
    trusted = certain(labels, [labels, halved])
    assert not trusted[labels[30, 30]]
    assert trusted[labels[90, 60]]


def test_a_disc_is_as_round_as_an_ellipse_and_two_are_not():
    _, roundness = ellipses(painted(discs([(30, 30), (90, 60), (90, 75)]))[2])
    assert roundness[1] == pytest.approx(1, abs=0.02)
    assert roundness[2] < 0.93


def test_a_scene_has_objects_of_one_size():
    contrast, foreground, labels = painted(discs([(80, 80), (40, 120)], radius=16))
    one = scene(contrast, foreground, [labels], 32)
    areas, _ = ellipses(one.labels)
    np.testing.assert_allclose(2 * np.sqrt(areas[1:] / np.pi), OBJECT_PX, rtol=0.05)


def test_a_diameter_of_nothing_is_refused():
    contrast, foreground, labels = painted(discs([(30, 30)]))
    with pytest.raises(ValueError, match="diameter must be above 0 px, got 0"):
        scene(contrast, foreground, [labels], 0)


def test_no_split_is_refused():
    contrast, foreground, _ = painted(discs([(30, 30)]))
    with pytest.raises(ValueError, match="at least one split"):
        scene(contrast, foreground, [], OBJECT_PX)


def test_lessons_hold_touching_objects_with_a_border_between_them(lonely):
    rng, objects = np.random.default_rng(0), cutouts([lonely])
    assert len(objects) == 9
    clumps = 0
    for _ in range(10):
        one = lesson(rng, lonely, objects)
        assert one.distance[one.foreground].min() > 0
        assert not one.distance[~one.foreground].any()
        pieces = ndimage.label(one.foreground)[1]
        clumps += ndimage.label(one.distance > 0.6)[1] > pieces
    assert clumps >= 5


def test_a_lesson_leaves_the_scene_as_it_is(lonely):
    before = [values.copy() for values in lonely]
    for seed in range(5):
        lesson(np.random.default_rng(seed), lonely, cutouts([lonely]))
    for old, new in zip(before, lonely, strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_way_to_the_centre_turns_with_the_image(lonely):
    lessons = _lessons(
        np.random.default_rng(0), [lonely], cutouts([lonely]), 4, torch.device("cpu")
    )
    generator = torch.Generator().manual_seed(0)
    y, x = np.indices(lessons.contrast.shape[1:])
    for _ in range(8):
        batch = _drawn(lessons, 1, generator)
        inside = (batch.foreground * batch.whole)[0].numpy() > 0
        way = batch.centre[0].numpy() * OBJECT_PX / 2
        ends = [
            np.rint(place + step)[inside].astype(int)
            for place, step in zip((y, x), way, strict=True)
        ]
        assert batch.distance[0].numpy()[tuple(ends)].mean() > 0.8


def test_networks_part_touching_objects_after_seeing_only_lonely_ones(lonely):
    pairs = [(30, 40), (30, 54), (80, 80), (91, 88), (125, 120), (125, 106)]
    contrast, foreground, labels = painted(discs(pairs))
    assert labels.max() == 3
    clumped = scene(contrast, foreground, [labels], OBJECT_PX)
    splitter = drained(train([lonely], QUICK))
    found = splitter.split(clumped, foreground)
    assert found.max() == 6
    numbers = [found[place] for place in pairs]
    assert len(set(numbers)) == 6
    assert not found[~foreground].any()


@pytest.mark.parametrize("teachers", ["none", "mean", "mutual"])
def test_the_same_seed_teaches_the_same_networks(lonely, teachers):
    settings = Teaching(**{**FEW.__dict__, "teachers": teachers})
    first, second = (drained(train([lonely], settings)) for _ in range(2))
    assert len(first.networks) == 1 + (teachers == "mutual")
    for one, other in zip(first.networks, second.networks, strict=True):
        for old, new in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(old, new)


def test_stopping_early_keeps_what_is_learned(lonely):
    training = train([lonely], FEW)
    assert next(training).total == 3
    with pytest.raises(StopIteration) as end:
        training.send(True)
    assert end.value.value.split(lonely, lonely.foreground).shape == lonely.foreground.shape


def test_images_without_an_object_to_trust_are_refused():
    empty = scene(
        np.zeros((96, 96), np.float32), np.zeros((96, 96), bool), [np.zeros((96, 96), np.int32)], 16
    )
    with pytest.raises(ValueError, match="round enough to teach"):
        next(train([empty], FEW))


def test_a_piece_without_a_peak_is_one_object_and_a_shallow_one_none():
    _, foreground, labels = painted(discs([(30, 30), (90, 60)]))
    deep = np.where(labels == labels[30, 30], 0.9, 0.1).astype(np.float32) * foreground
    one = Scene(deep, foreground, labels, np.zeros(3, bool))
    found = separate(foreground.astype(np.float32), deep, one, foreground)
    assert found.max() == 1
    assert found[30, 30] == 1
    assert found[90, 60] == 0


def test_nothing_in_the_foreground_gives_no_objects():
    nothing = np.zeros((96, 96), bool)
    one = Scene(nothing.astype(np.float32), nothing, nothing.astype(np.int32), np.zeros(1, bool))
    values = np.zeros((96, 96), np.float32)
    assert not separate(values, values, one, nothing).any()
