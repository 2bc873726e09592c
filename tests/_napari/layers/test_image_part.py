"""A part is tried first, and all of the image goes on with its model."""

import dask.array
import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_mmtseg import MMT
from napari_mmtseg._napari.layers.image_part import EVERYTHING, IN_VIEW, PLANE, mask_of, part_of
from napari_mmtseg.methods import Felzenszwalb, Kim
from napari_mmtseg.methods.run_cost import estimate

QUICK = {"width": 8, "n_iterations": 6, "n_crops": 4}


@pytest.fixture
def stack(gray):
    return np.stack([gray, gray[::-1], gray[:, ::-1]])


def test_one_plane_is_tried_and_all_go_on_with_its_model(viewer, widget, finish, stack):
    layer = viewer.add_image(
        stack, name="stack", axis_labels=("z", "y", "x"), scale=(2, 1, 1), translate=(5, 0, 3)
    )
    viewer.dims.set_current_step(0, 1)
    widget.form.show_method(MMT(**QUICK))
    widget.picker.part.setCurrentText(PLANE)
    assert not widget.panel.all_button.isVisibleTo(widget)
    widget.panel.run_button.click()
    finish(widget)
    part, model = widget.results.result.layer, widget.model
    assert part.data.shape == (1, 24, 32)
    np.testing.assert_allclose(part.data_to_world((0, 0, 0)), layer.data_to_world((1, 0, 0)))
    np.testing.assert_array_equal(part.data, model.predict(stack[1:2], axes="ZYX"))
    assert part.metadata["napari-mmtseg"]["part"] == [[1, 2], [0, 24], [0, 32]]
    assert widget.panel.all_button.isVisibleTo(widget)
    widget.panel.all_button.click()
    finish(widget)
    assert widget.picker.part.currentText() == EVERYTHING
    np.testing.assert_array_equal(
        widget.results.result.layer.data, model.predict(stack, axes="ZYX")
    )
    assert not widget.panel.all_button.isVisibleTo(widget)


def test_strokes_of_other_axes_are_refused_for_a_part_too(viewer, widget, stack):
    viewer.add_image(stack, name="stack", axis_labels=("z", "y", "x"))
    flat = viewer.add_labels(np.ones((24, 32), np.int32), name="flat")
    widget.picker.part.setCurrentText(PLANE)
    widget.scribbles.choose(flat)
    with notification_manager:
        widget.panel.run_button.click()
    assert not widget.running
    assert "flat has 2 axes and the labels of stack have 3" in widget.panel.status.text()


def test_what_is_in_view_is_a_rectangle_of_the_plane(make_napari_viewer, qtbot, gray):
    viewer = make_napari_viewer(show=True)
    image = np.tile(gray, (8, 8))
    layer = viewer.add_image(np.stack([image] * 3), name="stack")
    viewer.dims.set_current_step(0, 2)
    viewer.scene.camera.zoom *= 4
    viewer.scene.camera.center = (2, 60, 100)
    qtbot.waitUntil(lambda: tuple(layer.corner_pixels[1, 1:]) != (191, 255), timeout=20_000)
    z, y, x = part_of(layer, "ZYX", IN_VIEW, viewer)
    assert (z.start, z.stop) == (2, 3)
    assert 0 <= y.start <= 60 <= y.stop <= 192
    assert 0 <= x.start <= 100 <= x.stop <= 256
    assert (y.stop - y.start) * (x.stop - x.start) < image.size / 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_only_where_takes_shapes_in_each_plane_of_a_stack(viewer, widget, finish, stack, ndim):
    layer = viewer.add_image(
        stack, name="stack", axis_labels=("z", "y", "x"), scale=(2, 0.5, 0.5), translate=(1, 7, 0)
    )
    corners = np.array([[4, 2], [4, 20], [16, 20], [16, 2]]) * 0.5 + (7, 0)
    if ndim == 3:
        corners = np.insert(corners, 0, 3.0, axis=1)
    shapes = viewer.add_shapes([corners], shape_type="rectangle", name="box", ndim=ndim)
    mask = mask_of(shapes, layer, "ZYX")
    assert mask.shape == stack.shape
    assert mask[:, 5:16, 3:20].all()
    assert not mask[:, :4].any()
    widget.mask.choose(shapes)
    widget.form.show_method(MMT(**QUICK))
    widget.panel.run_button.click()
    finish(widget)
    labels = widget.results.result.layer.data
    np.testing.assert_array_equal(labels != 0, mask)


def test_shapes_beside_the_image_say_so(viewer, widget, gray, monkeypatch):
    viewer.add_image(gray, name="image")
    shapes = viewer.add_shapes([[[90, 90], [99, 99]]], shape_type="line", name="line")
    widget.mask.choose(shapes)
    widget.form.show_method(MMT(**QUICK))
    monkeypatch.setattr(notification_manager, "dispatch", lambda _: None)
    widget.panel.run_button.click()
    assert "encloses no pixel" in widget.panel.status.text()


def test_long_runs_say_how_long_and_how_much_before(viewer, widget):
    viewer.add_image(np.zeros((512, 512, 3), np.uint8), rgb=True)
    assert widget.panel.status.text() == "Ready."
    widget.methods.preset.setCurrentText("paper")
    widget.methods.preset.activated.emit(widget.methods.preset.currentIndex())
    said = widget.panel.status.text()
    assert "About" in said
    assert "GB" in said
    assert "Run on" in said


def test_estimates_are_of_the_right_size():
    # docs/benchmarks.md: 3.4 s an iteration on two cores.
    paper = estimate(MMT.preset("paper"), (512, 512), 3)
    assert 600 < paper.training < 7200
    assert estimate(MMT(), (512, 512), 3).seconds < 5
    assert estimate(MMT.preset("nuclei"), (64, 512, 512), 1).seconds > 15
    assert estimate(Felzenszwalb(), (512, 512), 3).seconds < 5
    assert estimate(Kim.preset("paper"), (512, 512), 3).training < paper.training


def test_an_estimate_of_a_lazy_image_is_of_what_is_in_view(viewer, widget):
    large = dask.array.zeros((32768, 32768), np.uint8, chunks=4096)
    viewer.add_image(large, name="large", contrast_limits=(0, 255), visible=False)
    told = widget._estimate()
    assert told.labelling < 2
    assert told.memory < 1.5e9
    widget.methods.goal.buttons["areas"].click()  # of which all are found first
    assert widget._estimate().labelling > 20
    assert widget._estimate().memory < 1.5e9
