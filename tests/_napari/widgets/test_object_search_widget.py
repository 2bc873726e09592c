"""Objects in a real viewer: asked for, found, widened, pointed out, measured and grouped."""

from types import SimpleNamespace

import dask.array
import napari
import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from numpy.testing import assert_array_equal
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QPushButton

from napari_mmtseg import MMT, KMeans
from napari_mmtseg._napari.layers.layers import METADATA_KEY, kind_of
from napari_mmtseg._napari.run.goal import GOALS, settings_for
from napari_mmtseg._napari.run.settings_form import SettingsForm
from napari_mmtseg._napari.widgets.group import GroupWidget
from napari_mmtseg._napari.widgets.measure import MeasureWidget
from napari_mmtseg._napari.widgets.segment import KMeansWidget, MMTWidget
from napari_mmtseg.methods import METHODS
from tests._napari.mouse import click, drag
from tests.spots import BRIGHT, DARK

SECONDS = 120_000


@pytest.fixture
def widget(viewer):
    """k-means, which is quick, asked for objects."""
    widget = KMeansWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.form.show_method(KMeans(n_labels=3, smoothing_px=0.0, output="objects"))
    yield widget
    widget.panel.close_process()


def finish(widget, qtbot):
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)


def run(widget, qtbot):
    widget.panel.run_button.click()
    finish(widget, qtbot)


def at(labels, places):
    return [int(labels[place]) for place in places]


def everywhere(viewer, layer):
    """Return what takes the mouse wherever it is in the view, in the pixels of a layer."""
    real = getattr(viewer, "__wrapped__", viewer)
    return SimpleNamespace(ndim=layer.ndim, data_to_world=layer.data_to_world, __wrapped__=real)


@pytest.mark.parametrize("cls", METHODS.values(), ids=list(METHODS))
def test_every_method_with_an_output_asks_what_is_looked_for_once(cls, qtbot):
    form = SettingsForm(cls)
    qtbot.addWidget(form)
    assert form.goal.isHidden() != form.has_goal
    assert form.has_goal == hasattr(cls(), "output")
    assert "output" not in form._rows_of
    for output in GOALS if form.has_goal else ():
        form.goal.buttons[output].click()
        assert form.method().output == output


def test_each_goal_takes_the_settings_that_suit_it():
    objects = settings_for(MMT(), "objects")
    assert objects == MMT.preset("nuclei")
    assert settings_for(objects, "areas") == MMT.preset("areas", output="areas")
    assert settings_for(objects, "classes") == MMT()
    assert settings_for(KMeans(), "objects").output == "objects"


def test_another_goal_keeps_what_the_user_has_changed():
    mine = settings_for(MMT(seed=5, n_iterations=33), "objects")
    assert (mine.seed, mine.n_iterations, mine.n_labels) == (5, 33, 2)
    assert settings_for(mine, "classes") == MMT(seed=5, n_iterations=33)
    assert settings_for(MMT.preset("paper"), "objects").n_iterations == 1000


def test_mmt_begins_with_objects_and_other_methods_as_in_python(viewer, qtbot):
    widget = MMTWidget(viewer)
    qtbot.addWidget(widget)
    assert widget.form.method() == MMT.preset("nuclei")
    assert widget.methods.preset.currentText() == "nuclei"
    widget.methods.goal.buttons["areas"].click()
    assert widget.methods.preset.currentText() == "areas"
    widget.methods.method_choice.setCurrentText("k-means")
    assert widget.form.method().output == "areas", "the answer outlives the method"
    widget.panel.close_process()
    other = KMeansWidget(viewer)
    qtbot.addWidget(other)
    assert other.form.method() == KMeans()
    other.panel.close_process()


def test_from_an_open_image_to_a_table_of_sizes_in_two_clicks(viewer, qtbot, spots):
    viewer.add_image(spots, name="spots", scale=(0.5, 0.5), units=("um", "um"))
    widget = MMTWidget(viewer)
    viewer.window.add_dock_widget(widget)
    clicks = []

    def press(button):
        assert isinstance(button, QPushButton)
        assert not button.isHidden()
        clicks.append(button.text())
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    press(widget.panel.run_button)
    finish(widget, qtbot)
    press(widget.results.measure_button)
    measure = viewer.window.dock_widgets["Measure (MMT Segmentation)"]
    qtbot.waitUntil(lambda: not measure.running, timeout=SECONDS)
    layer = viewer.layers["spots · MMT objects"]
    assert measure.picker.layer == layer
    assert measure.measured.n_rows == layer.data.max()
    assert measure.measured.units["diameter"] == "µm"
    assert clicks == ["Run", "Measure objects"]
    widget.panel.close_process()


def test_objects_are_counted_named_and_on_a_clear_ground(viewer, widget, qtbot, spots):
    viewer.add_image(spots, name="spots", scale=(0.5, 0.5), units=("um", "um"))
    run(widget, qtbot)
    layer = viewer.layers["spots · k-means objects"]
    assert_array_equal(layer.data, widget.model.predict(spots))
    count = layer.data.max()
    assert f"{count} objects, median diameter" in widget.panel.status.text()
    assert "µm)" in widget.panel.status.text()
    assert layer.colormap.map(np.array([0]))[0, 3] == 0, "the ground is transparent"
    assert widget.results.labels._merging.isHidden(), "the number of labels changes nothing"
    assert not widget.results.objects.isHidden()
    assert "µm, measured" in widget.results.objects._says.text()


def test_a_new_run_hides_the_last_result_of_its_kind(viewer, widget, qtbot, spots):
    viewer.add_image(spots, name="spots")
    run(widget, qtbot)
    widget.methods.goal.buttons["classes"].click()
    run(widget, qtbot)
    assert [one.visible for one in viewer.layers] == [True, True, True]
    run(widget, qtbot)
    assert [one.visible for one in viewer.layers] == [True, True, False, True]


def test_a_click_says_which_label_is_the_object(viewer, widget, qtbot, spots, monkeypatch):
    image = viewer.add_image(spots, name="spots")
    run(widget, qtbot)
    layer = viewer.layers[-1]
    found = DARK if layer.data[BRIGHT[0]] else BRIGHT
    other = BRIGHT if found is DARK else DARK
    button = widget.results.objects.point_button

    def told(places):
        button.click()
        assert "Click on" in button.text()
        drag(viewer, everywhere(viewer, image), [places[0], (70, 5)])
        assert not widget.running, "a drag moves the view"
        click(viewer, everywhere(viewer, image), places[0])
        assert not button.isChecked()
        finish(widget, qtbot)

    for places in (found, other):
        told(places)
        assert viewer.layers[-1] is not image
        data = viewer.layers[-1].data
        assert sorted(at(data, places)) == list(range(1, len(places) + 1))
        assert_array_equal(data, widget.model.predict(spots))
    assert len(viewer.layers) == 2, "the layer shows other objects"
    assert layer.metadata[METADATA_KEY]["object_at"] == other[0]

    widget.copy_as_python()
    script = QGuiApplication.clipboard().text()
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    names: dict = {}
    exec(compile(script, "script", "exec"), names)
    assert_array_equal(names["labels"], layer.data)


def test_another_diameter_parts_anew_and_spares_what_was_painted(viewer, widget, qtbot, spots):
    viewer.add_image(spots, name="spots")
    run(widget, qtbot)
    layer, panel = viewer.layers[-1], widget.results.objects
    clusters = widget.results.result.whole.clusters
    panel.diameter.lineEdit().setText("40")
    qtbot.keyClick(panel.diameter, Qt.Key.Key_Return)
    assert widget.running
    finish(widget, qtbot)
    assert widget.model.diameter_px == 40
    assert widget.results.result.whole.clusters is clusters, "nothing is labelled anew"
    assert_array_equal(layer.data, widget.model.predict(spots))
    assert layer.metadata[METADATA_KEY]["settings"]["diameter_px"] == 40
    assert "chosen" in panel._says.text()
    widget.copy_as_python()
    assert "diameter_px=40.0" in QGuiApplication.clipboard().text()

    layer.paint((2, 2), 9)
    panel.diameter.setValue(0)
    panel.part_button.click()
    finish(widget, qtbot)
    assert layer.data[2, 2] == 9
    assert not layer.visible
    assert viewer.layers[-1] != layer
    assert "measured" in panel._says.text()


def test_a_diameter_above_the_image_is_refused_with_the_cure(
    viewer, widget, qtbot, spots, monkeypatch
):
    errors = []
    monkeypatch.setattr(notification_manager, "dispatch", errors.append)
    viewer.add_image(spots, name="spots")
    run(widget, qtbot)
    before = viewer.layers[-1].data
    widget.part_again(500)
    finish(widget, qtbot)
    assert "500 px, the image 80 x 96. Give that of one object" in widget.panel.status.text()
    assert viewer.layers[-1].data is before
    widget.form.show_method(KMeans(output="objects", diameter_px=500))
    assert "500 px" in widget.panel.run_button.toolTip()
    assert not widget.panel.run_button.isEnabled()


def test_an_image_without_objects_says_what_to_do(viewer, widget, qtbot, monkeypatch):
    monkeypatch.setattr(notification_manager, "dispatch", lambda _: None)
    viewer.add_image(np.full((40, 40), 7, np.uint8), name="flat", contrast_limits=(0, 9))
    run(widget, qtbot)
    assert "no object was found. Press 'Wrong thing?'" in widget.panel.status.text()
    widget.take_for_object((3, 3))
    finish(widget, qtbot)
    assert "one label alone" in widget.panel.status.text()


def test_voxels_of_unknown_size_are_said_to_be_taken_for_cubes(
    viewer, widget, qtbot, spots, monkeypatch
):
    monkeypatch.setattr(notification_manager, "dispatch", lambda _: None)
    viewer.add_image(np.stack([spots] * 4), name="stack", axis_labels=("z", "y", "x"))
    run(widget, qtbot)
    assert "taken for cubes" in widget.panel.status.text()


def test_classes_are_looked_for_in_a_lazy_image_unless_objects_are_asked_for(viewer, qtbot, spots):
    widget = MMTWidget(viewer)
    qtbot.addWidget(widget)
    viewer.add_image(dask.array.from_array(spots, chunks=40), name="lazy", contrast_limits=(0, 255))
    goal = widget.methods.goal
    assert goal.value == widget.form.method().output == "classes"
    assert "lazy is lazy" in goal._says.text()
    assert widget.panel.run_button.isEnabled()
    goal.buttons["objects"].click()
    assert widget.form.method().output == "objects"
    assert widget.panel.run_button.isEnabled()
    widget.panel.close_process()


def test_objects_are_back_when_the_lazy_image_is_gone(viewer, qtbot, spots):
    widget = MMTWidget(viewer)
    qtbot.addWidget(widget)
    lazy = dask.array.from_array(spots, chunks=40)
    viewer.add_image(lazy, name="lazy", contrast_limits=(0, 255))
    viewer.layers.clear()
    viewer.add_image(spots, name="spots")
    assert widget.form.method() == MMT.preset("nuclei")
    widget.panel.close_process()


def test_measure_and_group_take_the_objects_without_asking(viewer, widget, qtbot, spots):
    viewer.add_image(spots, name="spots")
    measure, group = MeasureWidget(viewer), GroupWidget(viewer)
    for one in (measure, group):
        qtbot.addWidget(one)
    run(widget, qtbot)
    objects = viewer.layers[-1]
    widget.methods.goal.buttons["classes"].click()
    run(widget, qtbot)
    assert [kind_of(one) for one in viewer.layers[1:]] == ["objects", "classes"]
    assert measure.picker.layer == objects
    assert group.objects.layer == objects
    assert not group.problem()
    viewer.add_labels(spots.astype(int), name="mine")
    assert measure.picker.layer == viewer.layers["mine"]
    assert group.objects.layer == objects
    group.panel.close_process()


def test_a_click_in_3d_or_outside_of_the_image_is_none(viewer, widget, qtbot, spots):
    image = viewer.add_image(np.stack([spots] * 3), name="stack", scale=(2, 1, 1), units="um")
    run(widget, qtbot)
    assert "2 times as deep as wide" in widget.panel.status.text()
    button = widget.results.objects.point_button
    button.click()
    viewer.dims.ndisplay = 3
    click(viewer, everywhere(viewer, image), (1, 18, 20))
    assert "turn to 2D" in widget.panel.status.text()
    viewer.dims.ndisplay = 2
    click(viewer, everywhere(viewer, image), (1, 200, 20))
    assert "outside of the image" in widget.panel.status.text()
    assert button.isChecked()
    assert not widget.running
    click(viewer, everywhere(viewer, image), (1, *DARK[0]))
    finish(widget, qtbot)
    assert viewer.layers[-1].data[1][DARK[0]] > 0
