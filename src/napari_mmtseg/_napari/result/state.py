"""What the window knows of each result, kept with its layer so that it outlives the widget."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.colours import colour_of, cycle_of
from napari_mmtseg._napari.result.label_counts import ClusterCounts, groups_in
from napari_mmtseg._napari.result.labels_table import Row
from napari_mmtseg.labels.history import History
from napari_mmtseg.labels.legend import Legend, Tree
from napari_mmtseg.model import Model
from napari_mmtseg.prediction.label_image import Segmentation
from napari_mmtseg.prediction.label_table import tree_of

if TYPE_CHECKING:
    from napari_mmtseg._napari.result.result import Result

_WHOLE = 1
"""The label of a legend of one row, which stands for all objects or areas."""


@dataclass(eq=False)
class ResultState:
    """A result with its legend and the steps that led there; the layer is not held."""

    result: Result
    """With no layer; `of` gives it."""
    kind: str
    """classes, areas, objects or groups."""
    history: History[Legend]
    base: Any
    """The viewer's colormap of the layer, without anything hidden."""
    shown: Legend
    """What the layer shows: in a large one, the present legend is on its way there."""
    tree: Tree | None = None
    counted: ClusterCounts | None = None
    painted: bool = False
    """Whether the layer was changed by hand since its labels were looked at."""
    ours: bool = False
    """Whether the layer is being changed by us."""
    beside: dict[str, Any] = field(default_factory=dict)
    """Layers that show what the result is unsure of."""
    place: weakref.ref[Labels] | None = None
    _cycles: dict[str, Any] = field(default_factory=dict)
    remade_from: tuple[int, ...] | None = None
    """The label of each cluster of the model in labels that were read again: these stand for
    clusters in the legend."""

    @property
    def layer(self) -> Any:
        """The layer, or None if there is none any more."""
        return None if self.place is None else self.place()

    @property
    def legend(self) -> Legend:
        """The present legend."""
        return self.history.state

    def colours(self, legend: Legend) -> Any:
        """Return the colormap without anything hidden: that of the palette, or the viewer's."""
        if not legend.palette:
            return self.base
        if legend.palette not in self._cycles:  # napari changes a colormap, so each has its own
            self._cycles[legend.palette] = cycle_of(legend.palette)
        return self._cycles[legend.palette]

    @property
    def can_join(self) -> bool:
        """Whether labels can be joined: the clusters that they are made of are known."""
        return self.result.relabels and self.kind in ("classes", "areas", "groups")

    @property
    def joins_slowly(self) -> bool:
        """Whether joining labels takes a run, in which all of the image is labelled anew."""
        lazy = self.result.lazy
        return self.can_join and lazy is not None and not lazy.of_clusters

    @property
    def label_of_piece(self) -> NDArray[np.int64] | None:
        """The legend's label of each number in the layer, if these are not the labels."""
        if self.kind in ("classes", "groups"):
            return None
        if self.counted is not None and self.counted.label_of_piece is not None:
            return self.counted.label_of_piece
        return np.zeros(1, np.int64)

    def is_of(self, found: Segmentation) -> bool:
        """Tell whether the result has the clusters of another."""
        return self.result.whole is not None and self.result.whole.clusters is found.clusters

    def table(self) -> tuple[int, ...]:
        """Return the label of each cluster of the model."""
        labels = self.shown.label_of
        if self.remade_from is None:
            return labels
        return tuple(labels[one - 1] if one <= len(labels) else one for one in self.remade_from)

    @property
    def most_labels(self) -> int:
        """Return how many labels there can be; 0 if labels cannot be cut anew."""
        model = self.result.model
        if model is None or not self.can_join:
            return 0
        return model.n_clusters if self.remade_from is None else len(set(self.remade_from))

    def recut(self, count: int) -> Legend:
        """Return the legend of so many labels.

        Of labels that were read again each takes the label that most of its clusters get: which
        pixel was of which cluster is not known any more.
        """
        model = self.result.model
        assert model is not None
        cut, sizes = model.label_of(count), model.sizes
        if self.remade_from is None:
            return self.legend.recut(cut, sizes.tolist())
        made_from = np.array(self.remade_from)
        table, pixels = [], []
        for own in range(1, len(self.legend.label_of) + 1):
            there = made_from == own
            votes = np.bincount(cut[there], sizes[there] + 1) if there.any() else np.zeros(1)
            table.append(int(votes.argmax()) if there.any() else int(cut.max()) + own)
            pixels.append(int(votes.sum()))
        return self.legend.recut(table, pixels)

    def told_model(self) -> Model | None:
        """Return the model with the labels and names that are shown; itself if they are its own."""
        model, table = self.result.model, self.table()
        if model is None or self.kind not in ("classes", "areas"):
            return model
        same = np.array_equal(table, model.labels) and self.shown.names == model.names
        if same or len(table) != len(model.labels):
            return model
        return model.with_labels(table, self.shown.names)

    def regroup(self, labels: Iterable[int]) -> None:
        """Begin anew with other labels of the same objects."""
        self.history = History(Legend.of(labels, palette=self.legend.palette))
        self.shown, self.counted = self.legend, None

    def rows(self, legend: Legend | None = None) -> list[Row]:
        """Tell of each label of a legend, by default of the present one."""
        legend, counted = legend or self.legend, self.counted
        pieces = self.label_of_piece
        told = None if counted is None else counted.sums.by_label(legend)
        several = tuple(colour_of(self.colours(legend), legend, one) for one in range(1, 5))
        rows = []
        for i, label in enumerate(legend.labels):
            if self.result.own is not None and told is not None and not told.pixels[i]:
                continue  # a number between others that nothing bears
            row = Row(
                label=label,
                name=self.name(label, legend),
                colour=colour_of(self.colours(legend), legend, label) if pieces is None else None,
                colours=several if pieces is not None else (),
                shown=label not in legend.hidden,
            )
            if told is not None and counted is not None:
                means = None if told.means is None else [*map(float, told.means[i])]
                row = row._replace(
                    share=float(told.share[i]),
                    pixels=float(told.pixels[i]),
                    pieces=None if pieces is None else int((pieces == label).sum()),
                    means=means,
                    tint=None if means is None else counted.tint(means),
                    confidence=None if told.confidence is None else float(told.confidence[i]),
                )
            rows.append(row)
        return rows

    def name(self, label: int, legend: Legend) -> str:
        """Return what a label is called; those of a single row by what they are."""
        if self.kind in ("objects", "areas") and len(legend.labels) == 1:
            return legend.names.get(label, self.kind.capitalize())
        if self.kind in ("groups", "objects"):
            return legend.names.get(label, f"Group {label}")
        return legend.name(label)


_KEPT: weakref.WeakKeyDictionary[Labels, ResultState] = weakref.WeakKeyDictionary()


def keep(result: Result, *, legend: Legend | None = None) -> ResultState:
    """Keep a result with its layer."""
    layer = result.layer
    kind = napari_layers.kind_of(layer) or "classes"
    whole = legend or first_legend(result, kind, layer)
    model = result.model
    kept = ResultState(
        result._replace(layer=None),
        kind,
        History(whole),
        layer.colormap,
        whole,
        tree=None if model is None or kind not in ("classes", "areas") else tree_of(model),
    )
    real = getattr(layer, "__wrapped__", layer)  # napari hands plugins a proxy
    kept.place = weakref.ref(real)
    _KEPT[real] = kept
    return kept


def kept_of(layer: Any) -> ResultState | None:
    """Return what is known of a layer, or None."""
    return _KEPT.get(layer) if isinstance(layer, Labels) else None


def results_of(layers: Sequence[Any]) -> list[Labels]:
    """Return those layers of which something is known, the newest last."""
    order = list(_KEPT)
    return [one for one in order if one in layers]


def first_legend(result: Result, kind: str, layer: Any) -> Legend:
    """Return the legend that a result begins with."""
    model, palette = result.model, preferences.palette()
    table: Iterable[int]
    if kind == "objects":
        groups = groups_in(layer)
        table = [_WHOLE] if groups is None else range(1, int(groups.max()) + 1)
        return Legend.of(table, palette=palette)
    if model is not None and kind in ("classes", "areas"):
        return Legend.of(model.label_of(), model.names, palette)
    if result.clusters is not None:
        table = range(1, max(2, int(result.clusters.max()) + 2))
        return Legend.of(table, palette=palette)
    return Legend.of([_WHOLE], palette=palette)
