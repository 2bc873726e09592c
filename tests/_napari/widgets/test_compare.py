"""The Compare widget in a real viewer."""

import csv
import time

import dask.array
import numpy as np
import pytest

from napari_mmtseg._napari.widgets.compare import CompareWidget
from napari_mmtseg._napari.widgets.label_comparison import compare, errors


@pytest.fixture
def truth():
    truth = np.zeros((20, 30), np.int32)
    truth[4:12, 4:12] = 1
    truth[10:18, 18:28] = 2
    return truth


@pytest.fixture
def widget(viewer):
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget)
    return widget


def finished(widget, qtbot):
    qtbot.waitUntil(lambda: widget.comparison is not None, timeout=20_000)


def test_renumbered_labels_agree_entirely(truth):
    renumbered = np.array([7, 3, 5])[truth]
    comparison = compare(renumbered, truth)
    assert comparison.scores["hungarian_accuracy"] == 1
    np.testing.assert_array_equal(comparison.matched, truth)
    assert [(row.label, row.partner, row.iou) for row in comparison.rows] == [
        (7, 0, 1),
        (5, 2, 1),
        (3, 1, 1),
    ]


def test_errors_tell_missed_from_extra(truth):
    result = truth.copy()
    result[4:6, 4:12] = 0
    result[0, 0] = 1
    found = errors(compare(result, truth).matched, truth)
    assert (found[4:6, 4:12] == 2).all()
    assert found[0, 0] == 3
    assert (found[6:12, 4:12] == 1).all()
    assert found[19, 0] == 0


def test_a_label_without_a_partner_is_an_error(truth):
    result = truth.copy()
    result[0:2] = 9
    comparison = compare(result, truth)
    assert next(row for row in comparison.rows if row.label == 9).partner is None
    assert (errors(comparison.matched, truth)[0:2] == 3).all()


def test_comparing_shows_scores_errors_and_matched_colours(viewer, widget, qtbot, truth, tmp_path):
    layer = viewer.add_labels(truth, name="truth", scale=(2, 2))
    viewer.add_labels(np.array([2, 1, 3])[truth], name="result", scale=(2, 2))
    assert widget.truth.currentText() == "truth"
    assert widget.result.currentText() == "result"
    widget.compare_button.click()
    finished(widget, qtbot)
    assert widget.scores.item(0, 1).text() == "1.000"
    widget.error_button.click()
    assert set(np.unique(viewer.layers["result errors"].data)) == {0, 1}
    widget.colours_button.click()
    matched = viewer.layers["result in true colours"]
    np.testing.assert_array_equal(matched.data, truth)
    np.testing.assert_array_equal(matched.scale, layer.scale)
    widget.export(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert ["hungarian_accuracy", "1.0"] in rows


def test_the_truth_can_be_taken_as_foreground(viewer, widget, qtbot, truth):
    viewer.add_labels(truth, name="truth")
    viewer.add_labels((truth != 0) + 1, name="result")
    widget.foreground.setChecked(True)
    widget.compare_button.click()
    finished(widget, qtbot)
    assert widget.comparison.scores["hungarian_accuracy"] == 1


@pytest.fixture
def found(truth):
    """Return three squares found where the truth has four: one over two, one missed, one extra."""
    truth[:3, 20:23], truth[:3, 23:26] = 3, 4
    found = np.zeros_like(truth)
    found[truth == 1] = 8
    found[(truth == 3) | (truth == 4)] = 5
    found[16:19, 2:5] = 6
    return found


def test_objects_are_matched_missed_extra_or_merged(found, truth):
    comparison = compare(found, truth, kind="automatic")
    marks = comparison.errors
    assert (marks[truth == 1] == 1).all()
    assert (marks[truth == 2] == 2).all()
    assert (marks[found == 6] == 3).all()
    assert (marks[found == 5] == 4).all()
    assert (marks[(found == 0) & (truth == 0)] == 0).all()
    # One of the two that are merged is its pair, at an IoU of exactly half.
    assert {row.label: row.meaning for row in comparison.rows if row.label is not None} == {
        8: "matched",
        6: "extra",
        5: "merged",
    }
    missed = [row for row in comparison.rows if row.label is None]
    assert {row.partner for row in missed} in ({2, 3}, {2, 4})
    assert all(row.pixels == (truth == row.partner).sum() for row in missed)
    scores = comparison.scores
    assert scores["object_f1_50"] == pytest.approx(4 / 7)
    assert scores["object_f1_75"] == pytest.approx(2 / 7)
    assert [scores[f"n_{one}"] for one in ("objects", "true", "matched", "merged")] == [3, 4, 2, 1]


def test_objects_in_true_colours_stay_apart(found, truth):
    matched = compare(found, truth, kind="objects").matched
    assert (matched[truth == 1] == 1).all()
    assert (matched[found == 0] == 0).all()
    assert set(np.unique(matched[found == 6])) == {5}  # beyond the ids of the truth
    assert len(np.unique(matched)) == len(np.unique(found))


def test_classes_in_many_pieces_are_not_taken_for_objects(found, truth):
    classes = (truth != 0) + (truth > 2)
    assert "object_f1_50" not in compare(classes, truth, kind="automatic").scores
    assert "object_f1_50" not in compare(found + 1, truth, kind="automatic").scores
    assert "object_f1_50" in compare(classes, truth, kind="objects").scores
    assert "object_f1_50" not in compare(found, truth, kind="classes").scores
    assert "object_f1_50" not in compare(found, truth, kind="objects", foreground=True).scores


def test_comparing_objects_shows_their_scores_and_draws_them(viewer, widget, qtbot, found, truth):
    viewer.add_labels(truth, name="truth")
    viewer.add_labels(found, name="result")
    widget.compare_button.click()
    finished(widget, qtbot)
    shown = {
        widget.scores.item(row, 0).text(): widget.scores.item(row, 1).text()
        for row in range(widget.scores.rowCount())
    }
    assert shown["F1, IoU 0.5"] == "0.571"
    assert shown["Objects missed"] == "2"
    assert shown["Covering"] == f"{widget.comparison.scores['covering']:.3f}"
    told = {widget.labels.item(row, 4).text() for row in range(widget.labels.rowCount())}
    assert not widget.labels.isColumnHidden(4)
    assert told == {"matched", "missed", "extra", "merged"}
    widget.error_button.click()
    layer = viewer.layers["result errors"]
    assert set(np.unique(layer.data)) == {0, 1, 2, 3, 4}
    assert list(layer.features["meaning"]) == ["matched", "missed", "extra", "merged"]
    colours = [tuple(layer.get_color(mark)) for mark in (1, 2, 3, 4)]
    assert len(set(colours)) == 4


def test_the_choice_of_classes_is_kept_to(viewer, widget, qtbot, found, truth):
    viewer.add_labels(truth, name="truth")
    viewer.add_labels(found, name="result")
    widget.kind.setCurrentText("classes")
    widget.compare_button.click()
    finished(widget, qtbot)
    assert widget.scores.item(0, 0).text() == "Accuracy, one to one"
    assert widget.labels.isColumnHidden(4)


def test_layers_that_cannot_be_compared_say_why(viewer, widget, truth):
    assert not widget.compare_button.isEnabled()
    assert "two Labels layers" in widget.status.text()
    viewer.add_labels(truth, name="truth")
    viewer.add_labels(truth[:-1], name="smaller")
    assert "one shape" in widget.status.text()
    assert not widget.compare_button.isEnabled()


def test_lazy_layers_are_read_in_a_thread(viewer, widget, qtbot, truth):
    def slowly(block):
        time.sleep(0.5)
        return block

    lazy = dask.array.from_array(truth).map_blocks(slowly, dtype=truth.dtype)
    viewer.add_labels(truth, name="truth")
    viewer.add_labels(lazy, name="result")
    qtbot.wait(100)
    start = time.perf_counter()
    widget.compare_button.click()
    assert time.perf_counter() - start < 0.4
    finished(widget, qtbot)
    assert widget.comparison.scores["hungarian_accuracy"] == 1
