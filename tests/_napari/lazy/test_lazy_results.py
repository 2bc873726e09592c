"""What can be done with the objects and areas of a lazy layer: as with those of one in memory."""

import dask.array
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from skimage.draw import disk

from napari_mmtseg import KMeans, measure
from napari_mmtseg._napari.layers.layers import METADATA_KEY
from napari_mmtseg._napari.widgets.correct import CorrectWidget
from napari_mmtseg._napari.widgets.measure import MeasureWidget
from napari_mmtseg._napari.widgets.segment import KMeansWidget

SECONDS = 120_000
OBJECTS = KMeans(output="objects", n_labels=2, smoothing_px=0.0)
AREAS = KMeans(output="areas", n_labels=4, smoothing_px=0.0)


@pytest.fixture
def discs():
    """Planes of bright discs on dark ground, some of which touch."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 20, (3, 70, 90), np.uint8)
    for plane in image:
        for _ in range(9):
            here = disk(rng.uniform(5, (65, 85)), rng.uniform(5, 7), shape=plane.shape)
            plane[here] = rng.integers(120, 200)
    return image


@pytest.fixture
def widget(viewer, warm):
    widget = KMeansWidget(viewer)
    viewer.window.add_dock_widget(widget)
    yield widget
    warm(widget)


def run(viewer, widget, finish, image, method):
    """Segment a lazy layer of frames and return the layer of the result."""
    lazy = dask.array.from_array(image, chunks=(1, 40, 50))
    scale = {"scale": (1, 0.5, 0.5), "units": ("s", "um", "um"), "axis_labels": "tyx"}
    viewer.add_image(lazy, name="lazy", contrast_limits=(0, 255), **scale)
    viewer.dims.set_current_step(0, 1)
    widget.form.show_method(method)
    widget.panel.run_button.click()
    finish(widget)
    return viewer.layers[-1]


def shown(viewer, qtbot, layer, expected):
    """Wait until each plane is shown as it should be."""
    for plane in (1, 0, 2):
        viewer.dims.set_current_step(0, plane)
        qtbot.waitUntil(
            lambda plane=plane: np.array_equal(layer.data[plane], expected[plane]),
            timeout=SECONDS,
        )


def test_another_diameter_parts_lazy_objects_anew(viewer, widget, finish, qtbot, discs):
    layer = run(viewer, widget, finish, discs, OBJECTS)
    panel, before = widget.results.objects, widget.model
    assert panel.isVisibleTo(widget.results)
    assert panel.diameter.value() == pytest.approx(before.diameter_px, abs=0.05)
    assert "µm, measured" in panel._says.text()
    expected = before.predict(discs, axes="TYX")
    assert layer.opacity == 0.6  # as of one in memory
    assert_array_equal(layer.data[1], expected[1])
    panel.diameter.setValue(40)
    panel.part_button.click()
    finish(widget)
    assert viewer.layers[-1] == layer
    assert widget.model.diameter_px == 40
    wider = widget.model.predict(discs, axes="TYX")
    assert (wider != expected).any()
    assert_array_equal(layer.data[1], wider[1])  # at once
    shown(viewer, qtbot, layer, wider)
    assert layer.metadata[METADATA_KEY]["settings"]["diameter_px"] == 40
    panel.diameter.setValue(0)
    panel.part_button.click()
    finish(widget)
    shown(viewer, qtbot, layer, expected)


def test_a_click_says_what_lazy_objects_are_made_of(viewer, widget, finish, qtbot, discs):
    layer = run(viewer, widget, finish, discs, OBJECTS)
    place = tuple(int(i) for i in np.argwhere(layer.data[1] == 0)[0])
    widget.results.objects.object_wanted.emit((1, *place))
    finish(widget)
    expected = widget.model.predict(discs, axes="TYX")
    assert expected[(1, *place)] > 0
    shown(viewer, qtbot, layer, expected)
    assert layer.metadata[METADATA_KEY]["object_at"] == (1, *place)


def test_the_slider_joins_lazy_areas_in_a_run_that_can_be_taken_back(
    viewer, widget, finish, qtbot, discs
):
    layer = run(viewer, widget, finish, discs, AREAS)
    model, panel = widget.model, widget.results.labels
    expected = model.predict(discs, axes="TYX")
    numbers, pixels = np.unique(expected, return_counts=True)
    assert_array_equal(layer.features["index"], numbers)
    assert_array_equal(layer.features["pixels"], pixels)
    qtbot.waitUntil(lambda: panel.table.rows.rows[0].pieces is not None, timeout=SECONDS)
    assert sum(row.pieces for row in panel.table.rows.rows) == len(numbers)
    assert panel.n_labels.isVisibleTo(widget.results)
    panel.n_labels.setValue(2)
    qtbot.waitUntil(lambda: widget.running, timeout=SECONDS)
    assert not panel.n_labels.isEnabled()
    finish(widget)
    fewer = model.predict(discs, axes="TYX", n_labels=2)
    assert_array_equal(layer.data[1], fewer[1])
    shown(viewer, qtbot, layer, fewer)
    assert len(layer.features) == len(np.unique(fewer))
    assert layer.metadata[METADATA_KEY]["n_labels"] == 2
    panel.undo()
    qtbot.waitUntil(lambda: widget.running, timeout=SECONDS)
    finish(widget)
    shown(viewer, qtbot, layer, expected)


def test_lazy_areas_stay_as_they_are_if_joining_them_is_discarded(
    viewer, widget, finish, qtbot, discs
):
    layer = run(viewer, widget, finish, discs, AREAS)
    before, panel = layer.data[1].copy(), widget.results.labels
    count = panel.n_labels.value()
    panel.n_labels.setValue(2)
    qtbot.waitUntil(lambda: widget.running, timeout=SECONDS)
    widget.panel.discard()
    assert panel.n_labels.value() == count
    assert_array_equal(layer.data[1], before)
    assert panel.n_labels.isEnabled()


def test_lazy_objects_are_measured_and_counted_without_being_saved(
    viewer, widget, finish, qtbot, discs
):
    layer = run(viewer, widget, finish, discs, OBJECTS)
    objects = widget.model.predict(discs, axes="TYX")
    expected = measure(objects, discs, axes="TYX", spacing=(0.5, 0.5))
    measuring = MeasureWidget(viewer)
    viewer.window.add_dock_widget(measuring)
    assert measuring.picker.layer == layer
    assert not measuring.stop_button.isVisibleTo(measuring)
    measuring.measure_button.click()
    assert measuring.stop_button.isVisibleTo(measuring)
    qtbot.waitUntil(lambda: not measuring.running, timeout=SECONDS)
    assert list(measuring.measured) == list(expected)
    for name, column in expected.items():
        assert_array_equal(measuring.measured[name], column)
    assert measuring.measured.units == expected.units
    assert not measuring.stop_button.isVisibleTo(measuring)
    rows = widget.results.labels.table.rows
    qtbot.waitUntil(lambda: rows.rows[0].pieces == expected.n_rows, timeout=SECONDS)
    assert rows.rows[0].share == pytest.approx((objects > 0).mean())
    assert rows.rows[0].means[0] == pytest.approx(discs[objects > 0].mean())
    measuring.measure_button.click()
    measuring.stop()
    assert measuring.status.text() == "Stopped; nothing was measured."
    assert not measuring.running


def test_correcting_lazy_objects_says_what_to_do_first(viewer, widget, finish, discs):
    run(viewer, widget, finish, discs, OBJECTS)
    correct = CorrectWidget(viewer)
    viewer.window.add_dock_widget(correct)
    assert "save the result" in correct.problem()
    assert correct.status.text() == correct.problem()
    assert not correct.tools["split"].isEnabled()
