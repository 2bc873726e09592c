"""The Folders widget in a real viewer, doing files in the training process."""

import time

import numpy as np
import pytest
import tifffile

from napari_mmtseg._napari.widgets.folders import FoldersWidget
from napari_mmtseg.cli import main
from napari_mmtseg.images.image_files import open_image
from napari_mmtseg.methods import KMeans

SECONDS = 120_000


@pytest.fixture
def folder(tmp_path, spots):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        tifffile.imwrite(images / f"{number}.tif", np.roll(spots, 7 * number, axis=1))
    (images / "broken.tif").write_bytes(b"no image at all")
    return images


@pytest.fixture
def widget(viewer, qtbot):
    _, widget = viewer.window.add_plugin_dock_widget("napari-mmtseg", "Folders")
    yield widget
    widget.panel.close_process()


def run(widget, qtbot):
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)
    model = widget.rows
    return {model.sources[row].name: model.outcome(row).state for row in range(model.rowCount())}


def choose(widget, folder, results):
    widget.sources.setText(str(folder))
    widget.results.setText(str(results))
    choice = widget.methods.method_choice
    choice.setCurrentIndex(choice.findData("KMeans"))
    widget.methods.form.show_method(KMeans(n_labels=3))


def test_a_folder_gives_the_files_that_the_command_line_gives(
    viewer, widget, folder, tmp_path, qtbot, all_threads
):
    assert isinstance(widget, FoldersWidget)
    assert "Choose a folder" in widget.panel.run_button.toolTip()
    choose(widget, folder, tmp_path / "here")
    seen = []
    widget.rows.dataChanged.connect(lambda first, *_: seen.append(first.row()))
    states = run(widget, qtbot)
    assert states == {"0.tif": "done", "1.tif": "done", "2.tif": "done", "broken.tif": "failed"}
    assert len(seen) >= 8, "each is shown while it is worked on, and when it is done"
    row = [one.name for one in widget.rows.sources].index("broken.tif")
    assert "no TIFF file" in widget.rows.outcome(row).error
    assert "3 done" in widget.panel.status.text()

    there = tmp_path / "there"
    told = ["batch", str(folder), "-o", str(there), "--method", "KMeans", "--n-labels", "3"]
    assert main([*told, "--quiet", "--workers", "1"]) == 1
    for number in range(3):
        name = f"{number}_labels.tif"
        assert (tmp_path / "here" / name).read_bytes() == (there / name).read_bytes()

    assert set(run(widget, qtbot).values()) == {"kept", "failed"}
    widget.open_row(widget.rows.index(1, 0))
    labels = viewer.layers["1_labels.tif"].data
    np.testing.assert_array_equal(labels, open_image(tmp_path / "here" / "1_labels.tif").read())


def test_discarding_ends_the_processes_and_a_new_run_finishes(widget, folder, tmp_path, qtbot):
    import psutil

    choose(widget, folder, tmp_path / "results")
    widget.model.setCurrentIndex(widget.model.findData("each"))
    model = widget.rows
    widget.panel.run_button.click()
    qtbot.waitUntil(
        lambda: any(model.outcome(row).state == "working" for row in range(4)), timeout=SECONDS
    )
    child = widget.panel.process._child.process.pid
    family = psutil.Process(child).children(recursive=True)
    widget.panel.discard_button.click()
    assert not widget.running
    gone = time.monotonic() + 20
    while any(one.is_running() for one in family) and time.monotonic() < gone:
        qtbot.wait(100)
    assert not [one for one in family if one.is_running() and one.status() != "zombie"]
    states = run(widget, qtbot)
    assert set(states.values()) <= {"done", "kept", "failed"}
    assert states["broken.tif"] == "failed"


def test_a_name_that_is_not_there_is_said(widget, tmp_path):
    widget.sources.setText(str(tmp_path / "nothing"))
    widget.panel.run_button.click()
    assert not widget.running
    assert "There is no" in widget.panel.status.text()
