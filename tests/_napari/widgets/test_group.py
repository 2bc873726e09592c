"""The Group objects widget, and naming labels by strokes, in a real viewer."""

import numpy as np
import pandas as pd
import pytest

from napari_mmtseg._napari.widgets.group import GroupWidget, with_groups
from napari_mmtseg._napari.widgets.segment import KMeansWidget
from napari_mmtseg.grouping import Groups
from napari_mmtseg.methods import KMeans, ObjectIIC

SECONDS = 120_000


@pytest.fixture
def cells():
    """Twenty squares, bright and dark by turns, and their numbers."""
    image, objects = np.full((60, 75), 100, np.uint8), np.zeros((60, 75), np.int32)
    for number in range(20):
        row, column = 3 + 15 * (number // 5), 3 + 15 * (number % 5)
        here = (slice(row, row + 9), slice(column, column + 9))
        image[here] = 230 if number % 2 else 20
        objects[here] = 10 * (number + 1)
    return image, objects


def test_grouping_adds_a_layer_and_a_column(viewer, qtbot, cells):
    image, objects = cells
    viewer.add_image(image, name="cells", scale=(2, 2))
    layer = viewer.add_labels(
        objects, name="objects", scale=(2, 2), features={"index": [10, 20], "mine": [1.5, 2.5]}
    )
    widget = GroupWidget(viewer)
    viewer.window.add_dock_widget(widget)
    assert "Choose a Labels layer" in widget.panel.run_button.toolTip()
    widget.objects.setCurrentText("objects")
    widget.form.show_method(ObjectIIC(n_iterations=40, width=4, n_heads=1))
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)

    groups = viewer.layers["objects groups"]
    np.testing.assert_array_equal(groups.scale, layer.scale)
    bright, dark = groups.data[image == 230], groups.data[image == 20]
    assert len(np.unique(bright)) == len(np.unique(dark)) == 1
    assert bright[0] != dark[0]
    assert list(layer.features["mine"][:2]) == [1.5, 2.5]
    column = layer.features.set_index("index")["group"]
    assert column[10] == dark[0]
    assert column[20] == bright[0]
    np.testing.assert_array_equal(layer.data, objects)
    panel = widget.results.labels
    assert [row.name for row in panel.table.rows.rows] == ["Group 1", "Group 2"]
    panel.rename(1, "bright ones")
    panel.hide_label(2)
    assert list(groups.features["shown"]) == [True, True, False]
    panel.table.select([1, 2])
    panel.join()
    assert set(np.unique(groups.data)) == {0, 1}
    panel.undo()
    np.testing.assert_array_equal(np.unique(groups.data), [0, 1, 2])
    widget.panel.close_process()


def test_objects_of_another_shape_are_refused(viewer, cells):
    image, objects = cells
    viewer.add_image(image)
    viewer.add_labels(objects[:-1], name="objects")
    widget = GroupWidget(viewer)
    widget.objects.setCurrentText("objects")
    assert "(59, 75)" in widget.problem()
    widget.panel.close_process()


def test_a_second_grouping_keeps_the_first_column():
    groups = Groups(np.array([1, 2]), np.array([1, 2]), np.array([0.9, 0.8], np.float32))
    once = with_groups(pd.DataFrame(), groups)
    twice = with_groups(once, groups)
    assert {"index", "group", "group 2", "group confidence", "group 2 confidence"} == set(twice)


def test_strokes_name_the_labels_at_once(viewer, qtbot, cells):
    image, _ = cells
    viewer.add_image(image, name="cells")
    widget = KMeansWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.form.show_method(KMeans(n_labels=3, smoothing_px=0.0))
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    strokes = np.zeros(image.shape, np.int32)
    strokes[5, 5] = strokes[5, 20] = 7  # a dark and a bright square
    strokes[0] = 4
    viewer.add_labels(strokes, name="strokes")
    widget.results.strokes.setCurrentText("strokes")
    widget.results.name_button.click()
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    named = viewer.layers["cells · k-means classes named"].data
    assert set(np.unique(named)) == {4, 7}
    np.testing.assert_array_equal(named == 7, image != 100)
    np.testing.assert_array_equal(widget.model.predict(image), named)
    widget.panel.close_process()
