import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage
from skimage.draw import disk, ellipse

from napari_mmtseg import METHODS, MMT, KMeans, load, segment, train
from napari_mmtseg.labels.faint_objects import with_faint_ones
from napari_mmtseg.labels.frame_links import renumbered
from napari_mmtseg.labels.object_decision import ImageView, seek
from napari_mmtseg.labels.objects import find_objects
from napari_mmtseg.labels.touching_objects import first_look
from napari_mmtseg.metrics import object_scores
from napari_mmtseg.prediction.survey import view_of
from napari_mmtseg.samples import nuclei_stack

CENTRES = [(30, 30), (30, 47), (75, 40), (100, 90), (40, 100), (80, 115)]


def f1(found, truth, threshold=0.5):
    return object_scores(found, truth, thresholds=(threshold,))[threshold].f1


FAST = {
    "MMT": {"n_iterations": 4},
    "Kim": {"n_iterations": 15, "width": 16},
    "Kanezaki": {"n_iterations": 15, "width": 16},
    "IIC": {"n_iterations": 15, "n_repeats": 1},
}


def discs(*, dark=False, noise=0.04, radius=10):
    """Six discs, the first two of which touch, and their truth."""
    truth = np.zeros((130, 140), np.int32)
    for number, centre in enumerate(CENTRES, start=1):
        truth[disk(centre, radius, shape=truth.shape)] = number
    image = 0.2 + 0.6 * (truth > 0) + np.random.default_rng(0).normal(0, noise, truth.shape)
    return (1 - image if dark else image), truth


@pytest.mark.parametrize("dark", [False, True])
def test_touching_objects_are_parted_and_the_ground_is_none(dark):
    image, truth = discs(dark=dark)
    found = segment(image, MMT.preset("nuclei"))
    assert found[0, 0] == 0
    assert f1(found, truth, 0.75) == 1
    assert train(image, MMT.preset("nuclei")).objects_are_dark == dark


@pytest.mark.parametrize("seed", range(3))
def test_noise_holds_no_object_and_objects_are_found_in_noise(seed):
    random = np.random.default_rng(seed)
    for noise in (random.poisson(5, (130, 140)), random.normal(0.5, 0.1, (130, 140))):
        with pytest.warns(UserWarning, match="Nothing in the image stands out from its noise"):
            assert not segment(noise, MMT.preset("nuclei")).any()
    image, truth = discs(noise=0.2)
    assert f1(segment(image, MMT.preset("nuclei")), truth) > 0.8


@pytest.mark.parametrize("name", [n for n, one in METHODS.items() if hasattr(one(), "output")])
def test_every_method_with_probabilities_gives_objects(name):
    image, truth = discs()
    method = METHODS[name](output="objects", **FAST.get(name, {}))
    found = segment(image, method)
    assert found.dtype == np.int32
    assert_array_equal(np.unique(found), np.arange(found.max() + 1))
    assert f1(found, truth) > 0.9


def test_the_diameter_is_measured_and_can_be_set():
    image, _ = discs()
    model = train(image, MMT.preset("nuclei"))
    assert model.diameter_px == pytest.approx(20, rel=0.15)
    assert train(image, MMT.preset("nuclei", diameter_px=33)).diameter_px == 33


def test_objects_of_a_large_image_are_as_large_as_those_of_a_part(monkeypatch):
    image = discs()[0]
    monkeypatch.setattr("napari_mmtseg.methods.networks._WORKING_PIXELS_OF_CROPS", 1024)
    assert MMT().reduction_of(image.size) > 1
    model = train(image, MMT.preset("nuclei"))
    assert model.diameter_px == pytest.approx(20, rel=0.15)


def test_small_objects_beside_a_set_diameter_are_left_out():
    image, _ = discs()
    image[118:125, 18:25] = 0.8
    there = segment(image, MMT.preset("nuclei"))[121, 21]
    gone = segment(image, MMT.preset("nuclei", diameter_px=50))[121, 21]
    assert there > 0
    assert gone == 0


def test_objects_are_smooth_and_whole():
    image, _ = discs(noise=0)
    image[disk((75, 40), 3)] = 0.2  # a hole
    image[5, 5] = image[60, 90] = 0.8  # specks
    found = segment(image, KMeans(output="objects", n_labels=2, smoothing_px=0.0))
    assert found[75, 40] == found[75, 48] > 0
    assert np.bincount(found.ravel())[1:].min() > 100


def test_objects_join_planes_and_keep_apart_in_time():
    stack, truth = nuclei_stack()
    spacing = (1.0, 1.0, 1.0)
    model = train(stack, MMT.preset("nuclei"), axes="ZYX", spacing=spacing)
    found = model.predict(stack, axes="ZYX", spacing=spacing)
    through = [np.ptp(np.nonzero(found == one)[0]) for one in range(1, min(9, found.max() + 1))]
    assert max(through) > 2
    assert f1(found, truth) > 0.7
    twice = model.predict(np.stack([stack, stack]), axes="TZYX", spacing=spacing)
    assert not set(np.unique(twice[0])[1:]) & set(np.unique(twice[1]))
    assert_array_equal(twice[0], found)


def test_an_unknown_voxel_size_is_said():
    stack, _ = nuclei_stack()
    with pytest.warns(UserWarning, match="voxels' size is not known"):
        segment(stack[:4], KMeans(output="objects", n_labels=2), axes="ZYX")


def test_segment_predict_and_a_saved_model_give_the_same_objects(tmp_path):
    image, _ = discs()
    method = MMT.preset("nuclei")
    model = train(image, method)
    model.save(tmp_path / "nuclei.safetensors")
    first = segment(image, method)
    assert_array_equal(model.predict(image), first)
    assert_array_equal(load(tmp_path / "nuclei.safetensors").predict(image), first)
    assert_array_equal(model.predict(image, n_labels=3), first)


def test_masked_pixels_hold_no_object():
    image, _ = discs()
    mask = np.ones(image.shape, bool)
    mask[:60] = False
    found = segment(image, MMT.preset("nuclei"), mask=mask)
    assert not found[:60].any()
    assert found[75, 40] > 0


def test_an_image_of_one_value_has_no_object():
    with pytest.warns(UserWarning, match="All pixels"):
        assert not segment(np.full((40, 50), 7.0), MMT.preset("nuclei")).any()


def test_named_classes_keep_the_objects():
    image, truth = discs()
    strokes = np.zeros(image.shape, np.uint8)
    strokes[5, 5:60], strokes[75, 35:45] = 1, 2
    model = train(image, MMT.preset("nuclei")).with_classes(image, strokes)
    found = model.predict(image)
    assert f1(found, truth) == 1


def test_noise_frays_no_outline():
    rng = np.random.default_rng(1)
    inside = np.zeros((120, 120), bool)
    inside[ellipse(60, 60, 30, 24)] = True
    frayed = inside ^ (rng.random(inside.shape) < 0.2)
    seen = first_look(frayed, (1.0, 1.0))
    assert seen is not None
    assert seen.diameter == pytest.approx(2 * np.sqrt(30 * 24), rel=0.1)


@pytest.mark.parametrize(("dark", "share"), [(False, 1.0), (True, 0.75)])
def test_a_pale_object_is_drawn_to_half_of_its_own_contrast_if_it_is_bright(dark, share):
    truth = np.zeros((60, 120), bool)
    truth[disk((30, 30), 14)] = True
    pale = np.zeros_like(truth)
    pale[disk((30, 90), 14)] = True
    contrast = ndimage.gaussian_filter(truth + 0.55 * pale, 4).astype(np.float32)
    inside = truth | (pale & (contrast > 0.5))  # the label has the middle of the pale one alone
    found = find_objects(inside, contrast, 28.0, (1.0, 1.0), dark=dark)
    sizes = np.bincount(found[pale | (found > 0)])[1:]
    assert len(sizes) == 2
    assert sizes[1] / pale.sum() == pytest.approx(share, abs=0.08)


def test_nothing_inside_is_no_object():
    nothing = np.zeros((20, 20), bool)
    found = find_objects(nothing, np.zeros((20, 20), np.float32), 5.0, (1.0, 1.0))
    assert not found.any()
    assert first_look(nothing, (1.0, 1.0)) is None


def test_more_labels_are_taken_for_objects_only_if_they_find_rounder_ones():
    image, truth = discs(noise=0)
    tissue = np.zeros(image.shape, bool)
    tissue[10:125, 12:132] = True
    clusters = (tissue.astype(np.int16) + (truth > 0)).astype(np.int16)
    views = [ImageView(clusters, (clusters / 2).astype(np.float32)[None])]
    two, three = np.array([1, 2, 2]), np.array([1, 2, 3])
    assert_array_equal(seek(views, [two, three], (1.0, 1.0)), [False, False, True])
    plain = [ImageView((truth > 0).astype(np.int16), image.astype(np.float32)[None])]
    assert_array_equal(seek(plain, [np.array([1, 2])], (1.0, 1.0)), [False, True])


def test_the_rounder_half_of_the_objects_is_not_taken_for_all():
    truth = discs(noise=0)[1]
    pale = np.isin(truth, (1, 3, 5, 6)) & (np.random.default_rng(0).random(truth.shape) < 0.7)
    clusters = (pale + 2 * np.isin(truth, (2, 4))).astype(np.int16)
    views = [ImageView(clusters, (clusters / 2).astype(np.float32)[None])]
    two, three = np.array([1, 2, 2]), np.array([1, 2, 3])
    assert_array_equal(seek(views, [three], (1.0, 1.0)), [False, False, True])
    assert_array_equal(seek(views, [two, three], (1.0, 1.0)), [False, True, True])


def test_objects_may_be_pale_and_dark():
    truth = discs(noise=0)[1]
    dark = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=truth.shape), 1.5) > 0
    clusters = ((truth > 0) * (1 + dark)).astype(np.int16)
    views = [ImageView(clusters, (clusters / 2).astype(np.float32)[None])]
    tables = [np.array([1, 1, 2]), np.array([1, 2, 3])]
    assert_array_equal(seek(views, tables, (1.0, 1.0)), [False, True, True])


@pytest.mark.parametrize(
    ("levels", "expected"),
    [([0.6, 0.2, 1.0], [False, True, False]), ([0.1, 0.0, 0.5], [False, False, True])],
)
def test_gaps_in_tissue_are_no_objects_though_they_are_a_little_rounder(levels, expected):
    clusters = np.zeros((160, 160), np.int16)
    for number, (y, x) in enumerate(np.ndindex(4, 4)):
        clusters[disk((20 + 40 * y, 20 + 40 * x), 12)] = 1 + number % 2
        if number % 2 == 0:
            clusters[disk((8 + 40 * y, 20 + 40 * x), 4)] = 1  # dark ones have a bump
    views = [ImageView(clusters, np.array(levels, np.float32)[clusters][None])]
    assert_array_equal(seek(views, [np.array([1, 2, 3])], (1.0, 1.0)), expected)


def test_a_label_without_pieces_is_no_object():
    views = [ImageView(np.zeros((20, 20), np.int16), np.zeros((1, 20, 20), np.float32))]
    assert not seek(views, [np.array([1, 2])], (1.0, 1.0)).any()


def moving(shifts, start=((20, 20), (20, 60), (60, 30))):
    """Discs that move by so many pixels a frame, and their truth."""
    truth = np.zeros((len(shifts), 90, 110), np.int32)
    for plane, shift in zip(truth, shifts, strict=True):
        for number, (y, x) in enumerate(start, start=1):
            plane[disk((y, x + shift), 9, shape=plane.shape)] = number
    noise = np.random.default_rng(0).normal(0, 0.04, truth.shape)
    return 0.2 + 0.6 * (truth > 0) + noise, truth


def test_objects_are_linked_over_time_where_asked():
    film, truth = moving([0, 5, 10, 15])
    film[2:, 75:86, 90:101] = 0.8  # one that comes later
    linked = segment(film, MMT.preset("nuclei", over_time="linked"), axes="TYX")
    for number in (1, 2, 3):
        ids = [np.bincount(one[t == number]).argmax() for one, t in zip(linked, truth, strict=True)]
        assert len(set(ids)) == 1
        assert ids[0] > 0
    assert linked.max() == 4
    apart = segment(film, MMT.preset("nuclei"), axes="TYX")
    assert len(np.unique(apart[apart > 0])) == 3 + 3 + 4 + 4


def test_what_moves_too_far_or_is_gone_for_a_frame_is_another_object():
    first, gone = np.zeros((2, 30, 30), np.int32)
    first[5:15, 5:15] = 7
    far = np.roll(first, 9, axis=1)
    assert set(np.unique(renumbered(far, first, 9))) == {0, 10}
    assert set(np.unique(renumbered(first, gone, 9))) == {0, 10}
    both = np.where(first, 1, np.where(np.roll(first, 12, axis=0), 2, 0)).astype(np.int32)
    assert set(np.unique(renumbered(both, first, 9))) == {0, 7, 10}


def test_a_faint_round_object_is_found_and_a_faint_streak_or_slope_is_not():
    rows, columns = np.ogrid[:48, :110]
    bright, faint = ((np.hypot(rows - 24, columns - x) < 8) for x in (16, 60))
    contrast = np.where(bright, 1.0, np.where(faint, 0.3, 0.0))
    contrast[4:44, 90:94] = 0.3  # a streak
    contrast[20:28, 24:34] = 0.3  # what the bright one runs out into
    contrast = ndimage.gaussian_filter(contrast, 1).astype(np.float32)
    found = with_faint_ones(contrast > 0.5, contrast, 16, (1, 1))
    assert ndimage.label(found)[1] == 2
    added = found & (columns > 40)
    assert (added & faint).sum() / (added | faint).sum() > 0.85
    alone = with_faint_ones(contrast > 2, np.zeros_like(contrast), 16, (1, 1))
    assert not alone.any()


def test_who_stops_training_waits_for_a_few_planes_to_be_looked_at(monkeypatch):
    stack, _ = nuclei_stack((12, 96, 96), n_nuclei=12)
    seen = []

    def noted(model, labeller, frames, part, mask=None):
        seen.append({axis: one.stop - one.start for axis, one in part.items()})
        return view_of(model, labeller, frames, part, mask)

    monkeypatch.setattr("napari_mmtseg.prediction.survey.view_of", noted)
    method = MMT.preset("nuclei", n_iterations=2)
    whole = train(stack, method, axes="ZYX", spacing=(2, 1, 1))
    stopped = train(stack, method, axes="ZYX", spacing=(2, 1, 1), on_step=lambda step: True)
    assert seen == [{"Z": 12, "Y": 96, "X": 96}, {"Z": 4, "Y": 96, "X": 96}]
    assert abs(stopped.diameter_px - whole.diameter_px) < 0.3 * whole.diameter_px
