"""Take the screenshots of the docs from the real window, so that they cannot go stale."""

import contextlib
import tempfile
from pathlib import Path

import napari
import tifffile
from qtpy.QtWidgets import QApplication

from napari_mmtseg._napari.demo import open_widget, run, wait
from napari_mmtseg.samples import nuclei_stack

IMAGES = Path(__file__).parent.absolute() / "images"


def main() -> None:
    """Segment each sample and save the window."""
    for sample in ("nuclei", "tissue"):
        take(sample)
    take_labels()
    take_comparison()
    take_objects()
    take_folders()


def take_labels() -> None:
    """Name, merge and hide labels of the tissue, and save the window."""
    viewer, widget = open_widget("tissue")
    run(widget)
    panel = widget.results.labels
    wait(lambda: panel.kept is not None and panel.kept.counted is not None)
    for label, name in ((1, "stroma"), (2, "epithelium"), (5, "nuclei")):
        panel.rename(label, name)
    panel.table.select([3, 4])
    panel.join()
    panel.hide_label(2)
    for _ in range(20):
        QApplication.processEvents()
    viewer.window.screenshot(str(IMAGES / "labels.png"), canvas_only=False, flash=False)
    viewer.close()


def take(sample: str) -> None:
    """Segment a sample and save the window."""
    viewer, widget = open_widget(sample)
    run(widget)
    panel = widget.results.labels
    wait(lambda: panel.kept is not None and panel.kept.counted is not None)
    for _ in range(20):  # the new rows are laid out
        QApplication.processEvents()
    viewer.window.screenshot(str(IMAGES / f"{sample}.png"), canvas_only=False, flash=False)
    viewer.close()


def take_comparison() -> None:
    """Compare the nuclei found with their ground truth and save the window."""
    viewer, widget = open_widget("nuclei")
    run(widget)
    viewer.window.remove_dock_widget(widget)
    _, compare = viewer.window.add_plugin_dock_widget("napari-mmtseg", "Compare")
    compare.start()
    wait(lambda: compare.comparison is not None)
    compare.show_errors()
    viewer.window.screenshot(str(IMAGES / "compare.png"), canvas_only=False, flash=False)
    viewer.close()


def take_objects() -> None:
    """Measure the nuclei of the ground truth, correct them, and save the window each time."""
    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    viewer.open_sample("napari-mmtseg", "nuclei")
    viewer.layers["nuclei truth"].visible = True
    _, measure = viewer.window.add_plugin_dock_widget("napari-mmtseg", "Measure")
    measure.start()
    wait(lambda: measure.measured is not None)
    measure.table.selectRow(8)
    wait(lambda: not viewer.layers["nuclei truth"].show_selected_label)
    viewer.window.screenshot(str(IMAGES / "measure.png"), canvas_only=False, flash=False)
    viewer.reset_view()
    viewer.window.remove_dock_widget(measure)
    _, correct = viewer.window.add_plugin_dock_widget("napari-mmtseg", "Correct objects")
    wait(lambda: correct.sifting.ready)
    correct.sliders.smallest.setValue(280)
    correct.use("delete")
    viewer.window.screenshot(str(IMAGES / "correct.png"), canvas_only=False, flash=False)
    viewer.close()


def take_folders() -> None:
    """Do a folder of planes, one of which cannot be read, and save the window."""
    stack, _ = nuclei_stack((12, 256, 256))
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        viewer = napari.Viewer()
        viewer.window.resize(1280, 900)
        _, widget = viewer.window.add_plugin_dock_widget("napari-mmtseg", "Folders")
        folder = Path("plate 1")
        folder.mkdir()
        for number, plane in enumerate(stack[2:10]):
            tifffile.imwrite(folder / f"well {number + 1}.tif", plane)
        (folder / "well 9.tif").write_bytes(b"cut off while it was copied")
        widget.sources.setText("plate 1")
        widget.results.setText("results")
        widget.run()
        wait(lambda: not widget.running)
        widget.open_row(widget.rows.index(3, 0))
        for _ in range(20):
            QApplication.processEvents()
        viewer.window.screenshot(str(IMAGES / "folders.png"), canvas_only=False, flash=False)
        viewer.close()


if __name__ == "__main__":
    main()
