"""The labels of a large result are merged beside the window, and what was painted is spared."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg import KMeans
from napari_mmtseg._napari.process.label_numbers import counted
from napari_mmtseg._napari.result import label_merge, layer_update
from napari_mmtseg._napari.result.label_merge import merged_labels
from napari_mmtseg._napari.result.object_jobs import Origin
from napari_mmtseg._napari.result.panel import Result, ResultPanel
from napari_mmtseg.segmentation import drain, segment_steps

SECONDS = 20_000


@pytest.fixture
def whole(gray):
    image = gray.astype(np.float32)
    image[:2] = np.nan
    return drain(segment_steps(image, KMeans(n_labels=5, smoothing_px=0.0)))


@pytest.fixture
def panel(make_napari_viewer_proxy, whole, qtbot, monkeypatch):
    monkeypatch.setattr(layer_update, "AT_ONCE", 0)
    viewer = make_napari_viewer_proxy()
    panel = ResultPanel(viewer)
    qtbot.addWidget(panel)
    record = {"napari-mmtseg": {"settings": whole.method.to_dict()}}
    layer = viewer.add_labels(whole.labels(), name="labels", metadata=record)
    origin = Origin([], "YX", whole.method)
    panel.show_result(Result(layer, whole.model, {}, {}, origin, whole=whole))
    return panel


@pytest.mark.parametrize("slab", [7, 10**6])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_labels_are_merged_slab_by_slab_as_at_once(whole, monkeypatch, slab, count):
    monkeypatch.setattr(label_merge, "_SLAB", slab)
    tables = [whole.model.label_of(n) for n in (5, count)]
    made = merged_labels(whole, whole.labels(5), *tables)
    assert_array_equal(made.labels, whole.labels(count))
    for found, expected in zip((made.present, made.pixels), counted(made.labels), strict=True):
        assert_array_equal(found, expected)
    assert made.untouched
    painted = whole.labels(5)
    painted[-1, -1] += 1
    assert not merged_labels(whole, painted, *tables).untouched
    assert not merged_labels(whole, painted[1:], *tables).untouched


def test_the_slider_ends_at_its_last_place(panel, whole, qtbot):
    layer = panel.result.layer
    for count in (4, 3, 2):
        panel.n_labels.setValue(count)
    qtbot.waitUntil(lambda: len(layer.features) == 3, timeout=SECONDS)  # 0, 1, 2
    assert_array_equal(layer.data, whole.labels(2))
    assert layer.metadata["napari-mmtseg"]["n_labels"] == 2
    assert len(panel.viewer.layers) == 1


def test_what_is_painted_meanwhile_is_spared(panel, whole, qtbot):
    layer = panel.result.layer
    panel.n_labels.setValue(2)
    layer.data_setitem((np.array([5]), np.array([5])), 9)
    qtbot.waitUntil(lambda: len(panel.viewer.layers) == 2, timeout=SECONDS)
    assert layer.data[5, 5] == 9
    assert_array_equal(panel.viewer.layers[1].data, whole.labels(2))


def test_steps_that_are_taken_while_labels_are_merged_come_after_it(panel, whole, qtbot):
    layer = panel.result.layer
    panel.n_labels.setValue(4)
    layer.data_setitem((np.array([5]), np.array([5])), 9)
    panel.n_labels.setValue(3)
    panel.labels.rename(1, "most")
    qtbot.waitUntil(lambda: len(panel.viewer.layers) == 2, timeout=SECONDS)
    made = panel.viewer.layers[1]
    qtbot.waitUntil(lambda: len(made.features) == 4, timeout=SECONDS)
    assert_array_equal(made.data, whole.labels(3))
    assert made.features["name"][1] == "most"
    assert panel.result.layer == made


def test_labels_that_there_is_no_room_to_merge_stay(panel, whole, qtbot, monkeypatch):
    def full(*_):
        raise MemoryError

    errors = []
    monkeypatch.setattr(label_merge, "merged_labels", full)
    monkeypatch.setattr(layer_update, "show_error", errors.append)
    before = panel.n_labels.value()
    panel.n_labels.setValue(2)
    qtbot.waitUntil(lambda: len(errors) == 1, timeout=SECONDS)
    assert_array_equal(panel.result.layer.data, whole.labels())
    assert len(panel.labels.table.rows.rows) == before > 2
    assert panel.n_labels.value() == before
