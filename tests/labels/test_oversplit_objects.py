import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage
from skimage.draw import disk

from napari_mmtseg.labels.objects import find_objects
from napari_mmtseg.labels.oversplit_objects import joined
from napari_mmtseg.labels.shapes import moments_of, sizes_and_roundness
from napari_mmtseg.metrics import match_objects


def quarters(centres, radius=10, shape=(60, 90)):
    """Discs, each cut into quarters, and their truth."""
    truth, parts = np.zeros((2, *shape), np.int32)
    rows, columns = np.indices(shape)
    for number, (y, x) in enumerate(centres):
        here = disk((y, x), radius, shape=shape)
        truth[here] = number + 1
        parts[here] = (4 * number + 1 + 2 * (rows >= y) + (columns >= x))[here]
    return parts, truth


def test_quarters_are_joined_to_discs_and_touching_discs_are_not():
    parts, truth = quarters([(20, 20), (20, 39), (45, 60)])
    found = joined(parts, 20.0, (1.0, 1.0))
    pairs = match_objects(found, truth, threshold=0.99).pairs
    assert len(pairs) == 3
    assert set(np.unique(found)) <= set(np.unique(parts))


def test_what_is_joined_follows_the_size_of_objects():
    parts, _ = quarters([(20, 20), (20, 33)])
    halves = np.where(parts > 4, 2, np.where(parts, 1, 0)).astype(np.int32)
    assert joined(halves, 18.0, (1.0, 1.0)).max() == 2
    assert len(np.unique(joined(halves, 60.0, (1.0, 1.0)))) == 2


def test_objects_far_away_change_nothing():
    parts, _ = quarters([(20, 20), (20, 39), (45, 60)])
    alone = np.where(parts <= 8, parts, 0).astype(np.int32)
    assert_array_equal(joined(parts, 20.0, (1.0, 1.0))[:32], joined(alone, 20.0, (1.0, 1.0))[:32])


def test_nothing_to_join_is_joined():
    nothing = np.zeros((5, 6), np.int32)
    assert not joined(nothing, 4.0, (1.0, 1.0)).any()
    nothing[1:4, 1:4] = 1
    assert_array_equal(joined(nothing, 4.0, (1.0, 1.0)), nothing)


def test_moments_of_parts_add_up():
    parts, truth = quarters([(20, 20)])
    spacing = (2.0, 1.0)
    of_parts = moments_of(parts, spacing)
    first, second, third, fourth = (of_parts.of(np.array([k])) for k in range(4))
    whole = first.with_those_of(second).with_those_of(third).with_those_of(fourth)
    for one, other in zip(
        whole.sizes_and_roundness(), sizes_and_roundness(truth, spacing), strict=True
    ):
        assert one == pytest.approx(other)


def test_outlines_of_what_absorbs_light_are_those_of_its_density():
    truth = np.zeros((60, 60), bool)
    truth[disk((30, 30), 14)] = True
    density = ndimage.gaussian_filter(truth * 1.2, 2)

    def error(image, *, dark):
        contrast = (image / image.max()).astype(np.float32)
        found = find_objects(contrast > 0.3, contrast, 28.0, (1.0, 1.0), dark=dark)
        return np.count_nonzero(found) / truth.sum() - 1

    assert abs(error(density, dark=False)) < 0.03
    absorbed = 1 - np.exp(-density)
    assert abs(error(absorbed, dark=True)) < 0.03
    assert error(absorbed, dark=False) > 0.1


def test_a_bright_object_on_a_faint_one_is_another():
    truth = np.zeros((50, 70), np.int32)
    truth[disk((25, 22), 12)] = 1
    truth[disk((25, 42), 12)] = 2
    contrast = ndimage.gaussian_filter(np.where(truth == 2, 1.0, truth * 0.6), 1).astype(np.float32)
    found = find_objects(truth > 0, contrast, 24.0, (1.0, 1.0))
    assert len(match_objects(found, truth, threshold=0.8).pairs) == 2
