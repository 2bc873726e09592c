"""Writing labels through kills, power cuts and second writers."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg.images.stores import open_image
from napari_mmtseg.output import partial_store
from napari_mmtseg.output.ome_zarr import write_labels
from tests.attack.stored import LABELS, journalled, write

# Writes 256 blocks, and tells of each block that it computes and of each that is done.
CHILD = """
import os, sys
import numpy as np
from napari_mmtseg.output.ome_zarr import write_labels

told = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def blocks(region):
    rows, columns = np.mgrid[region]
    os.write(told, f"computed 0/{rows[0, 0] // 64}/{columns[0, 0] // 64}\\n".encode())
    return (rows // 9 * 5 + columns // 7) % 11 * ((rows // 64 + columns // 64) % 5 > 0)

for step in write_labels(
    sys.argv[1], (1024, 1024), (64, 64), blocks, axes="YX", fingerprint="a", scale=(2, 2)
):
    if not step.found:
        os.write(told, b"done\\n")
"""


def start(*arguments, code=CHILD):
    """Run a writer in another process."""
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


def contents(folder):
    """Return all files of a folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_ten_kills_at_random_moments_lose_and_redo_nothing(tmp_path):
    rng = np.random.default_rng()
    (tmp_path / "quiet").mkdir()
    assert start(tmp_path / "quiet" / "a.zarr", tmp_path / "quiet.log").wait() == 0
    target, log = tmp_path / "a.zarr", tmp_path / "a.log"
    log.touch()
    folder = tmp_path / "a.zarr.unfinished"
    told = (tmp_path / "quiet.log").stat().st_size
    for moment in sorted(rng.uniform(0, 0.9 * told, 10)):
        finished, before = journalled(folder), log.stat().st_size
        child = start(target, log)
        while log.stat().st_size < moment and child.poll() is None:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.01))
        child.kill()
        if child.wait() == 0:
            break  # the machine is so busy that the child was done before it could be killed
        assert not set(log.read_text()[before:].split()) & finished
        assert not target.exists()
        assert finished <= journalled(folder)
    before, finished = log.stat().st_size, journalled(folder)
    assert start(target, log).wait() == 0
    assert not set(log.read_text()[before:].split()) & finished
    assert contents(target) == contents(tmp_path / "quiet" / "a.zarr")
    assert {one.name for one in tmp_path.iterdir()} == {"quiet", "quiet.log", "a.zarr", "a.log"}
    image = open_image(target)
    assert [level.shape for level in image.levels] == [(1024, 1024), (512, 512)]


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("replacing", [False, True], ids=["new", "replacing"])
def test_a_death_at_any_step_on_the_disk_is_resumed(tmp_path, monkeypatch, replacing):
    new, old, passed = LABELS[:200], LABELS[:200, :20] + 1, 0
    write(tmp_path / "old.zarr", labels=old, fingerprint="old")

    def passes():
        nonlocal passed
        passed += 1
        if passed == deadly:
            raise Killed

    def watched(function):
        def step(*arguments, **named):
            passes()
            result = function(*arguments, **named)
            if function is not os.fsync:
                passes()
            return result

        return step

    for deadly in range(1, 1000):
        target = tmp_path / str(deadly) / "a.zarr"
        target.parent.mkdir()
        if replacing:
            shutil.copytree(tmp_path / "old.zarr", target)
        passed = 0
        with monkeypatch.context() as patched:
            for where, name in [(os, "fsync"), (Path, "rename"), (shutil, "rmtree")]:
                patched.setattr(where, name, watched(getattr(where, name)))
            with contextlib.suppress(Killed):
                write(target, labels=new, overwrite=replacing)
        survived = passed < deadly
        if target.exists():
            found = open_image(target).levels[0][:]
            assert_array_equal(found, old if found.shape == old.shape else new)
        if replacing or not target.exists():
            write(target, labels=new, overwrite=replacing)
        assert_array_equal(open_image(target).levels[0][:], new)
        if replacing:
            assert list(target.parent.iterdir()) == [target]
        if survived:
            break
    assert 20 < deadly < 999


def test_what_was_to_be_replaced_survives_a_death_between_two_renames(tmp_path, monkeypatch):
    target, rename = tmp_path / "a.zarr", Path.rename

    def dies(self, to):
        if self.name == "store":
            raise Killed
        return rename(self, to)

    write(target)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", dies)
        with pytest.raises(Killed):
            write(target, labels=LABELS + 1, fingerprint="b", overwrite=True)
    assert not target.exists()
    write(target, labels=LABELS + 2, fingerprint="c", overwrite=True, stop_after=1)
    assert_array_equal(open_image(target).levels[0][:], LABELS)


@pytest.mark.parametrize(
    ("harm", "labels"),
    [
        (shutil.rmtree, LABELS),
        (shutil.rmtree, 0 * LABELS),
        (lambda f: (f / "store/0/0/1").unlink(), LABELS),
    ],
)
def test_a_folder_that_was_changed_meanwhile_never_takes_the_final_name(tmp_path, harm, labels):
    writer = write_labels(
        tmp_path / "a.zarr",
        LABELS.shape,
        (200, 20),
        lambda r: labels[r],
        axes="YX",
        fingerprint="a",
    )
    for _ in range(3):
        next(writer)
    harm(tmp_path / "a.zarr.unfinished")
    with pytest.raises(OSError, match=r"a\.zarr.* was changed|could not be written"):
        list(writer)
    assert not (tmp_path / "a.zarr").exists()
    write(tmp_path / "a.zarr", labels=labels)
    assert_array_equal(open_image(tmp_path / "a.zarr").levels[0][:], labels)


def test_a_death_while_unfinished_labels_are_discarded_leaves_nothing_half(tmp_path, monkeypatch):
    def dies(folder):
        (folder / "store" / "0" / ".zarray").unlink()
        raise Killed

    _begun(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", dies)
        with pytest.raises(Killed):
            write(tmp_path / "a.zarr", fingerprint="b", overwrite=True)
    write(tmp_path / "a.zarr")
    assert_array_equal(open_image(tmp_path / "a.zarr").levels[0][:], LABELS)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_death_after_the_last_rename_leaves_nothing_in_the_way(tmp_path, monkeypatch, overwrite):
    def dies(_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(partial_store, "_discard", dies)
        with pytest.raises(Killed):
            write(tmp_path / "a.zarr")
    assert_array_equal(open_image(tmp_path / "a.zarr").levels[0][:], LABELS)
    if overwrite:
        write(tmp_path / "a.zarr", overwrite=True)
    else:
        with pytest.raises(FileExistsError, match="exists: give another name"):
            write(tmp_path / "a.zarr")
    assert [one.name for one in tmp_path.iterdir()] == ["a.zarr"]


def _begun(tmp_path):
    """Write the first four of six blocks and return the unfinished folder."""
    target = tmp_path / "a.zarr"
    writer = write_labels(
        target, LABELS.shape, (200, 20), lambda r: LABELS[r], axes="YX", fingerprint="a"
    )
    for _ in range(4):
        next(writer)
    writer.close()
    return tmp_path / "a.zarr.unfinished"


@pytest.mark.parametrize(
    ("harm", "again"),
    [
        (lambda f: (f / "store/0/0/1").write_bytes(b""), {(0, 20)}),
        (lambda f: (f / "store/0/0/1").unlink(), {(0, 20)}),
        (lambda f: (f / "store/0/1/0").write_bytes(b"not empty"), {(200, 0)}),
        (lambda f: (f / "store/0/0/0").write_bytes(_flipped(f / "store/0/0/0")), {(0, 0)}),
        (lambda f: (f / "store/0/0/0.abc.partial").write_bytes(b"half"), set()),
        (lambda f: _cut(f / "journal.jsonl", 1), set()),
        (lambda f: _cut(f / "journal.jsonl", 2), {(200, 20)}),
        (lambda f: _cut(f / "journal.jsonl", 30), {(200, 20)}),
        (lambda f: _append(f / "journal.jsonl", b"\x00" * 50), set()),
        (lambda f: _append(f / "journal.jsonl", b"[1]\n3\nnull\n\xff\n"), set()),
    ],
)
def test_blocks_that_a_power_cut_harmed_are_computed_again_and_no_others(tmp_path, harm, again):
    harm(_begun(tmp_path))
    calls = []
    for _ in range(2):  # what was added after the harm is found again, too
        path = write(tmp_path / "a.zarr", calls=calls, stop_after=1)
    path = write(tmp_path / "a.zarr", calls=calls)
    computed = {tuple(one.start for one in region) for region in calls}
    assert computed == {(400, 0), (400, 20)} | again
    assert len(calls) == len(computed)
    (tmp_path / "new").mkdir()
    assert contents(path) == contents(write(tmp_path / "new" / "a.zarr")), "and nothing is left"


def _flipped(file):
    packed = bytearray(file.read_bytes())
    packed[len(packed) // 2] ^= 1
    return packed


def _cut(file, count):
    file.write_bytes(file.read_bytes()[:-count])


def _append(file, more):
    file.write_bytes(file.read_bytes() + more)


def test_errors_of_the_model_are_passed_on_and_leave_what_is_finished(tmp_path):
    def blocks(region):
        if region[0].start == 200:
            raise PermissionError(errno.EACCES, "the image, not the labels")
        return LABELS[region]

    writer = write_labels(
        tmp_path / "a.zarr", LABELS.shape, (200, 20), blocks, axes="YX", fingerprint="a"
    )
    with pytest.raises(PermissionError, match="the image, not the labels"):
        list(writer)
    calls = []
    write(tmp_path / "a.zarr", calls=calls)
    assert len(calls) == 4


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path):
    folder = _begun(tmp_path)
    first = write_labels(
        tmp_path / "a.zarr",
        LABELS.shape,
        (200, 20),
        lambda r: LABELS[r],
        axes="YX",
        fingerprint="a",
    )
    next(first)
    for overwrite in (False, True):
        with pytest.raises(BlockingIOError, match="is being written already: wait until"):
            write(tmp_path / "a.zarr", overwrite=overwrite)
    first.close()
    write(tmp_path / "a.zarr")
    assert not folder.exists()


def test_a_writer_in_another_process_is_noticed_and_its_death_too(tmp_path):
    target, log = tmp_path / "a.zarr", tmp_path / "a.log"
    child = start(target, log)
    try:
        while not log.exists() or not log.stat().st_size:
            assert child.poll() is None
            time.sleep(0.01)
        with pytest.raises(BlockingIOError, match="is being written already"):
            write(target)
    finally:
        child.kill()
        child.wait()
    assert (tmp_path / "a.zarr.lock").exists()
    write(target, overwrite=True)
    assert {one.name for one in tmp_path.iterdir()} == {"a.zarr", "a.log"}


def test_a_target_that_appears_while_writing_is_left_alone(tmp_path):
    writer = write_labels(
        tmp_path / "a.zarr",
        LABELS.shape,
        (200, 20),
        lambda r: LABELS[r],
        axes="YX",
        fingerprint="a",
    )
    next(writer)
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(FileExistsError, match="came to be meanwhile: rename it and save again"):
        list(writer)
    (tmp_path / "a.zarr").rmdir()
    calls = []
    write(tmp_path / "a.zarr", calls=calls)
    assert calls == []


def test_memory_stays_the_same_however_large_the_labels(tmp_path):
    psutil = pytest.importorskip("psutil")
    block = np.tile(LABELS[:512, :32], (1, 16))
    used = []
    for _ in write_labels(
        tmp_path / "a.zarr",
        (512, 512 * 200),
        (512, 512),
        lambda _: block,
        axes="YX",
        fingerprint="a",
    ):
        used.append(psutil.Process().memory_info().rss)
    assert used[-1] - used[10] < 70e6, "all the labels are 210 MB"
