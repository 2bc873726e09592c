"""What cannot fit into memory is refused before any work, and what takes much is told."""

import dask.array as da
import numpy as np
import pytest

from napari_mmtseg import Felzenszwalb, KMeans, engine, segment, segmentation, train
from napari_mmtseg.prediction import plane_regions
from napari_mmtseg.system import memory

LARGE = np.broadcast_to(np.uint8(1), (300_000, 400_000))
"""120 gigapixels that take a byte."""
FAST = KMeans(n_labels=2, n_restarts=1)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_):
        raise AssertionError("training began")

    monkeypatch.setattr(engine, "train", refuse)
    for module in (segmentation, plane_regions):
        monkeypatch.setattr(module, "read_sample", refuse)


@pytest.mark.parametrize("method", [None, FAST, Felzenszwalb()])
def test_labels_that_cannot_fit_are_refused_before_training(method, monkeypatch, no_training):
    monkeypatch.setattr(memory, "available", lambda: 2**34)
    with pytest.raises(MemoryError, match=r"Labelling 120,000,000,000 pixels needs 671 GiB"):
        segment(LARGE, method)


def test_a_model_refuses_labels_that_cannot_fit(gray, monkeypatch):
    model = train(gray, FAST)
    monkeypatch.setattr(memory, "available", lambda: 6 * gray.size - 1)
    with pytest.raises(MemoryError, match="hand it over as a dask or zarr array"):
        model.predict(gray)
    monkeypatch.setattr(memory, "available", lambda: 6 * gray.size)
    assert model.predict(gray).shape == gray.shape


def test_a_lazy_image_of_any_size_is_taken(gray, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10)
    labels = segment(da.from_array(gray, chunks=16), FAST)
    assert labels.shape == gray.shape


def test_what_nobody_knows_is_not_refused(gray, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: None)
    assert segment(gray, FAST).shape == gray.shape


def test_felzenszwalb_says_what_it_needs_before_it_starts(gray, monkeypatch):
    monkeypatch.setattr(plane_regions, "_MUCH", 200_000)
    with pytest.warns(UserWarning, match=r"Felzenszwalb, which looks at a whole plane .* 0\.0 GB"):
        segment(gray, Felzenszwalb())


def test_felzenszwalb_is_refused_a_plane_that_is_too_large(gray, monkeypatch, no_training):
    monkeypatch.setattr(memory, "available", lambda: 100 * gray.size)
    with pytest.raises(MemoryError, match=r"Felzenszwalb, which looks at a whole plane at once,"):
        segment(gray, Felzenszwalb())
