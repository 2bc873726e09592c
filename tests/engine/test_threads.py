"""Threads do not disturb each other, nor the random numbers and settings of the process."""

import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from napari_mmtseg import IIC, MMT, Felzenszwalb, Kanezaki, Kim, KMeans, segment, train
from napari_mmtseg.grouping import group_objects
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.methods import ObjectIIC
from napari_mmtseg.prediction.labeller import Labeller, RegionClusters
from napari_mmtseg.segmentation import segment_steps

N_THREADS = 8
METHODS = [
    MMT(n_iterations=2),
    MMT(n_iterations=2, start="random", seed=3),
    Kim(n_iterations=3, width=8, reduction=1),
    Kanezaki(n_iterations=3, width=8, reduction=1),
    IIC(n_iterations=2, n_restarts=1, width=2, crop_px=16, n_crops=2),
    KMeans(n_labels=4),
]


def at_once(work):
    """Do the same work in several threads that start together."""
    start = threading.Barrier(N_THREADS)

    def wait_and_work(_):
        start.wait()
        return work()

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(wait_and_work, range(N_THREADS)))


def random_states():
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 -- the global one is what is looked at
    return torch.get_rng_state().numpy().tobytes(), name, keys.tobytes(), *rest


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_eight_threads_at_once_give_eight_equal_models(rgb, method):
    first, *others = at_once(lambda: train(rgb, method, axes="YXS"))
    for other in others:
        assert set(other.weights) == set(first.weights)
        for name, value in first.weights.items():
            np.testing.assert_array_equal(other.weights[name], value)
        np.testing.assert_array_equal(other.colours, first.colours)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_the_global_random_numbers_are_the_users(rgb, method):
    before = random_states()
    segment(rgb, method, axes="YXS")
    train(rgb, method, axes="YXS").predict(rgb, axes="YXS")
    assert random_states() == before


def test_eight_threads_at_once_group_objects_alike(gray):
    labels = np.zeros(gray.shape, int)
    for number, (row, column) in enumerate(np.ndindex(3, 4), start=1):
        labels[row * 8 + 1 : row * 8 + 7, column * 8 + 1 : column * 8 + 7] = number
    method = ObjectIIC(n_groups=2, n_iterations=2, n_restarts=1, width=2, crop_px=16)
    before = random_states()
    first, *others = at_once(lambda: group_objects(gray, labels, method))
    assert random_states() == before
    for other in others:
        np.testing.assert_array_equal(other.groups, first.groups)
        np.testing.assert_array_equal(other.confidence, first.confidence)


def test_threads_leave_what_is_warned_of_alone():
    image = np.random.default_rng(0).random((4, 24, 24))
    before = list(warnings.filters)
    at_once(lambda: [segment(image, Felzenszwalb(), axes="CYX") for _ in range(5)])
    assert warnings.filters == before


def test_a_run_that_is_given_up_while_labelling_leaves_no_thread_behind(gray):
    stack = np.stack([gray] * 6)
    before = set(threading.enumerate())  # dask keeps its own
    run = segment_steps(stack, KMeans(n_labels=2, n_restarts=1), axes="ZYX")
    assert any(step.phase == "labelling" for step in run)
    assert set(threading.enumerate()) - before
    run.close()
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_process_of_one_thread_labels_one_tile_at_a_time(n_threads, monkeypatch):
    at_work, most = [], []

    def find(self, frames, index, tile, *args):
        at_work.append(tile)
        most.append(len(at_work))
        time.sleep(0.01)
        at_work.remove(tile)
        return RegionClusters(index, tile, np.zeros(1, np.int16), None)

    image = np.random.default_rng(0).random((64, 64))
    labeller = Labeller(train(image, KMeans()))
    labeller.tile_px = (16, 16)
    monkeypatch.setattr(Labeller, "find", find)
    monkeypatch.setattr("napari_mmtseg.engine.threads.thread_count", lambda: n_threads)
    assert len([*labeller.find_all(Frames(image, "YX"))]) == 16
    assert max(most) == n_threads
