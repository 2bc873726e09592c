"""The Teach widget in a real viewer: painting, looking, going where it is unsure."""

import numpy as np
import pytest

from napari_mmtseg import load
from napari_mmtseg._napari.widgets.teach import TeachWidget

SECONDS = 120_000


@pytest.fixture
def stack():
    """Three planes of a dark and a bright half: (3, 40, 60) uint8."""
    image = np.random.default_rng(0).normal(60, 6, (3, 40, 60))
    image[:, :, 30:] += 120
    return image.astype(np.uint8)


@pytest.fixture
def widget(viewer, qtbot, stack):
    viewer.add_image(stack, name="cells", scale=(3, 2, 2), axis_labels=("z", "y", "x"))
    made = TeachWidget(viewer)
    viewer.window.add_dock_widget(made)
    made.new_button.click()
    yield made
    qtbot.waitUntil(lambda: not made.learning.busy, timeout=SECONDS)


def paint(viewer, label, places):
    layer = viewer.layers["strokes"]
    layer.selected_label = label
    for place in places:
        layer.paint(place, label)


def test_labels_follow_the_strokes_in_the_plane_in_view(viewer, qtbot, widget, stack, tmp_path):
    viewer.dims.set_current_step(0, 1)
    assert viewer.layers["strokes"].mode == "paint"
    paint(viewer, 1, [(1, 10, c) for c in range(6, 20, 3)])
    qtbot.wait(300)
    assert "second class" in widget.status.text()
    paint(viewer, 2, [(1, 20, c) for c in range(40, 55, 3)])
    qtbot.waitUntil(lambda: "Learned 2 classes" in widget.status.text(), timeout=SECONDS)
    shown = viewer.layers["cells · Taught classes"]
    expected = np.where(np.arange(60) < 30, 1, 2)
    assert (np.asarray(shown.data[1]) == expected).mean() > 0.95
    assert not np.asarray(shown.data[0]).any(), "other planes are left until they are looked at"
    np.testing.assert_array_equal(shown.scale, (3, 2, 2))
    assert viewer.layers.selection.active == viewer.layers["strokes"]

    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(lambda: bool(np.asarray(shown.data[2]).any()), timeout=SECONDS)
    first = len(widget.model.weights["example_classes"])
    paint(viewer, 3, [(2, 33, c) for c in range(6, 20, 3)])
    qtbot.waitUntil(lambda: "Learned 3 classes" in widget.status.text(), timeout=SECONDS)
    assert len(widget.model.weights["example_classes"]) > first
    widget.go_button.click()
    assert "a stroke helps most" in widget.status.text()

    widget.all_button.click()
    qtbot.waitUntil(lambda: "cells · Taught classes everything" in viewer.layers, timeout=SECONDS)
    every = viewer.layers["cells · Taught classes everything"].data
    np.testing.assert_array_equal(every, widget.model.predict(stack, axes="ZYX"))
    widget.save_model(tmp_path / "taught.safetensors")
    again = load(tmp_path / "taught.safetensors")
    np.testing.assert_array_equal(again.predict(stack, axes="ZYX"), every)


def test_a_layer_of_ground_truth_teaches(viewer, qtbot, widget, stack):
    truth = np.zeros(stack.shape, np.int32)
    truth[:, :, 30:] = 7
    viewer.add_labels(truth, name="truth", scale=(3, 2, 2))
    widget.truth.setChecked(True)
    widget.strokes.setCurrentText("truth")
    qtbot.waitUntil(lambda: "Learned 2 classes" in widget.status.text(), timeout=SECONDS)
    plane = np.asarray(viewer.layers["cells · Taught classes"].data[widget._plane()])
    assert (plane == np.where(np.arange(60) < 30, 1, 2)).mean() > 0.95


def test_what_goes_wrong_is_said(viewer, qtbot, widget):
    viewer.add_labels(np.ones((4, 4), np.int32), name="small")
    widget.truth.setChecked(True)
    widget.strokes.setCurrentText("small")
    qtbot.waitUntil(lambda: "must have the shape" in widget.status.text(), timeout=SECONDS)
