"""Objects are looked for where something stands out: in any frame, at any place, however few."""

import dask.array
import numpy as np
import pytest

from napari_mmtseg import MMT, KMeans, segment
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.images.prominence import Prominence
from napari_mmtseg.images.scaling import Scaling

METHODS = {"k-means": KMeans(output="objects"), "MMT": MMT.preset("nuclei")}
GROUND, BRIGHT, NOISE = 100, 1000, 5


def noisy(image, seed=0):
    noise = np.random.default_rng(seed).normal(0, NOISE, np.shape(image))
    return (image + noise).clip(0, 65535).astype(np.uint16)


def shapes(n, pitch=32, kind="discs", side=128):
    """A square of `side` pixels with a thing in each cell of a grid, and n pixels around it all."""
    y, x = np.mgrid[:side, :side] % pitch - pitch // 2
    inside = {
        "discs": y**2 + x**2 < 49,
        "squares": np.maximum(abs(y), abs(x)) < 6,
        "rods": (abs(y) < 4) & (abs(x) < 10),
        "rings": (y**2 + x**2 < 64) & (y**2 + x**2 > 16),
    }[kind]
    field = np.zeros((n, n), bool)
    field[:side, :side] = inside
    return field


def drawn(inside, seed=0, dark=False):
    ends = (BRIGHT, GROUND) if dark else (GROUND, BRIGHT)
    return noisy(np.where(inside, ends[1], ends[0]), seed)


def counts(labels):
    return [len(np.setdiff1d(one, 0)) for one in labels]


FILLS = {
    "noise": lambda n: drawn(np.zeros((n, n), bool), 9),
    "zeros": lambda n: np.zeros((n, n), np.uint16),
    "constant": lambda n: np.full((n, n), GROUND, np.uint16),
    "not a number": lambda n: np.full((n, n), np.nan, np.float32),
}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("empty", [(1,), (0,), (2,), (0, 1), (1, 2, 3)])
def test_a_film_has_its_objects_whichever_frames_are_empty(fill, empty):
    n = 5 if 3 in empty else 3
    frames = [drawn(shapes(128), seed) for seed in range(n)]
    for one in empty:
        frames[one] = FILLS[fill](128)
    film = np.stack([one.astype(np.float32) for one in frames])
    labels = segment(film, METHODS["k-means"], axes="TYX")
    assert counts(labels) == [0 if i in empty else 16 for i in range(n)]


def test_mmt_finds_the_objects_of_a_film_with_an_empty_middle():
    film = np.stack([drawn(shapes(128), 0), FILLS["noise"](128), drawn(shapes(128), 1)])
    assert counts(segment(film, METHODS["MMT"], axes="TYX")) == [16, 0, 16]
    lazy = dask.array.from_array(film, (1, 64, 128))
    model_of_lazy = segment(lazy, METHODS["MMT"], axes="TYX")
    assert counts(np.asarray(model_of_lazy)) == [16, 0, 16]


@pytest.mark.parametrize("method", METHODS)
def test_a_film_of_noise_alone_has_no_objects_and_that_is_said(method):
    film = np.stack([drawn(np.zeros((128, 128), bool), seed) for seed in range(3)])
    with pytest.warns(UserWarning, match="Nothing in the image stands out"):
        labels = segment(film, METHODS[method], axes="TYX")
    assert not labels.any()


@pytest.mark.parametrize("turns", range(4))
def test_objects_at_one_side_of_a_large_field_are_found(turns):
    field = np.zeros((1024, 1024), bool)
    field[:, :128] = np.tile(shapes(128), (8, 1))
    labels = segment(np.rot90(drawn(field), turns), METHODS["k-means"])
    assert counts([labels]) == [128]


@pytest.mark.parametrize("kind", ["discs", "squares", "rods"])
@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_objects_in_a_corner_are_found_bright_or_dark(kind, corner):
    field = np.roll(shapes(1024, kind=kind), [896 * one for one in corner], (0, 1))
    for dark in (False, True):
        assert counts([segment(drawn(field, dark=dark), METHODS["k-means"])]) == [16]


@pytest.mark.parametrize("count", [6, 16, 200])
def test_few_objects_in_a_large_field_are_found(count):
    """From 0.02 to 0.7 % of it."""
    size = 2048
    random, field, taken = np.random.default_rng(count), np.zeros((size, size), bool), 0
    y, x = np.mgrid[-8:9, -8:9]
    while taken < count:
        row, column = random.integers(20, size - 20, 2)
        if not field[row - 18 : row + 18, column - 18 : column + 18].any():
            field[row - 8 : row + 9, column - 8 : column + 9] = y**2 + x**2 < 49
            taken += 1
    assert counts([segment(drawn(field), METHODS["k-means"])]) == [count]


def test_mmt_finds_few_objects_beside_the_middle():
    field = np.roll(shapes(1536), (1200, 300), (0, 1))
    assert counts([segment(drawn(field), METHODS["MMT"])]) == [16]


def test_few_coloured_objects_are_found():
    field = np.roll(shapes(1024), (40, 800), (0, 1))
    white, violet = np.array([240, 240, 240]), np.array([120, 60, 160])
    image = noisy(np.where(field[..., None], violet, white)).clip(0, 255).astype(np.uint8)
    assert counts([segment(image, METHODS["k-means"], axes="YXS")]) == [16]


def test_hot_pixels_do_not_widen_the_range_and_few_cells_do():
    image = noisy(np.full((512, 512), GROUND))
    plain = Scaling.fit([image[None]], "percentile")
    hot = image.copy()
    hot[::97, ::89] = 60_000
    assert Scaling.fit([hot[None]], "percentile").high == pytest.approx(plain.high, rel=0.05)
    cells = np.where(np.roll(shapes(512, side=32), 200, 0), BRIGHT, image)
    assert Scaling.fit([cells[None]], "percentile").high == pytest.approx(BRIGHT, rel=0.05)
    holes = np.where(np.roll(shapes(512, side=32), 200, 0), 10, image)
    assert Scaling.fit([holes[None]], "percentile").low == pytest.approx(10, rel=0.1)


def test_uneven_ground_does_not_stand_out():
    y, x = np.mgrid[:1024, :1024] / 1024
    ground = 300 + 400 * np.exp(-((y - 0.5) ** 2 + (x - 0.5) ** 2) * 4)
    assert not Prominence(Frames(noisy(ground), "YX")).share.any()
    with_cells = ground + 300 * np.roll(shapes(1024), 900, 1)
    found = Prominence(Frames(noisy(with_cells), "YX"))
    assert found.share[:, 28:].sum() > 0.9 * found.share.sum() > 0
    places = found.richest(2**19, 48)
    assert all(one["X"].stop > 850 for one in places)


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX"])
def test_the_place_is_named_along_each_axis_of_a_stack(axes):
    stack = np.stack([[noisy(np.full((96, 96), GROUND), 10 * t + z) for z in range(3)]
                      for t in range(4)])  # fmt: skip
    stack[2] = [drawn(shapes(96, side=96), z) for z in range(3)]
    order = ["TZYX".index(axis) for axis in axes]
    (place,) = Prominence(Frames(stack.transpose(order), axes)).middles(2**14, 48)
    assert place["T"] == slice(2, 3)
    assert place["Z"] == slice(0, 3)
