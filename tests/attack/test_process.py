"""The training process killed, stopped, printing, out of memory: each job ends with a message."""

import os
import signal
import sys
import time

import numpy as np
import pytest

from napari_mmtseg._napari.process import training_process as process_module
from napari_mmtseg._napari.process.label_numbers import alike
from napari_mmtseg._napari.process.layer_pixels import CopiedPixels, LazyPixels, take
from napari_mmtseg._napari.process.messages import Done, Failed, Job, Preview, Progress
from napari_mmtseg._napari.process.store_job import StoreJob
from napari_mmtseg._napari.process.training_process import TrainingProcess
from napari_mmtseg.methods import MMT, KMeans

SECONDS = 120_000  # of patience, in milliseconds: the process imports torch first
needs_signals = pytest.mark.skipif(os.name == "nt", reason="no such signals")

DISCS = np.zeros((48, 64), np.uint8)
DISCS[10:30, 10:30] = 200
QUICK = Job(CopiedPixels(DISCS), "YX", KMeans(n_labels=2, smoothing_px=0.0))
LONG = Job(CopiedPixels(DISCS), "YX", MMT(n_iterations=100_000, width=4, min_labels=1))

TALK = """
import sys, time
from napari_mmtseg._napari.process.pipe import Sender
from napari_mmtseg._napari.process.messages import Done
mark = sys.argv[1].encode()
"""
AILING = {
    "ends at once": ("raise SystemExit(3)", "(code 3)"),
    "prints without end": ("while True: print('x' * 1000)", "no message"),
    "sends garbage": (
        TALK + "sys.stdout.buffer.write(mark + bytes(100) + mark * 9)\n"
        "sys.stdout.flush(); time.sleep(600)",
        "no message",
    ),
    "sends half a message": (
        TALK + "import struct\n"
        "sys.stdout.buffer.write(mark + struct.pack('<IQ', 1, 100) + bytes(50))\n"
        "sys.stdout.flush()",
        "ended unexpectedly",
    ),
    "sends something else": (
        TALK + "Sender(sys.stdout.buffer, mark).send({'not': 'a message'}); time.sleep(600)",
        "no message",
    ),
    "sends what cannot be read": (
        TALK + "class Odd:\n    def __reduce__(self): return int, ('x',)\n"
        "Sender(sys.stdout.buffer, mark).send(Odd()); time.sleep(600)",
        "no message",
    ),
    "sends too much": (
        TALK + "class Huge:\n    def __reduce__(self): return bytearray, (1 << 62,)\n"
        "Sender(sys.stdout.buffer, mark).send(Done(Huge(), 1.0)); time.sleep(600)",
        "no room",
    ),
    "shuts its pipe and lives": ("import os, time; os.close(1); time.sleep(600)", "unexpectedly"),
}


class Huge:
    """Takes more memory than there is when it is read."""

    def __reduce__(self):
        return bytearray, (1 << 62,)


class HugeHere:
    """Takes more memory than there is when it is sent."""

    shape, dtype = (48, 64), np.dtype(np.uint8)

    def __reduce__(self):
        raise MemoryError


@pytest.fixture
def process(qtbot):
    process = TrainingProcess()
    process.messages = []
    process.said.connect(process.messages.append)
    yield process
    process.discard()


def end_of(process, qtbot):
    """Wait for the last message of the job under way."""
    qtbot.waitUntil(lambda: not process.busy, timeout=SECONDS)
    assert isinstance(process.messages[-1], Done | Failed)
    return process.messages.pop()


def succeeds(process, qtbot):
    process.start(QUICK)
    end = end_of(process, qtbot)
    assert isinstance(end, Done), end.details
    assert len(np.unique(end.result.labels())) == 2
    end.result.clusters[0, 0] = 1  # what came over the pipe can be painted on


def test_nothing_in_the_working_directory_runs(process, qtbot, tmp_path, monkeypatch):
    names = ("torch", "queue", "numpy", "sitecustomize", "usercustomize", "pickle", "struct")
    for name in (*names, "napari_mmtseg", "scipy", "json", "random", "site"):
        code = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\nraise SystemExit(9)\n"
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    succeeds(process, qtbot)
    assert not (tmp_path / "ran").exists()


def test_what_start_up_files_print_is_no_message(process, qtbot, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, threading, time\n"
        "print('a line'); os.write(1, b'no line'); sys.stdout.write('kept until later')\n"
        "def go_on():\n"
        "    while True:\n"
        "        print('still there', flush=True); time.sleep(0.01)\n"
        "threading.Thread(target=go_on, daemon=True).start()\n"
    )
    folders = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
    succeeds(process, qtbot)


@pytest.mark.parametrize("ailment", AILING)
def test_an_ailing_process_ends_the_job_with_a_sentence(process, qtbot, monkeypatch, ailment):
    program, words = AILING[ailment]
    monkeypatch.setattr(process_module, "_PROGRAM", program)
    process.start(QUICK)
    child = process._child.process
    end = end_of(process, qtbot)
    assert words in end.text
    assert child.poll() is not None
    assert process._child is None


def test_a_process_that_cannot_be_started_is_said(process, qtbot, monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "missing"))
        process.start(QUICK)
        assert "cannot be started" in end_of(process, qtbot).text
    succeeds(process, qtbot)


def test_a_writing_that_is_killed_says_how_to_go_on(process, qtbot, tmp_path):
    many = CopiedPixels(np.zeros((4000, 48, 64), np.uint8))
    place = str(tmp_path / "labels.zarr")
    save = StoreJob(place, False, "ZYX", (4000, 48, 64), {}, {}, labels=many)
    said = []
    process.said.connect(said.append)
    process.start(save)
    qtbot.waitUntil(lambda: any(isinstance(one, Progress) for one in said), timeout=SECONDS)
    process._child.process.kill()
    qtbot.waitUntil(lambda: not process.busy, timeout=SECONDS)
    assert isinstance(said[-1], Failed)
    assert "Save again under that name" in said[-1].text
    assert "smaller crop" not in said[-1].text
    process.start(LONG)
    process._child.process.kill()
    qtbot.waitUntil(lambda: not process.busy, timeout=SECONDS)
    assert "smaller crop" in said[-1].text


def test_kills_at_random_moments_end_the_job_and_the_next_one_runs(process, qtbot):
    delays = np.random.default_rng(0).uniform(0, 3, 6)
    for delay in delays:
        process.start(LONG)
        qtbot.wait(int(1000 * delay))
        process._child.process.kill()
        end = end_of(process, qtbot)
        assert "ended unexpectedly" in end.text
    succeeds(process, qtbot)


@needs_signals
def test_a_stopped_process_can_be_discarded_at_once(process, qtbot):
    large = CopiedPixels(np.zeros((64, 512, 512), np.uint8))  # more than a pipe holds
    process.warm_up()
    child = process._child.process
    os.kill(child.pid, signal.SIGSTOP)
    process.start(Job(large, "ZYX", KMeans()))
    qtbot.wait(300)
    assert process.busy
    start = time.perf_counter()
    process.discard()
    process.warm_up()
    assert time.perf_counter() - start < 0.5
    qtbot.waitUntil(lambda: child.poll() is not None, timeout=10_000)
    succeeds(process, qtbot)


def test_memory_that_runs_out_anywhere_ends_the_job_and_the_next_one_runs(process, qtbot):
    for image in (
        CopiedPixels(Huge()),
        LazyPixels(HugeHere(), "cells"),
        LazyPixels(Huge(), "cells"),
    ):
        process.start(QUICK._replace(image=image))
        end = end_of(process, qtbot)
        assert "Memory ran out" in end.text
        succeeds(process, qtbot)


def test_what_cannot_be_handed_over_is_named_with_a_cure(process, qtbot):
    class Locked:
        shape, dtype = (48, 64), np.dtype(np.uint8)

        def __reduce__(self):
            raise TypeError("h5py objects cannot be pickled")

    process.start(QUICK._replace(image=take(Locked(), "cells")))
    text = end_of(process, qtbot).text
    assert "cells" in text
    assert "h5py objects" in text
    assert "numpy.asarray" in text
    succeeds(process, qtbot)


@pytest.mark.parametrize("error", ["MemoryError", "OSError"])
def test_a_live_view_that_fails_does_not_end_the_run(process, qtbot, tmp_path, monkeypatch, error):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, importlib.abc\n"
        f"def broken(*args, **options): raise {error}\n"
        "class Break(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'napari_mmtseg._napari.process.worker':\n"
        "            import napari_mmtseg.model.model as model\n"
        "            model.Model.draft = broken\n"
        "sys.meta_path.insert(0, Break())\n"
    )
    folders = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
    process.start(Job(CopiedPixels(DISCS), "YX", MMT(n_iterations=8, width=4)))
    end = end_of(process, qtbot)
    assert isinstance(end, Done), end.text
    notes = [m for m in process.messages if not isinstance(m, Progress)]
    assert not any(isinstance(note, Preview) for note in notes)
    assert len(notes) == 1
    assert "no live view" in notes[0].text


@pytest.mark.parametrize("largest", [60_000, 2**31 - 1])
def test_live_labels_of_any_number_keep_their_colours(largest):
    before = np.zeros((40, 40), np.int32)
    before[:, 10:20], before[:, 20:] = 7, largest
    now = np.zeros((40, 40), np.int32)
    now[:, 10:21], now[:, 21:] = largest, 3
    shown = alike(now, before)
    assert set(np.unique(shown[:, 10:21])) == {7}
    assert set(np.unique(shown[:, 21:])) == {largest}
    assert not shown[:, :10].any()


def test_a_million_live_labels_take_little_memory_and_time():
    many = np.arange(1, 1024 * 1024 + 1, dtype=np.int32).reshape(1024, 1024)
    np.testing.assert_array_equal(alike(many[::-1].copy(), many), many)
