"""The copied script repeats the run that made the result, whatever the form says by now."""

import dask.array as da
import napari
import numpy as np
import pytest
from napari.layers import Image, Labels
from numpy.testing import assert_allclose, assert_array_equal
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication

from napari_mmtseg import MMT

pytestmark = pytest.mark.usefixtures("all_threads")


@pytest.fixture
def run(widget, finish):
    """Run a quick method on the ticked images."""

    def run(**changes):
        widget.form.show_method(MMT(**{"width": 8, "n_iterations": 6, "n_crops": 4} | changes))
        widget.panel.run_button.click()
        finish(widget)

    return run


@pytest.fixture
def repeat(viewer, widget, monkeypatch):
    """Execute the copied script, and compare its layers with the window's."""

    def repeat(*, uncertainty=False):
        wanted = [widget.results.result.layer]
        if uncertainty:
            wanted.append(viewer.layers[f"{wanted[0].name} uncertainty"])
        before = list(viewer.layers)
        widget.copy_as_python()
        script = QGuiApplication.clipboard().text()
        monkeypatch.setattr(napari, "current_viewer", lambda: viewer.__wrapped__)
        exec(compile(script, "script", "exec"), {})
        made = [one for one in viewer.layers if one not in before]
        assert len(made) == len(wanted)
        for one, other in zip(made, wanted, strict=True):
            assert isinstance(one, Image if "uncertainty" in one.name else Labels)
            assert one.name.split(" [")[0] == other.name.split(" [")[0]
            assert_array_equal(np.asarray(one.data), np.asarray(other.data))
            for name in ("scale", "translate", "rotate", "shear"):
                assert_allclose(getattr(one, name), getattr(other, name))
            assert_allclose(one.affine.affine_matrix, other.affine.affine_matrix)
            assert one.units == other.units
            assert one.axis_labels == other.axis_labels
            viewer.layers.remove(one)
        return script

    return repeat


def tick(widget, *names):
    for row in range(widget.picker.images.count()):
        item = widget.picker.images.item(row)
        on = item.text() in names
        item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)


def test_the_run_and_not_the_form_is_copied_with_the_place_of_the_image(
    viewer, widget, run, repeat, gray
):
    assert not widget.results.copy_button.isEnabled()
    viewer.add_image(
        gray,
        name="discs",
        scale=(0.5, 0.25),
        translate=(3, 4),
        rotate=10,
        shear=[0.1],
        affine=[[1, 0, 2], [0, 1, 5], [0, 0, 1]],
        units=("um", "um"),
        axis_labels=("y", "x"),
    )
    widget.uncertainty.setChecked(True)
    run(seed=3)
    widget.form.show_method(MMT(seed=99, continuity=7.0))
    widget.uncertainty.setChecked(False)
    script = repeat(uncertainty=True)
    assert "seed=3" in script
    viewer.layers["discs"].name = "renamed"
    assert "'renamed'" in repeat(uncertainty=True)


def test_the_number_of_the_slider_is_copied(viewer, widget, run, repeat, gray):
    viewer.add_image(gray, name="discs")
    run(continuity=0.0, min_labels=1, vote_border=0.0)
    most, first = widget.results.n_labels.maximum(), widget.results.n_labels.value()
    assert most > 2
    for count in (most, 2):
        widget.results.n_labels.setValue(count)
        assert (f"n_labels={count}" in repeat()) == (count != first)


def test_merged_split_and_named_labels_are_copied(viewer, widget, run, repeat, finish, gray):
    viewer.add_image(gray, name="discs")
    run(continuity=0.0, min_labels=1, vote_border=0.0)
    panel = widget.results.labels
    panel.n_labels.setValue(4)
    panel.table.select([2, 3])
    panel.join()
    panel.rename(1, "it's ground")
    panel.table.select([4])
    panel.part()
    script = repeat()
    assert "model.with_labels(" in script
    assert 'names={1: "it\'s ground"}' in script

    widget.apply_model()  # which labels another image so, and its script does
    assert widget.model.names == {1: "it's ground"}
    finish(widget)
    assert widget.results.result.layer.features["name"][0] == "it's ground"
    assert repeat().count("with_labels") == 1


def test_colours_and_grey_together_are_copied(viewer, widget, run, repeat, gray, rgb):
    viewer.add_image(rgb, name="colours", rgb=True)
    viewer.add_image(gray, name="grey")
    tick(widget, "colours", "grey")
    run()
    repeat()


@pytest.mark.parametrize("together", [False, True])
def test_layers_of_several_levels_are_copied(viewer, widget, run, repeat, gray, together):
    viewer.add_image([gray, gray[::2, ::2]], name="levels", multiscale=True)
    if together:
        viewer.add_image(gray, name="grey")
        tick(widget, "levels", "grey")
    run()
    repeat()


def test_guides_in_any_channel_and_a_stop_are_copied(viewer, widget, qtbot, finish, repeat, gray):
    image = np.stack([np.stack([gray, gray[::-1]])] * 3)
    viewer.add_image(image, name="stack", axis_labels=("z", "c", "y", "x"), scale=(3, 1, 1, 1))
    strokes = np.zeros(image.shape, np.int32)
    strokes[0, 1, 9, 4:14] = 4
    strokes[0, 1, 1, 2:30] = 2
    mask = np.ones((3, 1, 24, 32), np.uint8)
    mask[..., :3] = 0
    viewer.add_labels(strokes, name="strokes", scale=(3, 1, 1, 1))
    viewer.add_labels(mask, name="mask", scale=(3, 1, 1, 1))
    widget.scribbles.choose(viewer.layers["strokes"])
    widget.mask.choose(viewer.layers["mask"])
    long = MMT(width=8, n_iterations=100_000, n_crops=4, min_labels=1, strokes="bind")
    widget.form.show_method(long)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "Iteration" in widget.panel.status.text(), timeout=60_000)
    widget.panel.stop_button.click()
    finish(widget)
    assert "step.done >=" in repeat()


def test_a_model_is_taken_from_its_run_or_from_its_file(
    viewer, widget, finish, run, repeat, gray, tmp_path
):
    viewer.add_image(gray, name="first")
    run(seed=1)
    path = tmp_path / "it's.safetensors"
    widget.results.save_model(path)
    viewer.add_image(gray[:, ::-1].copy(), name="second")
    tick(widget, "second")
    widget.results.apply_button.click()
    finish(widget)
    script = repeat()
    assert "train(" in script
    assert "'first'" in script
    widget.results.load_model(path)
    widget.results.apply_button.click()
    finish(widget)
    assert "load(" in repeat()
    strokes = np.zeros(gray.shape, np.int32)
    strokes[9, 20:24] = 4
    strokes[1, 2:30] = 2
    viewer.add_labels(strokes, name="strokes")
    widget.results.strokes.choose(viewer.layers["strokes"])
    widget.results.name_button.click()
    finish(widget)
    assert "with_classes" in repeat()


def test_a_method_without_a_model_is_copied(viewer, widget, finish, repeat, gray):
    viewer.add_image(gray, name="discs")
    row = widget.methods.method_choice.findData("Felzenszwalb")
    widget.methods.method_choice.setCurrentIndex(row)
    widget.panel.run_button.click()
    finish(widget)
    assert "Felzenszwalb()" in repeat()


def test_a_lazy_layer_is_copied(viewer, widget, finish, repeat, gray):
    stack = da.from_array(np.stack([gray, gray[::-1]]), chunks=(1, 24, 32))
    viewer.add_image(stack, name="lazy", axis_labels=("z", "y", "x"), contrast_limits=(0, 255))
    widget.methods.method_choice.setCurrentIndex(widget.methods.method_choice.findData("KMeans"))
    widget.panel.run_button.click()
    finish(widget)
    layer = widget.results.result.layer
    labels = np.asarray(layer.data.__reduce__()[0](*layer.data.__reduce__()[1]))
    assert labels.any()
    layer.data = labels  # all planes of it
    repeat()


def test_a_part_with_shapes_and_its_model_on_all_are_copied(
    viewer, widget, finish, run, repeat, gray
):
    image = np.stack([np.stack([gray, gray[::-1]])] * 3)
    viewer.add_image(image, name="stack", axis_labels=("z", "c", "y", "x"), scale=(3, 1, 2, 1))
    viewer.dims.set_current_step(0, 2)
    shapes = viewer.add_shapes([[[4, 2], [4, 28], [40, 28]]], shape_type="polygon", name="tri")
    widget.mask.choose(shapes)
    widget.picker.part.setCurrentText("This plane")
    run()
    assert widget.results.result.layer.data.shape == (1, 1, 24, 32)
    assert "[2:3, 0:2, 0:24, 0:32]" in repeat()
    widget.panel.all_button.click()
    finish(widget)
    assert widget.results.result.layer.data.shape == (3, 1, 24, 32)
    assert "model.predict" in repeat()
