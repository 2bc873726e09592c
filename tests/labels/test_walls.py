"""Cells between walls: closed ones are found, weak walls part nothing, in planes and volumes."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from napari_mmtseg import metrics
from napari_mmtseg.labels.walls import between_walls, joined_by_walls, ridges


def tissue(shape, cells, spacing, noise=0.0):
    """Return bright walls between the regions nearest to random points, and these regions."""
    rng = np.random.default_rng(3)
    size = np.multiply(shape, spacing)
    points = rng.uniform(0, 1, (cells * 40, len(shape))) * size
    kept = [points[0]]
    for one in points:
        away = np.linalg.norm(np.array(kept) - one, axis=1).min()
        if away > 0.75 * (np.prod(size) / cells) ** (1 / len(shape)):
            kept.append(one)
    grid = np.moveaxis(np.indices(shape), 0, -1) * spacing
    away = np.stack([np.linalg.norm(grid - one, axis=-1) for one in kept])
    first, second = np.sort(away, axis=0)[:2]
    image = 20 + 100 * np.exp(-((second - first) ** 2) / 18)
    return image + rng.normal(0, noise, shape), away.argmin(0) + 1


def test_cells_are_found_between_bright_and_between_dark_walls():
    image, truth = tissue((120, 130), 30, (1.0, 1.0), noise=5)
    for pixels, bright in ((image, True), (-image, False)):
        cells, _ = between_walls(pixels, (1.0, 1.0), bright=bright)
        assert metrics.object_scores(cells, truth)[0.5].f1 > 0.9


def test_cells_of_a_volume_with_deep_voxels_are_found():
    image, truth = tissue((16, 60, 60), 20, (2.0, 1.0, 1.0), noise=5)
    cells, _ = between_walls(image, (2.0, 1.0, 1.0))
    assert metrics.object_scores(cells, truth)[0.5].f1 > 0.8


def test_a_ridge_is_as_strong_on_voxels_of_any_depth():
    y = np.indices((40, 40))[0]
    image = np.exp(-((y - 20.0) ** 2) / 18)
    thin, thick = ridges(image, 3.0, (1.0, 1.0)), ridges(image[::2], 3.0, (2.0, 1.0))
    assert thick.max() == pytest.approx(thin.max(), rel=0.2)


def test_wide_walls_have_a_larger_scale_than_narrow_ones():
    image, _ = tissue((120, 130), 12, (1.0, 1.0), noise=2)
    wide, _ = tissue((360, 390), 12, (1.0, 1.0), noise=2)
    wide = ndimage.gaussian_filter(wide, 5)
    _, of_narrow = between_walls(image, (1.0, 1.0))
    _, of_wide = between_walls(wide, (1.0, 1.0))
    assert of_narrow.scale < of_wide.scale


def test_basins_are_joined_where_the_wall_is_weak_and_no_farther():
    basins = np.repeat([[1, 2, 3, 0]], 5, axis=0).repeat(4, axis=1).astype(np.int32)
    strength = np.zeros(basins.shape)
    strength[:, 4], strength[:, 8] = 0.2, 0.9
    joined = joined_by_walls(basins, strength, 0.5)
    assert_array_equal(np.unique(joined), [0, 1, 2])
    assert joined[0, 0] == joined[0, 5] != joined[0, 9]
    assert_array_equal(joined == 0, basins == 0)


def test_a_border_that_grows_by_a_joining_is_weighed_by_its_whole_length():
    """1 and 2 share no wall; to 3 the wall of 1 is strong and short, that of 2 weak and long."""
    basins = np.full((12, 6), 3, np.int32)
    basins[:2, :3], basins[2:, :3] = 1, 2
    strength = np.zeros(basins.shape)
    strength[:2, 3], strength[2:, 3] = 1.0, 0.55
    assert joined_by_walls(basins, strength, 0.65).max() == 1
    assert joined_by_walls(basins, strength, 0.6).max() == 2


def test_without_any_wall_there_is_one_cell():
    cells, walls = between_walls(np.full((30, 20), 7.0), (1.0, 1.0))
    assert_array_equal(cells, 1)
    assert walls.clearness == 0


def test_the_image_times_four_has_the_same_cells():
    image = tissue((80, 80), 16, (1.0, 1.0), noise=3)[0].astype(np.float32)
    assert_array_equal(between_walls(4 * image, (1.0, 1.0))[0], between_walls(image, (1.0, 1.0))[0])
