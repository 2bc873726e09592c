"""Models are kept under names, and labels find again what made them."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg import MMT, KMeans, train
from napari_mmtseg.model import library
from napari_mmtseg.model.library import Library, digest_of


@pytest.fixture
def kept(tmp_path):
    return Library(tmp_path / "models")


@pytest.fixture
def model(gray):
    return train(gray, KMeans(n_labels=2, smoothing_px=0.0)).with_labels([1, 2], {1: "ground"})


def test_a_model_is_kept_with_its_note_and_picture_and_the_newest_is_first(kept, model, gray):
    assert kept.entries() == []
    kept.keep("  my   cells ", model, {"image": ["cells"], "made": "2026-01-01T00:00:00"}, b"png")
    kept.keep("later", model)
    assert [one.name for one in kept.entries()] == ["later", "my cells"]
    entry = kept.entries()[1]
    assert entry.about["image"] == ["cells"]
    assert entry.about["settings"] == model.method.to_dict()
    assert entry.picture.read_bytes() == b"png"
    assert entry.load().names == {1: "ground"}
    assert_array_equal(entry.load().predict(gray), model.predict(gray))
    assert kept.entries()[0].picture is None
    kept.remove(entry)
    assert [one.name for one in kept.entries()] == ["later"]
    assert sorted(one.suffix for one in kept.folder.iterdir()) == [".json", ".safetensors"]


def test_a_name_that_is_taken_is_refused_and_nothing_is_overwritten(kept, model):
    kept.keep("cells", model, {"image": ["first"]}, b"first")
    with pytest.raises(FileExistsError, match="cells already"):
        kept.keep("cells", model, {"image": ["second"]}, b"second")
    (entry,) = kept.entries()
    assert (entry.about["image"], entry.picture.read_bytes()) == (["first"], b"first")


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "..", ".hidden", "a\\b", "x" * 99, "nul\0", "c:d"]
)
def test_names_that_are_no_files_are_refused(kept, model, name):
    with pytest.raises(ValueError, match="name"):
        kept.keep(name, model)
    assert not kept.folder.exists()


def test_a_save_that_is_cut_off_leaves_no_model(kept, model, monkeypatch):
    def full(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(type(model), "save", full)
    with pytest.raises(OSError, match="full"):
        kept.keep("cells", model, None, b"png")
    assert kept.entries() == []
    monkeypatch.undo()
    kept.keep("cells", model)
    assert len(kept.entries()) == 1


def test_a_model_without_a_sound_note_is_listed(kept, model):
    kept.keep("cells", model)
    note = kept.folder / "cells.json"
    for text in ("{", "[]", '{"made": 3}', "[" * 10_000):
        note.write_text(text)
        (entry,) = kept.entries()
        assert len(entry.made) > 9
    note.unlink()
    assert kept.entries()[0].load().n_clusters == 2


def test_a_digest_survives_what_a_tiff_does_to_labels():
    labels = np.random.default_rng(0).integers(0, 9, (1, 5, 7)).astype(np.int32)
    assert digest_of(labels) == digest_of(labels[0].astype(np.uint8))
    assert digest_of(labels) == digest_of(np.asfortranarray(labels).astype(">i2"))
    assert digest_of(labels) != digest_of(labels[0].T)
    assert digest_of(labels) != digest_of(labels + 1)
    assert digest_of(labels) != digest_of(labels.reshape(7, 5))


def test_labels_find_what_made_them(kept, model, gray):
    labels = model.predict(gray)
    assert not kept.knows_any()
    assert kept.recall(digest_of(labels)) is None
    kept.remember(digest_of(labels), model, {"record": {"image": ["gray"]}})
    kept.remember(digest_of(labels + 1), None, {"record": {}})
    about, found = kept.recall(digest_of(labels))
    assert about["record"] == {"image": ["gray"]}
    assert_array_equal(found.predict(gray), labels)
    assert kept.recall(digest_of(labels + 1))[1] is None
    assert kept.entries() == [], "what is remembered is not named"


def test_the_oldest_are_forgotten_with_their_models_and_other_files_stay(
    kept, model, gray, monkeypatch
):
    monkeypatch.setattr(library, "_MOST_RECENT", 2)
    folder = kept.folder / "recent"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text("{}")
    other = model.with_labels([2, 1])
    digests = [digest_of(np.full((2, 2), i)) for i in range(4)]
    for age, (digest, one) in enumerate(zip(digests, [other, model, model, model], strict=True)):
        kept.remember(digest, one, {})
        os.utime(folder / f"{digest}.json", (age, age))
    kept.remember(digests[3], model, {})
    assert [kept.recall(one) is not None for one in digests] == [False, False, True, True]
    assert len(list(folder.glob("*.safetensors"))) == 1
    assert (folder / "mine.json").exists()


def test_damage_is_nothing_found(kept, model):
    digest = digest_of(np.zeros((2, 2), int))
    kept.remember(digest, model, {"record": {}})
    (path,) = (kept.folder / "recent").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-9])
    assert kept.recall(digest)[1] is None
    note = kept.folder / "recent" / f"{digest}.json"
    note.write_text(json.dumps({"model": "../../etc/passwd"}))
    assert kept.recall(digest)[1] is None
    note.write_text("nonsense")
    assert kept.recall(digest) is None


def test_remembering_a_run_loads_no_torch(tmp_path, gray):
    model = train(gray, MMT(n_iterations=2, width=4))
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    code = """
import pickle, sys
from pathlib import Path
sys.modules["torch"] = None
from napari_mmtseg.model.library import Library
model = pickle.loads(Path("model.pickle").read_bytes())
Library("library").remember("0" * 64, model, {"kind": "classes"})
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    about, found = Library(tmp_path / "library").recall("0" * 64)
    assert about["kind"] == "classes"
    assert_array_equal(found.predict(gray), model.predict(gray))
