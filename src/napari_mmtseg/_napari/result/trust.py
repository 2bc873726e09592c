"""Show where a result is not to be trusted: its uncertainty, and where the networks disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.result.state import ResultState

if TYPE_CHECKING:
    import napari

_CONTOUR_PX = 2
_COLOUR = "#ff2fd6"  # seen on light tissue and on dark fluorescence


class TrustRow(QWidget):
    """Two buttons that show and hide what a result is unsure of, above its labels."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._kept: ResultState | None = None
        self.doubt_button = _toggle("Uncertainty", "How far the networks disagree, 0 to 1.")
        self.contour_button = _toggle(
            "Disagreement", "An outline around the pixels to which the networks give other labels."
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(QLabel("Trust"))
        for button in (self.doubt_button, self.contour_button):
            row.addWidget(button, 1)
        self.doubt_button.clicked.connect(lambda on: self._show("doubt", on))
        self.contour_button.clicked.connect(lambda on: self._show("contour", on))
        for event in (viewer.layers.events.removed, viewer.layers.events.inserted):
            event.connect(self._look)

    def show_result(self, kept: ResultState | None) -> None:
        """Offer what is known of a result."""
        self._kept = kept
        self.setVisible(kept is not None and doubts_of(kept) is not None)
        self._look()

    def follow(self, kept: ResultState) -> None:
        """Let the outline be about the labels that a result has by now."""
        outline = kept.beside.get("contour")
        if outline is not None and outline in self.viewer.layers:
            outline.data = apart_in(kept)

    def _show(self, what: str, on: bool) -> None:
        kept = self._kept
        layer = None if kept is None else kept.layer
        if kept is None or layer is None:
            return
        shown = kept.beside.get(what)
        if shown is None or shown not in self.viewer.layers:
            if not on:
                return
            make = {"doubt": uncertainty_of, "contour": contour_of}[what]
            shown = kept.beside[what] = make(kept, layer)
            add_above(self.viewer, shown, layer)
            shown.events.visible.connect(self._look)
        shown.visible = on

    def _look(self) -> None:
        """Let the buttons be down where a layer is seen."""
        for what, button in (("doubt", self.doubt_button), ("contour", self.contour_button)):
            shown = None if self._kept is None else self._kept.beside.get(what)
            seen = shown is not None and shown in self.viewer.layers and shown.visible
            button.setChecked(seen)


def doubts_of(kept: ResultState) -> Any:
    """Return the uncertainty of a result in memory, or None."""
    return None if kept.result.whole is None else kept.result.whole.uncertainty


def uncertainty_of(kept: ResultState, layer: Any) -> Any:
    """Make the layer of a result's uncertainty."""
    return napari_layers.uncertainty_layer(
        doubts_of(kept), layer.name, kept.result.placed, dict(layer.metadata)
    )


def apart_in(kept: ResultState) -> NDArray[np.uint8]:
    """Return 1 where two networks give other labels, or one an object and the other none."""
    whole = kept.result.whole
    assert whole is not None
    assert whole.voters is not None
    table = np.array(kept.table() if whole.objects is None else whole.model.objects, np.int64)
    first, second = (np.append(table, 0)[one] for one in whole.voters)  # the last is for -1
    found: NDArray[np.uint8] = (first != second).astype(np.uint8)
    return found


def contour_of(kept: ResultState, layer: Any) -> Labels:
    """Make the layer that outlines where the networks disagree."""
    outline = Labels(
        apart_in(kept),
        name=f"{layer.name} disagreement",
        colormap=DirectLabelColormap(color_dict={0: "transparent", 1: _COLOUR, None: _COLOUR}),
        opacity=1.0,
        metadata={napari_layers.METADATA_KEY: {"disagreement": layer.name}},
        **kept.result.placed,
    )
    outline.contour = _CONTOUR_PX
    outline.editable = False
    return outline


def add_above(viewer: napari.viewer.Viewer, layer: Any, below: Any) -> None:
    """Add a layer right above another; what was selected stays so."""
    active = viewer.layers.selection.active
    napari_layers.show(viewer, layer)
    if below in viewer.layers:
        viewer.layers.move(len(viewer.layers) - 1, viewer.layers.index(below) + 1)
    if active is not None and active in viewer.layers:
        viewer.layers.selection.active = active


def _toggle(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    button.setCheckable(True)
    return button
