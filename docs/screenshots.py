"""Take the screenshots of the docs from the real window, so that they cannot go stale."""

from pathlib import Path

from napari_mmtseg._napari.demo import open_widget, wait

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Segment each sample and save the window."""
    for sample in ("nuclei", "tissue"):
        take(sample)


def take(sample: str) -> None:
    """Segment a sample and save the window."""
    viewer, widget = open_widget(sample)
    widget.run()
    wait(lambda: not widget.running)
    viewer.window.screenshot(str(IMAGES / f"{sample}.png"), canvas_only=False)
    viewer.close()


if __name__ == "__main__":
    main()
