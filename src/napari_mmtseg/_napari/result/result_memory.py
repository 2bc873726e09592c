"""Remember what made the labels of a layer, so that a saved one finds it when it is opened again.

napari writes labels as a TIFF file that holds their pixels and nothing else, and tells nobody.
So what made them is kept by a digest of the pixels, wherever they are saved and under what name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.result.object_jobs import Origin
from napari_mmtseg._napari.result.provenance import remember
from napari_mmtseg._napari.result.result import Result
from napari_mmtseg._napari.result.state import ResultState, keep, kept_of
from napari_mmtseg.labels.legend import Legend
from napari_mmtseg.methods import method_from_dict
from napari_mmtseg.model import Model
from napari_mmtseg.model.library import digest_of

_SETTLED_MS = 500
_LARGEST = 2**28
"""Pixels; a digest of more takes seconds."""
_MOST_LABELS = 512


class RememberedResult(NamedTuple):
    """What was remembered of a layer's labels."""

    layer: Any
    about: dict[str, Any]
    model: Model | None


class ResultMemory(QObject):
    """Notes what made labels, and finds it again; in threads, since both read all pixels."""

    found = Signal(object)
    """A `RememberedResult`."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._due: dict[int, Callable[[], None]] = {}
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED_MS)
        self._settled.timeout.connect(self.settle)
        self._new: list[Any] = []
        self._arrived = QTimer(self)
        self._arrived.setSingleShot(True)
        self._arrived.setInterval(0)
        self._arrived.timeout.connect(self._look)

    def note(self, kept: ResultState, layer: Any, model: Model | None) -> None:
        """Remember what made a layer's labels, once it has been left alone for a moment."""
        data = layer.data
        record = layer.metadata.get(napari_layers.METADATA_KEY)
        if not (_sound(layer) and record and preferences.remembers()):
            return
        about = {"record": record, "legend": kept.shown.to_dict(), "kind": kept.kind}

        def work() -> None:
            with suppress(OSError, ValueError, MemoryError):  # it is no more than a help
                preferences.library().remember(digest_of(data), model, about)

        self._due[id(kept)] = work
        self._settled.start()

    def settle(self) -> None:
        """Remember now what is due."""
        due, self._due = list(self._due.values()), {}
        for work in due:
            threading.Thread(target=work).start()  # written to its end even if the window closes

    def look_for(self, layer: Any) -> None:
        """Look for what made the labels of a new layer, unless it is known in a moment."""
        self._new.append(layer)
        self._arrived.start()

    def _look(self) -> None:
        new, self._new = self._new, []
        for layer in new:
            self._look_up(layer)

    def _look_up(self, layer: Any) -> None:
        if not isinstance(layer, Labels) or kept_of(layer) is not None or not _sound(layer):
            return
        if napari_layers.kind_of(layer) == "training" or not preferences.remembers():
            return
        library, data = preferences.library(), layer.data
        if not library.knows_any():
            return

        def work() -> None:
            found = None
            with suppress(OSError, ValueError, MemoryError):
                found = library.recall(digest_of(data))
            if found is not None:
                with suppress(RuntimeError):  # the widget is gone
                    self.found.emit(RememberedResult(layer, dict(found[0]), found[1]))

        threading.Thread(target=work, daemon=True).start()


def restore(recalled: RememberedResult, images: list[Any]) -> ResultState | None:
    """Take a layer for the result that it is.

    Parameters
    ----------
    recalled : RememberedResult
    images : list of Image
        Those in the viewer, of which it may have been made.

    Returns
    -------
    ResultState or None
        None if what was remembered is not sound, or the layer is a result already.
    """
    layer, about, model = recalled
    record = about.get("record")
    if kept_of(layer) is not None or not isinstance(record, dict):
        return None
    try:
        method = method_from_dict(record["settings"])
        legend = Legend.from_dict(about["legend"])
        axes = str(record["axes"]).replace("S", "")
        named = list(record["image"])
    except (KeyError, TypeError, ValueError):
        return None
    # What the viewer shows has no axis of channels that were images of their own.
    axes = axes if len(axes) == layer.ndim else axes.replace("C", "")
    made_from = [one for name in named for one in images if one.name == name]
    origin = Origin(made_from if len(made_from) == len(named) else [], axes, method)
    kind, most = str(about.get("kind", "classes")), int(layer.data.max(initial=0))
    by_label = kind in ("classes", "groups") and 1 <= most <= _MOST_LABELS
    placed = napari_layers.placement(layer, "Y" * layer.ndim)
    own = layer.data.astype(np.int32) - 1 if by_label else None
    layer.metadata[napari_layers.METADATA_KEY] = record
    remember(model, {"made": record})
    result = Result(layer, model, placed, {}, origin, own=own)
    table = range(1, most + 1) if by_label else legend.label_of
    seen = replace(legend, label_of=tuple(table), cut=())
    kept = keep(result, legend=seen)
    if by_label:
        kept.remade_from, kept.tree = legend.label_of, None  # whose clusters are the labels by now
    return kept


def _sound(layer: Any) -> bool:
    return (
        not layer.multiscale
        and isinstance(layer.data, np.ndarray)
        and 0 < layer.data.size <= _LARGEST
    )
