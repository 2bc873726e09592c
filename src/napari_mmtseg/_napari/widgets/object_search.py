"""Find the objects or areas of a result anew, in its layer: a job in which nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.channel_axis import laid_out, pixel_of, widened
from napari_mmtseg._napari.layers.lazy_layers import LazyLayers
from napari_mmtseg._napari.process.messages import Done, LazyTraining, View
from napari_mmtseg._napari.result.layer_update import ours
from napari_mmtseg._napari.result.object_jobs import (
    Origin,
    object_job,
    summary,
    view_job,
    with_diameter,
)
from napari_mmtseg._napari.result.panel import ResultPanel
from napari_mmtseg._napari.result.provenance import remember
from napari_mmtseg._napari.result.result import Result
from napari_mmtseg._napari.result.state import ResultState
from napari_mmtseg._napari.run.run_panel import RunPanel
from napari_mmtseg.prediction.label_image import Segmentation
from napari_mmtseg.system.error_text import error_text

if TYPE_CHECKING:
    import napari

_STEADY_MS = 400


class ObjectSearchAgain(QObject):
    """Finds objects of another diameter or label anew, and the joined areas of lazy results.

    Parameters
    ----------
    viewer : napari.Viewer
    panel : RunPanel
        Runs the jobs.
    results : ResultPanel
    parent : QObject
    """

    began = Signal()

    def __init__(
        self, viewer: napari.viewer.Viewer, panel: RunPanel, results: ResultPanel, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer, self._panel, self._results = viewer, panel, results
        self._parting: tuple[Result, Origin] | None = None
        self._joining: ResultState | None = None
        self._wanted: ResultState | None = None
        self._steady = QTimer(self)  # until a slider has come to rest
        self._steady.setSingleShot(True)
        self._steady.setInterval(_STEADY_MS)
        self._steady.timeout.connect(self._join)
        results.areas_wanted.connect(self._want_areas)

    def part(self, *, diameter: float = 0.0, at: tuple[int, ...] | None = None) -> None:
        """Find the objects of the result shown anew.

        Parameters
        ----------
        diameter : float
            In pixels; 0 for as wide as measured.
        at : tuple of int, optional
            Where one is, in pixels along the axes of the layer.
        """
        result = self._results.result
        if result is None or not result.parts or self._panel.running:
            return
        try:
            if result.lazy is not None:
                order = result.lazy.order
                place = None if at is None else pixel_of(at, result.origin.axes)
                model = with_diameter(order.model, diameter)
                job = view_job(model, order, self._view_of(result), place)
            else:
                assert result.whole is not None
                job = object_job(result.whole, result.origin, diameter=diameter, at=at)
        except (ValueError, MemoryError) as error:
            self._panel.fail(error_text(error))
            return
        self._parting = result, result.origin._replace(at=at or result.origin.at)
        self._panel.start(job)
        self.began.emit()

    def take(self, done: Done, lazy: LazyLayers) -> bool:
        """Show what a job has found, if it was one of these."""
        object_job, joining, result = self._parting, self._joining, done.result
        self._parting = self._joining = None
        if isinstance(result, LazyTraining) and joining is not None:
            self._show_areas(result, joining, lazy)
        elif isinstance(result, LazyTraining) and object_job is not None:
            self._show_lazy(result, *object_job, lazy)
        elif isinstance(result, Segmentation) and object_job is not None:
            self._show_whole(done, *object_job)
        else:
            return False
        return True

    def drop(self) -> None:
        """Stay with what is shown, since a job was discarded or has failed."""
        joining = self._joining
        self._parting = self._joining = None
        if joining is not None:
            self._results.stay(joining)

    def _want_areas(self, kept: ResultState) -> None:
        self._wanted = kept
        self._steady.start()

    def _join(self) -> None:
        """Label all of a lazy image anew, for the areas that the legend of its result asks for."""
        kept, self._wanted = self._wanted, None
        if kept is None or kept.result.lazy is None or kept.legend.label_of == kept.shown.label_of:
            return
        if kept.layer is None or self._panel.running:
            self._results.stay(kept)
            return
        order = kept.result.lazy.order
        self._joining = kept
        model = order.model.with_labels(kept.legend.table())
        self._panel.start(view_job(model, order, self._view_of(kept.result)))
        self.began.emit()

    def _view_of(self, result: Result) -> View:
        layers, axes = result.origin.layers, result.origin.axes
        return napari_layers.view_of(self._viewer, layers[0], axes)

    def _show_areas(self, found: LazyTraining, kept: ResultState, lazy: LazyLayers) -> None:
        layer, before = kept.layer, kept.result.lazy
        if layer not in self._viewer.layers or before is None:
            return
        with ours(kept):
            made = lazy.renew(found, before.order._replace(model=found.model), layer)
        kept.result = kept.result._replace(lazy=made)
        self._results.show_joined(kept)

    def _show_lazy(
        self, found: LazyTraining, before: Result, origin: Origin, lazy: LazyLayers
    ) -> None:
        layer = before.layer
        if before.lazy is None or layer not in self._viewer.layers:
            return
        made = lazy.renew(found, before.lazy.order._replace(model=found.model), layer)
        changes = {"settings": found.model.method.to_dict(), "object_at": origin.at}
        record = layer.metadata[napari_layers.METADATA_KEY] | changes
        layer.metadata[napari_layers.METADATA_KEY] = record
        self._results.show_result(before._replace(model=found.model, lazy=made, origin=origin))
        remember(found.model, {"made": record})

    def _show_whole(self, done: Done, before: Result, origin: Origin) -> None:
        assert isinstance(done.result, Segmentation)
        assert before.whole is not None
        assert done.shown is not None
        parted = laid_out(done.result, origin.axes)
        shown = done.shown._replace(labels=widened(done.shown.labels, origin.axes))
        kept = ("clusters", "uncertainty", "voters")
        same = {name: getattr(before.whole, name) for name in kept}
        self._results.show_parted(replace(parted, **same), shown, origin)
        now = self._results.result
        if now is not None:
            remember(now.model, {"made": now.layer.metadata[napari_layers.METADATA_KEY]})
        self._panel.say(summary(shown, origin, done.seconds))
