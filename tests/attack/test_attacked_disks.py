"""Writing labels to full, small, forbidden and missing disks."""

import errno
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal

from napari_mmtseg.images.stores import open_image
from tests.attack.stored import LABELS, journalled, write


def test_a_full_disk_is_told_and_what_is_finished_stays(tmp_path, monkeypatch):
    writes, put = 0, zarr.storage.LocalStore.set

    async def full(self, key, value):
        nonlocal writes
        writes += 1
        if writes > 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), key)
        await put(self, key, value)

    with monkeypatch.context() as patched:
        patched.setattr(zarr.storage.LocalStore, "set", full)
        with pytest.raises(OSError, match=r"^The disk of .* is full: make room; what is") as told:
            write(tmp_path / "a.zarr")
    assert told.value.errno == errno.ENOSPC
    kept = journalled(tmp_path / "a.zarr.unfinished")
    assert kept
    calls = []
    write(tmp_path / "a.zarr", calls=calls)
    assert len(calls) == 6 - len(kept)
    assert_array_equal(open_image(tmp_path / "a.zarr").levels[0][:], LABELS)


@pytest.fixture
def small_disk():
    """A disk of 64 KiB."""
    folder = Path(tempfile.mkdtemp())
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_disk_that_is_really_full_is_told_and_resumed(small_disk):
    labels = np.random.default_rng(1).integers(1, 2**31, (600, 40)).astype(np.int32)
    with pytest.raises(OSError, match=r"^The disk of .* is full: make room") as told:
        write(small_disk / "a.zarr", labels=labels)
    assert told.value.errno == errno.ENOSPC
    kept = journalled(small_disk / "a.zarr.unfinished")
    assert kept
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    calls = []
    write(small_disk / "a.zarr", labels=labels, calls=calls)
    assert len(calls) == 6 - sum(key.startswith("0/") for key in kept)
    assert_array_equal(open_image(small_disk / "a.zarr").levels[0][:], labels)
    shutil.rmtree(small_disk / "a.zarr")


def test_a_disk_may_be_full_at_any_step(small_disk):
    labels = np.random.default_rng(1).integers(1, 2**31, (600, 40)).astype(np.int32)
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    fill, target, failed = small_disk / "fill", small_disk / "a.zarr", 0
    for free in range(4096, 200_000, 4096):  # whoever finds no room: a chunk, the journal, metadata
        fill.write_bytes(bytes(shutil.disk_usage(small_disk).free - free))
        try:
            write(target, labels=labels)
        except OSError as error:
            assert "is full: make room" in str(error)  # noqa: PT017
            failed += 1
            fill.unlink()
            write(target, labels=labels)
        fill.unlink(missing_ok=True)
        assert_array_equal(open_image(target).levels[0][:], labels)
        assert list(small_disk.iterdir()) == [target]
        shutil.rmtree(target)
    assert 10 < failed < 48


def test_what_vanishes_while_a_store_is_cleared_away_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "a.zarr.unfinished" / "store").mkdir(parents=True)
    delete, calls = shutil.rmtree, []

    def vanishing(folder):
        calls.append(folder)
        if len(calls) == 1:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", ".zgroup.partial")
        delete(folder)

    monkeypatch.setattr("napari_mmtseg.output.partial_store.shutil.rmtree", vanishing)
    write(tmp_path / "a.zarr")
    assert len(calls) > 1


def test_a_limit_on_the_size_of_files_is_told(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    labels = np.random.default_rng(1).integers(1, 2**31, (600, 40)).astype(np.int32)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"could not be written .*; what is finished stays"):
            write(tmp_path / "a.zarr", labels=labels)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write(tmp_path / "a.zarr", labels=labels)
    assert_array_equal(open_image(tmp_path / "a.zarr").levels[0][:], labels)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions work differently here")
def test_no_permission_to_write_is_told():
    folder = Path(tempfile.mkdtemp())
    write(folder / "other.zarr")  # what is imported later could not be read by another user
    folder.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        with pytest.raises(PermissionError, match=r"^There is no permission to write to ") as told:
            write(folder / "a.zarr")
        assert str(folder) in str(told.value)
    finally:
        if user == 0:
            os.seteuid(user)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^There is no folder .*: make it, or choose"):
        write(tmp_path / "nowhere" / "a.zarr")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"^There is no folder"):
        write(tmp_path / "file" / "a.zarr")
