"""Training reads an image of several levels where they are fine enough, and labels the finest."""

import dask.array
import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal

from napari_mmtseg import MMT, KMeans, segment, train
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.images.levels import Coarse, Levels
from napari_mmtseg.images.stores import open_image
from napari_mmtseg.images.training_input import Guides, read_sample

METHOD = MMT(n_iterations=3, width=8, reduction=4)


class Counting:
    """An array that counts the values read from it."""

    def __init__(self, values):
        self.values, self.read = values, 0
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key):
        part = self.values[key]
        self.read += part.size
        return part


def halved(values, times=1):
    """Average squares of 2 x 2, rounded to the image's own type."""
    for _ in range(times):
        rows, columns = (n // 2 for n in values.shape)
        means = values.reshape(rows, 2, columns, 2).mean((1, 3))
        values = np.round(means).astype(values.dtype)
    return values


@pytest.fixture
def large():
    """A plane that is read in windows: (4096, 4352) uint8."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (4096, 4352), np.uint8)
    image[::3] += 20
    image[1000:3000, 500:3000] += 120
    return image


def test_training_reads_the_level_that_fits_the_working_resolution(large):
    levels = [Counting(halved(large, times)) for times in range(4)]
    images = [Frames(Levels(levels))]
    alone, range_alone = read_sample([Frames(large)], METHOD, Guides(), (), (4, 4))
    sample, scaling = read_sample(images, METHOD, Guides(), (), (4, 4))
    assert levels[0].read < 2_000_000  # for the range
    assert levels[2].read > 400_000
    assert levels[1].read == levels[3].read == 0
    assert sample.corners == alone.corners
    assert [one.shape for one in sample.pixels] == [one.shape for one in alone.pixels]
    assert abs(scaling.high - range_alone.high) < 2
    for one, same in zip(sample.pixels, alone.pixels, strict=True):
        blocks = (1, one.shape[1] // 4, 4, one.shape[2] // 4, 4)
        means = [part.reshape(blocks).mean((2, 4)) for part in (one, same)]
        np.testing.assert_allclose(*means, atol=0.02)


def test_a_level_that_is_no_mean_is_not_used(large):
    levels = [Counting(large), Counting(np.ascontiguousarray(large[::4, ::4]))]
    sample, _ = read_sample([Frames(Levels(levels))], METHOD, Guides(), (), (4, 4))
    alone, _ = read_sample([Frames(large)], METHOD, Guides(), (), (4, 4))
    assert levels[0].read > 7_000_000
    blocks = [part.reshape(-1, 4).mean(1) for part in (sample.pixels[0], alone.pixels[0])]
    np.testing.assert_allclose(*blocks, atol=0.02)


@pytest.mark.parametrize(
    ("sizes", "reduction", "factor"),
    [
        ([(51, 41)], 2, 2),  # rounded up
        ([(50, 40)], 2, 2),  # rounded down
        ([(51, 41), (26, 21)], 4, 4),
        ([(51, 41), (26, 21)], 2, 2),
        ([(51, 41), (26, 21)], 6, 2),  # 4 does not divide it
        ([(51, 41), (26, 21)], 1, 1),
        ([(67, 54)], 4, 1),  # one and a half
        ([(51, 41), (2, 1), (1, 1)], 2, 2),
    ],
)
def test_the_coarsest_level_that_divides_the_reduction_is_taken(sizes, reduction, factor):
    levels = Levels([np.zeros(size, np.uint8) for size in [(101, 81), *sizes]])
    assert Coarse(Frames(levels), (reduction,) * 2).factor == (factor,) * 2


def test_a_window_at_the_border_has_the_size_of_the_image():
    image = np.arange(11 * 7, dtype=np.float32).reshape(11, 7)
    for size in ((5, 3), (6, 4)):
        coarse = Coarse(Frames(Levels([image, np.ones(size, np.float32)])), (2, 2))
        assert coarse.read(0, (slice(4, 11), slice(0, 7))).shape == (1, 7, 7)


def test_volumes_are_read_from_levels_that_keep_their_depth():
    fine, coarse = np.zeros((8, 40, 40), np.uint8), np.zeros((8, 20, 20), np.uint8)
    frames = Frames(Levels([fine, coarse]), "ZYX", volumes=True)
    assert Coarse(frames, (1, 2, 2)).factor == (1, 2, 2)
    assert Coarse(Frames(Levels([fine, coarse[:4]]), "ZYX"), (2, 2)).factor == (1, 1)


@pytest.mark.parametrize("method", [METHOD, KMeans(n_labels=3)])
@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_levels_are_labelled_as_their_finest_one(large, method, kind):
    image = large[:, ::16].copy()
    many = np.stack([image] * 17)  # of more values than are read
    levels = [many, np.stack([halved(image, 2)] * 17)]
    if kind == "dask":
        levels = [dask.array.from_array(one, chunks=(1, 1024, 1024)) for one in levels]
    whole = Levels(levels)
    model = train(whole, method, axes="ZYX")
    labels = segment(whole, method, axes="ZYX")
    assert labels.shape == many.shape
    for plane in (0, 16):
        expected = model.predict(many[plane])
        assert_array_equal(np.asarray(labels[plane]), expected)
        assert_array_equal(np.asarray(model.predict(whole, axes="ZYX")[plane]), expected)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "no levels"),
        ([np.zeros((8, 8)), np.zeros((4, 4), np.uint8)], "Level 1 holds uint8, the image float64"),
        ([np.zeros((8, 8)), np.zeros((4, 9))], r"Level 1 of shape \(4, 9\) is not the one before"),
        ([np.zeros((8, 8)), np.zeros(4)], r"Level 1 of shape \(4,\) is not the one before"),
    ],
)
def test_levels_that_disagree_are_refused_by_name(levels, message):
    with pytest.raises(ValueError, match=message):
        Levels(levels)


def test_a_store_of_several_levels_is_trained_on_as_such(tmp_path):
    group = zarr.open_group(tmp_path / "image.zarr", mode="w", zarr_format=2)
    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    for number, values in enumerate((image, halved(image))):
        group.create_array(str(number), data=values)
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [{"type": "scale", "scale": [2.0**number] * 2}],
        }
        for number in range(2)
    ]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    pixels = open_image(tmp_path / "image.zarr").pixels
    assert isinstance(pixels, Levels)
    model = train(pixels, METHOD)
    assert_array_equal(np.asarray(segment(pixels, METHOD)), model.predict(image))
