"""A result finds its model and settings when the widget or the file is opened again."""

import json

import numpy as np
import pytest
from napari.layers import Labels
from napari.settings import get_plugin_settings
from numpy.testing import assert_array_equal
from qtpy.QtGui import QPixmap

from napari_mmtseg import MMT, KMeans
from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.layers.layers import METADATA_KEY
from napari_mmtseg._napari.process.training_process import _threads
from napari_mmtseg._napari.result.state import kept_of
from napari_mmtseg._napari.run.method_panel import MethodPanel
from napari_mmtseg._napari.widgets.segment import KMeansWidget, MMTWidget, SegmentWidget
from napari_mmtseg.model.library import Library, digest_of

PATIENCE = 20_000


@pytest.fixture
def done(viewer, widget, finish, qtbot, gray, models_folder):
    """A run whose result is remembered."""
    viewer.add_image(gray, name="discs")
    widget.methods.show_method(KMeans(n_labels=4, smoothing_px=0.0, vote_border=0.0, seed=7))
    widget.panel.run_button.click()
    finish(widget)
    layer = widget.results.result.layer
    remembered(qtbot, models_folder, layer)
    return layer


def remembered(qtbot, folder, layer):
    note = folder / "recent" / f"{digest_of(layer.data)}.json"
    qtbot.waitUntil(lambda: note.exists() and len(note.read_text()) > 0, timeout=PATIENCE)


def test_a_widget_that_is_opened_again_shows_the_result_and_its_settings(
    viewer, widget, done, qtbot
):
    widget.results.labels.rename(1, "ground")
    viewer.window.remove_dock_widget(widget)
    again = KMeansWidget(viewer)
    qtbot.addWidget(again)
    assert again.form.method() == KMeans(n_labels=4, smoothing_px=0.0, vote_border=0.0, seed=7)
    assert again.results.result.layer == done
    assert again.model.names == {1: "ground"}
    assert again.results.apply_button.isEnabled()
    other = MMTWidget(viewer)
    qtbot.addWidget(other)
    assert isinstance(other.form.method(), MMT), "who opens MMT wants MMT"
    other.results.models.settings_button.click()
    assert other.form.method().seed == 7
    for one in (again, other):
        one.panel.process.discard()


def test_labels_saved_as_tiff_find_their_model_settings_and_names(
    viewer, widget, done, finish, qtbot, models_folder, tmp_path
):
    panel = widget.results.labels
    panel.table.select([1, 2])
    panel.join()
    panel.rename(3, "nuclei")
    panel.hide_label(4)
    expected, table = done.data.copy(), widget.model.labels
    remembered(qtbot, models_folder, done)
    note = models_folder / "recent" / f"{digest_of(expected)}.json"
    qtbot.waitUntil(lambda: "nuclei" in note.read_text(), timeout=PATIENCE)
    (path,) = done.save(str(tmp_path / "saved.tif"))
    record = done.metadata[METADATA_KEY]
    viewer.layers.clear()
    assert widget.results.result is None

    viewer.open(path, layer_type="labels", plugin="napari")
    layer = viewer.layers[-1]
    qtbot.waitUntil(lambda: kept_of(layer) is not None, timeout=PATIENCE)
    assert_array_equal(layer.data, expected)
    result = widget.results.result
    assert result.layer == layer
    assert layer.metadata[METADATA_KEY]["settings"] == record["settings"]
    assert widget.model.names == {3: "nuclei"}
    assert_array_equal(widget.model.labels, table)
    qtbot.waitUntil(lambda: kept_of(layer).counted is not None, timeout=PATIENCE)
    shown = {row.name: row.shown for row in panel.table.rows.rows}
    assert shown == {"Label 1": True, "nuclei": True, "Label 4": False}
    assert np.ravel(layer.get_color(4))[3] == 0

    panel.table.select([1, 3])
    panel.join()
    assert set(np.unique(layer.data)) == {1, 4}
    assert set(widget.model.labels) == {1, 4}
    panel.undo()
    assert_array_equal(layer.data, expected)
    assert panel.n_labels.maximum() == 3, "more are not known of what was saved"
    panel.n_labels.setValue(2)
    fewer = widget.model.label_of()
    assert len(np.unique(layer.data)) == len(set(fewer)) == 2
    assert len({*zip(expected.flat, layer.data.flat, strict=True)}) == 3, "each goes whole"
    panel.undo()
    assert_array_equal(layer.data, expected)
    json.dumps(layer.metadata[METADATA_KEY])

    viewer.add_image(np.full((24, 32), 7, np.uint8) + np.arange(32, dtype=np.uint8), name="new")
    widget.results.apply_button.click()
    finish(widget)
    assert widget.results.result.layer.metadata[METADATA_KEY]["settings"] == record["settings"]


def test_other_labels_are_left_alone_and_nothing_is_kept_if_not_wanted(
    viewer, widget, done, qtbot, models_folder, monkeypatch
):
    other = viewer.add_labels(np.ones((5, 5), int))
    monkeypatch.setattr(preferences, "remembers", lambda: False)
    copy = viewer.add_labels(done.data.copy())
    before = len(list((models_folder / "recent").iterdir()))
    widget.results.labels.rename(1, "ground")
    qtbot.wait(700)
    assert kept_of(other) is None
    assert kept_of(copy) is None
    assert METADATA_KEY not in other.metadata
    assert len(list((models_folder / "recent").iterdir())) == before


def test_a_model_is_kept_under_a_name_and_taken_for_another_layer(
    viewer, widget, done, finish, models_folder
):
    widget.results.labels.rename(1, "ground")
    window = widget.results.open_library()
    assert "No models yet" in window.status.text()
    window.name.setText("my discs")
    window.keep_button.click()
    assert window.models.count() == 1
    assert "labels: ground" in window.status.text()
    assert not QPixmap(str(models_folder / "my discs.png")).isNull()
    window.keep_button.click()
    assert "choose another name" in window.status.text()
    viewer.layers.clear()

    viewer.add_image(np.arange(600, dtype=np.uint16).reshape(20, 30), name="new")
    widget.results.model = None
    window = widget.results.open_library()
    assert not window.keep_button.isEnabled()
    window.models.setCurrentRow(0)
    window.take_button.click()
    assert "kept as my discs" in widget.results.model_text.text()
    widget.results.apply_button.click()
    finish(widget)
    layer = viewer.layers[-1]
    assert isinstance(layer, Labels)
    assert widget.results.labels.table.rows.rows[0].name == "ground"

    window = widget.results.open_library()
    (models_folder / "my discs.safetensors").write_bytes(b"no model")
    window.models.setCurrentRow(0)
    window.take_button.click()
    assert "damaged" in window.status.text()
    window.remove()
    assert window.models.count() == 0


def test_the_preferences_choose_method_device_threads_and_folder(viewer, qtbot, tmp_path):
    settings = get_plugin_settings("napari-mmtseg")
    before = settings.running.method, settings.running.device
    assert before == ("MMT", "auto")
    assert _threads() == {}
    try:
        settings.running.method = "KMeans"
        settings.running.device = "cpu"
        settings.running.threads = 3
        settings.models.folder = str(tmp_path / "mine")
        widget = SegmentWidget(viewer)
        qtbot.addWidget(widget)
        assert isinstance(widget.form.method(), KMeans)
        assert MethodPanel(MMT).form.method().device == "cpu"
        assert _threads()["OMP_NUM_THREADS"] == "3"
        assert preferences.library().folder == Library(tmp_path / "mine").folder
        widget.panel.process.discard()
        settings.running.method = "MMT"
    finally:
        settings.reset()
