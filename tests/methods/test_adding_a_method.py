"""A further method is a dataclass, an engine file and one line: all else follows."""

import sys
from dataclasses import dataclass
from types import ModuleType

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg import load, segment, train
from napari_mmtseg._napari.widgets import segment as widgets
from napari_mmtseg.engine import Array, Learned, Predictor, Step
from napari_mmtseg.methods import METHODS, method_from_dict
from napari_mmtseg.settings import SeededMethod, setting


@dataclass(frozen=True, kw_only=True)
class Threshold(SeededMethod):
    """Two labels: below and above a level of the mean intensity."""

    title = "Threshold"
    summary = "Below and above a level."
    source = "folklore"
    presets = {"bright": {"level": 0.8}}  # noqa: RUF012 -- as the catalogue's own

    level: float = setting(0.5, "Level", "Where to part.", ge=0, le=1, step=0.1, group="basic")


def _train(sample, method, initial=None):
    weights = {"level": np.array(method.level)}
    find = _predictor(weights, method).find
    sizes, sums = np.zeros(2, np.int64), np.zeros((2, sample.n_channels))
    for pixels, valid in zip(sample.pixels, sample.valid, strict=True):
        above = find(pixels, None)[0][valid]
        sizes += np.bincount(above, minlength=2)
        for channel, values in enumerate(pixels[:, valid]):
            sums[:, channel] += np.bincount(above, values, minlength=2)
    colours = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
    learned = Learned(weights, colours, sizes, np.zeros(2, np.int64))
    yield Step("training", 1, 1, (0.0,), (2,), lambda: learned)
    return learned


def _predictor(weights, method):
    def find(pixels, tile, label_of=None, early=None):
        above = (pixels.mean(axis=0) > weights["level"]).astype(np.int64)
        return (above if tile is None else above[tile.inner]), None

    return Predictor((1, 1), (16, 16), (0, 0), lambda pixels: pixels, find)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    engine = ModuleType("napari_mmtseg.engine.threshold")
    engine.train, engine.predictor = _train, _predictor
    engine.arrays = lambda method, is_rgb: {"level": Array("F64", (), 0, 1)}
    monkeypatch.setitem(sys.modules, engine.__name__, engine)
    monkeypatch.setitem(METHODS, "Threshold", Threshold)


def test_it_segments_trains_and_predicts(gray):
    labels = segment(gray, Threshold())
    assert_array_equal(labels == 1, gray <= 100)
    model = train(gray, Threshold())
    assert_array_equal(model.predict(gray), labels)
    assert_array_equal(model.predict(da.from_array(gray, chunks=7)).compute(), labels)
    stack = np.stack([gray, gray[::-1]], axis=-1)
    assert_array_equal(model.predict(stack, axes="YXZ")[..., 0], labels)
    assert model.predict(gray, n_labels=1).max() == 1


def test_it_is_saved_and_loaded(gray, tmp_path):
    model = train(gray, Threshold(level=0.4))
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.method == Threshold(level=0.4)
    assert_array_equal(again.predict(gray), model.predict(gray))


def test_its_settings_are_checked_and_kept(gray):
    with pytest.raises(ValueError, match=r"Level \(level\) must lie in 0 to 1, got 2"):
        Threshold(level=2)
    assert method_from_dict(Threshold.preset("bright").to_dict()) == Threshold(level=0.8)
    with pytest.raises(ValueError, match="Threshold takes no scribbles"):
        segment(gray, Threshold(), scribbles=np.ones(gray.shape, int))


def test_the_window_offers_it_and_shows_its_settings(qtbot, make_napari_viewer_proxy):
    widget = widgets._widget_of(Threshold)(make_napari_viewer_proxy())
    qtbot.addWidget(widget)
    assert widget.methods.method_choice.currentText() == "Threshold"
    widget.form.show_method(Threshold.preset("bright"))
    assert widget.form.method() == Threshold(level=0.8)
    widget.panel.process.discard()
