"""Generated images of all kinds: labels of the right shape, or a refusal in a sentence."""

import re
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from napari_mmtseg import segment
from napari_mmtseg.methods import METHODS, SpatialMethod

QUICK = {"n_iterations": 2, "width": 5, "n_blocks": 1, "n_restarts": 1, "n_heads": 1, "min_size": 3}
TYPES = ["?", "u1", "<u2", ">u2", ">u4", "<u8", "i1", ">i2", "<i4", ">i8"]
TYPES += ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]
EXTREME = [(1e-9, 1, 1), (1e9, 1e-9, 1)]
"""Voxels that no volume is made of."""
FOREIGN = r"\b(numpy|np|torch|sklearn|skimage|scipy|array\(|ndarray|NoneType|module|broadcast\w*|"
FOREIGN += r"input array|slice indices|samples|NaN-safe|object of type|argument)\b"
OWN_WARNINGS = r"(All pixels of the image are equal|The image has \d+ different values)"

every_method = pytest.mark.parametrize("name", METHODS)


def quick(name):
    cls = METHODS[name]
    known = {one.name for one in cls.settings()}
    return cls(**{k: v for k, v in QUICK.items() if k in known})


@dataclass
class Call:
    """What `segment` is called with, and what is known of the result."""

    image: object
    axes: str
    spacing: tuple[float, ...] | None
    mask: np.ndarray | None
    scribbles: np.ndarray | None
    counted: np.ndarray
    """Where labels belong."""

    @property
    def sound(self):
        """Whether there is no reason to refuse it."""
        return self.counted.any() and self.scribbles is None

    @property
    def options(self):
        names = ("axes", "spacing", "mask", "scribbles")
        return {name: getattr(self, name) for name in names}


@st.composite
def axes_and_shapes(draw):
    letters = ["Y", "X", *draw(st.sampled_from(["", "", "", "T", "Z", "TZ"]))]
    letters += draw(st.sampled_from(["", "", "C", "S"]))
    letters = draw(st.permutations(letters))
    few, sides = st.integers(1, 2), st.integers(2, 11)
    lengths = {"T": few, "Z": st.integers(1, 4), "C": st.integers(1, 5), "S": st.integers(3, 4)}
    return "".join(letters), tuple(draw(lengths.get(letter, sides)) for letter in letters)


@st.composite
def images(draw, shape):
    """Draw an array: its values, its type, and how it lies in memory."""
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["noise", "noise", "noise", "two values", "constant", "extreme"]))
    noise = rng.random(shape)
    if kind == "constant":
        noise = np.full(shape, 0.25)
    elif kind == "two values":
        noise = np.round(noise)
    if dtype.kind == "b":
        image = noise > 0.5
    elif kind == "extreme":
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        image = np.where(noise > 0.5, limits.max, limits.min).astype(dtype)
    else:
        image = (noise * draw(st.sampled_from([1, 100, 127]))).astype(dtype)
    if dtype.kind == "f" and draw(st.booleans()):
        odd = [np.nan, np.inf, -np.inf, 1e-38, -0.0, np.finfo(dtype).max]
        with np.errstate(over="ignore", under="ignore"):
            odd = np.array(draw(st.lists(st.sampled_from(odd), min_size=1, max_size=3)), dtype)
        share = draw(st.sampled_from([0.02, 0.3, 1.0]))
        image = np.where(rng.random(shape) < share, rng.choice(odd, shape), image).astype(dtype)
    return draw(laid_out(image))


@st.composite
def laid_out(draw, image):
    """Give an array other strides, or make it another kind of array."""
    way = draw(st.sampled_from(["C", "F", "reversed", "steps", "read-only", "list", "masked"]))
    if way == "F":
        return np.asfortranarray(image)
    if way == "reversed":
        return image[..., ::-1].copy()[..., ::-1]
    if way == "steps":
        return np.repeat(np.repeat(image, 2, axis=0), 3, axis=-1)[::2, ..., ::3]
    if way == "read-only":
        image.setflags(write=False)
    if way == "list" and image.dtype.kind in "biu":
        return image.tolist()
    if way == "masked":
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        share = draw(st.sampled_from([0, 0.1, 0.5, 1]))
        return np.ma.MaskedArray(image, rng.random(image.shape) < share)
    return image


@st.composite
def calls(draw, takes_scribbles):
    axes, shape = draw(axes_and_shapes())
    image = draw(images(shape))
    array = np.ma.asarray(image)
    finite = np.isfinite(array.data) & ~np.ma.getmaskarray(array)
    channel = next((i for i, letter in enumerate(axes) if letter in "CS"), None)
    counted = finite
    if channel is not None:
        colours = finite.take(range(3), channel) if axes[channel] == "S" else finite
        counted = colours.all(axis=channel)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    mask = scribbles = None
    if draw(st.integers(0, 3)) == 0:
        share = draw(st.sampled_from([0, 0.2, 0.8, 1]))
        mask = (rng.random(counted.shape) < share).astype(draw(st.sampled_from(["?", "u1", ">i4"])))
        counted = counted & (mask != 0)
    if takes_scribbles and draw(st.integers(0, 3)) == 0:
        classes = [1, 2, 3, 5, 255, 2**31 - 1, 2**31, 2**40, 2**63 - 1, -1]
        some = draw(st.lists(st.sampled_from(classes), min_size=1, max_size=3))
        painted = rng.random(counted.shape) < draw(st.sampled_from([0.05, 0.3, 1]))
        scribbles = np.where(painted, rng.choice(some, counted.shape), 0)
        scribbles = scribbles.astype(draw(st.sampled_from(["<i8", ">i8", "<i4", "u1"])))
    sizes = [None, (1, 1, 1), (3, 1, 1), (0.4, 0.2, 0.3), (0.01, 7, 7)]
    spacing = draw(st.sampled_from([*sizes, *EXTREME]))
    return Call(image, axes, spacing, mask, scribbles, counted)


@every_method
@given(data=st.data())
def test_any_image_gets_labels_of_its_shape_or_a_sentence(name, data):
    method = quick(name)
    call = data.draw(calls(method.takes_scribbles))
    if isinstance(method, SpatialMethod):
        volume = [] if call.spacing in EXTREME else ["volume"]
        work_in = data.draw(st.sampled_from(["automatic", "planes", *volume]))
        method = replace(method, work_in=work_in)
    before = frozen(call.image)
    labels, refusal = result(call.image, method, **call.options)
    assert frozen(call.image) == before
    if labels is None:
        assert not call.sound, refusal
        return
    assert labels.dtype == np.int32
    assert labels.shape == call.counted.shape  # in the order of the image's own axes
    assert_array_equal(labels > 0, call.counted)
    assert labels.min() >= 0
    again, _ = result(call.image, method, **call.options)
    assert_array_equal(again, labels)


@given(
    axes=st.one_of(
        st.text("YXZTCSQyx ", max_size=5),
        st.lists(st.sampled_from(["Y", "X", "Z", "YX", "", 1, None]), max_size=4),
        st.sampled_from([None, 5, b"YX", ("Y", "X"), {"Y": 0}, object()]),
    ),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 4, 5]), max_size=5).map(tuple),
)
def test_any_axes_are_taken_or_refused_in_a_sentence(axes, shape):
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    labels, _ = result(image, quick("KMeans"), axes=axes)
    if labels is not None:
        channel = [i for i, letter in enumerate(axes or "YX") if letter in ("C", "S", "c", "s")]
        assert labels.shape == tuple(np.delete(shape, channel))


@given(
    which=st.sampled_from(["mask", "scribbles"]),
    value=st.one_of(
        st.sampled_from([0, 1.5, "mask", b"x", [], [[]], [[1, 2], [3]], {}, object(), True]),
        st.sampled_from(["?", "i1", "u8", "f4", "c8", "U1", "O", "M8[s]"]).map(
            lambda dtype: np.zeros((6, 7), dtype)
        ),
        st.tuples(st.integers(0, 7), st.integers(0, 7)).map(lambda shape: np.ones(shape, int)),
    ),
)
def test_any_mask_or_scribbles_are_taken_or_refused_in_a_sentence(which, value):
    image = np.random.default_rng(0).integers(0, 255, (6, 7)).astype(np.uint8)
    result(image, quick("MMT"), **{which: value})


@given(
    spacing=st.one_of(
        st.lists(st.floats(), max_size=4),
        st.sampled_from([5, "abc", "123", [None] * 3, {}, [1, 1, "x"], np.ones((3, 1)), object()]),
    )
)
def test_any_spacing_is_taken_or_refused_in_a_sentence(spacing):
    image = np.random.default_rng(0).integers(0, 255, (2, 6, 7)).astype(np.uint8)
    result(image, quick("KMeans"), axes="ZYX", spacing=spacing)


def result(image, method, **options):
    """Return the labels, or None and why they are refused, which is a sentence of ours."""
    labels, refusal = None, ""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            labels = segment(image, method, **options)
        except (TypeError, ValueError, MemoryError) as error:
            refusal = str(error)
    for one in warned:
        assert one.category is UserWarning, one
        assert re.match(OWN_WARNINGS, str(one.message)), one
    if labels is None:
        assert re.match(r"[A-Z].{10,400}$", refusal, re.DOTALL), f"no sentence: {refusal!r}"
        assert not re.search(FOREIGN, refusal), f"foreign words: {refusal!r}"
    return labels, refusal


def frozen(image):
    """Return all that an image holds, to compare with later."""
    array = np.ma.asarray(image)
    return array.data.tobytes(), np.ma.getmaskarray(array).tobytes(), array.dtype, array.shape
