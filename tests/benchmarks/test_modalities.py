"""The benchmark of many kinds of images, and what should change nothing."""

import numpy as np
import pytest
from skimage.io import imsave

from benchmarks import __main__ as command
from benchmarks.quality import modalities, mosaics, steadiness
from benchmarks.quality.contenders import parse
from benchmarks.quality.datasets import Picture
from benchmarks.quality.store import Store


def test_a_mosaic_is_the_same_each_time_and_flat_in_each_region():
    image, regions = mosaics.mosaic(3, seed=4, side=128)
    again, _ = mosaics.mosaic(3, seed=4, side=128)
    np.testing.assert_array_equal(image, again)
    assert np.bincount(regions.ravel())[1:].min() > 0.6 * image.size / 3
    assert not np.array_equal(image, mosaics.mosaic(3, seed=5, side=128)[0])
    for name in (name for kind in mosaics.TEXTURES.values() for name in kind):
        counts = np.histogram(mosaics._texture(name), 16)[0]
        assert counts.min() > 0.99 * counts.mean()


def test_labels_are_named_by_what_most_of_them_are():
    truth = np.array([[0, 0, 0, 1, 1, 1]])
    labels = np.array([[5, 5, 7, 7, 7, 9]])
    np.testing.assert_array_equal(modalities.named_by_majority(labels, truth), [[0, 0, 1, 1, 1, 1]])
    found = modalities.score(labels, truth, has_ground=True)
    assert found["named"] == 3 / 4
    assert found["naming"] == (2 / 3 + 3 / 4) / 2
    assert found["best"] == 2 / 4
    assert np.isnan(modalities.score(labels, truth + 1, has_ground=False)["best"])


def test_only_membranes_are_looked_for_in_the_nerve_cord():
    truth = np.array([0, 1, 2, 3])
    assert modalities.classes_of(truth, "vnc_sstem").tolist() == [0, 1, 0, 0]
    assert modalities.classes_of(truth, "glas").tolist() == [0, 1, 1, 1]
    assert modalities.classes_of(truth, "brodatz").tolist() == [0, 1, 2, 3]


def test_a_run_scores_every_set_and_goes_on_where_it_was(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mosaics, "N_MOSAICS", 1)
    monkeypatch.setattr(mosaics, "SIDE", 64)
    (tmp_path / "all").mkdir()
    folder.rename(tmp_path / "all" / "brodatz")
    for path in (tmp_path / "all" / "brodatz" / "labels").iterdir():
        imsave(path, np.eye(24, dtype=np.uint8) + 1, check_contrast=False)
    output = tmp_path / "out"
    given = ["modalities", "--data", str(tmp_path / "all"), "--workers", "0"]
    given += ["--output", str(output), "--subset", "1", "--sets", "brodatz", "mosaics"]
    assert command.main([*given, "--methods", "otsu"]) == 0
    assert len(Store(output).read()) == 3
    kmeans = "KMeans:plain,n_labels=true"
    assert command.main([*given, "--methods", "otsu", kmeans]) == 0
    results = list(Store(output).read().values())
    assert len(results) == 6
    of_three = [one for one in results if one.job.dataset == "mosaics of 3"]
    assert [one.n_labels for one in of_three] == [2, 3]
    assert "| otsu | 3 |" in capsys.readouterr().out
    assert command.main([*given, "--sets", "nothing"]) == 2


def test_a_threshold_is_as_steady_as_can_be(tmp_path):
    image = np.zeros((40, 50), np.uint8)
    image[10:30, 8:20] = 200
    imsave(tmp_path / "one.png", image, check_contrast=False)
    imsave(tmp_path / "truth.png", image // 200, check_contrast=False)
    picture = Picture("one", "folder", tmp_path / "one.png", (tmp_path / "truth.png",))
    found = steadiness.agreements(parse("otsu"), picture)
    assert found == dict.fromkeys(steadiness.CHANGES, pytest.approx(1, abs=0.01))
