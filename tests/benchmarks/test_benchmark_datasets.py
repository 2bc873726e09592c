"""Finding images and their ground truth."""

import numpy as np
import pytest
from scipy.io import savemat
from skimage.io import imsave
from tifffile import imwrite

from benchmarks.quality import datasets


def test_a_folder_gives_its_images_with_the_labels_of_every_annotator(folder):
    (folder / "labels_2").mkdir()
    imsave(folder / "labels_2" / "dark_c.png", np.eye(24, dtype=np.uint8), check_contrast=False)
    found = datasets.find(folder, "folder")
    assert [one.name for one in found.pictures] == ["bright_a", "colour_b", "dark_c"]
    image, axes, truths = found.pictures[2].read()
    assert (image.shape, axes, len(truths)) == ((24, 24, 3), "YXS", 2)
    assert set(np.unique(truths[0])) == {0, 7}


def test_dsb2018_has_kinds_of_images_and_asks_for_nuclei_or_not(folder):
    found = datasets.find(folder, "dsb2018")
    assert [one.group for one in found.pictures] == ["brightfield", "stained", "fluorescence"]
    assert set(np.unique(found.pictures[0].read()[2][0])) == {0, 1}


def test_bsds500_holds_several_annotators_in_a_file(tmp_path):
    images, truths = tmp_path / "images" / "val", tmp_path / "groundTruth" / "val"
    images.mkdir(parents=True)
    truths.mkdir(parents=True)
    imsave(images / "1.jpg", np.zeros((8, 9, 3), np.uint8), check_contrast=False)
    cells = np.empty((1, 2), object)
    for place in range(2):
        cells[0, place] = {"Segmentation": np.full((8, 9), place + 1, np.uint16)}
    savemat(truths / "1.mat", {"groundTruth": cells})
    found = datasets.find(tmp_path, "bsds500")
    image, axes, annotations = found.pictures[0].read()
    assert (image.shape, axes, len(annotations)) == ((8, 9, 3), "YXS", 2)
    with pytest.raises(ValueError, match="no folder images/test"):
        datasets.find(tmp_path, "bsds500", split="test")


def test_an_image_without_ground_truth_is_skipped_by_name(folder):
    (folder / "labels" / "colour_b.png").unlink()
    found = datasets.find(folder, "folder")
    assert found.skipped == ("colour_b",)
    assert len(found.pictures) == found.n_found == 2


def test_a_folder_with_nothing_to_measure_is_refused(folder, tmp_path):
    for path in (folder / "labels").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="no image has ground truth"):
        datasets.find(folder, "folder")
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="there is no image"):
        datasets.find(folder, "folder")
    with pytest.raises(ValueError, match="--data"):
        datasets.find(tmp_path / "absent", "folder")
    with pytest.raises(ValueError, match="no folder images"):
        datasets.find(tmp_path, "folder")


def test_two_files_of_one_name_are_refused(folder):
    imsave(folder / "images" / "dark_c.tif", np.zeros((24, 24), np.uint8), check_contrast=False)
    with pytest.raises(ValueError, match="share a name"):
        datasets.find(folder, "folder")


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.zeros((24, 24), np.float32), "whole numbers"),
        (np.zeros((24, 23), np.uint8), "shape"),
    ],
)
def test_ground_truth_that_does_not_fit_is_refused(folder, truth, message):
    (folder / "labels" / "dark_c.png").unlink()
    imwrite(folder / "labels" / "dark_c.tif", truth)
    picture = datasets.find(folder, "folder").pictures[2]
    with pytest.raises(ValueError, match=f"dark_c.*{message}"):
        picture.read()


def test_the_axes_of_a_stack_must_be_told(folder):
    (folder / "images" / "dark_c.png").unlink()
    imwrite(folder / "images" / "dark_c.tif", np.zeros((2, 24, 24), np.uint16))
    with pytest.raises(ValueError, match="--axes"):
        datasets.find(folder, "folder").pictures[2].read()
    imwrite(folder / "labels" / "dark_c.tif", np.zeros((2, 24, 24), np.uint16))
    (folder / "labels" / "dark_c.png").unlink()
    assert datasets.find(folder, "folder", axes="ZYX").pictures[2].read()[1] == "ZYX"


def test_a_subset_is_spread_evenly_or_named():
    sample = datasets.find(None, "sample")
    names = [one.name for one in sample.pictures]
    assert [one.name for one in datasets.subset(sample, "2").pictures] == [names[0], names[2]]
    assert datasets.subset(sample, "z09,z0*").pictures[0].name == "z09"
    assert len(datasets.subset(sample, "z09,z0*").pictures) == len(names)
    with pytest.raises(ValueError, match="named nothing"):
        datasets.subset(sample, "nothing")
    with pytest.raises(ValueError, match="1 to 5"):
        datasets.subset(sample, "6")
