"""A stack of one plane is its picture; objects of a few planes part as those of one do."""

import dask.array
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg import IIC, MMT, Felzenszwalb, Kanezaki, Kim, KMeans, measure, segment, train

OBJECTS = {"k-means": KMeans(output="objects"), "MMT": MMT.preset("nuclei")}
SPACINGS = [None, (1, 0.5, 0.5)]


def cells(seed=0, kind="discs", dark=False):
    y, x = np.mgrid[:128, :128] % 32 - 16
    inside = {
        "discs": y**2 + x**2 < 49,
        "squares": np.maximum(abs(y), abs(x)) < 6,
        "rods": (abs(y) < 4) & (abs(x) < 10),
    }[kind]
    values = np.where(inside != dark, 1000, 100)
    return (values + np.random.default_rng(seed).normal(0, 5, values.shape)).astype(np.uint16)


def single(image, axes):
    """Give an image of rows and columns axes of length 1 where others go."""
    return image.reshape([image.shape["YX".index(axis)] if axis in "YX" else 1 for axis in axes])


@pytest.mark.parametrize("method", [
    KMeans(), KMeans(output="objects"), KMeans(output="areas", vote_border=0.3),
    MMT(n_iterations=3), MMT.preset("nuclei", n_iterations=3), Kim(n_iterations=3),
    Kanezaki(n_iterations=3), IIC(n_iterations=3), Felzenszwalb()],
    ids=lambda one: f"{type(one).__name__}-{getattr(one, 'output', 'regions')}")  # fmt: skip
def test_a_single_plane_is_the_picture_bit_for_bit(method):
    image = cells()
    expected = segment(image, method)
    for spacing in SPACINGS:
        labels = segment(image[None], method, axes="ZYX", spacing=spacing)
        assert_array_equal(labels[0], expected)


@pytest.mark.parametrize("axes", ["ZYX", "TZYX", "TCZYX", "CZYX", "ZCYX", "YXZ"])
def test_a_single_plane_is_the_picture_in_every_order_of_the_axes(axes):
    image = cells()
    expected, uncertain = segment(image, OBJECTS["MMT"], return_uncertainty=True)
    found, unsure = segment(
        single(image, axes), OBJECTS["MMT"], axes=axes, spacing=(1, 0.5, 0.5),
        return_uncertainty=True,
    )  # fmt: skip
    assert_array_equal(np.squeeze(found), expected)
    assert_array_equal(np.squeeze(unsure), uncertain)


def test_a_model_of_a_picture_labels_a_single_plane_and_the_other_way_round():
    image, other = cells(), cells(1)
    flat = train(image, OBJECTS["MMT"])
    deep = train(image[None], OBJECTS["MMT"], axes="ZYX", spacing=(1, 0.5, 0.5))
    expected = flat.predict(other)
    assert_array_equal(deep.predict(other), expected)
    assert_array_equal(flat.predict(other[None], axes="ZYX", spacing=(1, 0.5, 0.5))[0], expected)
    lazy = deep.predict(dask.array.from_array(other[None], (1, 64, 64)), axes="ZYX")
    assert_array_equal(np.asarray(lazy)[0], expected)
    pointed = flat.with_objects(image, (16, 16))
    again = deep.with_objects(image[None], (0, 16, 16), axes="ZYX")
    assert again.diameter_px == pointed.diameter_px


def test_a_single_plane_is_measured_as_the_picture_is():
    labels = segment(cells(), OBJECTS["k-means"])
    flat = measure(labels, spacing=(0.5, 0.5))
    deep = measure(labels[None], axes="ZYX", spacing=(1, 0.5, 0.5))
    assert_array_equal(flat["area"], deep["area"])
    assert flat.units["area"] == deep.units["area"]


@pytest.mark.filterwarnings("ignore:The voxels' size is not known")
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("planes", [2, 3, 4, 6, 8, 12])
def test_objects_of_a_few_planes_part_as_discs_do(planes, spacing):
    stack = np.stack([cells(seed) for seed in range(planes)])
    model = train(stack, OBJECTS["k-means"], axes="ZYX", spacing=spacing)
    assert model.diameter_px == pytest.approx(13.6, abs=1)
    labels = model.predict(stack, axes="ZYX", spacing=spacing)
    assert len(np.setdiff1d(labels, 0)) == 16
    assert_array_equal(labels[0] > 0, labels[-1] > 0)


@pytest.mark.parametrize("planes", [3, 8])
def test_mmt_parts_a_few_planes_as_discs_too(planes):
    stack = np.stack([cells(seed) for seed in range(planes)])
    labels = segment(stack, OBJECTS["MMT"], axes="ZYX", spacing=(1, 0.5, 0.5))
    assert len(np.setdiff1d(labels, 0)) == 16


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", ["squares", "rods"])
def test_other_things_of_a_few_planes_are_as_many_as_in_one(kind, dark):
    count = len(np.setdiff1d(segment(cells(0, kind, dark), OBJECTS["k-means"]), 0))
    assert count == 16
    for planes in (2, 5, 10):
        stack = np.stack([cells(seed, kind, dark) for seed in range(planes)])
        labels = segment(stack, OBJECTS["k-means"], axes="ZYX", spacing=(1, 1, 1))
        assert len(np.setdiff1d(labels, 0)) == count


def test_objects_of_the_middle_planes_alone_and_cut_by_one_face_are_found():
    stack = np.stack([cells(seed) for seed in range(8)])
    ground = (100 + np.random.default_rng(99).normal(0, 5, stack.shape)).astype(np.uint16)
    for lit in (slice(2, 6), slice(0, 4), slice(4, 8)):
        part = ground.copy()
        part[lit] = stack[lit]
        labels = segment(part, OBJECTS["k-means"], axes="ZYX", spacing=(1, 0.5, 0.5))
        assert len(np.setdiff1d(labels, 0)) == 16


def test_coloured_planes_part_as_discs_do():
    planes = [np.where(cells(seed)[..., None] > 500, (120, 60, 160), (240, 235, 238)) for seed in
              range(4)]  # fmt: skip
    noise = np.random.default_rng(0).normal(0, 3, (4, 128, 128, 3))
    stack = (np.stack(planes) + noise).clip(0, 255).astype(np.uint8)
    labels = segment(stack, OBJECTS["k-means"], axes="ZYXS", spacing=(1, 1, 1))
    assert len(np.setdiff1d(labels, 0)) == 16
