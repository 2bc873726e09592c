"""The sample at the working resolution."""

import numpy as np
import torch
from numpy.testing import assert_array_equal

from napari_mmtseg.engine.working_sample import batches, glimpse, survey, working_sample
from napari_mmtseg.images.frames import Sample
from napari_mmtseg.methods import MMT, Kim

CPU = torch.device("cpu")


def sample_of(scribbles=None, valid=None):
    shape = (5, 6)
    valid = np.ones(shape, bool) if valid is None else valid
    strokes = None if scribbles is None else [scribbles]
    return Sample([np.zeros((1, *shape), np.float32)], [valid], strokes)


def test_a_working_pixel_takes_the_class_painted_most_in_its_square():
    strokes = np.zeros((5, 6), np.int64)
    strokes[0, :2] = 3  # two of one class beside one of another
    strokes[1, 0] = 1
    strokes[2, 2] = 3  # a tie goes to the smaller class
    strokes[3, 3] = 1
    strokes[4, 5] = 3  # a square cut off by the border
    working = working_sample(sample_of(strokes), Kim(width=4, reduction=2), CPU)
    assert_array_equal(working.classes, [1, 0, 3, 0])
    assert_array_equal(working.painted, [0, 2])
    assert_array_equal(working.planes[0].painted[0], [[2, -1, -1], [-1, 0, -1], [-1, -1, 2]])


def test_classes_larger_than_the_width_take_the_first_channels():
    strokes = np.zeros((5, 6), np.int64)
    strokes[0, 0], strokes[1, 1] = 40, 7
    working = working_sample(sample_of(strokes), Kim(width=4, reduction=1), CPU)
    assert_array_equal(working.classes, [7, 40, 0, 0])
    assert_array_equal(working.planes[0].painted[0, :2, :2], [[1, -1], [-1, 0]])


def test_pixels_that_do_not_count_are_not_painted():
    strokes, valid = np.ones((5, 6), np.int64), np.ones((5, 6), bool)
    strokes[2:] = 2
    valid[0] = False
    working = working_sample(sample_of(strokes, valid), Kim(width=4, reduction=1), CPU)
    assert (working.planes[0].painted[0, 0] == -1).all()
    assert not working.planes[0].unpainted.any()


def test_a_plane_with_few_valid_pixels_keeps_those_at_any_reduction():
    valid = np.zeros((5, 6), bool)
    valid[2, 2] = True
    working = working_sample(sample_of(valid=valid), Kim(reduction=2), CPU)
    assert_array_equal(working.planes[0].valid[0].nonzero(), [[1, 1]])


def test_crops_cut_all_parts_of_a_plane_alike():
    strokes = np.arange(30).reshape(5, 6) + 1
    pixels = strokes[None].astype(np.float32)
    sample = Sample([pixels, pixels], [np.ones((5, 6), bool)] * 2, [strokes, strokes])
    method = Kim(width=30, reduction=1, crop_px=3, n_crops=2)
    working = working_sample(sample, method, CPU)
    drawn = batches(working.planes, method, torch.Generator().manual_seed(0))
    for _ in range(5):
        batch = next(drawn)
        assert batch.pixels.shape == (2, 1, 9, 9)  # with a margin of three
        assert batch.superpixels is None
        assert_array_equal(batch.own_pixels[:, 0], batch.painted + 1)


def test_every_other_plane_drawn_is_painted_on():
    empty, strokes = np.zeros((5, 6), np.int64), np.ones((5, 6), np.int64)
    strokes[3:] = 2
    plane, valid = np.zeros((1, 5, 6), np.float32), np.ones((5, 6), bool)
    sample = Sample([plane] * 20, [valid] * 20, [*[empty] * 19, strokes])
    method = Kim(width=4)
    drawn = batches(
        working_sample(sample, method, CPU).planes, method, torch.Generator().manual_seed(0)
    )
    share = np.mean([bool((next(drawn).painted >= 0).any()) for _ in range(200)])
    assert 0.4 < share < 0.65


def test_a_glimpse_is_a_small_part_of_a_survey_from_all_over_the_plane():
    pixels = np.broadcast_to(np.linspace(0, 1, 768, dtype=np.float32), (1, 768, 768)).copy()
    method = MMT()
    sample = Sample([pixels], [np.ones((768, 768), bool)])
    working = working_sample(sample, method, CPU)
    looked = [survey(working.planes, method), glimpse(working.planes)]
    sizes = [sum(one.valid.numel() for one in planes) for planes in looked]
    assert 3 * sizes[1] < sizes[0]
    seen = torch.cat([one.own_pixels.flatten() for one in looked[1]])
    spread = working.planes[0].pixels
    assert seen.max() - seen.min() > 0.7 * (spread.max() - spread.min())
