"""The Correct objects widget in a real viewer, with the mouse and with undo."""

import dask.array
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_mmtseg._napari.widgets.correct import CorrectWidget
from napari_mmtseg.labels.corrections import delete
from tests._napari.mouse import click, drag

SECONDS = 30_000


@pytest.fixture
def bars():
    """Four bars of 8 rows and 10, 20, 30, 40 columns, numbered 2, 4, 6, 8."""
    labels = np.zeros((60, 60), np.int32)
    for i in range(4):
        labels[5 + 12 * i : 13 + 12 * i, 5 : 15 + 10 * i] = 2 * (i + 1)
    return labels


@pytest.fixture
def widget(viewer):
    widget = CorrectWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Correct objects")
    return widget


def ready(widget, qtbot):
    qtbot.waitUntil(lambda: widget.sifting.ready, timeout=SECONDS)


def test_a_line_dragged_across_an_object_splits_it_and_undo_joins_it(viewer, widget, bars):
    viewer.add_image(bars, name="image")
    layer = viewer.add_labels(bars.copy(), scale=(2, 2), translate=(7, 0))
    widget.tools["split"].click()
    assert not layer.mouse_pan, "the drag draws and does not move the view"
    drag(viewer, layer, [(40, 25), (44, 25.5), (50, 26), (52, 26)])
    assert set(np.unique(layer.data)) == {0, 2, 4, 6, 8, 9}
    assert_array_equal(layer.data != 0, bars != 0)
    assert_array_equal(layer.data[:40], bars[:40])
    assert "cut line" not in viewer.layers
    assert viewer.layers.selection.active == layer, "Ctrl+Z goes to the labels"
    layer.undo()
    assert_array_equal(layer.data, bars)
    layer.redo()
    assert set(np.unique(layer.data)) == {0, 2, 4, 6, 8, 9}
    widget.tools["split"].click()
    assert layer.mouse_pan


def test_the_line_is_seen_while_it_is_drawn(viewer, widget, bars):
    layer = viewer.add_labels(bars)
    widget.use("split")
    widget.line.show(layer, [np.array([0.0, 0]), np.array([9.0, 9])])
    widget.line.show(layer, [np.array([0.0, 0]), np.array([9.0, 9]), np.array([9.0, 30])])
    assert len(viewer.layers["cut line"].data[0]) == 3
    assert viewer.layers.selection.active == layer
    widget.use(None)
    assert "cut line" not in viewer.layers


def test_a_line_that_cuts_nothing_says_so(viewer, widget, bars):
    layer = viewer.add_labels(bars.copy())
    widget.use("split")
    drag(viewer, layer, [(1, 1), (3, 50)])
    assert "crosses no object" in widget.status.text()
    drag(viewer, layer, [(3, 5), (20, 5)])
    assert "draw it right across" in widget.status.text()
    assert_array_equal(layer.data, bars)


def test_in_a_stack_the_line_cuts_all_planes_of_its_time(viewer, widget, bars):
    film = np.stack([np.stack([bars] * 3)] * 2)
    layer = viewer.add_labels(film.copy(), axis_labels=("t", "z", "y", "x"))
    viewer.dims.set_current_step(0, 1)
    widget.use("split")
    drag(viewer, layer, [(1, 2, 38, 25), (1, 2, 54, 25)])
    assert_array_equal(layer.data[0], film[0])
    assert all(set(np.unique(plane)) == {0, 2, 4, 6, 8, 9} for plane in layer.data[1])
    layer.undo()
    assert_array_equal(layer.data, film)


def test_clicks_join_objects(viewer, widget, bars):
    layer = viewer.add_labels(bars.copy())
    widget.use("join")
    click(viewer, layer, (30, 10))
    assert "belong to 6" in widget.status.text()
    click(viewer, layer, (8, 10))
    click(viewer, layer, (18, 10))
    assert_array_equal(layer.data, np.where((bars == 2) | (bars == 4), 6, bars))
    widget.undo_button.click()
    assert_array_equal(layer.data, np.where(bars == 2, 6, bars))
    widget.undo_button.click()
    assert_array_equal(layer.data, bars)
    widget.redo_button.click()
    assert_array_equal(layer.data, np.where(bars == 2, 6, bars))


def test_a_click_deletes_an_object_and_a_drag_does_not(viewer, widget, bars):
    layer = viewer.add_labels(bars.copy())
    widget.use("delete")
    drag(viewer, layer, [(8, 8), (30, 30)])
    click(viewer, layer, (1, 1))
    assert_array_equal(layer.data, bars)
    click(viewer, layer, (8, 8))
    assert_array_equal(layer.data, np.where(bars == 2, 0, bars))
    layer.undo()
    assert_array_equal(layer.data, bars)


def test_over_time_a_click_deletes_in_its_own_frame(viewer, widget, bars):
    film = np.stack([bars, bars])
    layer = viewer.add_labels(film.copy(), axis_labels=("t", "y", "x"))
    viewer.dims.set_current_step(0, 1)
    widget.use("delete")
    click(viewer, layer, (1, 8, 8))
    assert_array_equal(layer.data[0], bars)
    assert_array_equal(layer.data[1], np.where(bars == 2, 0, bars))


def test_a_new_object_is_painted_under_a_free_number(viewer, widget, bars):
    layer = viewer.add_labels(bars)
    widget.use("delete")
    widget.new_button.click()
    assert layer.selected_label == 9
    assert layer.mode == "paint"
    assert not widget.tools["delete"].isChecked()


def test_painting_puts_the_tool_down(viewer, widget, bars):
    layer = viewer.add_labels(bars.copy())
    widget.use("delete")
    layer.mode = "erase"
    assert not widget.tools["delete"].isChecked()
    click(viewer, layer, (50, 20))
    assert (layer.data == 8).sum() > 200


def test_choosing_another_layer_puts_the_tool_down(viewer, widget, bars):
    image = viewer.add_image(bars)
    layer = viewer.add_labels(bars.copy())
    widget.use("split")
    drag(viewer, layer, [(40, 25), (44, 25.5), (50, 26), (52, 26)])
    assert widget.tools["split"].isChecked(), "drawing a line does not end it"
    viewer.layers.selection.active = image
    assert not widget.tools["split"].isChecked()


def test_sliders_take_objects_out_and_bring_them_back(viewer, widget, qtbot, bars):
    layer = viewer.add_labels(bars.copy(), scale=(0.5, 0.5), units=("um", "um"))
    ready(widget, qtbot)
    sliders = widget.sliders
    sliders.smallest.setValue(290)
    assert_array_equal(layer.data, np.where(bars < 6, 0, bars))
    assert widget.status.text().startswith("2 of 4 objects kept")
    assert "µm" in sliders._texts[0].text()
    sliders.largest.setValue(380)
    assert_array_equal(layer.data, np.where(bars == 6, bars, 0))
    sliders.smallest.setValue(0)
    sliders.largest.setValue(400)
    assert_array_equal(layer.data, bars)


def test_one_move_of_a_slider_is_one_step_of_undo(viewer, widget, qtbot, bars):
    layer = viewer.add_labels(bars.copy())
    ready(widget, qtbot)
    layer.data_setitem((np.array([59]), np.array([59])), 7)
    for value in range(0, 390, 10):
        widget.sliders.smallest.setValue(value)
    assert set(np.unique(layer.data)) == {0, 8}
    qtbot.wait(600)
    assert set(np.unique(layer.data)) == {0, 8}
    layer.undo()
    assert set(np.unique(layer.data)) == {0, 2, 4, 6, 7, 8}
    qtbot.waitUntil(lambda: widget.sliders.smallest.value() == 0, timeout=SECONDS)
    layer.undo()
    assert_array_equal(layer.data, bars)
    layer.redo()
    layer.redo()
    assert set(np.unique(layer.data)) == {0, 8}


def test_sifting_after_a_correction_knows_the_new_sizes(viewer, widget, qtbot, bars):
    layer = viewer.add_labels(bars.copy())
    ready(widget, qtbot)
    widget.use("split")
    drag(viewer, layer, [(38, 25), (54, 25)])
    widget.sliders.smallest.setValue(390)
    assert set(np.unique(layer.data)) == {0, 6}, "both halves of 8 are smaller than 6"
    widget.undo_button.click()
    widget.undo_button.click()
    assert_array_equal(layer.data, bars)


def test_labels_that_cannot_be_written_are_refused(viewer, widget, qtbot, bars):
    assert "Labels layer" in widget.status.text()
    assert not widget.tools["split"].isEnabled()
    fixed = bars.copy()
    fixed.flags.writeable = False
    layer = viewer.add_labels(fixed, name="fixed")
    assert "fixed cannot be written to: press Correct a copy" in widget.status.text()
    layer.data = fixed.copy()
    assert widget.tools["split"].isEnabled()
    assert not widget.status.text()
    viewer.add_labels(dask.array.from_array(bars), name="lazy")
    assert "lazy cannot be written to: press Correct a copy" in widget.status.text()
    widget.use("delete")
    assert not widget.tools["delete"].isChecked()
    assert not widget.sliders.isEnabled()


def test_a_layer_may_be_deleted_at_any_time(viewer, widget, qtbot, bars):
    layer = viewer.add_labels(bars.copy())
    ready(widget, qtbot)
    widget.use("split")
    widget.line.show(layer, [np.array([0.0, 0]), np.array([9.0, 9])])
    widget.sliders.smallest.setValue(300)
    viewer.layers.remove(layer)
    assert len(viewer.layers) == 0
    assert not widget.tools["split"].isEnabled()
    qtbot.wait(600)
    viewer.add_labels(bars.copy())
    ready(widget, qtbot)
    assert widget.sliders.smallest.value() == 0


def test_labels_without_objects_have_nothing_to_sift(viewer, widget, qtbot, bars):
    viewer.add_labels(bars * 0)
    ready(widget, qtbot)
    assert not widget.sliders.isEnabled()
    viewer.add_labels(np.ones((8, 8), np.int32))
    ready(widget, qtbot)
    assert widget.sliders.isEnabled()


def test_numbers_that_are_too_large_are_not_sifted_and_that_is_said(viewer, widget, qtbot, bars):
    viewer.add_labels(np.where(bars == 2, 2**40, bars.astype(np.int64)))
    qtbot.waitUntil(lambda: "at most 2147483647" in widget.status.text(), timeout=SECONDS)
    assert not widget.sliders.isEnabled()


def test_in_the_3d_view_objects_are_corrected_too(viewer, widget, qtbot, bars):
    volume = np.stack([bars] * 4)
    layer = viewer.add_labels(volume.copy(), axis_labels=("z", "y", "x"))
    ready(widget, qtbot)
    viewer.dims.ndisplay = 3
    widget._correct(lambda: delete(layer.data, [2]), [None] * 3, "deleted")
    assert set(np.unique(layer.data)) == {0, 4, 6, 8}
    widget.sliders.smallest.setValue(399)
    widget.sifting.settle()
    assert set(np.unique(layer.data)) == {0, 8}
    widget.undo()
    widget.undo()
    assert_array_equal(layer.data, volume)


def test_in_the_3d_view_splitting_asks_for_a_plane(viewer, widget, bars):
    layer = viewer.add_labels(np.stack([bars] * 3))
    viewer.dims.ndisplay = 3
    widget.use("split")
    drag(viewer, layer, [(1, 38, 25), (1, 54, 25)])
    assert "turn the 3D view off" in widget.status.text()
    assert_array_equal(layer.data[1], bars)


def test_a_closed_widget_deletes_nothing(make_napari_viewer, qtbot, bars):
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_labels(bars.copy())
    widget = CorrectWidget(viewer)
    viewer.window.add_dock_widget(widget)
    qtbot.waitUntil(widget.isVisible, timeout=SECONDS)
    widget.use("delete")
    viewer.window.remove_dock_widget(widget)
    qtbot.wait(50)
    click(viewer, layer, (8, 8))
    assert_array_equal(layer.data, bars)
