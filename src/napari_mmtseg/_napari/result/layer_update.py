"""Bring a result's layer to what its legend says: labels, colours, features and record."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.colours import colormap_of
from napari_mmtseg._napari.result.label_merge import LabelMerge, MergedLabels, merged_labels
from napari_mmtseg._napari.result.state import ResultState, keep
from napari_mmtseg.labels.history import History
from napari_mmtseg.labels.legend import Legend
from napari_mmtseg.system.error_text import error_text

if TYPE_CHECKING:
    import napari

AT_ONCE = 2**20
"""Pixels that are recoloured before the window goes on; more are left to a thread."""
_OURS = ("name", "shown", "confidence")


class LayerUpdate(QObject):
    """Changes layers to what their legends say, a large one in a thread."""

    applied = Signal(object)
    """The layer that shows the legend now."""
    areas_wanted = Signal(object)
    """All of a lazy image is to be labelled anew, for the areas of this `ResultState`."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._recolouring = LabelMerge(self)
        self._recolouring.made.connect(self._take)
        self._waiting: tuple[ResultState, Any, Legend] | None = None
        """What is under way."""
        self._next: tuple[ResultState, Any] | None = None
        """What was asked for meanwhile."""

    def apply(self, kept: ResultState, layer: Any) -> None:
        """Show what the legend of a result says in its layer."""
        legend = kept.legend
        if legend.label_of == kept.shown.label_of or not kept.result.relabels:
            self.finish(kept, layer)
            return
        if kept.joins_slowly:
            self.areas_wanted.emit(kept)
            return
        if kept.result.lazy is not None:
            kept.result.lazy.relabel(legend.table())
            layer.refresh(extent=False)
            layer.features = napari_layers.sample_features(kept.result.lazy)
            self.finish(kept, layer)
            return
        if self._recolouring.busy:
            self._next = kept, layer
            return
        kept.painted = False  # the labels are looked at from now on
        source = kept.result.clustered()
        asked = (source, layer.data, kept.shown.table(), legend.table())
        if source.clusters.size <= AT_ONCE:
            self._show(kept, layer, merged_labels(*asked), legend)
            return
        self._waiting = kept, layer, legend
        self._recolouring.start(*asked)

    def _take(self, made: MergedLabels | MemoryError) -> None:
        assert self._waiting is not None
        kept, layer, legend = self._waiting
        follows, self._waiting, self._next = self._next, None, None
        if layer not in self.viewer.layers:
            pass  # it was removed meanwhile
        elif isinstance(made, MemoryError):
            show_error(error_text(made))
            kept.history = History(kept.shown)
            self.applied.emit(layer)
        else:
            untouched = made.untouched and not kept.painted
            shown = self._show(kept, layer, made._replace(untouched=untouched), legend)
            if follows is not None and follows[0] is kept:
                follows = shown
        if follows is not None:
            self.apply(*follows)

    def _show(
        self, kept: ResultState, layer: Any, made: MergedLabels, legend: Legend
    ) -> tuple[ResultState, Any]:
        """Show labels that were made; returns where."""
        if made.untouched and layer.data is made.data:
            with ours(kept):
                layer.data = made.labels
        else:  # painted on: what the user made stays as it is
            kept, layer = self._beside(kept, layer, made.labels)
        kept.shown = legend
        if kept.counted is not None and made.label_of_piece is not None:
            kept.counted = kept.counted.with_pieces(made.label_of_piece)
        with ours(kept):
            size = made.labels.size
            layer.features = napari_layers.counts_table(made.present, made.pixels, size)
        if kept.legend.label_of == legend.label_of:
            self.finish(kept, layer)
        return kept, layer

    def _beside(self, old: ResultState, layer: Any, labels: Any) -> tuple[ResultState, Any]:
        """Show labels in a layer of their own, which takes the last step with it."""
        made = Labels(
            labels,
            name=layer.name,
            metadata=dict(layer.metadata),
            opacity=layer.opacity,
            **old.result.placed,
        )
        kept = keep(old.result._replace(layer=made), legend=old.shown)
        kept.history.step(old.legend)
        kept.counted, kept.base = old.counted, old.base
        old.history = History(old.shown)
        napari_layers.show(self.viewer, made)
        return kept, made

    def finish(self, kept: ResultState, layer: Any) -> None:
        """Dress a layer whose labels are those of its legend by now."""
        kept.shown = kept.legend
        dress(kept, layer)
        self.applied.emit(layer)


@contextlib.contextmanager
def ours(kept: ResultState) -> Iterator[None]:
    """Change a layer without taking that for the user's doing."""
    before, kept.ours = kept.ours, True
    try:
        yield
    finally:
        kept.ours = before


def dress(kept: ResultState, layer: Any) -> None:
    """Give a layer the colours, the features and the record of its legend; its data stay."""
    wanted = colormap_of(kept.colours(kept.shown), kept.shown, kept.label_of_piece)
    with ours(kept):
        if wanted is not layer.colormap:
            layer.colormap = wanted
        layer.features = described(layer.features, kept)
    record = layer.metadata.get(napari_layers.METADATA_KEY)
    if record is not None:
        layer.metadata[napari_layers.METADATA_KEY] = noted(record, kept)


def noted(record: Mapping[str, Any], kept: ResultState) -> dict[str, Any]:
    """Return a result's record with the labels that it shows, if they are not its model's own."""
    bare = {one: value for one, value in record.items() if one not in ("n_labels", "labels")}
    told, model, count = kept.told_model(), kept.result.model, len(kept.shown.labels)
    if told is None or model is None:
        return bare
    if kept.remade_from is None:
        if told is model:
            return bare
        if not told.names and np.array_equal(told.labels, model.label_of(count)):
            return bare | {"n_labels": count}
    names = {str(label): name for label, name in told.names.items()}
    labels = {"label_of": told.labels.tolist(), "names": names}
    return bare | {"n_labels": count, "labels": labels}


def described(features: pd.DataFrame, kept: ResultState) -> pd.DataFrame:
    """Return a layer's features with the name of each label, and what else is known of it."""
    if "index" not in features:
        return features
    numbers = features["index"].to_numpy(np.int64)
    pieces, legend = kept.label_of_piece, kept.shown
    if pieces is None:
        labels = numbers
    else:
        labels = np.where(numbers < len(pieces), pieces[np.minimum(numbers, len(pieces) - 1)], 0)
    known = {row.label: row for row in kept.rows(legend)}
    told = features.drop(columns=_ours(features))
    if legend.names or pieces is None:
        told["name"] = [known[one].name if one in known else "" for one in labels.tolist()]
    told["shown"] = [one not in legend.hidden for one in labels.tolist()]
    if pieces is None and kept.counted is not None:
        nothing = float("nan")
        for channel, name in enumerate(kept.counted.channels):
            means = [known[one].means if one in known else None for one in labels.tolist()]
            told[f"mean {name}".strip()] = [
                nothing if one is None else one[channel] for one in means
            ]
        sure = [known[one].confidence if one in known else None for one in labels.tolist()]
        if any(one is not None for one in sure):
            told["confidence"] = [nothing if one is None else one for one in sure]
    return told


def _ours(features: pd.DataFrame) -> list[str]:
    return [one for one in features if one in _OURS or one == "mean" or one.startswith("mean ")]
