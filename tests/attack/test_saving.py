"""Saving under attack: planted links, threads, kills, full disks and what they leave behind."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from napari_mmtseg import KMeans, load, train
from napari_mmtseg.system.whole_files import write_whole

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such thing")


@pytest.fixture(scope="module")
def models():
    """Two models that differ."""
    image = np.random.default_rng(0).integers(0, 255, (12, 10), np.uint8)
    return train(image, KMeans(n_labels=2)), train(image, KMeans(n_labels=5, seed=1))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def orphan(folder, seconds=3600):
    """Leave behind what a killed save leaves behind."""
    part = folder / f".napari-mmtseg-{'0123456789abcdef' * 2}.part"
    part.write_bytes(b"half")
    os.utime(part, (time.time() - seconds,) * 2)
    return part


# -- what is there already --------------------------------------------------------------------


def test_the_temporary_file_has_a_name_that_cannot_be_foreseen(path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.extend(os.listdir(path.parent)))
    for _ in range(3):
        write_whole(path, [b"data"], overwrite=True)
    parts = {name for name in seen if name != path.name}
    assert len(parts) == 3
    assert all(re.fullmatch(r"\.napari-mmtseg-[0-9a-f]{32}\.part", name) for name in parts)
    assert os.listdir(path.parent) == [path.name]


@posix
def test_a_planted_link_is_not_written_through(path, models, monkeypatch):
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.with_name(f".{path.name}.{os.getpid()}.part").symlink_to(victim)
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * 32)  # foreseen all the same
    link = path.with_name(f".napari-mmtseg-{'0' * 32}.part")
    link.symlink_to(victim)
    with pytest.raises(OSError, match="was not saved"):
        models[0].save(path)
    assert link.is_symlink()
    assert victim.read_text() == "precious"


@posix
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_is_refused_with_the_file_that_it_leads_to(path, models, overwrite):
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(FileExistsError, match=r"is a link; save to the file .*victim"):
        models[0].save(path, overwrite=overwrite)
    victim.unlink()
    with pytest.raises(FileExistsError, match="is a link"):
        models[0].save(path, overwrite=overwrite)
    assert path.is_symlink()
    assert not victim.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_is_refused(path, models, overwrite):
    path.mkdir()
    with pytest.raises(FileExistsError, match=r"is a folder, not a file; choose another name"):
        models[0].save(path, overwrite=overwrite)
    assert os.listdir(path.parent) == [path.name]


@posix
def test_devices_and_pipes_are_refused(path, models):
    os.mkfifo(path)
    for target in (path, "/dev/null"):
        with pytest.raises(FileExistsError, match="is a device or pipe, not a file"):
            models[0].save(target, overwrite=True)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(FileNotFoundError, match="no model file"):
        load(path)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_replacing_keeps_the_permissions(path, models, mode):
    models[0].save(path)
    path.chmod(mode)
    models[1].save(path, overwrite=True)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert load(path).n_clusters == models[1].n_clusters


@posix
def test_a_new_file_has_the_permissions_of_any_other(path, models):
    other = path.with_name("other")
    other.write_bytes(b"")
    models[0].save(path)
    assert path.stat().st_mode == other.stat().st_mode


def test_a_missing_folder_is_named(tmp_path, models):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it"):
        models[0].save(tmp_path / "nowhere" / "model.safetensors")


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_named(tmp_path, models):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="may not be written to; choose another"):
        models[0].save(tmp_path / "model.safetensors")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_file_systems_without_hard_links_are_written_to(path, models, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    models[0].save(path)
    assert load(path).n_clusters == models[0].n_clusters
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        models[1].save(path)
    assert os.listdir(path.parent) == [path.name]


# -- threads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [2, 8])
def test_threads_on_one_path_leave_one_whole_model(path, models, n_threads, attacks):
    wanted = {model.n_clusters for model in models}
    for _ in range(attacks(20, 200)):
        failed = together(n_threads, lambda i: models[i % 2].save(path, overwrite=True))
        assert not failed
        assert load(path).n_clusters in wanted
        assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("n_threads", [2, 8])
def test_without_overwriting_one_thread_alone_saves(path, models, n_threads, attacks):
    for _ in range(attacks(20, 200)):
        failed = together(n_threads, lambda i: models[i % 2].save(path))
        assert len(failed) == n_threads - 1
        assert all(isinstance(error, FileExistsError) for error in failed)
        assert load(path).n_clusters in {model.n_clusters for model in models}
        assert os.listdir(path.parent) == [path.name]
        path.unlink()


def together(count, call):
    """Call from several threads at once; return what was raised."""
    ready, failed = threading.Barrier(count), []

    def one(number):
        ready.wait()
        try:
            call(number)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


# -- kills ------------------------------------------------------------------------------------

SAVING = """
    import sys
    from napari_mmtseg.system.whole_files import write_whole
    print("ready", flush=True)
    for number in range(10**9):
        block = bytes([number % 256]) * 2**16
        write_whole(sys.argv[1], [block] * 16, overwrite=True)
"""


def test_a_killed_save_leaves_the_old_file_or_the_new_one(path, attacks):
    for number in range(attacks(12, 100)):
        child = start(SAVING, path)
        time.sleep(0.005 + 0.011 * (number % 7))
        child.kill()
        child.communicate()
        if path.exists():
            data = path.read_bytes()
            assert data == data[:1] * 2**20
        parts = [name for name in os.listdir(path.parent) if name != path.name]
        for name in parts:
            os.utime(path.with_name(name), (time.time() - 3600,) * 2)
        write_whole(path, [b"x" * 2**20], overwrite=True)
        assert os.listdir(path.parent) == [path.name]


def start(program, *arguments):
    """Start a Python program and wait until it has printed a line."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline()
    return child


def test_what_killed_saves_left_behind_is_removed(path, models):
    part = orphan(path.parent)
    models[0].save(path)
    assert not part.exists()


def test_a_temporary_file_that_may_be_being_written_is_left(path, models):
    part = orphan(path.parent, seconds=5)
    models[0].save(path)
    assert part.exists()


WRITING = """
    import sys, time
    from napari_mmtseg.system import whole_files
    def blocks():
        yield b"first"
        print("ready", flush=True)
        time.sleep(60)
    whole_files.write_whole(sys.argv[1], blocks())
"""


def test_a_temporary_file_that_is_being_written_is_left_however_old(path, models):
    child = start(WRITING, path.with_name("other"))
    (part,) = path.parent.iterdir()
    os.utime(part, (time.time() - 3600,) * 2)
    models[0].save(path)
    assert part.exists()
    child.kill()
    child.communicate()
    models[0].save(path, overwrite=True)
    assert not part.exists()


@posix
def test_nothing_else_is_removed(path, models):
    names = ["a.part", ".napari-mmtseg-.part", ".napari-mmtseg-0123.part", "notes.txt"]
    old = [path.with_name(name) for name in names]
    for one in old:
        one.write_bytes(b"mine")
    victim = path.with_name("victim")
    victim.write_bytes(b"mine")
    link = path.with_name(f".napari-mmtseg-{'0' * 32}.part")
    link.symlink_to(victim)
    folder = path.with_name(f".napari-mmtseg-{'1' * 32}.part")
    folder.mkdir()
    for one in (*old, link, folder, victim):
        os.utime(one, (time.time() - 3600,) * 2, follow_symlinks=False)
    models[0].save(path)
    assert all(one.exists() for one in (*old, link, folder, victim))


@posix
def test_what_another_user_left_behind_is_left(path, models, monkeypatch):
    part = orphan(path.parent)
    monkeypatch.setattr(os, "geteuid", lambda: part.stat().st_uid + 1)
    models[0].save(path)
    assert part.exists()


# -- full disks -------------------------------------------------------------------------------

FULL = """
    import resource, signal, sys
    from napari_mmtseg import load
    model = load(sys.argv[1])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
    try:
        model.save(sys.argv[2], overwrite=True)
    except OSError as error:
        print(error, flush=True)
"""


@posix
@pytest.mark.parametrize("room", [0, 100, 700])
def test_a_full_disk_leaves_the_old_file_whole_and_says_so(path, models, room):
    source = path.with_name("source.safetensors")
    models[0].save(source)
    models[1].save(path)
    before = path.read_bytes()
    program = [sys.executable, "-c", textwrap.dedent(FULL)]
    told = subprocess.run([*program, source, path, str(room)], stdout=subprocess.PIPE, text=True)
    assert re.search("model.safetensors was not saved, the disk is full .*; make room", told.stdout)
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == sorted([path.name, source.name])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_error_at_the_last_moment_leaves_the_old_file_whole(path, models, monkeypatch, code):
    models[0].save(path)
    before = path.read_bytes()

    def fail(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="was not saved, "):
        models[1].save(path, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@posix
def test_an_interrupted_save_cleans_up(path, models, monkeypatch):
    def interrupt(_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "fsync", interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs behind ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            models[0].save(path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert os.listdir(path.parent) == []
