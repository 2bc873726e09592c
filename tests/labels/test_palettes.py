"""The colour-blind tell the labels of a palette apart."""

from itertools import combinations

import numpy as np
import pytest
from skimage.color import rgb2lab

from napari_mmtseg.labels.legend import Legend
from napari_mmtseg.labels.palettes import PALETTES, colours_of

SEEN = {  # of linear red, green and blue; Machado, Oliveira and Fernandes, 2009, severity 1
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def seen(colours, matrix):
    """Return what remains of colours (n, 3) to who sees like that."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(matrix), 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def nearest(colours):
    """Return by how much the two that are most alike differ, in CIE-LAB."""
    lab = rgb2lab(colours[None])[0]
    return min(np.linalg.norm(a - b) for a, b in combinations(lab, 2))


@pytest.mark.parametrize("blindness", SEEN)
@pytest.mark.parametrize("palette", PALETTES)
def test_no_two_colours_of_a_palette_look_alike(palette, blindness):
    own = colours_of(palette)[: len(PALETTES[palette].split()), :3].astype(float)
    assert nearest(seen(own, SEEN[blindness])) > 10
    red_and_green = np.array([[0.85, 0.35, 0.1], [0.5, 0.55, 0.1]])
    assert nearest(seen(red_and_green, SEEN["deuteranopia"])) < 10, "the measure sees nothing"


@pytest.mark.parametrize("palette", PALETTES)
def test_labels_beyond_the_palette_are_lighter_or_darker(palette):
    colours = colours_of(palette)[:, :3]
    count = len(PALETTES[palette].split())
    light = rgb2lab(colours[None].astype(float))[0, :, 0].reshape(3, count)
    assert (light[1] > light[0]).all()
    assert (light[2] < light[0]).all()
    assert len(np.unique(colours, axis=0)) == 3 * count


def test_a_legend_keeps_its_palette_whatever_is_done_with_labels():
    legend = Legend.of([1, 2, 3]).painted("Tol")
    assert legend.joined([1, 2]).palette == "Tol"
    assert legend.recut([1, 1, 2], [5, 5, 5]).palette == "Tol"
    assert Legend.from_dict(legend.to_dict()) == legend
    older = legend.to_dict()
    del older["palette"]
    assert Legend.from_dict(older).palette == ""
    with pytest.raises(ValueError, match="Okabe-Ito, Tol"):
        legend.painted("jet")
