"""Folders: what is missing or changed is done, nothing is lost, bad files leave the others."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

from napari_mmtseg import KMeans, load
from napari_mmtseg.engine import Step
from napari_mmtseg.folders import Batch, FileStep, batch_steps
from napari_mmtseg.folders.image_list import find
from napari_mmtseg.folders.workers import Processes, ThisProcess
from napari_mmtseg.images.image_files import Spot, open_image
from napari_mmtseg.output.label_files import write_tiff

METHOD = KMeans.preset("nuclei")


@pytest.fixture
def folder(tmp_path, spots):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(4):
        tifffile.imwrite(images / f"{number}.tif", np.roll(spots, 9 * number, axis=1))
    return images


def batch(folder, output=None, **changes):
    given = {"sources": [folder], "output": output, "method": METHOD, "sample": 2}
    return Batch(**given | changes)


def done(batch, place=None):
    """Drive a batch and return its summary, and the states by name."""
    run, steps = batch_steps(batch, place or ThisProcess()), []
    while True:
        try:
            steps.append(next(run))
        except StopIteration as end:
            return end.value, {one.name: one.state for one in end.value.outcomes}, steps


def labels_in(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).rglob("*_labels.tif"))}


def rows_of(summary):
    with summary.table.open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_one_model_labels_all_and_the_table_tells_how(folder, tmp_path):
    summary, states, steps = done(batch(folder, tmp_path / "out", measured=True))
    assert set(states.values()) == {"done"}
    assert any(isinstance(one, Step) for one in steps)
    assert [one.done for one in steps if isinstance(one, FileStep)][-1] == 4
    model = load(summary.model)
    row = rows_of(summary)["1.tif"]
    image = tifffile.imread(folder / "1.tif")
    labels = open_image(tmp_path / "out" / "1_labels.tif").read()
    np.testing.assert_array_equal(labels, model.predict(image))
    assert int(row["count"]) == labels.max() == 4
    assert row["set_method"] == "KMeans"
    assert row["set_output"] == "objects"
    assert row["version_napari-mmtseg"]
    assert float(row["median_diameter_px"]) == pytest.approx(14, abs=3)
    assert (tmp_path / "out" / "1_objects.csv").read_text().startswith("label,")


def test_processes_give_what_one_process_gives(folder, tmp_path):
    done(batch(folder, tmp_path / "here"))
    model = tmp_path / "here" / "batch.safetensors"
    _, states, _ = done(batch(folder, tmp_path / "there", model=model), Processes(2))
    assert set(states.values()) == {"done"}
    assert labels_in(tmp_path / "here") == labels_in(tmp_path / "there") != {}


def test_a_second_run_does_only_what_is_missing_or_changed(folder, spots):
    done(batch(folder))
    first = labels_in(folder)
    (folder / "1_labels.tif").unlink()
    tifffile.imwrite(folder / "2.tif", np.roll(spots, 30, axis=0))
    tifffile.imwrite(folder / "new.tif", spots)
    os.utime(folder / "3.tif")  # touched, and the same
    summary, states, steps = done(batch(folder))
    assert not any(isinstance(one, Step) for one in steps), "the model is that of the first run"
    kept = {"0.tif": "kept", "3.tif": "kept"}
    assert states == kept | {"1.tif": "done", "2.tif": "done", "new.tif": "done"}
    now = labels_in(folder)
    assert now["1_labels.tif"] == first["1_labels.tif"]
    assert now["2_labels.tif"] != first["2_labels.tif"]
    assert rows_of(summary)["0.tif"]["count"] == "4", "the table is about all images"


def test_nothing_that_is_there_is_lost(folder, tmp_path, spots):
    out = tmp_path / "out"
    out.mkdir()
    (out / "0_labels.tif").write_bytes(b"mine")
    _, states, _ = done(batch(folder, out))
    assert states["0.tif"] == "failed"
    edited = out / "1_labels.tif"
    edited.write_bytes(b"corrected by hand")
    summary, states, _ = done(batch(folder, out))
    assert states["1.tif"] == "kept"
    tifffile.imwrite(folder / "1.tif", spots[::-1])
    summary, states, _ = done(batch(folder, out))
    error = next(one.error for one in summary.outcomes if one.name == "1.tif")
    assert "has been edited since it was made, and 1.tif has changed" in error
    assert edited.read_bytes() == b"corrected by hand"
    assert (out / "0_labels.tif").read_bytes() == b"mine"
    _, states, _ = done(batch(folder, out, overwrite=True))
    assert states == {"0.tif": "done", "1.tif": "done", "2.tif": "kept", "3.tif": "kept"}


def test_other_settings_are_refused_before_any_work(folder):
    done(batch(folder))
    before = labels_in(folder)
    other = KMeans.preset("nuclei", n_labels=3)
    with pytest.raises(FileExistsError, match=r"other settings \(n_labels 2, now 3\).*--overwrite"):
        done(batch(folder, method=other))
    assert labels_in(folder) == before
    _, states, _ = done(batch(folder, method=other, overwrite=True))
    assert set(states.values()) == {"done"}


def test_a_killed_replacement_is_not_taken_for_an_edit(folder, spots, monkeypatch):
    from napari_mmtseg.folders import image_task

    done(batch(folder))
    old = labels_in(folder)["2_labels.tif"]
    tifffile.imwrite(folder / "2.tif", spots[::-1])

    def killed(*_, **__):
        raise OSError("the record is written, and its result is not")

    with monkeypatch.context() as patch:
        patch.setattr(image_task, "write_whole", killed)
        assert done(batch(folder))[1]["2.tif"] == "failed"
    assert labels_in(folder)["2_labels.tif"] == old
    assert done(batch(folder))[1]["2.tif"] == "done"
    assert labels_in(folder)["2_labels.tif"] != old


def test_each_bad_file_is_one_sentence_and_the_others_go_on(folder, tmp_path, rgb):
    (folder / "empty.tif").touch()
    (folder / "foreign.tif").write_text("no image")
    tifffile.imwrite(folder / "cut.tif", np.zeros((80, 96), np.uint8))
    os.truncate(folder / "cut.tif", 900)
    tifffile.imwrite(folder / "colour.tif", rgb)
    summary, states, _ = done(batch(folder, tmp_path / "out"))
    failed = {one.name: one.error for one in summary.outcomes if one.state == "failed"}
    assert set(failed) == {"empty.tif", "foreign.tif", "cut.tif", "colour.tif"}
    assert "trained on images with 1 channels (other), got 3 (RGB)" in failed["colour.tif"]
    assert all("\n" not in one for one in failed.values())
    assert sum(state == "done" for state in states.values()) == 4
    assert rows_of(summary)["empty.tif"]["error"] == failed["empty.tif"]


def test_pixels_of_another_size_than_those_trained_on_are_told(folder, spots):
    for number in range(3):
        write_tiff(
            folder / f"{number}.tif",
            spots,
            "YX",
            {"Y": Spot(0.5, "µm"), "X": Spot(0.5, "µm")},
            overwrite=True,
        )
    write_tiff(
        folder / "3.tif", spots, "YX", {"Y": Spot(0.1, "µm"), "X": Spot(0.1, "µm")}, overwrite=True
    )
    rows = rows_of(done(batch(folder, sample=1))[0])
    told = {name: row["notes"] for name, row in rows.items() if row["notes"]}
    assert len(told) in (1, 3)  # whichever was drawn to train on
    assert all("µm wide, those trained on" in one for one in told.values())


def test_results_lie_as_their_images_do_and_equal_names_are_refused(tmp_path, spots):
    for name in ("a/x.tif", "b/x.tif", "b/y.tif", "b/y.png", "b/sub/Z.tif"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / "in" / name, spots)
    found = find([str(tmp_path / "in" / "**" / "*")], tmp_path / "out")
    stems = {one.name: one.stem.relative_to(tmp_path / "out").as_posix() for one in found}
    assert stems["a/x.tif"] == "a/x"
    assert stems["b/sub/Z.tif"] == "b/sub/Z"
    assert {one.name for one in found if one.problem} == {"b/y.tif", "b/y.png"}
    flat = find([tmp_path / "in/a/x.tif", tmp_path / "in/b/x.tif"], tmp_path / "out")
    assert all("would have results of one name" in one.problem for one in flat)
    assert len({one.name for one in flat}) == 2
    with pytest.raises(FileNotFoundError, match="holds no image"):
        find([tmp_path / "in"], None)


def test_results_are_not_taken_for_images(folder):
    done(batch(folder))
    assert len(find([folder], None)) == 4
    assert len(find([str(folder / "*.tif")], None)) == 4


def test_each_image_can_have_a_model_of_its_own(folder, tmp_path):
    given = batch(folder, tmp_path / "out", model="each")
    summary, states, _ = done(given)
    assert set(states.values()) == {"done"}
    assert summary.model is None
    assert rows_of(summary)["0.tif"]["with_model"] == "each"


def test_stores_give_stores(tmp_path, spots):
    from napari_mmtseg.output.label_files import store_steps

    path = tmp_path / "in" / "a.ome.zarr"
    path.parent.mkdir()
    for _ in store_steps(
        path,
        spots.astype(np.int32),
        "YX",
        {"Y": Spot(0.5, "µm"), "X": Spot(0.5, "µm")},
        fingerprint="",
    ):
        pass
    _, states, _ = done(batch(path.parent, tmp_path / "out"))
    assert states == {"a.ome.zarr": "done"}
    found = open_image(tmp_path / "out" / "a_labels.zarr")
    assert found.pixel_size == (0.5, 0.5)
    assert found.read().max() == 4
    assert done(batch(path.parent, tmp_path / "out"))[1] == {"a.ome.zarr": "kept"}


def test_stopping_finishes_what_is_begun_and_leaves_the_rest(folder, tmp_path):
    run = batch_steps(batch(folder, tmp_path / "out"), ThisProcess())
    stop = None
    while True:
        try:
            step = run.send(stop)
        except StopIteration as end:
            states = [one.state for one in end.value.outcomes]
            break
        stop = isinstance(step, FileStep) and step.done == 1
    assert states == ["done", "left", "left", "left"]
    assert set(done(batch(folder, tmp_path / "out"))[1].values()) == {"kept", "done"}


def test_a_full_disk_and_a_folder_without_rights_are_said(folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be made"):
        done(batch(folder, tmp_path / "file" / "out"))
    done(batch(folder, tmp_path / "out"))
    (tmp_path / "out" / "1_labels.tif").unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    from napari_mmtseg.folders import image_task

    monkeypatch.setattr("napari_mmtseg.folders.batch.write_summary", lambda *_: None)
    monkeypatch.setattr(image_task.records, "write", lambda *_: None)
    summary, _, _ = done(batch(folder, tmp_path / "out"))
    assert "disk is full" in next(one.error for one in summary.outcomes if one.state == "failed")
    assert not (tmp_path / "out" / "1_labels.tif").exists()


_SCRIPT = """
import sys
from napari_mmtseg.cli import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills differ")
def test_kills_lose_nothing_that_is_done_and_leave_no_process(tmp_path, spots):
    """Two runs are killed with -9 at work; `benchmarks.speed.folders` does it ten times."""
    images, out, script = tmp_path / "in", tmp_path / "out", tmp_path / "run.py"
    images.mkdir()
    script.write_text(_SCRIPT)
    for number in range(8):
        tifffile.imwrite(images / f"{number}.tif", np.roll(spots, number, axis=0))
    done(batch(images, out, sources=[images / "0.tif"]))
    command = [sys.executable, script, "batch", images, "-o", out, "--workers", "2", "--json"]
    command += ["--method", "KMeans", "--preset", "nuclei", "--sample", "2"]
    finished = {"0_labels.tif": (out / "0_labels.tif").stat().st_mtime_ns}
    for wanted in (2, 4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while len(list(out.glob("*_labels.tif"))) < wanted and process.poll() is None:
            time.sleep(0.005)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        psutil.wait_procs(family, timeout=20)
        assert not [one for one in family if one.is_running()]
        for path in out.glob("*_labels.tif"):
            finished.setdefault(path.name, path.stat().st_mtime_ns)
    for half in out.glob(".*.part"):  # of one killed in mid-write; for ten minutes it might go on
        os.utime(half, (0, 0))
    _, states, _ = done(batch(images, out))
    assert set(states.values()) <= {"kept", "done"}
    assert "done" in states.values()
    for name, at in finished.items():
        assert (out / name).stat().st_mtime_ns == at, "done twice"
    assert len(labels_in(out)) == 8
    whole = {path.name for path in out.iterdir()}
    assert not [name for name in whole if name.endswith((".part", ".lock"))]


def test_a_process_that_dies_costs_its_image_alone(folder, tmp_path):
    """The second image is read by code that ends its process, as running out of memory does."""
    from napari_mmtseg.folders.workers import feed

    tasks = [_Named(name) for name in ("0.tif", "dies.tif", "2.tif")]
    with Processes(1)._pool(1, None) as pool:
        run, outcomes = feed(pool, _die_or_not, tasks, 1), []
        while True:
            try:
                outcomes.append(next(run))
            except StopIteration as end:
                broken, left = end.value
                break
    assert [one.source.name for one in broken] == ["dies.tif"]
    assert [one.source.name for one in left] == ["2.tif"]


class _Named:
    def __init__(self, name):
        from napari_mmtseg.folders.image_list import Source

        self.source = Source(Path(name), name, Path(name))


def _die_or_not(task):
    from napari_mmtseg.folders.image_task import Outcome

    if task.source.name == "dies.tif":
        os._exit(9)
    return Outcome(task.source.name, "done")
