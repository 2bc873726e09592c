"""A click says what is an object, and a diameter how large it is; nothing is trained anew."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg import MMT, Felzenszwalb, KMeans, segment, train
from napari_mmtseg.engine import drain
from napari_mmtseg.segmentation import part_steps, segment_steps
from tests.spots import BRIGHT, DARK

NUCLEI = KMeans(n_labels=2, smoothing_px=0.0, output="objects")


def at(labels, places):
    """Return the objects at some pixels."""
    return [int(labels[place]) for place in places]


def test_one_pixel_says_which_label_is_the_object(spots):
    model = train(spots, replace(NUCLEI, n_labels=3))
    for kind, other in ((BRIGHT, DARK), (DARK, BRIGHT)):
        told = model.with_objects(spots, kind[0])
        found = told.predict(spots)
        assert sorted(at(found, kind)) == list(range(1, len(kind) + 1))
        assert at(found, other) == [0] * len(other)
        assert told.diameter_px == pytest.approx(14, abs=2)
        assert_array_equal(told.sizes, model.sizes)


def test_a_model_of_classes_gives_objects_once_it_is_told_what_they_are(spots):
    model = train(spots, KMeans(n_labels=3, smoothing_px=0.0))
    told = model.with_objects(spots, DARK[1])
    assert told.method.output == "objects"
    assert model.method.output == "classes"
    assert told.predict(spots).max() == len(DARK)


def test_the_ground_may_be_the_object_if_the_user_says_so(gray):
    told = train(gray, NUCLEI).with_objects(gray, (0, 0))
    assert told.predict(gray)[0, 0] > 0


def test_a_pixel_of_a_stack_is_meant_in_its_own_plane_and_frame(spots):
    blank = np.full_like(spots, 110)
    series = np.stack([blank, blank, spots])
    model = train(series, replace(NUCLEI, n_labels=3), axes="TYX")
    told = model.with_objects(series, (2, *DARK[0]), axes="TYX")
    found = told.predict(series, axes="TYX")
    assert len({*at(found[2], DARK)} - {0}) == 3
    assert not found[:2].any()


@pytest.mark.parametrize("place", [(3,), (1, 2, 3), (80, 5), (-1, 5), "here", 4])
def test_a_pixel_outside_of_the_image_is_refused(spots, place):
    with pytest.raises(ValueError, match=r"axes YX have the lengths \(80, 96\); got"):
        train(spots, NUCLEI).with_objects(spots, place)


def test_a_masked_pixel_is_no_object(spots):
    mask = np.ones(spots.shape, bool)
    mask[:30] = False
    model = train(spots, NUCLEI, mask=mask)
    with pytest.raises(ValueError, match=r"\(18, 20\) is masked"):
        model.with_objects(spots, BRIGHT[0], mask=mask)
    found = model.with_objects(spots, BRIGHT[2], mask=mask).predict(spots, mask=mask)
    assert not found[:30].any()
    assert_array_equal(segment(spots, NUCLEI, mask=mask)[:30], found[:30])


@pytest.mark.filterwarnings("ignore:All pixels")
def test_one_label_tells_nothing_apart():
    flat = np.full((32, 32), 7, np.uint8)
    with pytest.raises(ValueError, match="one label alone"):
        train(flat, KMeans(n_labels=2)).with_objects(flat, (3, 3))


@pytest.mark.parametrize("method", [MMT(n_iterations=1, width=4), NUCLEI], ids=["MMT", "k-means"])
def test_a_diameter_above_the_image_is_refused_before_any_work(gray, method):
    method = replace(method, output="objects", diameter_px=33)
    steps = []
    with pytest.raises(ValueError, match=r"diameter_px\) is 33 px, the image 24 x 32. Give"):
        segment(gray, method, on_step=steps.append)
    assert not steps
    assert segment(gray, replace(method, output="classes")).any()
    assert segment(gray, replace(method, diameter_px=9)).any()


def test_another_diameter_gives_what_a_prediction_with_it_gives(spots):
    found = drain(segment_steps(spots, NUCLEI))
    assert found.objects.max() == len(BRIGHT)
    model = replace(found.model, method=replace(NUCLEI, diameter_px=40))
    again = drain(part_steps(found, model, spots))
    assert_array_equal(again.labels(), model.predict(spots))
    assert again.model.diameter_px == 40
    assert again.clusters is found.clusters


def test_a_method_without_a_model_has_no_diameter():
    assert not hasattr(Felzenszwalb(), "diameter_px")
