"""Every axis of a result meets its own axis of the image, wherever the channels are."""

import dask.array as da
import numpy as np
import pytest

from napari_mmtseg import MMT
from napari_mmtseg._napari.widgets.correct import CorrectWidget
from napari_mmtseg._napari.widgets.measure import open_measure
from napari_mmtseg.images.stores import open_image

SIZES = {"T": 2, "Z": 3, "C": 4, "Y": 24, "X": 32}


def hyperstack(axes):
    """A disc that moves with T and Z, brighter with each C."""
    index = dict(zip(axes, np.indices([SIZES[axis] for axis in axes]), strict=True))
    row = 6 + 4 * index.get("Z", 0)
    column = 8 + 12 * index.get("T", 0)
    disc = (index["Y"] - row) ** 2 + (index["X"] - column) ** 2 < 20
    noise = np.random.default_rng(0).normal(0, 3, disc.shape)
    return (30 + 40 * disc * (1 + index.get("C", 0)) + noise).clip(0, 255).astype(np.uint8)


def seen(layer, image, point):
    """Return what a layer shows at a pixel of an image, as napari finds it."""
    world = image.data_to_world(point)
    place = tuple(np.round(layer.world_to_data(world)).astype(int))
    assert all(0 <= i < n for i, n in zip(place, layer.data.shape, strict=True))
    return np.asarray(layer.data[place])


def on_the_disc(layer, image, axes):
    """Tell whether a layer's labels follow the disc through all axes."""
    sizes = {axis: SIZES[axis] for axis in axes if axis in "TZC"}
    ground = seen(layer, image, [0] * (len(axes) - 2) + [SIZES["Y"] - 1, SIZES["X"] - 1])
    for place in np.ndindex(*sizes.values()):
        at = dict(zip(sizes, place, strict=True))
        spot = {"Y": 6 + 4 * at.get("Z", 0), "X": 8 + 12 * at.get("T", 0)}
        value = seen(layer, image, [{**at, **spot}[axis] for axis in axes])
        if not value or value == ground:
            return False
    return True


@pytest.mark.parametrize("axes", ["ZCYX", "TCYX", "TZCYX", "CZYX"])
def test_results_live_labels_and_uncertainty_meet_the_axes_of_their_image(
    viewer, widget, finish, axes
):
    layer = viewer.add_image(
        hyperstack(axes),
        name="image",
        axis_labels=tuple(axes.lower()),
        scale=[2.0 if axis == "C" else 0.5 for axis in axes],
        translate=[7.0 if axis in "CT" else 3.0 for axis in axes],
    )
    steps = viewer.dims.nsteps
    live = []

    def note(event):
        if "training" in event.value.name:
            live.append((event.value.data.shape, event.value.scale, event.value.translate))

    viewer.layers.events.inserted.connect(note)
    widget.form.show_method(MMT(width=8, n_iterations=30, min_labels=2, n_labels=2))
    widget.uncertainty.setChecked(True)
    widget.panel.run_button.click()
    finish(widget)
    result = viewer.layers["image · MMT classes"]
    doubts = viewer.layers["image · MMT classes uncertainty"]
    assert viewer.dims.nsteps == steps
    assert on_the_disc(result, layer, axes)
    live.append((doubts.data.shape, doubts.scale, doubts.translate))
    assert len(live) == 2
    for shape, scale, translate in live:
        assert shape == result.data.shape
        np.testing.assert_allclose(scale, result.scale)
        np.testing.assert_allclose(translate, result.translate)


def test_a_lazy_result_meets_the_axes_of_its_image(viewer, widget, qtbot, finish):
    axes = "ZCYX"
    image = da.from_array(hyperstack(axes), chunks=(1, 1, 24, 32))
    layer = viewer.add_image(
        image, name="image", axis_labels=tuple(axes.lower()), contrast_limits=(0, 255)
    )
    steps = viewer.dims.nsteps
    widget.form.show_method(MMT(width=8, n_iterations=8, n_labels=2))
    widget.panel.run_button.click()
    finish(widget)
    result = viewer.layers["image · MMT classes"]
    assert viewer.dims.nsteps == steps
    viewer.dims.set_current_step((0, 1), (2, 3))
    qtbot.waitUntil(lambda: bool(seen(result, layer, (2, 3, 14, 8))), timeout=60_000)
    assert seen(result, layer, (2, 3, 14, 8)) != seen(result, layer, (2, 3, 23, 31))


@pytest.mark.parametrize("channels", [1, SIZES["C"]])
def test_guides_of_any_number_of_channels_are_taken(viewer, widget, finish, channels):
    axes = "ZCYX"
    image = hyperstack(axes)
    viewer.add_image(image, name="image", axis_labels=tuple(axes.lower()))
    mask = np.zeros((SIZES["Z"], channels, 24, 32), np.int32)
    mask[:, -1, :, :16] = 1
    strokes = np.zeros_like(mask)
    strokes[0, -1, 6, 6:11] = 7
    strokes[0, -1, 20, 2:14] = 5
    viewer.add_labels(mask, name="half")
    viewer.add_labels(strokes, name="strokes")
    widget.mask.choose(viewer.layers["half"])
    widget.scribbles.choose(viewer.layers["strokes"])
    widget.form.show_method(MMT(width=8, n_iterations=20, min_labels=2))
    widget.panel.run_button.click()
    finish(widget)
    labels = viewer.layers["image · MMT classes"].data
    assert not labels[..., 16:].any()
    assert {5, 7} <= set(np.unique(labels))
    assert (labels[2, 0, 14, 8], labels[2, 0, 22, 2]) == (7, 5)


def test_objects_between_channels_are_parted_measured_corrected_and_saved(
    viewer, widget, qtbot, finish, tmp_path
):
    axes = "ZCYX"
    layer = viewer.add_image(hyperstack(axes), name="image", axis_labels=tuple(axes.lower()))
    widget.form.show_method(MMT.preset("nuclei", width=8, n_iterations=30, diameter_px=9))
    widget.panel.run_button.click()
    finish(widget)
    result = viewer.layers[-1]
    assert "objects" in result.name
    assert on_the_disc(result, layer, axes)
    widget.part_again(8.0)
    finish(widget)
    assert on_the_disc(viewer.layers[-1], layer, axes)
    place = np.argwhere(viewer.layers[-1].data)[0]
    widget.take_for_object(tuple(int(i) for i in place))
    finish(widget)
    assert viewer.layers[-1].data.shape == (3, 1, 24, 32)

    measured = open_measure(viewer, viewer.layers[-1])
    qtbot.waitUntil(lambda: measured.measured is not None, timeout=60_000)
    assert {"z", "intensity_mean_0", "intensity_mean_3"} <= set(measured.measured)
    measured.table.chosen.emit(0)

    correct = CorrectWidget(viewer)
    qtbot.addWidget(correct)
    assert correct.picker.label_axes == axes
    assert not correct.picker.problem()

    widget.save_result(str(tmp_path / "labels.zarr"), False)
    finish(widget)
    saved = viewer.layers["labels"]
    np.testing.assert_array_equal(np.asarray(saved.data), viewer.layers[-2].data)
    assert open_image(tmp_path / "labels.zarr").levels[0].shape == (3, 24, 32)
    np.testing.assert_allclose(saved.translate, viewer.layers[-2].translate)
