"""A lazy layer gives a lazy result: planes are labelled where one looks, and written to a store."""

import pickle
import time
from dataclasses import replace

import dask.array
import napari
import numpy as np
import pytest
import zarr
from napari.utils.notifications import notification_manager
from numpy.testing import assert_array_equal
from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication

from napari_mmtseg import MMT, KMeans, segment
from napari_mmtseg._napari.widgets.compare import CompareWidget
from napari_mmtseg._napari.widgets.segment import KMeansWidget, MMTWidget
from napari_mmtseg.images.levels import Levels
from napari_mmtseg.images.stores import open_image
from napari_mmtseg.output.ome_zarr import write_labels

SECONDS = 120_000
METHOD = KMeans(n_labels=2, smoothing_px=0.0)


@pytest.fixture
def stack():
    image = np.random.default_rng(0).integers(0, 60, (6, 40, 50), np.uint8)
    for plane in range(6):
        image[plane, 5 + plane : 25 + plane, 10:30] += 150
    return image


@pytest.fixture
def widget(viewer):
    widget = KMeansWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.form.show_method(METHOD)
    yield widget
    widget.panel.close_process()


def run(widget, qtbot):
    widget.panel.run_button.click()
    finish(widget, qtbot)


def finish(widget, qtbot):
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)


def lazy(stack):
    return dask.array.from_array(stack, chunks=(1, 25, 25))


def shown(viewer, qtbot, layer, plane, expected):
    """Wait until a layer shows a plane."""
    viewer.dims.set_current_step(0, plane)
    qtbot.waitUntil(lambda: np.array_equal(layer.data[plane], expected), timeout=SECONDS)


def test_planes_are_labelled_where_one_looks_bit_for_bit(viewer, widget, qtbot, stack):
    viewer.add_image(lazy(stack), name="lazy", contrast_limits=(0, 255))
    viewer.dims.set_current_step(0, 3)
    run(widget, qtbot)
    layer = viewer.layers["lazy · k-means classes"]
    expected = widget.model.predict(stack, axes="ZYX")
    assert_array_equal(expected, segment(stack, METHOD, axes="ZYX"))
    assert layer.data.shape == stack.shape
    assert not layer.editable
    assert set(layer.features["index"]) == {1, 2}
    assert layer.features["share in sample"].sum() == pytest.approx(1)
    assert_array_equal(layer.data[3], expected[3])  # at once
    layer.selected_label = 2  # for which napari asks for the type of the labels
    qtbot.wait(500)  # what was wrongly asked for would be here
    assert not np.asarray(layer.data)[0].any()  # nobody has looked there
    for plane in (0, 5, 1):
        shown(viewer, qtbot, layer, plane, expected[plane])
    viewer.dims.ndisplay = 3  # asks for nothing, and can still not be painted on
    assert not layer.editable


@pytest.mark.parametrize("kind", ["lazy", "whole"])
def test_a_multiscale_layer_gets_the_labels_of_its_levels(viewer, widget, qtbot, kind, monkeypatch):
    fine = np.random.default_rng(0).integers(0, 90, (4200, 4000), np.uint8)
    fine[1000:2500, 500:3000] += 120  # too large to be read whole
    coarse = fine.reshape(2100, 2, 2000, 2).mean((1, 3)).astype(np.uint8)
    levels = [fine, coarse]
    if kind == "lazy":
        levels = [dask.array.from_array(one, chunks=1000) for one in levels]
    viewer.add_image(levels, name="levels", multiscale=True, contrast_limits=(0, 255))
    run(widget, qtbot)
    shown = np.asarray(viewer.layers["levels · k-means classes"].data)
    assert_array_equal(shown, np.asarray(segment(Levels(levels), METHOD)))
    widget.copy_as_python()
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    names: dict = {}
    exec(compile(QGuiApplication.clipboard().text(), "script", "exec"), names)
    assert_array_equal(np.asarray(names["labels"]), shown)


def test_masked_volumes_with_channels_are_shown_plane_by_plane(viewer, widget, qtbot, stack):
    image = dask.array.from_array(np.stack([stack, 255 - stack], axis=1), chunks=(1, 1, 25, 25))
    mask = np.ones(stack.shape, np.uint8)
    mask[:, :, 40:] = 0
    viewer.add_image(image, name="lazy", contrast_limits=(0, 255), axis_labels="zcyx", units="um")
    viewer.add_labels(dask.array.from_array(mask), name="mask")
    widget.mask.setCurrentText("mask")
    run(widget, qtbot)
    layer = viewer.layers["lazy · k-means classes"]
    assert len(widget.model.spacing) == 3
    assert layer.data.shape == (6, 1, 40, 50)
    expected = widget.model.predict(np.asarray(image), axes="ZCYX") * mask
    for plane in (4, 0):
        viewer.dims.set_current_step(0, plane)
        qtbot.waitUntil(lambda plane=plane: layer.data[plane, 0].any(), timeout=SECONDS)
        assert_array_equal(layer.data[plane, 0], expected[plane])


def test_fewer_labels_recolour_a_lazy_result_at_once(viewer, widget, qtbot, stack):
    viewer.add_image(lazy(stack), name="lazy", contrast_limits=(0, 255))
    widget.form.show_method(KMeans(n_labels=4, smoothing_px=0.0))
    run(widget, qtbot)
    layer = viewer.layers["lazy · k-means classes"]
    widget.results.n_labels.setValue(2)
    expected = widget.model.predict(stack, axes="ZYX", n_labels=2)
    plane = viewer.dims.current_step[0]
    assert_array_equal(layer.data[plane], expected[plane])
    assert set(layer.features["index"]) == {1, 2}
    shown(viewer, qtbot, layer, 5, expected[5])


def test_a_new_process_goes_on_where_another_was_ended(viewer, widget, qtbot, stack, monkeypatch):
    monkeypatch.setattr(notification_manager, "dispatch", lambda _: None)
    viewer.add_image(lazy(stack), name="lazy", contrast_limits=(0, 255))
    run(widget, qtbot)
    layer, process = viewer.layers["lazy · k-means classes"], widget.panel.process
    expected = widget.model.predict(stack, axes="ZYX")
    shown(viewer, qtbot, layer, 0, expected[0])
    process.discard()
    shown(viewer, qtbot, layer, 5, expected[5])
    process._child.process.kill()
    qtbot.waitUntil(lambda: process._child is None, timeout=SECONDS)
    shown(viewer, qtbot, layer, 2, expected[2])


@pytest.mark.usefixtures("all_threads")
def test_the_uncertainty_of_a_lazy_layer_is_found_where_one_looks(viewer, qtbot, stack):
    widget = MMTWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.form.show_method(MMT(n_iterations=4, width=8))
    widget.uncertainty.setChecked(True)
    viewer.add_image(lazy(stack), name="lazy", contrast_limits=(0, 255))
    viewer.dims.set_current_step(0, 3)
    run(widget, qtbot)
    layer, doubt = (
        viewer.layers["lazy · MMT classes"],
        viewer.layers["lazy · MMT classes uncertainty"],
    )
    expected, doubts = widget.model.predict(stack, axes="ZYX", return_uncertainty=True)
    assert doubts.any()
    assert_array_equal(doubt.data[3], doubts[3])
    shown(viewer, qtbot, layer, 5, expected[5])  # as a draft perhaps, which has no uncertainty
    qtbot.waitUntil(lambda: np.array_equal(doubt.data[5], doubts[5]), timeout=SECONDS)
    viewer.layers.remove(layer)
    doubt.visible = True
    shown(viewer, qtbot, doubt, 0, doubts[0])
    widget.panel.close_process()


@pytest.mark.parametrize("end", ["the layer is deleted", "the window is closed"])
def test_a_lazy_result_outlives_the_widget_and_leaves_no_process(viewer, widget, qtbot, stack, end):
    viewer.add_image(lazy(stack), name="lazy", contrast_limits=(0, 255))
    run(widget, qtbot)
    layer, first = viewer.layers["lazy · k-means classes"], widget.panel.process._child.process
    model, results = widget.model, widget.lazy
    viewer.window.remove_dock_widget(widget)
    assert first.wait(10) is not None
    expected = model.predict(stack, axes="ZYX")
    for plane in (5, 0):
        shown(viewer, qtbot, layer, plane, expected[plane])
    second = results._process._child.process
    assert second.poll() is None
    if end == "the layer is deleted":
        viewer.layers.remove(layer)
    else:
        viewer.close()
    qtbot.waitUntil(lambda: second.poll() is not None, timeout=10_000)


def test_a_plane_that_cannot_be_read_says_why(viewer, widget, qtbot, stack, tmp_path, monkeypatch):
    errors = []
    store = zarr.create_array(
        tmp_path / "i.zarr", shape=stack.shape, chunks=(1, 40, 50), dtype="u1"
    )
    store[:] = stack
    viewer.add_image(open_image(tmp_path / "i.zarr").levels[0], name="i", contrast_limits=(0, 255))
    viewer.dims.set_current_step(0, 0)
    run(widget, qtbot)
    monkeypatch.setattr(notification_manager, "dispatch", errors.append)
    expected = widget.model.predict(stack, axes="ZYX")
    viewer.layers["i"].visible = False  # napari would read it
    (tmp_path / "i.zarr" / "c" / "4" / "0" / "0").write_bytes(b"damaged")
    viewer.dims.set_current_step(0, 4)
    qtbot.waitUntil(lambda: bool(errors), timeout=SECONDS)
    assert errors[0].message.startswith("The voxels [4:5, 0:40, 0:50] cannot be read")
    shown(viewer, qtbot, viewer.layers["i · k-means classes"], 5, expected[5])
    viewer.layers["i · k-means classes"].visible = False
    widget.panel.run_button.click()
    finish(widget, qtbot)
    assert widget.panel.status.text().startswith("The voxels [4:5, 0:40, 0:50] cannot be read")


def test_scrolling_does_not_hold_up_the_window(viewer, widget, qtbot):
    tile = np.random.default_rng(0).integers(0, 60, (1, 512, 512), np.uint8)
    tile[:, 100:300, 100:300] += 150
    viewer.add_image(
        dask.array.from_array(np.repeat(tile, 20, 0), chunks=(1, 512, 512)),
        contrast_limits=(0, 255),
    )
    run(widget, qtbot)
    layer = viewer.layers[-1]
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(5)
    for plane in range(20):
        viewer.dims.set_current_step(0, plane)
        qtbot.wait(30)
    qtbot.waitUntil(lambda: layer.data[19].any(), timeout=SECONDS)
    timer.stop()
    assert np.percentile(np.diff(ticks), 95) < 0.2  # on a busy machine


def test_a_lazy_result_can_be_a_mask_and_is_compared_only_once_saved(viewer, widget, qtbot, stack):
    viewer.add_image(lazy(stack), name="lazy", contrast_limits=(0, 255))
    run(widget, qtbot)
    expected = segment(stack, METHOD, axes="ZYX")
    widget.mask.setCurrentText("lazy · k-means classes")
    arrived = pickle.loads(pickle.dumps(widget.mask.take(), protocol=5))
    assert_array_equal(np.asarray(arrived.open()), expected)

    viewer.add_labels(expected, name="truth")
    comparing = CompareWidget(viewer)
    qtbot.addWidget(comparing)
    comparing.result.setCurrentText("lazy · k-means classes")
    comparing.truth.setCurrentText("truth")
    assert "save the result" in comparing.problem()


@pytest.mark.parametrize("output", ["areas", "objects"])
def test_areas_and_objects_of_a_lazy_layer_are_shown_and_written(
    viewer, widget, qtbot, stack, tmp_path, output
):
    viewer.add_image(
        lazy(stack), name="lazy", contrast_limits=(0, 255), scale=(1, 1, 1), units=("um",) * 3
    )
    viewer.dims.set_current_step(0, 3)
    widget.form.show_method(KMeans(output=output, n_labels=2, smoothing_px=0.0))
    run(widget, qtbot)
    layer = viewer.layers[-1]
    expected = widget.model.predict(stack, axes="ZYX", spacing=(1, 1, 1))
    assert expected.any()
    assert_array_equal(layer.data[3], expected[3])
    shown(viewer, qtbot, layer, 0, expected[0])
    assert not widget.results.n_labels.isVisibleTo(widget.results)
    arrived = pickle.loads(pickle.dumps(widget.results.result.lazy, protocol=5))
    assert_array_equal(np.asarray(arrived), expected)
    path = tmp_path / "labels.zarr"
    widget.save_result(str(path), overwrite=False)
    finish(widget, qtbot)
    assert_array_equal(open_image(path).levels[0][:], expected)


@pytest.mark.parametrize("kind", ["lazy", "whole"])
def test_a_result_is_written_stopped_resumed_and_shown(
    viewer, widget, qtbot, stack, tmp_path, kind, monkeypatch
):
    data = lazy(stack) if kind == "lazy" else stack
    viewer.add_image(
        data,
        name="stack",
        contrast_limits=(0, 255),
        scale=(3, 0.5, 0.25),
        translate=(1, 2, 3),
        units=("um", "um", "um"),
    )
    run(widget, qtbot)
    assert widget.results.store_button.isEnabled()
    expected = widget.model.predict(stack, axes="ZYX")
    path = tmp_path / "labels.zarr"
    widget.save_result(str(path), overwrite=False)
    widget.panel.stop()
    finish(widget, qtbot)
    assert path.exists() or (tmp_path / "labels.zarr.unfinished").exists()
    if not path.exists():
        assert "Save again" in widget.panel.status.text()
        widget.save_result(str(path), overwrite=False)
        finish(widget, qtbot)
    assert str(path) in widget.panel.status.text()
    stored = open_image(path)
    assert_array_equal(stored.levels[0][:], expected)
    assert stored.axes == "ZYX"
    assert stored.scale[0] == (3, 0.5, 0.25)
    assert stored.translate[0] == (1, 2, 3)
    assert set(stored.units) == {"micrometer"}
    layer = viewer.layers["labels"]
    assert_array_equal(layer.scale, (3, 0.5, 0.25))
    assert_array_equal(layer.translate, (1, 2, 3))

    monkeypatch.setattr(notification_manager, "dispatch", lambda _: None)
    widget.save_result(str(path), overwrite=False)
    finish(widget, qtbot)
    assert "exists" in widget.panel.status.text()


@pytest.mark.parametrize("voxels", ["planes", "volume"])
def test_the_last_live_view_is_the_final_answer(viewer, widget, qtbot, stack, voxels):
    units = "um" if voxels == "volume" else "pixel"
    many = np.concatenate([stack] * 50) if voxels == "volume" else stack
    viewer.add_image(many, name="stack", axis_labels="zyx", units=units)
    viewer.dims.set_current_step(0, 2)
    previews = []
    widget.panel.previewed.connect(previews.append)
    widget.form.show_method(KMeans(n_labels=3, sharpening_px=6))
    run(widget, qtbot)
    assert (len(widget.model.spacing) == 3) == (voxels == "volume")
    labels = viewer.layers["stack · k-means classes"].data
    assert previews[-1].plane == 2
    assert_array_equal(previews[-1].labels, labels[2])


def test_the_copied_script_knows_the_voxels(viewer, widget, qtbot, stack, monkeypatch):
    viewer.add_image(stack, name="stack", axis_labels="zyx", units=("nm", "um", "um"))
    layer = viewer.layers["stack"]
    layer.scale = (1000, 1, 1)
    run(widget, qtbot)
    expected = viewer.layers[-1].data
    widget.copy_as_python()
    script = QGuiApplication.clipboard().text()
    assert "spacing=(1.0, 1.0, 1.0)" in script
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    names: dict = {}
    exec(compile(script, "script", "exec"), names)
    assert_array_equal(names["labels"], expected)


@pytest.mark.parametrize("output", ["classes", "objects"])
def test_planes_too_large_to_look_at_whole_are_shown_tile_by_tile(viewer, widget, qtbot, output):
    part = np.random.default_rng(0).integers(40, 44, (1025, 1025), np.uint8)
    part.reshape(5, 205, 5, 205)[:, 60:130, :, 60:130] += 150
    image = dask.array.tile(dask.array.from_array(part, chunks=1025), (8, 8))
    viewer.add_image(image, name="big", contrast_limits=(0, 255))
    widget.form.show_method(replace(METHOD, output=output))
    viewer.scene.camera.center = (3000, 7000)
    run(widget, qtbot)
    layer = viewer.layers[-1]
    assert layer.multiscale
    assert "zoom in" in widget.panel.status.text()
    in_view = np.s_[2048:3072, 6144:7168]
    assert_array_equal(layer.data[0][in_view], widget.model.predict(image)[in_view].compute())
    region = np.s_[4096:5120, 4096:5120]  # in the middle
    expected = widget.model.predict(image)[region].compute()
    assert expected.any()
    qtbot.waitUntil(lambda: np.array_equal(layer.data[0][region], expected), timeout=SECONDS)
    assert_array_equal(layer.data[2][1024:1280, 1024:1280], expected[::4, ::4])
    other = np.s_[200:900, 6400:6500]  # where nobody has looked
    expected = widget.model.predict(image)[other].compute()
    qtbot.waitUntil(lambda: np.array_equal(layer.data[0][other], expected), timeout=SECONDS)


def test_a_written_store_of_several_levels_is_a_layer(viewer, tmp_path):
    made = np.arange(700 * 600, dtype=np.int32).reshape(700, 600) // 999
    for _ in write_labels(
        tmp_path / "labels.zarr",
        made.shape,
        (256, 256),
        lambda region: made[region],
        axes="YX",
        fingerprint="made",
    ):
        pass
    levels = list(open_image(tmp_path / "labels.zarr").levels)
    assert len(levels) == 2
    layer = viewer.add_labels(levels, multiscale=True)
    assert_array_equal(layer.data[0][600:, :5], made[600:, :5])
