"""Layers of every kind reach the training process without the window reading them."""

import threading
import time

import dask.array
import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt, QTimer

from napari_mmtseg import KMeans, segment
from napari_mmtseg._napari.process.layer_pixels import (
    CopiedPixels,
    MappedPixels,
    StackedChannels,
    take,
)
from napari_mmtseg._napari.widgets.group import GroupWidget
from napari_mmtseg._napari.widgets.segment import KMeansWidget
from napari_mmtseg.methods import ObjectIIC
from napari_mmtseg.system import memory

SECONDS = 120_000
METHOD = KMeans(n_labels=2, smoothing_px=0.0)


@pytest.fixture
def stack():
    image = np.random.default_rng(0).integers(0, 60, (4, 40, 50), np.uint8)
    image[:, 10:30, 10:30] += 150
    image[2] = image[2].T.reshape(40, 50)
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
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)


def watched(data, read_in):
    """Return an array-like that notes the names of the threads in which it is read."""

    class Watched:  # unknown to the training process
        shape, dtype, ndim = data.shape, data.dtype, data.ndim

        def __getitem__(self, key):
            read_in.append(threading.current_thread().name)
            return data[key]

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self[...], dtype)

    return Watched()


def as_memmap(stack, path):
    stack.tofile(path / "stack.raw")
    return np.memmap(path / "stack.raw", np.uint8, "r+", shape=stack.shape)


def as_zarr(stack, path):
    zarr = pytest.importorskip("zarr")
    array = zarr.open_array(path / "stack.zarr", mode="w", shape=stack.shape, dtype=stack.dtype)
    array[:] = stack
    return array


KINDS = {
    "dask": lambda stack, _: dask.array.from_array(stack, chunks=(1, 20, 50)).map_blocks(
        lambda block: block.copy()
    ),
    "zarr": as_zarr,
    "memmap": as_memmap,
}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_are_not_in_memory_give_the_labels_of_those_that_are(
    viewer, widget, qtbot, stack, tmp_path, kind
):
    viewer.add_image(KINDS[kind](stack, tmp_path), name="lazy", contrast_limits=(0, 255))
    run(widget, qtbot)
    layer, expected = viewer.layers["lazy · k-means classes"], segment(stack, METHOD, axes="ZYX")
    for plane in range(4):
        viewer.dims.set_current_step(0, plane)
        qtbot.waitUntil(lambda plane=plane: layer.data[plane].any(), timeout=SECONDS)
        np.testing.assert_array_equal(layer.data[plane], expected[plane])


def test_the_window_reads_no_pixels_of_a_lazy_layer(viewer, widget, qtbot, stack):
    read_in: list[str] = []
    viewer.add_image(watched(stack, read_in), name="lazy", contrast_limits=(0, 255))
    qtbot.waitUntil(lambda: bool(read_in))  # napari draws it
    read_in.clear()
    widget.panel.run_button.click()
    assert not read_in
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    np.testing.assert_array_equal(
        viewer.layers["lazy · k-means classes"].data, segment(stack, METHOD, axes="ZYX")
    )


def test_slow_planes_do_not_hold_up_the_window(viewer, widget, qtbot, stack):
    def slowly(block):
        time.sleep(0.3)
        return block

    lazy = dask.array.from_array(stack, chunks=(1, -1, -1)).map_blocks(slowly, dtype=stack.dtype)
    viewer.add_image(lazy, name="lazy", contrast_limits=(0, 255))
    viewer.add_labels(lazy > 20, name="mask")
    widget.mask.setCurrentText("mask")
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(10)
    start = time.perf_counter()
    widget.panel.run_button.click()
    assert time.perf_counter() - start < 0.25
    qtbot.waitUntil(lambda: "lazy · k-means classes" in viewer.layers, timeout=SECONDS)
    timer.stop()
    assert np.percentile(np.diff(ticks), 95) < 0.2
    widget.panel.discard()


def test_editing_right_after_run_changes_nothing_of_the_result(viewer, widget, qtbot, stack):
    shown = (stack > 10).astype(np.uint8)
    expected = segment(stack, METHOD, axes="ZYX", mask=shown)
    layer = viewer.add_image(stack, name="stack")
    mask = viewer.add_labels(shown, name="mask")
    widget.mask.setCurrentText("mask")
    widget.panel.run_button.click()
    layer.data[:] = 7
    mask.data[:] = 0
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    np.testing.assert_array_equal(viewer.layers["stack · k-means classes"].data, expected)


def test_a_large_layer_is_taken_in_a_tenth_of_a_second():
    large = np.ones((128, 1024, 1024), np.uint8)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        take(large, "large")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1


def test_views_of_a_mapped_file_are_found_in_it(stack, tmp_path):
    whole = as_memmap(stack, tmp_path)
    views = [whole, whole[1:], whole[::-1, 3:, ::2], whole.T, np.asarray(whole)[2], whole[:, 5]]
    for view in views:
        source = take(view, "view")
        assert isinstance(source, MappedPixels)
        np.testing.assert_array_equal(source.open(), view)


def test_a_mapped_array_that_is_not_its_file_is_copied(stack, tmp_path):
    whole = as_memmap(stack, tmp_path)
    mine = np.memmap(tmp_path / "stack.raw", np.uint8, "c", shape=stack.shape)
    mine[0] = 9
    added = whole + np.uint8(1)
    for array in (mine, added):
        source = take(array, "view")
        assert isinstance(source, CopiedPixels)
        np.testing.assert_array_equal(source.open(), array)


def test_masked_pixels_stay_masked(stack):
    masked = np.ma.masked_greater(stack, 100)
    together = StackedChannels([take(masked, "a"), take(stack, "b")], [False, False]).open()
    assert together[1, ...].mask.any()
    assert take(masked, "a").open().mask.any()


def test_several_layers_are_one_image_however_it_is_indexed(stack):
    colours = np.stack([stack, stack + 1, stack + 2], axis=-1)
    lazy = dask.array.from_array(stack.astype(np.uint16))
    together = StackedChannels([take(lazy, "a"), take(colours, "b")], [False, True]).open()
    expected = np.concatenate([stack.astype(np.uint16)[..., None], colours], axis=-1)
    assert together.shape == expected.shape
    assert together.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(together), expected)
    for key in (2, (1, slice(3, 9)), (..., 1), (0, slice(None), 4, slice(1, 3)), np.s_[:, 2:]):
        np.testing.assert_array_equal(together[key], expected[key])


def test_lazy_layers_together_are_channels(viewer, widget, qtbot, stack):
    for name, data in (("one", stack), ("two", 255 - stack)):
        viewer.add_image(dask.array.from_array(data), name=name, contrast_limits=(0, 255))
    for row in range(2):
        widget.picker.images.item(row).setCheckState(Qt.CheckState.Checked)
    run(widget, qtbot)
    assert widget.model.n_channels == 2
    assert viewer.layers[-1].data.shape == stack.shape


def test_lazy_objects_are_grouped(viewer, qtbot):
    image, objects = np.full((60, 75), 100, np.uint8), np.zeros((60, 75), np.int32)
    for number in range(20):
        row, column = 3 + 15 * (number // 5), 3 + 15 * (number % 5)
        image[row : row + 9, column : column + 9] = 230 if number % 2 else 20
        objects[row : row + 9, column : column + 9] = number + 1
    viewer.add_image(dask.array.from_array(image), name="cells", contrast_limits=(0, 255))
    layer = viewer.add_labels(dask.array.from_array(objects), name="objects")
    widget = GroupWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.objects.setCurrentText("objects")
    widget.form.show_method(ObjectIIC(n_iterations=10, width=4, n_heads=1))
    widget.panel.run_button.click()
    layer.data = objects[None]  # reshaped meanwhile
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    assert viewer.layers["objects groups"].data.shape == objects.shape
    widget.panel.close_process()


def test_what_cannot_fit_is_refused_before_any_work(viewer, widget, monkeypatch):
    errors = []
    monkeypatch.setattr(notification_manager, "dispatch", errors.append)
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    huge = dask.array.zeros((1000, 1000, 1000), np.uint8, chunks=(1, 1000, 1000))
    viewer.add_image(huge, name="huge", contrast_limits=(0, 1))
    widget.methods.method_choice.setCurrentIndex(
        widget.methods.method_choice.findData("Felzenszwalb")
    )
    widget.panel.run_button.click()
    assert not widget.running
    assert "11.2 GiB" in errors[0].message
    assert "crop" in widget.panel.status.text()
    monkeypatch.setattr(memory, "available", lambda: None)
    widget.panel.run_button.click()
    assert widget.running
    widget.panel.discard()


def test_the_memory_that_is_free_is_known():
    free = memory.available()
    assert free is None or free > 2**24


def test_a_layer_that_cannot_be_handed_over_is_named(viewer, widget, qtbot, stack, monkeypatch):
    errors = []
    monkeypatch.setattr(notification_manager, "dispatch", errors.append)
    locked = watched(stack, [])
    locked.lock = threading.Lock()
    viewer.add_image(locked, name="locked", contrast_limits=(0, 255))
    run(widget, qtbot)
    assert "locked (" in errors[0].message
    assert "numpy.asarray" in widget.panel.status.text()
    viewer.layers.clear()
    viewer.add_image(stack, name="stack")
    run(widget, qtbot)
    assert "stack · k-means classes" in viewer.layers


def test_the_finest_level_is_labelled(viewer, widget, qtbot, stack):
    levels = [dask.array.from_array(stack[0]), dask.array.from_array(stack[0, ::2, ::2])]
    viewer.add_image(levels, name="pyramid", multiscale=True, contrast_limits=(0, 255))
    run(widget, qtbot)
    np.testing.assert_array_equal(viewer.layers[-1].data, segment(stack[0], METHOD))
