"""The Labels panel names, shows, joins and parts the labels of a result, and takes it all back."""

import gc
import json
import weakref
from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.testing import assert_allclose, assert_array_equal
from qtpy.QtCore import QPoint, Qt

from napari_mmtseg import KMeans
from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.layers import METADATA_KEY
from napari_mmtseg._napari.process.label_numbers import counted
from napari_mmtseg._napari.process.messages import ShownLabels
from napari_mmtseg._napari.result.labels_table import EYE, NAME, SHARE, number, percent
from napari_mmtseg._napari.result.object_jobs import Origin
from napari_mmtseg._napari.result.panel import Result, ResultPanel
from napari_mmtseg._napari.result.provenance import record_of
from napari_mmtseg._napari.result.state import kept_of
from napari_mmtseg.labels.legend import Legend
from napari_mmtseg.labels.palettes import colours_of
from napari_mmtseg.segmentation import drain, segment_steps

PATIENCE = 20_000


@pytest.fixture
def five(gray):
    """Five bands of brightness: (24, 30) uint8."""
    return np.repeat([20, 70, 120, 180, 250], 6).astype(np.uint8) + np.zeros((24, 1), np.uint8)


def segmented(image, **settings):
    plain = {"smoothing_px": 0.0, "smallest_px": 1, "vote_border": 0.0}
    method = KMeans(**{"n_labels": 5, **plain, **settings})
    return drain(segment_steps(image, method))


def shown_in(viewer, panel, whole, image):
    """Show a result as the widget does."""
    record = record_of(whole.method, [image], "YX", 1.0)
    labels = whole.labels()
    name = napari_layers.result_name([image], whole.method)
    placed = napari_layers.placement(image, "YX")
    layer, _ = napari_layers.result_layers(
        whole, ShownLabels(labels, *counted(labels)), name, placed, record
    )
    viewer.add_layer(layer)
    origin = Origin([image], "YX", whole.method)
    panel.show_result(Result(layer, whole.model, placed, {}, origin, whole=whole))
    return layer


@pytest.fixture
def panel(viewer, qtbot):
    panel = ResultPanel(viewer)
    qtbot.addWidget(panel)
    return panel


@pytest.fixture
def image(viewer, five):
    return viewer.add_image(five, name="bands")


@pytest.fixture
def layer(viewer, panel, image, five, qtbot):
    layer = shown_in(viewer, panel, segmented(five), image)
    qtbot.waitUntil(lambda: kept_of(layer).counted is not None, timeout=PATIENCE)
    return layer


def rows(panel):
    return panel.labels.table.rows.rows


def cell(panel, row, column):
    model = panel.labels.table.rows
    return model.data(model.index(row, column))


def click(panel, qtbot, row, column, modifier=Qt.KeyboardModifier.NoModifier):
    table = panel.labels.table
    place = table.visualRect(table.rows.index(row, column)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, modifier, QPoint(place))


def alpha(layer, label):
    return float(np.ravel(layer.colormap.map(label))[3])


def test_each_label_has_its_colour_share_and_mean_intensity(panel, layer, five):
    assert [row.label for row in rows(panel)] == [1, 2, 3, 4, 5]
    for row in rows(panel):
        there = layer.data == row.label
        assert row.share == pytest.approx(there.mean())
        assert row.means == pytest.approx([five[there].mean()])
        assert_allclose(row.colour, np.ravel(layer.get_color(row.label)), atol=1e-6)
        assert row.confidence is None, "k-means is a single voter"
    assert cell(panel, 0, SHARE) == "20 %"
    assert_allclose(layer.features["mean"], [row.means[0] for row in rows(panel)])


def test_a_name_is_in_the_features_the_record_and_the_model(panel, layer, qtbot):
    model = panel.labels.table.rows
    assert model.setData(model.index(1, NAME), "nuclei")
    assert cell(panel, 1, NAME) == "nuclei"
    assert layer.features.set_index("index")["name"][2] == "nuclei"
    record = layer.metadata[METADATA_KEY]
    json.dumps(record)
    assert record["labels"]["names"] == {"2": "nuclei"}
    assert panel.told_model().names == {2: "nuclei"}
    panel.labels.undo()
    assert cell(panel, 1, NAME) == "Label 2"
    assert layer.features.set_index("index")["name"][2] == "Label 2"
    assert panel.told_model().names == {}


def test_an_eye_hides_a_label_by_the_colormap_and_leaves_the_data(panel, layer, qtbot):
    before, data, base = layer.data.copy(), layer.data, layer.colormap
    panel.show()
    click(panel, qtbot, 2, EYE)
    assert alpha(layer, 3) == 0
    assert [alpha(layer, label) for label in (1, 2, 4, 5)] == [1] * 4
    assert_allclose(layer.get_color(1), np.ravel(base.map(1)))
    assert list(layer.features["shown"]) == [True, True, False, True, True]
    click(panel, qtbot, 0, EYE, Qt.KeyboardModifier.AltModifier)
    assert [row.shown for row in rows(panel)] == [True, False, False, False, False]
    panel.labels.all_button.click()
    assert layer.colormap is base, "as if nothing had been hidden"
    panel.labels.undo()
    assert [row.shown for row in rows(panel)] == [True, False, False, False, False]
    assert layer.data is data
    assert_array_equal(layer.data, before)


def test_a_chosen_colour_is_that_of_the_label_and_shuffled_colours_are_kept(panel, layer):
    panel.labels.colour(2, (1.0, 0.0, 0.5, 1.0))
    assert_allclose(np.ravel(layer.get_color(2)), [1, 0, 0.5, 1])
    layer.colormap = DirectLabelColormap(
        color_dict={**{i: (0, 0.1 * i, 0, 1) for i in range(1, 6)}, None: "gray"}
    )
    assert_allclose(np.ravel(layer.get_color(2)), [1, 0, 0.5, 1])
    assert_allclose(np.ravel(layer.get_color(3)), [0, 0.3, 0, 1], atol=1e-6)
    assert_allclose(rows(panel)[2].colour, [0, 0.3, 0, 1], atol=1e-6)
    panel.labels.undo()
    assert_allclose(np.ravel(layer.get_color(2)), [0, 0.2, 0, 1], atol=1e-6)


def test_selected_labels_are_merged_split_again_and_all_is_undone(panel, layer):
    first = layer.data.copy()
    table = panel.labels.table
    table.select([2, 4])
    panel.labels._enable()
    panel.labels.join_button.click()
    assert_array_equal(layer.data, np.where(first == 4, 2, first))
    assert [row.label for row in rows(panel)] == [1, 2, 3, 5]
    assert rows(panel)[1].share == pytest.approx((first == 2).mean() + (first == 4).mean())
    assert len(layer.features) == 4
    assert panel.n_labels.value() == 4
    assert layer.metadata[METADATA_KEY]["n_labels"] == 4
    assert_array_equal(panel.told_model().labels == 2, np.isin(panel.model.labels, (2, 4)))
    assert table.selected_labels() == [2]
    panel.labels.part_button.click()
    assert_array_equal(layer.data, first)
    panel.labels.undo()
    assert len(np.unique(layer.data)) == 4
    panel.labels.undo()
    panel.labels.redo_button.click()
    assert len(np.unique(layer.data)) == 4
    panel.labels.undo()
    assert_array_equal(layer.data, first)
    assert not panel.labels.undo_button.isEnabled()


def test_names_follow_the_slider_which_is_undone_at_once(panel, layer, qtbot):
    first = layer.data.copy()
    darkest = int(layer.data[0, 0])
    panel.labels.rename(darkest, "ground")
    panel.n_labels.setValue(4)
    assert next(row.name for row in rows(panel) if row.label == layer.data[0, 0]) == "ground"
    for count in (3, 2):
        panel.n_labels.setValue(count)
    assert len(np.unique(layer.data)) == 2
    panel.labels.table.select([int(layer.data[0, 0])])
    panel.labels._enable()
    panel.labels.part_button.click()
    assert len(np.unique(layer.data)) == 3, "a single label is split, the other stays"
    panel.labels.undo()
    panel.labels.undo()
    assert_array_equal(layer.data, first)


def test_what_was_painted_is_spared_and_merged_labels_lie_beside_it(viewer, panel, layer):
    layer.data_setitem((np.array([0]), np.array([0])), 9)
    panel.labels.table.select([1, 2])
    panel.labels.join()
    assert layer.data[0, 0] == 9
    made = viewer.layers[-1]
    assert made is not layer
    assert panel.result.layer == made
    assert not kept_of(layer).history.can_undo
    panel.labels.undo()
    assert_array_equal(made.data, kept_of(made).result.whole.labels())


def test_areas_are_told_of_by_class_and_hidden_by_class(viewer, panel, image, five, qtbot):
    five[:, 12:18] = 20  # two areas of one class
    whole = segmented(five, output="areas", n_labels=4)
    layer = shown_in(viewer, panel, whole, image)
    qtbot.waitUntil(lambda: kept_of(layer).counted is not None, timeout=PATIENCE)
    classes = whole.model.label_of()[whole.clusters]
    assert [row.pieces for row in rows(panel)] == [2, 1, 1, 1]
    label = int(classes[0, 0])
    panel.labels.hide_label(label)
    seen = np.array([alpha(layer, int(one)) > 0 for one in layer.data[0]])
    assert_array_equal(seen, classes[0] != label)
    panel.labels.rename(label, "dark")
    names = layer.features.set_index("index")["name"]
    assert [names[one] == "dark" for one in layer.data[0]] == list(~seen)
    panel.labels.table.select([row.label for row in rows(panel)[:2]])
    panel.labels.join()
    assert len(rows(panel)) == 3
    assert sum(row.pieces for row in rows(panel)) == layer.data.max()


def test_objects_are_a_row_or_a_row_a_group(viewer, panel, five, image, qtbot):
    objects = np.zeros(five.shape, np.int32)
    objects[2:5, 2:5], objects[10:14, 2:6], objects[2:6, 20:24] = 1, 2, 5
    method = KMeans(output="objects")
    record = record_of(method, [image], "YX", 1.0)
    layer = Labels(objects, metadata=record, features=napari_layers.features(objects))
    viewer.add_layer(layer)
    panel.show_result(Result(layer, None, {}, {}, Origin([image], "YX", method)))
    qtbot.waitUntil(lambda: kept_of(layer).counted is not None, timeout=PATIENCE)
    (row,) = rows(panel)
    assert (row.name, row.pieces, row.colour) == ("Objects", 3, None)
    assert row.pixels == (objects > 0).sum()
    assert row.means == pytest.approx([five[objects > 0].mean()])
    table = panel.labels.table
    told = table.rows.headerData(SHARE, Qt.Orientation.Horizontal)
    room = table.horizontalHeader().fontMetrics().horizontalAdvance(told)
    assert table.columnWidth(SHARE) > room, "no heading is cut"

    layer.features = layer.features.assign(group=[0, 1, 2, 1])
    qtbot.waitUntil(lambda: len(rows(panel)) == 2, timeout=PATIENCE)
    qtbot.waitUntil(lambda: kept_of(layer).counted is not None, timeout=PATIENCE)
    assert [(row.name, row.pieces) for row in rows(panel)] == [("Group 1", 2), ("Group 2", 1)]
    panel.labels.hide_label(1)
    assert [alpha(layer, one) for one in (1, 2, 5)] == [0, 1, 0]

    layer.data_setitem(np.nonzero(objects == 2), 0)
    qtbot.waitUntil(lambda: rows(panel)[1].pieces == 0, timeout=PATIENCE)


def test_an_earlier_result_is_one_click_back(viewer, panel, layer, image, five):
    other = shown_in(viewer, panel, segmented(five[:, ::-1]), image)
    layer.visible = False  # as the widget does
    assert panel.result.layer == other
    panel.labels.earlier.click()
    assert panel.result.layer == layer
    assert (layer.visible, other.visible) == (True, False)
    assert viewer.layers.selection.active == layer
    panel.labels.later.click()
    assert (layer.visible, other.visible) == (False, True)
    viewer.layers.selection.active = layer
    assert panel.result.layer == layer, "the panel shows the result that is selected"


def test_a_result_outlives_the_panel_and_goes_with_its_layer(viewer, panel, layer, qtbot):
    panel.labels.rename(1, "most")
    again = ResultPanel(viewer)
    qtbot.addWidget(again)
    assert again.result.layer == layer
    assert again.model is kept_of(layer).result.model
    assert rows(again)[0].name == "most"
    again.labels.undo()
    assert kept_of(layer).legend.names == {}

    held = weakref.ref(kept_of(layer))
    viewer.layers.remove(layer.name)
    assert again.result is None
    assert again.empty.isVisibleTo(again)
    gc.collect()
    assert held() is None or held().layer is not None, "nothing but the test holds the layer"


@pytest.fixture
def doubted(five):
    """A result whose second network takes some of label 1 for 2, and some of 2 for 3."""
    whole = segmented(five)
    table = whole.model.label_of()
    cluster = {label: int(np.flatnonzero(table == label)[0]) for label in (1, 2, 3)}
    first, second = whole.clusters.copy(), whole.clusters.copy()
    second[:6][first[:6] == cluster[1]] = cluster[2]
    second[:12][first[:12] == cluster[2]] = cluster[3]
    doubt = np.where(first != second, np.float32(0.2), np.float32(0.01))
    return replace(whole, uncertainty=doubt, voters=(first, second))


def test_uncertainty_and_disagreement_lie_above_the_labels_when_asked_for(
    viewer, panel, image, doubted
):
    layer = shown_in(viewer, panel, doubted, image)
    assert panel.trust.isVisibleTo(panel)
    assert len(viewer.layers) == 2, "off by default"
    panel.trust.contour_button.click()
    panel.trust.doubt_button.click()
    assert [one.name for one in viewer.layers] == [
        "bands",
        layer.name,
        f"{layer.name} uncertainty",
        f"{layer.name} disagreement",
    ]
    contour = viewer.layers[-1]
    first, second = doubted.voters
    assert_array_equal(contour.data, first != second)
    assert viewer.layers[2].contrast_limits == pytest.approx([0, 0.2])
    assert contour.contour > 0
    assert viewer.layers.selection.active == layer
    panel.labels.table.select([1, 2])
    panel.labels.join()
    table = kept_of(layer).shown.table()
    assert_array_equal(contour.data, table[first] != table[second])
    assert contour.data.any()
    assert not contour.data[:6][layer.data[:6] == 1].all(), "1 and 2 are one label by now"
    panel.trust.doubt_button.click()
    assert not viewer.layers[2].visible
    viewer.layers[2].visible = True
    assert panel.trust.doubt_button.isChecked()


def test_labels_say_how_sure_they_are_of_what_they_are_by_now(viewer, panel, image, doubted, qtbot):
    layer = shown_in(viewer, panel, doubted, image)
    qtbot.waitUntil(lambda: kept_of(layer).counted is not None, timeout=PATIENCE)

    def sure():
        return {row.label: row.confidence for row in rows(panel)}

    assert sure() == pytest.approx({1: 0.75, 2: 0.5, 3: 1, 4: 1, 5: 1})
    assert layer.features.set_index("index")["confidence"][2] == pytest.approx(0.5)
    panel.labels.table.select([1, 2])
    panel.labels.join()
    assert sure() == pytest.approx({1: 0.75, 3: 1, 4: 1, 5: 1}), "half of 2 stays in doubt"
    assert layer.features.set_index("index")["confidence"][1] == pytest.approx(0.75)
    panel.labels.part()
    assert sure()[2] == pytest.approx(0.5)


def test_numbers_are_short():
    shares = [percent(one) for one in (0.5, 0.0342, 0.0001, 0)]
    assert shares == ["50 %", "3.4 %", "< 0.1 %", "0.0 %"]
    assert [number(one) for one in (1234.5, 3.14159, float("nan"))] == ["1,234", "3.14", ""]


def test_colours_for_the_colour_blind_are_chosen_beside_the_result(viewer, panel, layer, image):
    choice = panel.labels.palette_choice
    base, told = layer.colormap, colours_of("Tol")
    choice.setCurrentIndex(choice.findData("Tol"))
    choice.activated.emit(choice.currentIndex())
    for label in range(1, 6):
        assert_allclose(np.ravel(layer.get_color(label)), told[label - 1], atol=1e-6)
    assert_allclose([row.colour for row in rows(panel)], told[:5], atol=1e-6)
    panel.labels.hide_label(2)
    assert alpha(layer, 2) == 0
    assert_allclose(np.ravel(layer.get_color(3)), told[2], atol=1e-6)
    panel.labels.undo()
    panel.labels.undo()
    assert layer.colormap is base
    assert choice.currentData() == ""
    panel.labels.redo()
    assert Legend.from_dict(kept_of(layer).shown.to_dict()).palette == "Tol", "kept"
    layer.new_colormap(seed=3)
    assert choice.currentData() == "", "who shuffles wants napari's colours"
    assert_allclose(rows(panel)[0].colour, np.ravel(layer.get_color(1)), atol=1e-6)


@pytest.mark.parametrize("output", ["classes", "areas"])
def test_new_results_have_the_colours_that_are_preferred(
    viewer, panel, image, five, qtbot, monkeypatch, output
):
    monkeypatch.setattr(preferences, "palette", lambda: "Okabe-Ito")
    layer = shown_in(viewer, panel, segmented(five, output=output), image)
    for label in (1, 2):
        assert_allclose(
            np.ravel(layer.get_color(label)), colours_of("Okabe-Ito")[label - 1], atol=1e-6
        )
    qtbot.waitUntil(lambda: kept_of(layer).counted is not None, timeout=PATIENCE)
    told = rows(panel)[0].colour if output == "classes" else rows(panel)[0].colours[0]
    assert_allclose(told, colours_of("Okabe-Ito")[0], atol=1e-6)
