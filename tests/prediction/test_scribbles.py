"""Strokes of the user guide the training, and their classes keep their numbers."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu
from tifffile import imread

from napari_mmtseg import MMT, Felzenszwalb, Kanezaki, Kim, load, segment, train
from napari_mmtseg.methods import METHODS, NetworkMethod

GUIDED = [cls for cls in METHODS.values() if issubclass(cls, NetworkMethod)]
guided = pytest.mark.parametrize("cls", GUIDED, ids=[cls.__name__ for cls in GUIDED])
DISC, GROUND = 5, 2


@pytest.fixture
def scene():
    """Four discs on a ground that is dark on the left and brighter on the right."""
    rows, columns = np.ogrid[:64, :96]
    discs = np.zeros((64, 96), bool)
    for row, column in ((18, 20), (46, 26), (16, 70), (44, 76)):
        discs |= (rows - row) ** 2 + (columns - column) ** 2 < 81
    ground = np.where(columns < 48, 0.1, 0.4)
    noise = np.random.default_rng(0).normal(0, 0.03, discs.shape)
    image = (np.where(discs, 0.9, ground) + noise).astype(np.float32)
    strokes = np.zeros(discs.shape, np.uint8)
    strokes[16:20, 14:26] = DISC
    strokes[30:33, 8:88] = GROUND
    return image, discs, strokes


@guided
def test_two_strokes_change_the_result_where_they_should(cls, scene):
    image, discs, strokes = scene
    method = cls(n_iterations=60, width=16, reduction=1)
    before = segment(image, method)
    after = segment(image, method, scribbles=strokes)

    # Both halves of the ground become what was painted across them; they were not one before.
    left, right = before[:, :48][~discs[:, :48]], before[:, 48:][~discs[:, 48:]]
    assert np.bincount(left).argmax() != np.bincount(right).argmax()
    assert (after[~discs] == GROUND).mean() > 0.9
    # The discs that nobody painted are of the painted disc's class.
    untouched = discs.copy()
    untouched[:33, :48] = False
    assert (after[untouched] == DISC).mean() > 0.9
    for value in (DISC, GROUND):
        assert (after[strokes == value] == value).mean() > 0.95


def test_two_strokes_change_a_real_image_where_they_should(real):
    image = imread(real("microscopy", "hela_cells_yxc.tif"))
    blue = ndimage.gaussian_filter(image[..., 2].astype(float), 2)
    nuclei = blue > threshold_otsu(blue)
    strokes = np.zeros(nuclei.shape, np.uint8)
    strokes[170:180, 260:340] = 7  # one of four nuclei
    strokes[445:455, 20:140] = 3  # the ground
    method = Kim(reduction=4, width=20, strokes="bind")
    before = segment(image, method, axes="YXC")
    after = segment(image, method, axes="YXC", scribbles=strokes)

    untouched = nuclei.copy()
    untouched[:, 220:390] = False
    assert np.bincount(before[~nuclei]).max() < 0.65 * (~nuclei).sum()
    assert (after[~nuclei] == 3).mean() > 0.8
    assert (after[untouched] == 7).mean() > 0.9
    assert (after[strokes == 7] == 7).all()
    assert (after[strokes == 3] == 3).all()


@guided
def test_painted_classes_survive_saving(cls, scene, tmp_path):
    image, _, strokes = scene
    model = train(image, cls(n_iterations=5, width=12), scribbles=strokes)
    assert set(model.classes) <= {0, DISC, GROUND}
    model.save(tmp_path / "painted.safetensors")
    again = load(tmp_path / "painted.safetensors")
    np.testing.assert_array_equal(again.predict(image), model.predict(image))
    assert {DISC, GROUND} & set(np.unique(again.predict(image)))


def test_classes_beyond_the_networks_width_keep_their_numbers(scene):
    image, _, strokes = scene
    strokes = np.select([strokes == DISC, strokes == GROUND], [70_000, 9], 0)
    labels = segment(image, Kim(n_iterations=20, width=8), scribbles=strokes)
    assert {9, 70_000} <= set(np.unique(labels))


def test_a_stack_is_guided_by_the_one_plane_that_is_painted(scene):
    image, discs, strokes = scene
    painted = np.zeros((6, *strokes.shape), np.uint8)
    painted[4] = strokes
    method = Kim(n_iterations=60, width=16, reduction=1)
    labels = segment(np.stack([image] * 6), method, axes="ZYX", scribbles=painted)
    assert (labels[0][discs] == DISC).mean() > 0.8
    assert (labels[0][~discs] == GROUND).mean() > 0.8


def test_no_weight_leaves_the_strokes_without_effect_on_the_network(scene):
    image, _, strokes = scene
    everywhere = np.where(strokes == 0, GROUND, strokes)
    method = Kim(n_iterations=2, width=8, scribble_weight=0, continuity=0, strokes="bind")
    start = train(image, method, scribbles=everywhere).weights["network1.conv1.weight"]
    more = Kim(n_iterations=4, width=8, scribble_weight=0, continuity=0, strokes="bind")
    end = train(image, more, scribbles=everywhere).weights["network1.conv1.weight"]
    np.testing.assert_array_equal(start, end)


def test_a_method_that_learns_no_model_takes_no_scribbles_and_says_so(scene):
    image, _, strokes = scene
    with pytest.raises(
        ValueError, match="takes no scribbles; choose one of MMT, IIC, Kim, Kanezaki, KMeans"
    ):
        segment(image, Felzenszwalb(), scribbles=strokes)


@guided
@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        (
            lambda s: s[1:],
            ValueError,
            r"scribbles must have the shape .*\(64, 96\), got \(63, 96\)",
        ),
        (lambda s: s + 0.5, TypeError, "scribbles must hold whole numbers, got dtype float64"),
        (lambda s: s * (s == DISC), ValueError, "at least two classes: paint a second one"),
        (lambda s: s * 0, ValueError, "at least two classes: paint a second one"),
        (lambda s: s.astype(int) - 1, ValueError, "a class from 1 to 2147483647, got -1"),
        (lambda s: s.astype(int) << 40, ValueError, "a class from 1 to 2147483647, got 5497558"),
    ],
    ids=["shape", "dtype", "one class", "none", "negative", "huge"],
)
def test_bad_scribbles_are_refused(cls, change, kind, sentence, scene):
    image, _, strokes = scene
    with pytest.raises(kind, match=sentence):
        segment(image, cls(), scribbles=change(strokes))


def test_more_classes_than_the_network_has_channels_are_refused(scene):
    image, _, _ = scene
    strokes = np.zeros(image.shape, int)
    strokes[0, :9] = np.arange(1, 10)
    with pytest.raises(ValueError, match="9 classes, more than the network's width"):
        segment(image, MMT(width=8, strokes="bind"), scribbles=strokes)


def test_scribbles_go_with_a_single_image(scene):
    image, _, strokes = scene
    with pytest.raises(ValueError, match="go with a single image"):
        train([image, image], Kanezaki(), scribbles=strokes)


def test_strokes_on_one_plane_of_a_large_stack_are_not_missed():
    rng = np.random.default_rng(0)
    stack = rng.normal(0.1, 0.03, (30, 200, 200)).astype(np.float32)
    stack[:, 60:120, 60:120] += 0.8
    strokes = np.zeros(stack.shape, np.uint8)
    strokes[1, 80:83, 70:110] = DISC
    strokes[1, 20:23, 20:180] = GROUND
    model = train(stack, MMT(n_iterations=2), axes="ZYX", scribbles=strokes)
    assert {DISC, GROUND} <= set(model.classes)
    found = model.predict(stack[29])
    assert (found[70:110, 70:110] == DISC).mean() > 0.9
    assert (found[:50] == GROUND).mean() > 0.9
