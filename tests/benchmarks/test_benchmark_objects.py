"""The objects' benchmark: what it finds, how it scores, and going on where it was."""

import shutil

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage
from skimage.io import imsave
from tifffile import imwrite

from benchmarks.quality import object_contenders, object_scoring, object_sets, objects
from benchmarks.quality.object_contenders import contender
from benchmarks.quality.store import Store


def discs(shape):
    """Return an image of bright discs, in stacks balls, two that touch, and their ids."""
    truth = np.zeros(shape, np.uint16)
    grid = np.indices(shape)
    for number, centre in enumerate([(12, 12), (12, 42), (42, 12), (42, 27)]):
        centre = (*[side // 2 for side in shape[:-2]], *centre)
        away = sum((axis - place) ** 2 for axis, place in zip(grid, centre, strict=True))
        truth[away <= 8**2] = number + 1
    noise = np.random.default_rng(0).normal(0, 4, shape)
    return ndimage.gaussian_filter(np.where(truth, 180.0, 40.0), 1) + noise, truth


@pytest.fixture
def data(tmp_path):
    """Return a folder of every layout that is understood."""
    image, truth = discs((60, 60))
    rgb = np.repeat(image[..., np.newaxis], 3, axis=2).astype(np.uint8)
    for name, names in (("dsb2018", ["dark_a", "dark_b", "colour_a"]), ("modalities/new", ["one"])):
        for part, pixels in (("images", rgb), ("labels", truth)):
            (tmp_path / "data" / name / part).mkdir(parents=True)
            for one in names:
                path = tmp_path / "data" / name / part / f"{one}.png"
                imsave(path, pixels, check_contrast=False)
    folder = tmp_path / "data" / "modalities" / "glas"
    shutil.copytree(tmp_path / "data" / "modalities" / "new", folder)
    stack, true_stack = discs((20, 60, 60))
    folder = tmp_path / "data" / "microscopy"
    folder.mkdir()
    imwrite(folder / "nuclei3d_zyx.tif", stack.astype(np.uint8), photometric="minisblack")
    imwrite(folder / "nuclei3d_labels_zyx.tif", true_stack, photometric="minisblack")
    imwrite(folder / "membrane_yx.tif", image.astype(np.uint8))
    return tmp_path / "data"


def test_sets_are_found_in_every_layout_the_expected_ones_first(data):
    sets = object_sets.find(data)
    assert list(sets) == ["dsb fluorescence", "dsb stained", "nuclei3d", "new"]
    assert [one.name for one in sets["dsb fluorescence"].pictures] == ["dark_a", "dark_b"]
    assert sets["nuclei3d"].pictures[0].axes == "ZYX"
    assert sets["nuclei3d"].pictures[0].voxel == (1, 1, 1)
    assert sets["new"].pictures[0].voxel is None
    assert sets["new"].pictures[0].read()[2][0].max() == 4  # ids, not foreground


def test_specks_are_counted_in_images_without_truth_as_well(data):
    sets = object_sets.find(data, scored=False)
    assert {"membrane", "glas"} < set(sets)
    assert not sets["glas"].pictures[0].truths
    assert sets["new"].pictures[0].truths


def test_the_voxel_of_a_set_may_be_told(data):
    sets = object_sets.find(data, voxels={"nuclei3d": (2, 1, 1)})
    assert sets["nuclei3d"].pictures[0].voxel == (2, 1, 1)


def test_a_subset_is_of_each_set_or_by_name(data):
    sets = object_sets.find(data)
    assert [len(one.pictures) for one in object_sets.subset(sets, "1").values()] == [1, 1, 1, 1]
    assert list(object_sets.subset(sets, "dark_a,one")) == ["dsb fluorescence", "new"]
    with pytest.raises(ValueError, match="No set has an image"):
        object_sets.subset(sets, "nothing")


def test_planes_are_seen_in_quarters_and_reduced(data):
    sets = object_sets.find(data)
    image, axes, (truth,) = sets["new"].pictures[0].read()
    quarters = object_sets.seen(sets, "quarters")
    assert list(quarters) == ["dsb fluorescence", "dsb stained", "new"]  # a stack has none
    last = quarters["new"].pictures[3]
    assert last.name.endswith(" 11")
    rows, columns = (n // 2 for n in truth.shape)
    assert_array_equal(last.read()[0], image[rows:, columns:])
    assert_array_equal(last.read()[2][0], truth[rows:, columns:])
    small, small_axes, (few,) = object_sets.seen(sets, "reduced")["new"].pictures[0].read()
    assert small_axes == axes
    assert few.shape == small.shape[:2] == tuple(round(0.6 * n) for n in truth.shape)
    assert set(np.unique(few)) == set(np.unique(truth))


def best(text, image, truth, axes="YX", voxel=None):
    _, found = object_contenders.outcome(contender(text).variants[0], image, axes, voxel)
    return max((object_scoring.score(one, truth) for one in found), key=lambda one: one["f1_50"])


def test_pieces_join_what_touches_and_the_watershed_parts_it():
    image, truth = discs((60, 60))
    joined, parted = best("otsu", image, truth), best("smoothed", image, truth)
    assert (joined["n_objects"], parted["n_objects"]) == (3, 4)
    assert parted["f1_50"] == 1
    assert joined["count_error"] == 0.25
    assert joined["foreground"] > 0.95
    dark = best("smoothed", 255 - image, truth)
    assert dark["f1_50"] == 1  # either side may be the objects


def test_stacks_are_split_in_volumes():
    image, truth = discs((20, 60, 60))
    assert best("smoothed", image, truth, "ZYX", (1.0, 1.0, 1.0))["f1_50"] == 1
    flat = image[::2], truth[::2]
    assert best("smoothed", *flat, "ZYX", (2.0, 1.0, 1.0))["f1_50"] == 1


def test_a_method_may_be_followed_by_the_watershed():
    image, truth = discs((60, 60))
    plain = "KMeans:plain,n_labels=2"
    assert best(plain, image, truth)["n_objects"] == 3
    assert best(f"{plain}+watershed", image, truth)["f1_50"] == 1
    with pytest.raises(ValueError, match=r"\+watershed, got \+magic"):
        contender(f"{plain}+magic")


def test_specks_are_pieces_of_five_pixels_or_fewer_with_holes():
    labels = np.zeros((20, 20), int)
    labels[2:12, 2:12] = 1
    labels[4, 4] = 0
    labels[15, 3:8] = 2  # five
    labels[17, 3:9] = 2  # six
    assert object_contenders.specks(labels, "YX") == 2
    assert (
        object_contenders.specks(np.stack([labels] * 2), "ZYX") == 1
    )  # the hole is 2, the rest more
    assert object_contenders.specks(np.stack([labels] * 2), "TYX") == 4


def test_a_run_scores_every_set_and_goes_on_where_it_was(data, tmp_path, capsys):
    output = tmp_path / "out"
    command = ["--data", str(data), "--only", "scores", "--output", str(output), "--workers", "0"]
    assert objects.main([*command, "--subset", "1", "--methods", "otsu"]) == 0
    told = capsys.readouterr().out
    assert "Skipped, not among these images: monuseg_test" in told
    assert "nuclei3d: the voxel's size is not known" in told
    first = Store(output).read()
    assert len(first) == 4

    assert objects.main([*command, "--methods", "otsu", "smoothed"]) == 0
    tables = capsys.readouterr().out
    assert len(Store(output).read()) == 10
    for job, result in first.items():
        assert Store(output).read()[job] == result  # not run again
    row = next(one for one in tables.splitlines() if one.startswith("| smoothed"))
    assert row.split("|")[2:4] == [" 2 ", " 1.000 "]
    assert (output / "tables.md").read_text("utf-8") in tables


def test_other_images_of_the_same_name_are_not_taken_for_these(data, tmp_path):
    output = tmp_path / "out"
    command = ["--data", str(data), "--only", "scores", "--output", str(output), "--workers", "0"]
    command += ["--subset", "one", "--methods", "otsu"]
    assert objects.main(command) == 0
    path = data / "modalities" / "new" / "labels" / "one.png"
    imsave(path, np.ones((60, 60), np.uint16), check_contrast=False)
    assert objects.main(command) == 0
    assert len({result.scores["n_true"] for result in Store(output).read().values()}) == 2


def test_what_cannot_be_used_is_told_in_one_line(data, tmp_path, capsys):
    assert objects.main(["--only", "scores", "--output", str(tmp_path / "o")]) == 2
    assert "name their folder with --data" in capsys.readouterr().err
    assert objects.main(["--data", str(tmp_path / "no"), "--output", str(tmp_path / "o")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_cells_between_walls_are_scored_with_either_side_and_the_best_smoothing():
    x = np.indices((60, 60))
    truth = x[0] // 20 * 3 + x[1] // 20 + 1
    away = np.min([abs(one % 20 - edge) for one in x for edge in (-0.5, 19.5)], axis=0)
    walls = 100 * np.exp(-(away**2) / 8) + np.random.default_rng(0).normal(0, 4, away.shape)
    for image in (walls, -walls):
        assert best("walls", image, truth)["f1_50"] > 0.9
        assert best("minima", image, truth)["f1_50"] > 0.9
    _, found = object_contenders.outcome(contender("minima").variants[0], walls, "YX", None)
    assert len(found) == 10


def test_planes_of_a_series_share_no_number_of_a_cell():
    frames = np.stack([discs((60, 60))[0]] * 2)
    _, found = object_contenders.outcome(contender("minima3").variants[0], frames, "TYX", None)
    assert not np.isin(found[0][0], found[0][1]).any()


def test_large_pieces_between_membranes_are_the_objects():
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 10] = truth[5, :10] = 1  # pieces of 50, 340 and 1160 pixels
    assert_array_equal(object_sets.objects_of(truth, "dsb stained"), truth)
    objects_there = object_sets.objects_of(truth, "isbi2012")
    sizes = np.unique(objects_there, return_counts=True)[1]
    assert sorted(sizes[1:]) == [340, 1160]
    assert not objects_there[:5, :10].any()
