"""Colour labels and uncertainty: show and hide by the colormap alone, the data stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.colormaps import Colormap, CyclicLabelColormap, DirectLabelColormap
from numpy.typing import NDArray

from napari_mmtseg.labels.legend import Colour, Legend
from napari_mmtseg.labels.palettes import colours_of

_CLEAR = (0.0, 0.0, 0.0, 0.0)
_OTHER = (0.6, 0.6, 0.6, 1.0)
"""Of numbers that the legend does not know, such as those painted by hand."""

DOUBT = Colormap([[1, 0.9, 0.3, 0], [1, 0.6, 0, 0.6], [1, 0.1, 0.1, 1]], name="uncertainty")
"""Clear where there is none, so that it can lie above the labels."""
_LEAST_DOUBT, _MUCH_DOUBT = 0.02, 0.3
_SAMPLE = 10**6


def cycle_of(palette: str) -> Any:
    """Return the colormap of labels that a palette is, or None for the viewer's own."""
    if not palette:
        return None
    colours = np.concatenate([np.zeros((1, 4), np.float32), colours_of(palette)])
    return CyclicLabelColormap(colors=colours, name=palette)


def colour_of(base: Any, legend: Legend, label: int) -> Colour:
    """Return a label's colour: the one chosen, or that of the colormap."""
    if label in legend.colours:
        return legend.colours[label]
    red, green, blue, opacity = (float(one) for one in np.ravel(base.map(int(label))))
    return red, green, blue, opacity


def colormap_of(
    base: Any, legend: Legend, label_of_piece: NDArray[np.integer] | None = None
) -> Any:
    """Return the colormap that shows what a legend shows.

    Parameters
    ----------
    base : napari colormap of labels
        Without anything hidden; returned if nothing is.
    legend : Legend
    label_of_piece : (P,) int array, optional
        The legend's label of each number in the layer, if these are not the labels themselves.
    """
    colours: dict[int | None, Any]
    if label_of_piece is None:
        if not legend.hidden and not legend.colours:
            return base
        colours = {label: colour_of(base, legend, label) for label in legend.shown}
        colours |= dict.fromkeys(legend.hidden, _CLEAR)
        return DirectLabelColormap(color_dict={**colours, 0: _CLEAR, None: _OTHER})
    if not legend.hidden:
        return base
    numbers = np.flatnonzero(np.isin(label_of_piece, legend.shown))
    colours = dict(zip(numbers.tolist(), base.map(numbers.astype(np.int32)), strict=True))
    return DirectLabelColormap(color_dict=colours | {0: _CLEAR, None: _CLEAR})


def highest(uncertainty: Any) -> float:
    """Return what all but one in a thousand of the pixels are below, from which colours are full.

    Networks that have learned from each other differ by a tenth or two, seldom by more.
    """
    if not isinstance(uncertainty, np.ndarray):
        return _MUCH_DOUBT  # lazy: nothing is computed for it
    step = max(1, uncertainty.size // _SAMPLE)
    return max(_LEAST_DOUBT, float(np.percentile(uncertainty.reshape(-1)[::step], 99.9)))
