"""Objects are split, joined, deleted and sifted by size; the others stay as they are."""

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from skimage.measure import label

from napari_mmtseg.labels.corrections import delete, join, split
from napari_mmtseg.labels.object_numbers import free_numbers
from napari_mmtseg.labels.size_filter import SizeFilter


@pytest.fixture
def labels():
    """A bar of 10 x 40 that is 5, and a square of 10 x 10 beside it that is 9."""
    image = np.zeros((30, 60), np.int32)
    image[5:15, 5:45] = 5
    image[5:15, 45:55] = 9
    return image


def test_a_line_splits_an_object_and_the_largest_part_keeps_the_number(labels):
    cut = split(labels, 5, [(0, 20), (25, 20)]).applied(labels)
    assert set(np.unique(cut)) == {0, 5, 9, 10}
    assert_array_equal(cut != 0, labels != 0)
    assert (cut[5:15, 21:45] == 5).all()
    assert (cut[5:15, 5:20] == 10).all()
    assert_array_equal(cut == 9, labels == 9)


def test_a_change_holds_what_it_changes_and_nothing_else(labels):
    before = labels.copy()
    change = split(labels, 5, [(0, 20), (25, 20)])
    assert_array_equal(labels, before)
    assert (change.old == 5).all()
    assert (change.new == 10).all()
    assert change.new.dtype == labels.dtype
    cut = change.applied(labels)
    assert len(change.old) == (cut != labels).sum()
    cut[change.indices] = change.old
    assert_array_equal(cut, labels)


def test_a_line_that_ends_within_the_object_is_drawn_on(labels):
    short = split(labels, 5, [(8, 20), (11, 20)]).applied(labels)
    assert_array_equal(short, split(labels, 5, [(0, 20), (25, 20)]).applied(labels))


@pytest.mark.parametrize("angle", np.linspace(0, np.pi, 13))
def test_a_line_in_any_direction_leaves_no_specks_and_no_gap(angle):
    rows, columns = np.ogrid[:80, :80]
    disc = ((rows - 40) ** 2 + (columns - 40) ** 2 < 30**2).astype(np.uint16)
    way = 35 * np.array([np.sin(angle), np.cos(angle)])
    cut = split(disc, 1, [40.3 - way, 39.8 + way]).applied(disc)
    assert_array_equal(np.unique(cut), [0, 1, 2])
    assert_array_equal(cut != 0, disc != 0)
    for number in (1, 2):
        assert label(cut == number, connectivity=1).max() == 1
        assert 0.4 < (cut == number).sum() / disc.sum() < 0.6


def test_a_bent_line_cuts_several_times(labels):
    bent = [(0, 12), (20, 12), (20, 30), (0, 30)]
    cut = split(labels, 5, bent).applied(labels)
    assert len(np.unique(cut[labels == 5])) == 3


def test_in_a_volume_the_line_cuts_through_all_planes(labels):
    volume = np.stack([labels * 0, labels, labels, labels])
    cut = split(volume, 5, [(0, 20), (25, 20)]).applied(volume)
    flat = split(labels, 5, [(0, 20), (25, 20)]).applied(labels)
    for plane in (1, 2, 3):
        assert_array_equal(cut[plane], flat)


def test_a_volume_can_be_cut_from_the_side(labels):
    volume = np.stack([labels] * 8)
    cut = split(volume, 5, [(4, 0), (4, 59)], axes=(0, 2)).applied(volume)
    assert len(np.unique(cut[:4][volume[:4] == 5])) == 1
    assert len(np.unique(cut[5:][volume[5:] == 5])) == 1
    assert cut[0, 8, 8] != cut[7, 8, 8]
    turned = split(volume, 5, [(0, 4), (59, 4)], axes=(2, 0)).applied(volume)
    assert_array_equal(turned, cut)


def test_pieces_that_the_line_does_not_touch_stay_with_the_object(labels):
    labels[20:28, 5:13] = 5
    cut = split(labels, 5, [(0, 20), (17, 20)]).applied(labels)
    assert (cut[20:28, 5:13] == 5).all()


def test_a_small_object_can_be_split():
    image = np.zeros((6, 8), np.uint8)
    image[2:4, 1:7] = 3
    assert_array_equal(np.unique(split(image, 3, [(0, 3), (5, 3)]).new), [4])


@pytest.mark.parametrize("line", [[(0, 0), (29, 0)], [(5, 60), (15, 60)], [(0, 5), (3, 40)]])
def test_a_line_that_misses_is_refused(labels, line):
    with pytest.raises(ValueError, match="does not cut object 5 in two: draw it right across"):
        split(labels, 5, line)


@pytest.mark.parametrize("line", [[(1, 1)], [(1, 1, 1), (2, 2, 2)], [(1, np.nan), (2, 2)]])
def test_what_is_no_line_is_refused(labels, line):
    with pytest.raises(ValueError, match="at least two points of two coordinates"):
        split(labels, 5, line)


def test_what_is_no_object_is_refused(labels):
    with pytest.raises(ValueError, match="0 is the background: choose an object"):
        split(labels, 0, [(0, 20), (25, 20)])
    with pytest.raises(ValueError, match="There is no object 4"):
        delete(labels, [4])
    with pytest.raises(ValueError, match="There is no object 4"):
        join(labels, [5, 4])
    with pytest.raises(ValueError, match=r"two different objects, got \[5, 5\]"):
        join(labels, [5, 5])
    with pytest.raises(ValueError, match="two different objects"):
        join(labels, [])


def test_joined_objects_bear_the_first_ones_number(labels):
    assert_array_equal(join(labels, [5, 9]).applied(labels), 5 * (labels != 0))
    assert_array_equal(join(labels, [9, 5]).applied(labels), 9 * (labels != 0))


def test_a_deleted_object_is_background(labels):
    assert_array_equal(delete(labels, [5]).applied(labels), labels * (labels == 9))
    assert not delete(labels, [5, 9]).applied(labels).any()


def test_a_change_of_a_frame_finds_its_place_in_the_film(labels):
    film = np.stack([labels, labels])
    change = delete(film[1], [5]).placed([1, None, None])
    changed = change.applied(film)
    assert_array_equal(changed[0], labels)
    assert_array_equal(changed[1], labels * (labels == 9))


def test_new_numbers_are_free_in_the_whole_film(labels):
    film = np.stack([labels, labels * 3])
    assert_array_equal(np.unique(split(film[0], 5, [(0, 20), (25, 20)], among=film).new), [28])


def test_free_numbers_lie_beyond_the_largest_or_in_gaps(labels):
    assert free_numbers(labels) == [10]
    assert free_numbers(labels * 0, 2) == [1, 2]
    full = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert free_numbers(np.where(full == 77, 0, full)) == [77]
    with pytest.raises(ValueError, match=r"All 255 numbers of uint8 are taken: convert"):
        free_numbers(full)
    assert free_numbers(np.array([0, 2**31 - 1], np.int64), 2) == [1, 2]


@pytest.fixture
def real_labels(real):
    return tifffile.imread(real("microscopy", "nuclei2d_labels_yx.tif"))


def test_sifting_takes_out_what_is_too_small_or_too_large(real_labels):
    sizes = np.bincount(real_labels.ravel())
    sift = SizeFilter(real_labels)
    sifted = sift.change(100, 400).applied(real_labels)
    kept = [n for n, size in enumerate(sizes) if n and 100 <= size <= 400]
    assert_array_equal(np.unique(sifted[sifted > 0]), kept)
    assert_array_equal(sifted[sifted > 0], real_labels[sifted > 0])
    assert sift.n_out == (sizes[1:] > 0).sum() - len(kept)


def test_sifting_comes_back_bit_for_bit(real_labels):
    shown = real_labels.copy()
    sift = SizeFilter(shown)
    everything = sorted(sift.sizes)
    for smallest, largest in ((50, 900), (200, 300), (0, 250), (500, 400), (0, 10**6)):
        change = sift.change(smallest, largest)
        shown[change.indices] = change.new
        assert sorted(sift.sizes) == everything
    assert_array_equal(shown, real_labels)
    assert sift.n_out == 0


def test_a_number_is_sifted_in_each_frame_by_its_size_there(labels):
    film = np.stack([labels, np.where(labels == 5, 0, labels), labels])
    film[2, 10:15] = 0
    sift = SizeFilter(film, (1, 2))
    assert_array_equal(np.sort(sift.sizes), [50, 100, 100, 200, 400])
    kept = sift.change(100, 300).applied(film)
    assert_array_equal(kept[0], labels * (labels == 9))
    assert_array_equal(kept[1], film[1])
    assert_array_equal(kept[2], film[2] * (film[2] == 5))


def test_axes_may_lie_in_any_order(labels):
    volume = np.stack([np.stack([labels] * 3), np.stack([labels * 0, labels, labels])])  # TZYX
    expected = SizeFilter(volume, (1, 2, 3)).change(250, 1000).applied(volume)
    turned = np.ascontiguousarray(volume.transpose(3, 1, 0, 2))
    sifted = SizeFilter(turned, (1, 3, 0)).change(250, 1000).applied(turned)
    assert_array_equal(sifted.transpose(2, 1, 3, 0), expected)
    assert set(np.unique(expected[0])) == {0, 9}


def test_an_object_does_not_come_back_over_what_was_painted_meanwhile(labels):
    shown = labels.copy()
    sift = SizeFilter(shown)
    change = sift.change(200, 10**6)
    shown[change.indices] = change.new
    shown[5:15, 50:55] = 77
    sift.look()
    change = sift.change(0, 10**6)
    shown[change.indices] = change.new
    assert (shown[5:15, 45:50] == 9).all()
    assert (shown[5:15, 50:55] == 77).all()


def test_an_object_that_an_undo_has_brought_back_is_there(labels):
    shown = labels.copy()
    sift = SizeFilter(shown)
    change = sift.change(200, 10**6)
    shown[change.indices] = change.new
    shown[change.indices] = change.old  # undone
    sift.look()
    assert sift.n_out == 0
    assert_array_equal(sift.change(200, 10**6).applied(shown), labels * (labels == 5))


@pytest.mark.parametrize("number", [-1, 2**31])
def test_numbers_out_of_range_cannot_be_sifted(labels, number):
    with pytest.raises(ValueError, match=f"got {number}: number the objects anew"):
        SizeFilter(np.where(labels == 5, number, labels.astype(np.int64)))


def test_no_objects_have_no_sizes(labels):
    sift = SizeFilter(labels * 0)
    assert len(sift.sizes) == 0
    assert len(sift.change(1, 2).old) == 0
