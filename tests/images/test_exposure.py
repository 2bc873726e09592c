"""Images of a folder that differ in exposure alone have their objects all the same."""

import csv

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from napari_mmtseg import MMT, KMeans, load, train
from napari_mmtseg.cli import main
from napari_mmtseg.folders.image_task import Outcome
from napari_mmtseg.folders.summary import odd_ones

METHOD = KMeans(output="objects")
EXPOSED = {"equal": (1, 0), "dim": (0.1, 20), "bright": (3, 0), "offset": (1, 4000)}


def cells(seed=0, gain=1.0, offset=0.0):
    y, x = np.mgrid[:128, :128] % 32 - 16
    random = np.random.default_rng(seed)
    image = np.where(y**2 + x**2 < 49, 1000, 100) + random.normal(0, 5, y.shape)
    return np.round(image * gain + offset).clip(0, 65535).astype(np.uint16)


def count(labels):
    return len(np.setdiff1d(labels, 0))


def test_images_of_other_exposures_have_the_same_objects_and_that_is_said():
    images = [cells(i, *one) for i, one in enumerate(EXPOSED.values())]
    with pytest.warns(UserWarning, match="3 of the 4 images differ from the others in exposure"):
        model = train(images, METHOD)
    assert model.method.exposure == "own"
    assert [count(model.predict(one)) for one in images] == [16] * 4


def test_exposures_that_are_equal_change_nothing():
    images = [cells(seed) for seed in range(4)]
    automatic, shared = (
        train(images, KMeans(output="objects", exposure=one)) for one in ("automatic", "shared")
    )
    for image in images:
        assert_array_equal(automatic.predict(image), shared.predict(image))


def test_the_exposure_is_kept_in_the_models_file(tmp_path):
    model = train(cells(), KMeans(output="objects", exposure="own"))
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    dim = cells(1, 0.1)
    assert count(again.predict(dim)) == 16
    assert_array_equal(again.predict(dim), model.predict(dim))
    assert_array_equal(model.predict(cells()), train(cells(), METHOD).predict(cells()))


def test_an_image_of_noise_alone_is_not_stretched():
    model = train(cells(), KMeans(output="objects", exposure="own"))
    noise = np.random.default_rng(1).normal(100, 5, (128, 128)).astype(np.uint16)
    assert count(model.predict(noise)) == 0


@pytest.mark.filterwarnings("ignore:Nothing in the image")
def test_a_folder_of_mixed_exposures_and_sizes_has_them_all_and_names_the_odd_ones(
    tmp_path, capsys
):
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for number, one in enumerate([*EXPOSED.values(), (0.5, 50)]):
        tifffile.imwrite(folder / f"{number}.tif", cells(number, *one))
    noise = np.random.default_rng(1).normal(100, 5, (128, 128)).astype(np.uint16)
    tifffile.imwrite(folder / "empty.tif", noise)
    command = ["batch", str(folder), "-o", str(out), "--method", "KMeans", "--output", "objects"]
    assert main([*command, "--workers", "1"]) == 0
    said = capsys.readouterr()
    assert "look at empty.tif: nothing was found" in said.out
    assert "differ from the others in exposure" in said.err
    rows = {
        one["file"]: one for one in csv.DictReader((out / "batch.csv").read_text().splitlines())
    }
    assert [rows[f"{i}.tif"]["count"] for i in range(5)] == ["16"] * 5
    assert rows["empty.tif"]["notes"].startswith("Look at it: nothing was found.")


def test_counts_and_shares_far_from_the_others_are_odd():
    def outcome(name, count, covered=0.2):
        return Outcome(name, "done", count=count, row={"count": count, "covered": covered})

    usual = [outcome(f"{i}", 50 + i) for i in range(6)]
    assert odd_ones(usual) == {}
    odd = odd_ones([*usual, outcome("none", 0), outcome("many", 900), outcome("all", 50, 0.9)])
    assert list(odd) == ["none", "many", "all"]
    assert odd["many"].startswith("900 were found")


def test_an_image_unlike_what_was_learned_is_told():
    model = train(cells(), MMT(n_iterations=3, n_labels=2))
    with pytest.warns(UserWarning, match="unlike what the model was trained on: label 2 covers"):
        model.predict(np.full((64, 64), 1000, np.uint16))
    model.predict(cells(3))
