"""The real widget in a real viewer, with the real training process."""

import json

import napari
import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication

from napari_mmtseg import load
from napari_mmtseg._napari.layers.layers import METADATA_KEY
from napari_mmtseg._napari.widgets.segment import MMTWidget

SECONDS = 120_000  # of patience, in milliseconds: the process imports torch first


@pytest.fixture
def two_discs():
    rows, columns = np.ogrid[:48, :64]
    discs = ((rows - 20) ** 2 + (columns - 18) ** 2 < 120) | (
        (rows - 28) ** 2 + (columns - 46) ** 2 < 100
    )
    noise = np.random.default_rng(0).normal(0, 6, discs.shape)
    return np.clip(40 + 150 * discs + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def widget(viewer, qtbot):
    widget = MMTWidget(viewer)
    viewer.window.add_dock_widget(widget, name="MMT")
    yield widget
    widget.panel.process.discard()


def quick(widget, **changes):
    """Choose settings that train in a second."""
    method = type(widget.form.method())(**{"width": 8, "n_iterations": 8, **changes})
    widget.form.show_method(method)
    return method


def finish(widget, qtbot):
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)


def test_a_run_adds_labels_that_lie_on_the_image(viewer, widget, qtbot, two_discs):
    layer = viewer.add_image(
        two_discs,
        name="discs",
        scale=(0.5, 0.25),
        translate=(3, 4),
        rotate=10,
        shear=[0.1],
        affine=[[1, 0, 2], [0, 1, 5], [0, 0, 1]],
        units=("um", "um"),
        axis_labels=("y", "x"),
    )
    before = two_discs.copy()
    method = quick(widget, seed=3)
    widget.uncertainty.setChecked(True)
    widget.panel.run_button.click()
    finish(widget, qtbot)

    assert [one.name for one in viewer.layers] == [
        "discs",
        "discs · MMT classes",
        "discs · MMT classes uncertainty",
    ]
    assert not viewer.layers[-1].visible
    result = viewer.layers["discs · MMT classes"]
    np.testing.assert_array_equal(layer.data, before)
    assert result.data.shape == two_discs.shape
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(result, name), getattr(layer, name))
    np.testing.assert_allclose(result.affine.affine_matrix, layer.affine.affine_matrix)
    assert result.units == layer.units
    assert result.axis_labels == layer.axis_labels

    counts = np.bincount(result.data.ravel())[1:]
    assert (np.diff(counts) <= 0).all()
    assert result.features["pixels"].sum() == two_discs.size
    assert result.features["share"].sum() == pytest.approx(1)
    record = result.metadata[METADATA_KEY]
    assert record["settings"] == method.to_dict()
    assert record["image"] == ["discs"]
    assert record["seconds"] > 0
    assert record["versions"]["torch"]
    json.dumps(record)
    uncertainty = viewer.layers["discs · MMT classes uncertainty"].data
    assert 0 <= uncertainty.min() <= uncertainty.max() <= 1


def test_live_labels_appear_on_the_plane_in_view_and_stop_keeps_them(
    viewer, widget, qtbot, two_discs
):
    viewer.add_image(np.stack([two_discs, two_discs[::-1], two_discs]), name="stack")
    viewer.dims.set_current_step(0, 1)
    quick(widget, n_iterations=100_000, min_labels=1)
    widget.panel.run_button.click()
    assert not widget.panel.run_button.isEnabled()
    qtbot.waitUntil(lambda: "stack · MMT classes (training)" in viewer.layers, timeout=SECONDS)
    live = viewer.layers["stack · MMT classes (training)"]
    assert live.data[1].any()
    assert not live.data[0].any()
    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(lambda: live.data[2].any(), timeout=SECONDS)
    assert "Iteration" in widget.panel.status.text()
    assert "left" in widget.panel.status.text()

    widget.panel.stop_button.click()
    finish(widget, qtbot)
    assert [one.name for one in viewer.layers] == ["stack", "stack · MMT classes"]
    labels = viewer.layers["stack · MMT classes"].data
    assert all(plane.all() for plane in labels)
    np.testing.assert_array_equal(labels[0], labels[2])


def test_discard_leaves_the_layers_as_they_were_and_a_run_can_follow(
    viewer, widget, qtbot, two_discs
):
    viewer.add_image(two_discs, name="discs")
    quick(widget, n_iterations=100_000, min_labels=1)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=SECONDS)
    widget.panel.discard_button.click()
    assert not widget.running
    assert [one.name for one in viewer.layers] == ["discs"]

    quick(widget)
    widget.panel.run_button.click()
    finish(widget, qtbot)
    widget.panel.run_button.click()
    finish(widget, qtbot)
    assert len(viewer.layers) == 3, "the earlier result is kept"
    np.testing.assert_array_equal(viewer.layers[1].data, viewer.layers[2].data)


def test_closing_the_widget_while_training_ends_the_process(viewer, widget, qtbot, two_discs):
    viewer.add_image(two_discs)
    quick(widget, n_iterations=100_000, min_labels=1)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=SECONDS)
    child = widget.panel.process._child.process
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: child.poll() is not None, timeout=10_000)
    assert len(viewer.layers) == 1


def test_closing_the_viewer_while_training_ends_the_process(viewer, widget, qtbot, two_discs):
    viewer.add_image(two_discs)
    quick(widget, n_iterations=100_000, min_labels=1)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=SECONDS)
    child = widget.panel.process._child.process
    viewer.close()
    qtbot.waitUntil(lambda: child.poll() is not None, timeout=10_000)


def test_removing_the_image_while_training_does_no_harm(viewer, widget, qtbot, two_discs):
    viewer.add_image(two_discs, name="discs")
    quick(widget, n_iterations=100_000, min_labels=1)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=SECONDS)
    viewer.layers.clear()
    widget.panel.stop_button.click()
    finish(widget, qtbot)
    assert [one.name for one in viewer.layers] == ["discs · MMT classes"]


@pytest.mark.parametrize("how", ["reshape", "other", "remove"])
def test_a_live_layer_that_the_user_changes_or_removes_is_left_alone(
    viewer, widget, qtbot, two_discs, how
):
    viewer.add_image(two_discs, name="discs")
    quick(widget, n_iterations=100_000, min_labels=1)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "discs · MMT classes (training)" in viewer.layers, timeout=SECONDS)
    live = viewer.layers["discs · MMT classes (training)"]
    mine = np.full({"reshape": (4, 5), "other": two_discs.shape}.get(how, (1, 1)), 3)
    if how == "remove":
        viewer.layers.remove(live)
    else:
        live.data = mine
    previews = []
    widget.panel.previewed.connect(previews.append)
    qtbot.waitUntil(lambda: len(previews) > 2, timeout=SECONDS)  # without a traceback
    kept = [] if how == "remove" else ["discs · MMT classes (training)"]
    assert [one.name for one in viewer.layers] == ["discs", *kept]
    widget.panel.stop_button.click()
    finish(widget, qtbot)
    assert [one.name for one in viewer.layers] == ["discs", *kept, "discs · MMT classes"]
    if kept:
        np.testing.assert_array_equal(live.data, mine)


def test_reshaping_the_image_while_training_does_no_harm(viewer, widget, qtbot, two_discs):
    stack = np.stack([two_discs, two_discs[::-1], two_discs])
    layer = viewer.add_image(stack, name="stack")
    viewer.dims.set_current_step(0, 2)
    quick(widget, n_iterations=100_000, min_labels=1)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "stack · MMT classes (training)" in viewer.layers, timeout=SECONDS)
    for data in (np.concatenate([stack, stack]), stack[0], stack[:, :9, :9]):
        layer.data = data
        for step in range(len(data)):
            viewer.dims.set_current_step(0, step)
        previews = []
        widget.panel.previewed.connect(previews.append)
        qtbot.waitUntil(lambda seen=previews: len(seen) > 1, timeout=SECONDS)
    widget.panel.stop_button.click()
    finish(widget, qtbot)
    assert viewer.layers["stack · MMT classes"].data.shape == stack.shape


def test_silence_is_said_and_can_be_discarded(viewer, widget, qtbot, two_discs):
    viewer.add_image(two_discs, name="discs")
    quick(widget, n_iterations=100_000, min_labels=1)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "Iteration" in widget.panel.status.text(), timeout=SECONDS)
    widget.panel._silence.setInterval(200)
    widget.panel.process._heard.disconnect()  # as if it had been stopped
    qtbot.waitUntil(lambda: "No word" in widget.panel.status.text(), timeout=5_000)
    widget.panel.discard_button.click()
    assert not widget.running
    assert [one.name for one in viewer.layers] == ["discs"]


def test_a_result_for_which_there_is_no_room_is_said(viewer, widget, qtbot, two_discs, monkeypatch):
    def no_room(*_):
        raise MemoryError

    errors = []
    monkeypatch.setattr(notification_manager, "dispatch", errors.append)
    monkeypatch.setattr("napari_mmtseg._napari.layers.layers.result_layers", no_room)
    viewer.add_image(two_discs, name="discs")
    quick(widget)
    widget.panel.run_button.click()
    finish(widget, qtbot)
    assert "Memory ran out" in errors[0].message
    assert widget.panel.run_button.isEnabled()
    assert [one.name for one in viewer.layers] == ["discs"]


def test_run_is_disabled_with_the_reason(viewer, widget, two_discs):
    assert not widget.panel.run_button.isEnabled()
    assert "Open an image" in widget.panel.run_button.toolTip()
    viewer.add_labels((two_discs > 100).astype(int), name="mine")
    assert "no image layer (mine" in widget.panel.run_button.toolTip()
    viewer.add_image(two_discs[:1], name="thin")
    assert "2 x 2" in widget.panel.run_button.toolTip()
    viewer.layers.clear()
    viewer.add_image(two_discs, name="discs")
    assert widget.panel.run_button.isEnabled()


def test_several_images_of_one_shape_are_channels(viewer, widget, qtbot, two_discs):
    viewer.add_image(two_discs, name="one")
    viewer.add_image(255 - two_discs, name="two")
    viewer.add_image(two_discs[:-2], name="other size")
    items = [widget.picker.images.item(i) for i in range(3)]
    for item in items:
        item.setCheckState(Qt.CheckState.Checked)
    assert "one shape" in widget.problem()
    next(i for i in items if i.text() == "other size").setCheckState(Qt.CheckState.Unchecked)
    quick(widget)
    widget.panel.run_button.click()
    finish(widget, qtbot)
    assert widget.model.n_channels == 2
    assert isinstance(viewer.layers[-1], Labels)


def test_fewer_labels_recolour_at_once_and_spare_what_was_painted(viewer, widget, qtbot, two_discs):
    viewer.add_image(two_discs, name="discs")
    quick(widget, continuity=0.0, min_labels=1, vote_border=0.0)
    widget.panel.run_button.click()
    finish(widget, qtbot)
    layer = viewer.layers["discs · MMT classes"]
    most = widget.results.n_labels.maximum()
    assert most > 2
    widget.results.n_labels.setValue(2)
    assert set(np.unique(layer.data)) == {1, 2}
    assert len(layer.features) == 2
    layer.data[0, 0] = 9
    widget.results.n_labels.setValue(3)
    assert layer.data[0, 0] == 9
    assert viewer.layers[-1] is not layer
    assert viewer.layers[-1].data.max() == 3


def test_a_saved_model_labels_another_layer_the_same(viewer, widget, qtbot, two_discs, tmp_path):
    viewer.add_image(two_discs, name="discs")
    quick(widget)
    widget.panel.run_button.click()
    finish(widget, qtbot)
    first = viewer.layers[-1].data
    path = tmp_path / "discs.safetensors"
    widget.results.save_model(path)
    np.testing.assert_array_equal(load(path).predict(two_discs), first)

    widget.results.model = None
    widget.results.load_model(path)
    widget.results.apply_button.click()
    finish(widget, qtbot)
    np.testing.assert_array_equal(viewer.layers[-1].data, first)


def test_a_failing_run_says_why_and_the_window_lives_on(
    viewer, widget, qtbot, two_discs, monkeypatch
):
    viewer.add_image(np.full((32, 32), np.nan, np.float32), contrast_limits=(0, 1))
    errors = []
    monkeypatch.setattr(notification_manager, "dispatch", errors.append)
    quick(widget)
    widget.panel.run_button.click()
    finish(widget, qtbot)
    assert "no finite pixel" in widget.panel.status.text()
    assert "no finite pixel" in errors[0].message
    viewer.layers.clear()
    viewer.add_image(two_discs, name="discs")
    widget.panel.run_button.click()
    finish(widget, qtbot)
    assert "discs · MMT classes" in viewer.layers


def test_a_killed_process_is_reported(viewer, widget, qtbot, two_discs, monkeypatch):
    viewer.add_image(two_discs)
    monkeypatch.setattr(notification_manager, "dispatch", lambda _: None)
    quick(widget, n_iterations=100_000, min_labels=1)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=SECONDS)
    widget.panel.process._child.process.kill()
    finish(widget, qtbot)
    assert "ended unexpectedly" in widget.panel.status.text()
    assert len(viewer.layers) == 1


@pytest.mark.usefixtures("all_threads")
def test_the_copied_script_repeats_the_run(viewer, widget, qtbot, two_discs, monkeypatch):
    viewer.add_image(two_discs, name="it's discs")
    strokes = np.zeros(two_discs.shape, np.int32)
    strokes[20, 14:22] = 3
    strokes[2] = 6
    viewer.add_labels(strokes, name="strokes")
    widget.scribbles.choose(viewer.layers["strokes"])
    quick(widget, seed=5)
    widget.panel.run_button.click()
    finish(widget, qtbot)
    expected = viewer.layers[-1].data
    widget.copy_as_python()
    script = QGuiApplication.clipboard().text()
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    names: dict = {}
    exec(compile(script, "script", "exec"), names)
    np.testing.assert_array_equal(names["labels"], expected)
    assert viewer.layers[-1].name == "it's discs · MMT classes [1]"
