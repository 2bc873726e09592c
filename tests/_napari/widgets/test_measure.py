"""The Measure widget in a real viewer."""

import csv
import time

import dask.array
import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt

from napari_mmtseg._napari.fields.object_table import ObjectTable
from napari_mmtseg._napari.widgets.measure import MeasureWidget, open_measure, with_measures
from napari_mmtseg._napari.widgets.segment import FelzenszwalbWidget
from napari_mmtseg.labels.measurement_table import Table
from tests._napari.mouse import click, drag

SECONDS = 30_000


@pytest.fixture
def cells():
    """Twelve squares of rising size, 4 to 15 pixels a side, numbered by tens."""
    image, labels = np.full((80, 100), 10, np.uint8), np.zeros((80, 100), np.int32)
    for i in range(12):
        row, column, side = 3 + 25 * (i // 4), 4 + 25 * (i % 4), 4 + i
        labels[row : row + side, column : column + side] = 10 * (i + 1)
        image[row : row + side, column : column + side] = 100 + i
    return image, labels


@pytest.fixture
def widget(viewer):
    widget = MeasureWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Measure")
    return widget


def measured(widget, qtbot):
    widget.measure_button.click()
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    return widget.measured


def shown(widget, column):
    """Return a column of the table as it is shown."""
    model = widget.table.model()
    return [model.index(row, column).data() for row in range(model.rowCount())]


def test_one_click_gives_a_table_of_the_newest_labels(viewer, widget, qtbot, cells):
    image, labels = cells
    assert not widget.measure_button.isEnabled()
    assert "Labels layer" in widget.status.text()
    viewer.add_image(image, name="cells", scale=(0.5, 0.5), units=("um", "um"))
    viewer.add_labels(labels * 0, name="other")
    viewer.add_labels(labels, name="objects", scale=(0.5, 0.5), units=("um", "um"))
    table = measured(widget, qtbot)
    assert table.n_rows == 12
    assert table.units["area"] == "µm²"
    assert table["area"][0] == 4 * 4 * 0.25
    assert list(table["intensity_mean"]) == [100 + i for i in range(12)]
    assert widget.status.text() == "12 objects, median diameter 5.36 µm."
    assert shown(widget, 0) == [str(10 * i) for i in range(1, 13)]
    assert widget.table.model().headerData(2, Qt.Orientation.Horizontal) == "area\n(µm²)"


def test_measures_become_features_beside_those_of_others(viewer, widget, qtbot, cells):
    _, labels = cells
    layer = viewer.add_labels(labels, features={"index": [10, 20], "group": [1, 2]})
    measured(widget, qtbot)
    features = layer.features.set_index("index")
    assert features.loc[40, "area"] == 49
    assert features.loc[20, "group"] == 2
    assert np.isnan(features.loc[30, "group"])
    measured(widget, qtbot)
    assert not [name for name in layer.features if name.endswith(("_x", "_y"))]


def test_without_a_size_of_pixels_that_is_said(viewer, widget, qtbot, cells):
    viewer.add_labels(cells[1])
    assert measured(widget, qtbot).units["diameter"] == "px"
    assert "The size of a pixel is not known" in widget.status.text()


def test_a_scale_without_a_unit_is_taken_but_called_so(viewer, widget, qtbot, cells):
    viewer.add_labels(cells[1], scale=(2, 2))
    table = measured(widget, qtbot)
    assert table["area"][0] == 64
    assert table.units["area"] == "unit²"


def test_a_row_leads_to_its_object(viewer, widget, qtbot, cells):
    _, labels = cells
    stack = np.stack([np.where(labels == 10 * (z + 1), labels, 0) for z in range(12)] * 2)
    layer = viewer.add_labels(stack, scale=(3, 0.5, 0.5), translate=(5, 1, 2))
    widget.picker.axes.setCurrentText("ZYX")
    table = measured(widget, qtbot)
    row = int(np.flatnonzero(table["label"] == 70)[0])
    widget.table.selectRow(widget.table.rows.place_of(row))
    assert layer.selected_label == 70
    assert viewer.dims.point[0] == pytest.approx(layer.data_to_world((12, 0, 0))[0])
    middle = layer.data_to_world((0, 28 + 4.5, 54 + 4.5))
    np.testing.assert_allclose(viewer.scene.camera.center[1:], middle[1:])
    assert layer.show_selected_label, "alone for a moment"
    qtbot.waitUntil(lambda: not layer.show_selected_label, timeout=SECONDS)


def test_a_row_leads_to_its_frame(viewer, widget, qtbot, cells):
    _, labels = cells
    film = np.stack([labels, labels[:, ::-1], labels * (labels > 100)])
    layer = viewer.add_labels(film, axis_labels=("t", "y", "x"))
    table = measured(widget, qtbot)
    assert widget.picker.axes.isHidden(), "the layer names its axes"
    assert "in 3 frames" in widget.status.text()
    row = int(np.flatnonzero((table["label"] == 110) & (table["frame"] == 2))[0])
    widget.table.selectRow(widget.table.rows.place_of(row))
    assert viewer.dims.current_step[0] == 2
    viewer.dims.set_current_step(0, 1)
    layer.selected_label = 120
    chosen = widget.table.rows.row_of(widget.table.currentIndex().row())
    assert (table["label"][chosen], table["frame"][chosen]) == (120, 1)


def test_a_click_in_the_view_finds_the_row_whatever_it_is_sorted_by(viewer, widget, qtbot, cells):
    layer = viewer.add_labels(cells[1])
    table = measured(widget, qtbot)
    widget.table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    assert shown(widget, 0)[0] == "120"
    click(viewer, layer, (5, 31))
    assert layer.selected_label == 20
    current = widget.table.currentIndex().row()
    assert table["label"][widget.table.rows.row_of(current)] == 20
    assert current == 10
    widget.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert widget.table.currentIndex().row() == 1, "the choice stays with its object"
    drag(viewer, layer, [(5, 31), (40, 60)])
    click(viewer, layer, (0, 0))
    assert layer.selected_label == 20, "neither a drag nor the background selects"
    layer.selected_label = 999
    assert not widget.table.selectionModel().hasSelection()


def test_painting_is_noticed(viewer, widget, qtbot, cells):
    layer = viewer.add_labels(cells[1])
    measured(widget, qtbot)
    assert "measure again" not in widget.status.text()
    layer.paint((40, 40), 3)
    assert widget.status.text().endswith("The labels have changed since: measure again.")
    measured(widget, qtbot)
    assert "measure again" not in widget.status.text()


def test_labels_without_objects_are_an_empty_table(viewer, widget, qtbot, cells):
    viewer.add_labels(cells[1] * 0, name="nothing")
    assert measured(widget, qtbot).n_rows == 0
    assert widget.status.text() == "nothing holds no objects: all of it is background (0)."
    assert widget.table.model().rowCount() == 0


def test_a_layer_that_is_deleted_meanwhile_leaves_no_trace(viewer, widget, qtbot, cells):
    def slowly(block):
        time.sleep(0.5)
        return block

    _, labels = cells
    lazy = dask.array.from_array(labels).map_blocks(slowly, dtype=labels.dtype)
    viewer.add_labels(labels, name="kept")
    layer = viewer.add_labels(lazy, name="gone")
    qtbot.wait(50)
    start = time.perf_counter()
    widget.measure_button.click()
    assert time.perf_counter() - start < 0.4
    assert not widget.measure_button.isEnabled()
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    assert widget.status.text() == "The objects' layer was removed while it was measured."
    assert widget.measured is None
    assert measured(widget, qtbot).n_rows == 12, "the other layer can be measured"


def test_a_table_outlives_its_layer(viewer, widget, qtbot, cells, tmp_path):
    layer = viewer.add_labels(cells[1])
    measured(widget, qtbot)
    viewer.layers.remove(layer)
    widget.table.selectRow(3)
    widget.save(tmp_path / "objects.csv")
    with (tmp_path / "objects.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 13
    with pytest.raises(FileExistsError, match="overwrite=True"):
        widget.save(tmp_path / "objects.csv")


def test_lazy_labels_are_measured(viewer, widget, qtbot, cells):
    viewer.add_labels(dask.array.from_array(cells[1], chunks=30))
    assert measured(widget, qtbot).n_rows == 12


def test_numbers_that_are_too_large_are_refused_in_the_window(viewer, widget, qtbot, cells):
    labels = np.where(cells[1] == 10, 2**40, cells[1].astype(np.int64))
    viewer.add_labels(labels)
    assert measured(widget, qtbot) is None
    assert "at most 2147483647" in widget.status.text()


def test_the_image_chosen_fits_or_none_is(viewer, widget, qtbot, cells):
    image, labels = cells
    viewer.add_image(image[:-1], name="smaller")
    viewer.add_labels(labels, name="objects")
    assert widget.picker.images.layer is None
    viewer.add_image(np.stack([image, image + 1]), name="channels")
    assert widget.picker.images.currentText() == "channels"
    table = measured(widget, qtbot)
    assert table["intensity_mean_1"][0] == 101
    widget.picker.images.setCurrentText("smaller")
    assert not widget.measure_button.isEnabled()
    assert "choose layers of one size" in widget.status.text()
    viewer.add_image(np.stack([image] * 3, axis=-1), name="colours", rgb=True)
    widget.picker.images.setCurrentText("colours")
    assert "intensity_std_green" in measured(widget, qtbot)


def test_opening_it_for_a_layer_measures_it_at_once(viewer, qtbot, cells):
    layer = viewer.add_labels(cells[1], name="mine")
    viewer.add_labels(cells[1] * 0, name="newer")
    widget = open_measure(viewer, layer)
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    assert widget.measured.n_rows == 12
    assert open_measure(viewer, layer) is widget
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)


def test_one_that_is_open_already_is_taken_and_seen(viewer, qtbot, cells):
    widget = MeasureWidget(viewer)
    dock = viewer.window.add_dock_widget(widget, name="as the menu calls it")
    dock.hide()
    assert open_measure(viewer, viewer.add_labels(cells[1])) is widget
    assert not dock.isHidden()
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)


def test_from_an_open_image_to_a_table_in_two_clicks(viewer, qtbot, cells):
    viewer.add_image(cells[0], name="cells", scale=(0.5, 0.5), units=("um", "um"))
    method = FelzenszwalbWidget(viewer)
    viewer.window.add_dock_widget(method)
    method.panel.run_button.click()
    qtbot.waitUntil(lambda: not method.running, timeout=4 * SECONDS)
    method.results.measure_button.click()
    widget = viewer.window.dock_widgets["Measure (MMT Segmentation)"]
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    assert widget.measured.units["diameter"] == "µm"
    assert widget.picker.layer == viewer.layers[-1]
    assert widget.picker.images.currentText() == "cells"
    method.panel.close_process()


def test_ten_thousand_rows_are_shown_and_sorted_at_once(qtbot):
    view = ObjectTable()
    qtbot.addWidget(view)
    view.show()
    values = np.random.default_rng(0).random(10_000)
    values[7] = np.nan
    table = Table({"label": np.arange(10_000)} | {f"c{i}": values for i in range(18)})
    start = time.perf_counter()
    view.show_table(table)
    view.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    view.choose(7)
    assert time.perf_counter() - start < 1
    assert view.rows.index(0, 1).data() == f"{np.nanmax(values):.4g}"
    assert view.rows.index(9999, 1).data() == ""
    assert view.currentIndex().row() == 9999


def test_features_without_an_index_are_replaced():
    table = Table({"label": np.array([3, 5]), "area": np.array([1.0, 2.0])})
    joined = with_measures(pd.DataFrame({"area": [9.0, 9.0, 9.0]}), table)
    assert list(joined["index"]) == [3, 5]
    assert list(joined["area"]) == [1, 2]


def test_a_closed_widget_leaves_clicks_alone(make_napari_viewer, qtbot, cells):
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_labels(cells[1])
    widget = MeasureWidget(viewer)
    dock = viewer.window.add_dock_widget(widget)
    qtbot.waitUntil(widget.isVisible, timeout=SECONDS)
    measured(widget, qtbot)
    dock.hide()
    click(viewer, layer, (5, 31))
    assert layer.selected_label == 1
    dock.show()
    click(viewer, layer, (5, 31))
    assert layer.selected_label == 20
    viewer.window.remove_dock_widget(widget)
    layer.selected_label = 30
    layer.paint((1, 1), 4)
    viewer.layers.remove(layer)


def test_a_widget_may_be_closed_while_it_measures(make_napari_viewer, qtbot, cells):
    viewer = make_napari_viewer(show=True)
    viewer.add_labels(cells[1])
    widget = MeasureWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.start()
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    del widget
    qtbot.wait(500)
    assert len(viewer.layers) == 1
