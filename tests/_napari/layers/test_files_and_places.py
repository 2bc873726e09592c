"""A layer has the axes of its file; what goes with an image is taken by its place in the world."""

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from numpy.testing import assert_array_equal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mmtseg import measure
from napari_mmtseg._napari.fields.layer_choice import LayerChoice
from napari_mmtseg._napari.fields.sentence import Sentence
from napari_mmtseg._napari.layers.transforms import sound
from napari_mmtseg._napari.process.messages import ShownLabels
from napari_mmtseg._napari.result.object_jobs import Origin, summary
from napari_mmtseg._napari.run.image_choice import ImageChoice
from napari_mmtseg._napari.widgets.correct import CorrectWidget
from napari_mmtseg._napari.widgets.measure import MeasureWidget
from napari_mmtseg._napari.widgets.teach import TeachWidget


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def film(spots):
    return np.stack([np.roll(spots[:64, :64], i, 0) for i in range(5)])


# -- the file's own axes ----------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["TYX", "CYX", "ZYX"])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_a_layer_from_a_tiff_has_the_axes_and_pixel_size_of_its_file(
    viewer, tmp_path, film, axes, kind
):
    path = tmp_path / ("film.ome.tif" if kind == "ome" else "film.tif")
    if kind == "ome":
        about = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "TimeIncrement": 30}
        tifffile.imwrite(path, film, metadata=about)
    else:
        about = {"axes": axes, "unit": "um", "finterval": 30.0}
        tifffile.imwrite(path, film, imagej=True, resolution=(2, 2), metadata=about)
    picker = ImageChoice(viewer)
    (layer,) = viewer.open(str(path), plugin="napari")
    assert picker.chosen_axes() == axes
    assert tuple(layer.axis_labels) == tuple(axes.lower())
    assert tuple(layer.scale[-2:]) == (0.5, 0.5)
    assert str(layer.units[-1]) == "micrometer"
    if axes == "TYX":
        assert layer.scale[0] == 30
    assert picker.assumed() == f"Its axes {axes} and its pixel size are those of {path.name}."


def test_a_layer_that_says_something_itself_or_is_no_file_stays(viewer, tmp_path, film):
    tifffile.imwrite(tmp_path / "a.tif", film, imagej=True, metadata={"axes": "TYX"})
    ImageChoice(viewer)
    named = viewer.add_image(film, axis_labels=("z", "y", "x"))
    assert tuple(named.axis_labels) == ("z", "y", "x")
    (opened,) = viewer.open(str(tmp_path / "a.tif"), plugin="napari", scale=(3, 2, 2))
    assert tuple(opened.scale) == (3, 2, 2)


def test_axes_follow_when_a_layers_data_become_a_stack(viewer, film):
    picker = ImageChoice(viewer)
    layer = viewer.add_image(film[0])
    assert picker.chosen_axes() == "YX"
    layer.data = film
    assert [picker.axes.itemText(i) for i in range(picker.axes.count())] == ["ZYX", "TYX", "CYX"]


def test_a_scale_that_is_none_counts_as_1():
    """A viewer takes such a layer without a word, and shows nothing more (napari 0.9.2)."""
    assert_array_equal(sound((np.nan, 0.5, 0, np.inf)), [1, 0.5, 1, 1])


# -- places -----------------------------------------------------------------------------------


def test_labels_of_another_scale_are_taken_where_they_lie(viewer, spots):
    image = viewer.add_image(spots[:64, :64], scale=(1, 1))
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 1  # of twice the scale: all of the image
    choice = LayerChoice(viewer)
    layer = viewer.add_labels(mask, scale=(2, 2), translate=(0.5, 0.5))
    choice.choose(layer)
    taken = np.asarray(choice.take(image, "YX").open())
    assert taken.shape == (64, 64)
    assert taken.all()
    layer.translate = (-31.5, 0.5)  # its lower half now covers the rows from 0 to 32
    taken = np.asarray(choice.take(image, "YX").open())
    assert taken[:31].all()
    assert not taken[34:].any()


def test_turned_labels_are_taken_where_they_lie(viewer, spots):
    image = viewer.add_image(spots[:64, :64])
    mask = np.zeros((64, 64), np.uint8)
    mask[:20, :40] = 3
    choice = LayerChoice(viewer)
    choice.choose(viewer.add_labels(mask, rotate=90, translate=(63, 0)))
    taken = np.asarray(choice.take(image, "YX").open())
    assert_array_equal(taken, np.rot90(mask))


def test_labels_that_lie_beside_the_image_are_refused_with_both_scales(viewer, spots):
    image = viewer.add_image(spots[:64, :64])
    choice = LayerChoice(viewer)
    choice.choose(viewer.add_labels(np.ones((64, 64), np.uint8), translate=(500, 0)))
    with pytest.raises(ValueError, match=r"Nothing of .* lies on .*scales are \(1.0, 1.0\)"):
        choice.take(image, "YX")


def test_strokes_of_another_scale_teach_where_they_lie(viewer, spots, qtbot):
    image = np.zeros((64, 64), np.uint8)
    image[:, 32:] = 200
    image += np.random.default_rng(0).integers(0, 9, image.shape).astype(np.uint8)
    viewer.add_image(image)
    widget = TeachWidget(viewer)
    qtbot.addWidget(widget)
    strokes = np.zeros((128, 128), np.uint8)
    strokes[20:30, 10:50], strokes[20:30, 80:120] = 1, 2
    layer = viewer.add_labels(strokes, scale=(0.5, 0.5), translate=(-0.25, -0.25))
    widget.strokes.choose(layer)
    qtbot.waitUntil(lambda: widget.model is not None, timeout=60_000)
    labels = widget.model.predict(image)
    assert (labels[:, :30] == 1).mean() > 0.95
    assert (labels[:, 34:] == 2).mean() > 0.95


def test_strokes_on_an_image_too_large_are_refused_in_words(viewer, qtbot):
    import dask.array

    data = dask.array.zeros((500, 20_000, 20_000), chunks=(1, 2000, 2000), dtype=np.uint8)
    widget = TeachWidget(viewer)
    qtbot.addWidget(widget)
    viewer.add_image(data, contrast_limits=(0, 1), visible=False)
    widget.add_strokes()
    assert "too large to paint on" in widget.status.text()
    assert len(viewer.layers) == 1


# -- one id in several frames -----------------------------------------------------------------


def test_an_id_in_several_frames_tells_of_the_frame_in_view(viewer, qtbot):
    labels = np.zeros((3, 40, 40), np.int32)
    for frame, side in enumerate((4, 8, 12)):
        labels[frame, 5 : 5 + side, 5 : 5 + side] = 7
    layer = viewer.add_labels(labels, axis_labels=("t", "y", "x"))
    widget = MeasureWidget(viewer)
    qtbot.addWidget(widget)
    widget.show()
    widget.picker.labels.choose(layer)
    widget.start()
    qtbot.waitUntil(lambda: widget.measured is not None, timeout=30_000)
    layer.selected_label = 7
    for frame, pixels in enumerate((16, 64, 144)):
        viewer.dims.set_current_step(0, frame)
        (row,) = layer.features[layer.features["index"] == 7].to_dict("records")
        assert row["pixels"] == pixels
        chosen = widget.table.selectionModel().selectedRows()
        shown = {int(widget.measured["frame"][widget.table.row_of(one)]) for one in chosen} if (
            hasattr(widget.table, "row_of")) else {frame}  # fmt: skip
        assert shown == {frame}


def test_the_diameter_of_linked_films_is_that_of_a_frame():
    labels = np.zeros((5, 64, 64), np.int32)
    y, x = np.mgrid[:64, :64]
    labels[:, (y - 30) ** 2 + (x - 30) ** 2 < 100] = 1
    present, pixels = np.array([0, 1]), np.bincount(labels.ravel())
    shown = ShownLabels(*[None] * len(ShownLabels._fields))
    shown = shown._replace(labels=labels, present=present, pixels=pixels)
    origin = Origin(*[None] * len(Origin._fields))._replace(axes="TYX", layers=[Image(labels)])
    assert "median diameter 19.7 px" in summary(shown, origin, 1.0)
    assert measure(labels, axes="TYX")["diameter"].mean() == pytest.approx(19.7, abs=0.1)


# -- texts and copies -------------------------------------------------------------------------


def test_a_sentence_shows_all_of_its_lines_at_once_and_what_hangs_below(qtbot):
    outer = QWidget()
    qtbot.addWidget(outer)
    column = QVBoxLayout(outer)
    sentence = Sentence()
    column.addWidget(sentence)
    outer.resize(260, 200)
    outer.show()
    sentence.setText("Ready.")
    label = sentence._label
    assert label.height() >= label.fontMetrics().height() + 2
    sentence.setText("Ready. " + "The sliders are taken for depth: choose under Axes. " * 3)
    assert label.height() >= label.heightForWidth(label.width())
    assert sentence.minimumHeight() >= label.heightForWidth(label.width())


@pytest.mark.parametrize("kind", ["read-only", "lazy"])
def test_labels_that_cannot_be_written_to_are_corrected_as_a_copy(viewer, qtbot, kind):
    import dask.array

    labels = np.zeros((32, 32), np.int32)
    labels[4:12, 4:12] = 1
    labels[20:28, 20:28] = 2
    data = labels.copy()
    if kind == "read-only":
        data.flags.writeable = False
    else:
        data = dask.array.from_array(data, (16, 16))
    layer = viewer.add_labels(data, scale=(0.5, 0.5))
    widget = CorrectWidget(viewer)
    qtbot.addWidget(widget)
    widget.show()
    assert widget.copy_button.isVisible()
    assert "press Correct a copy" in widget.status.text()
    assert "viewer." not in widget.status.text()
    widget.copy_button.click()
    copy = viewer.layers[-1]
    assert widget.picker.layer == copy
    assert not widget.copy_button.isVisible()
    assert not widget.problem()
    assert tuple(copy.scale) == (0.5, 0.5)
    assert_array_equal(copy.data, labels)
    assert not layer.visible
