"""Take the screenshots of the docs from the real window, so that they cannot go stale."""

from pathlib import Path

from napari_mmtseg._napari.demo import open_widget, run, wait

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Segment each sample and save the window."""
    for sample in ("nuclei", "tissue"):
        take(sample)
    take_comparison()


def take(sample: str) -> None:
    """Segment a sample and save the window."""
    viewer, widget = open_widget(sample)
    run(widget)
    viewer.window.screenshot(str(IMAGES / f"{sample}.png"), canvas_only=False)
    viewer.close()


def take_comparison() -> None:
    """Compare the nuclei found with their ground truth and save the window."""
    viewer, widget = open_widget("nuclei")
    run(widget)
    viewer.window.remove_dock_widget(widget)
    _, compare = viewer.window.add_plugin_dock_widget("napari-mmtseg", "Compare")
    compare.foreground.setChecked(True)
    compare.start()
    wait(lambda: compare.comparison is not None)
    compare.show_errors()
    viewer.window.screenshot(str(IMAGES / "compare.png"), canvas_only=False)
    viewer.close()


if __name__ == "__main__":
    main()
