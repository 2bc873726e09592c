"""What a new user stumbled over: each of these was wrong once."""

from itertools import pairwise

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QShortcut, QWheelEvent
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_mmtseg import MMT
from napari_mmtseg._napari.widgets.segment import MMTWidget

QUICK = {"width": 8, "n_iterations": 6, "n_crops": 4}


@pytest.fixture
def run(widget, finish):
    def run(**changes):
        widget.form.show_method(MMT(**QUICK | changes))
        widget.panel.run_button.click()
        finish(widget)

    return run


def turn_wheel(field):
    middle = QPointF(field.rect().center())
    event = QWheelEvent(
        middle,
        QPointF(field.mapToGlobal(field.rect().center())),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(field, event)


def test_the_wheel_scrolls_the_form_and_changes_no_setting(viewer, widget, gray):
    viewer.add_image(np.stack([gray] * 3), name="stack")
    before = widget.form.method(), widget.methods.method_choice.currentText()
    fields = [widget.methods.method_choice, widget.methods.preset, widget.picker.axes]
    fields += [widget.form._fields[name].native for name in ("n_iterations", "seed", "width")]
    axes = widget.picker.chosen_axes()
    for field in fields:
        turn_wheel(field)
    assert (widget.form.method(), widget.methods.method_choice.currentText()) == before
    assert widget.picker.chosen_axes() == axes


def test_another_method_and_back_keeps_the_settings(viewer, widget, gray):
    viewer.add_image(gray)
    choice = widget.methods.method_choice
    widget.form.show_method(MMT(seed=17, continuity=3.0))
    choice.setCurrentIndex(choice.findData("KMeans"))
    widget.form._fields["seed"].value = 5
    choice.setCurrentIndex(choice.findData("MMT"))
    assert widget.form.method() == MMT(seed=17, continuity=3.0)
    choice.setCurrentIndex(choice.findData("KMeans"))
    assert widget.form.method().seed == 5


def test_another_method_in_mid_run_keeps_the_settings_and_the_run(
    viewer, widget, qtbot, finish, gray
):
    viewer.add_image(gray)
    choice = widget.methods.method_choice
    long = MMT(**QUICK | {"n_iterations": 100_000, "min_labels": 1, "seed": 17})
    widget.form.show_method(long)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "Iteration" in widget.panel.status.text(), timeout=60_000)
    choice.setCurrentIndex(choice.findData("KMeans"))
    choice.setCurrentIndex(choice.findData("MMT"))
    assert widget.form.method() == long
    choice.setCurrentIndex(choice.findData("KMeans"))
    assert widget.running
    widget.panel.stop_button.click()
    finish(widget)
    record = viewer.layers[-1].metadata["napari-mmtseg"]
    assert (record["settings"]["method"], record["settings"]["seed"]) == ("MMT", 17)


def test_results_appear_in_3d_where_the_mouse_has_not_moved_since_2d(viewer, widget, run, gray):
    viewer.add_image(np.stack([gray] * 3), name="stack", axis_labels=("z", "y", "x"))
    viewer.__wrapped__.mouse_over_canvas = True
    viewer.dims.ndisplay = 3
    run(continuity=0.0, min_labels=1, vote_border=0.0)
    layer = widget.results.result.layer
    assert layer in viewer.layers
    assert len(layer.features)
    widget.results.n_labels.setValue(2)
    assert layer.data.max() == 2
    run(seed=1)
    assert widget.results.result.layer != layer


@pytest.mark.parametrize(
    "change", [{"scale": (2, 2)}, {"translate": (5, 0)}, {"units": ("um",) * 2}]
)
def test_images_that_lie_elsewhere_are_no_channels_of_one(viewer, widget, gray, change):
    viewer.add_image(gray, name="one")
    viewer.add_image(gray, name="two", **change)
    for row in range(2):
        widget.picker.images.item(row).setCheckState(Qt.CheckState.Checked)
    assert "lie elsewhere" in widget.problem()
    assert not widget.panel.run_button.isEnabled()


def test_the_image_that_is_opened_or_selected_is_the_one_that_runs(viewer, widget, gray, rgb):
    first = viewer.add_image(gray, name="first")
    second = viewer.add_image(gray, name="second")
    assert widget.picker.chosen() == [second]
    viewer.layers.selection.active = first
    assert widget.picker.chosen() == [first]
    for row in range(2):
        widget.picker.images.item(row).setCheckState(Qt.CheckState.Checked)
    viewer.layers.selection.active = second
    third = viewer.add_image(gray, name="third")
    assert widget.picker.chosen() == [second, first], "channels that were ticked stay"
    for row in (1, 2):
        widget.picker.images.item(row).setCheckState(Qt.CheckState.Unchecked)
    assert third in viewer.layers
    fourth = viewer.add_image(rgb, name="fourth", rgb=True)
    assert widget.picker.chosen() == [fourth]


def test_axes_that_nobody_has_named_are_said(viewer, widget, gray):
    viewer.add_image(np.stack([gray] * 3), name="three")
    status = widget.panel.status
    assert widget.picker.axes.isVisibleTo(widget)
    assert "depth (3)" in status.text()
    assert "choose under Axes" in status.text()
    widget.picker.axes.setCurrentText("CYX")
    widget.picker.axes.activated.emit(widget.picker.axes.currentIndex())
    assert status.text() == "Ready."
    viewer.layers.clear()
    viewer.add_image(np.stack([gray] * 3), name="named", axis_labels=("z", "y", "x"))
    assert status.text() == "Ready."


def test_an_image_of_six_axes_says_what_to_do(viewer, widget, gray):
    viewer.add_image(np.zeros((1, 1, 2, 2, 24, 32), np.uint8), name="six")
    assert "six has 6 axes" in widget.problem()
    assert "layer.data[0]" in widget.problem()


def test_a_model_is_saved_under_a_name_that_can_be_found_again(
    viewer, widget, run, gray, tmp_path, monkeypatch
):
    viewer.add_image(gray)
    run()
    path = str(tmp_path / "mine")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (path, ""))
    widget.results.save_button.click()
    assert [one.name for one in tmp_path.iterdir()] == ["mine.safetensors"]


def test_deleting_the_image_in_mid_run_leaves_done_to_be_read(viewer, widget, qtbot, finish, gray):
    viewer.add_image(gray, name="image")
    viewer.add_labels(np.zeros(gray.shape, int), name="mine")
    widget.form.show_method(MMT(**QUICK | {"n_iterations": 100_000, "min_labels": 1}))
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "Iteration" in widget.panel.status.text(), timeout=60_000)
    viewer.layers.remove("image")
    widget.panel.stop_button.click()
    finish(widget)
    assert "Done in" in widget.panel.status.text()
    assert isinstance(viewer.layers[-1], Labels)


def test_the_keyboard_reaches_everything_in_reading_order(viewer, qtbot, warm, gray):
    widget = MMTWidget(viewer)
    qtbot.addWidget(widget)
    viewer.add_image(np.stack([gray] * 3), name="stack")
    choice = widget.methods.method_choice
    choice.setCurrentIndex(choice.findData("Kim"))  # whose fields are made after all others
    widget.resize(400, 700)
    widget.show()
    qtbot.waitExposed(widget)
    seen, field = [], widget
    for _ in range(200):
        field = field.nextInFocusChain()
        if field is widget:
            break
        reached = bool(field.focusPolicy() & Qt.FocusPolicy.TabFocus) and field.isEnabled()
        if reached and widget.isAncestorOf(field) and field.isVisibleTo(widget):
            seen.append(field)
    rows = [one.mapTo(widget, one.rect().center()).y() // 12 for one in seen]
    assert all(b >= a - 1 for a, b in pairwise(rows)), [one.toolTip() for one in seen]
    assert widget.panel.run_button in seen
    warm(widget)


def test_presets_say_what_they_are_for_and_the_dock_what_runs(viewer, widget, qtbot, gray):
    viewer.add_image(gray)
    said = set()
    for name in ("default", "nuclei", "areas", "paper"):
        widget.methods.preset.setCurrentText(name)
        widget.methods.preset.activated.emit(widget.methods.preset.currentIndex())
        said.add(widget.methods.says.text())
    assert len(said) == 4
    assert all(said)
    choice = widget.methods.method_choice
    choice.setCurrentIndex(choice.findData("Kim"))
    dock = widget.parent()
    while not hasattr(dock, "titleBarWidget"):
        dock = dock.parent()
    assert dock.windowTitle() == dock.title.title.text() == "Kim 2020"


def test_a_shortcut_runs_while_the_widget_has_the_focus(viewer, widget, gray):
    viewer.add_image(gray)
    wanted = []
    widget.panel.run_wanted.disconnect()
    widget.panel.run_wanted.connect(lambda: wanted.append(1))
    keys = {one.key().toString(): one for one in widget.findChildren(QShortcut)}
    shortcut = keys["Ctrl+Return"]
    assert shortcut.context() == Qt.ShortcutContext.WidgetWithChildrenShortcut
    assert "Ctrl+Return" in widget.panel.run_button.toolTip()
    shortcut.activated.emit()
    assert wanted == [1]


def test_a_long_message_keeps_all_of_its_lines(viewer, widget):
    viewer.window.resize(1280, 600)
    widget.panel.say("Done: a sentence of many words about all that was found. " * 4)
    QApplication.processEvents()
    status = widget.panel.status
    assert status.minimumHeight() >= status.heightForWidth(status.width()) > 40
    high = status.minimumHeight()
    widget.panel.say("Done.")
    assert status.minimumHeight() < high / 2, "and takes no more than it needs"
