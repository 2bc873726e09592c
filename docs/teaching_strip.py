"""Draw the film strip of the docs: an image and its labels after 0, 2, 4 and 8 strokes."""

import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_opening, gaussian_filter
from skimage.color import rgb2hed
from skimage.data import immunohistochemistry
from skimage.filters import threshold_otsu
from skimage.io import imsave
from skimage.segmentation import find_boundaries

from napari_mmtseg import MMT, train

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.quality.strokes import simulated

STRIP = Path(__file__).parent / "images" / "teaching.png"
COUNTS = (0, 2, 4, 8)
COLOURS = {1: (40, 90, 255), 2: (255, 200, 0)}


def main() -> None:
    """Write the strip: the user paints brown tissue as 2 and the rest as 1."""
    image = immunohistochemistry()
    brown = gaussian_filter(rgb2hed(image)[..., 2], 3)
    truth = 1 + binary_opening(brown > threshold_otsu(brown), iterations=3)
    panels = []
    for count in COUNTS:
        panel = image.copy()
        if count:
            strokes = simulated(truth, count, seed=1)
            labels = train(image, MMT(), axes="YXS", scribbles=strokes).predict(image, axes="YXS")
            for value, colour in COLOURS.items():
                tinted = 0.65 * panel[labels == value] + 0.35 * np.array(colour)
                panel[labels == value] = tinted.astype(np.uint8)
            panel[find_boundaries(labels, mode="inner")] = 255
            thick = gaussian_filter((strokes > 0).astype(float), 1) > 0.1
            nearest = np.where(gaussian_filter((strokes == 2).astype(float), 1) > 0.1, 2, 1)
            for value, colour in COLOURS.items():
                panel[thick & (nearest == value)] = colour
        panels.append(panel[::2, ::2])
    gap = np.full((len(panels[0]), 6, 3), 255, np.uint8)
    imsave(STRIP, np.hstack([part for panel in panels for part in (panel, gap)][:-1]))


if __name__ == "__main__":
    main()
