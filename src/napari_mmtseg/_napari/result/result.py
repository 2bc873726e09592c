"""A result in the viewer: its layer, its model, and what they were made from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_mmtseg._napari.layers.channel_axis import laid, narrowed
from napari_mmtseg._napari.lazy.planes import LazyLabels
from napari_mmtseg._napari.lazy.tiles import LazyTiledLabels
from napari_mmtseg._napari.process.layer_pixels import take
from napari_mmtseg._napari.process.store_job import StoreJob
from napari_mmtseg._napari.result.object_jobs import Origin
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.model import Model
from napari_mmtseg.prediction.label_image import Segmentation


class Result(NamedTuple):
    """A result in the viewer."""

    layer: Labels
    model: Model | None
    placed: dict[str, Any]
    about: dict[str, Any]
    """What tells the image from others. JSON."""
    origin: Origin
    whole: Segmentation | None = None
    lazy: LazyLabels | LazyTiledLabels | None = None
    own: NDArray[np.integer[Any]] | None = None
    """The labels less 1, if no more is known than they."""

    @property
    def clusters(self) -> NDArray[np.integer[Any]] | None:
        """The cluster of each pixel, if it is known and in memory."""
        if self.whole is not None and self.whole.model is not None and self.whole.objects is None:
            clusters: NDArray[np.integer[Any]] = self.whole.clusters
            return clusters
        return self.own

    @property
    def relabels(self) -> bool:
        """Whether clusters can be given other labels."""
        return self.clusters is not None or self.lazy is not None

    @property
    def parts(self) -> bool:
        """Whether it holds objects that can be found anew, of another diameter or label."""
        if self.lazy is not None:
            return output_of(self.lazy.order.model.method) == "objects"
        return self.whole is not None and self.whole.objects is not None

    def clustered(self) -> Segmentation:
        """Return what labels are looked up in."""
        if self.whole is not None:
            return self.whole
        assert self.own is not None
        return Segmentation(self.own, None, self.origin.method, (-2, -1), self.model)

    def save(self, path: str, *, overwrite: bool) -> StoreJob:
        """Make the job that writes the labels shown.

        Raises
        ------
        MemoryError
            If there is no room for a copy.
        """
        kept = [i for i, axis in enumerate(laid(self.origin.axes)) if axis != "C"]
        scale = tuple(float(self.placed["scale"][i]) for i in kept)
        units = tuple(str(self.placed["units"][i]) for i in kept)
        told = set(scale) != {1.0} or set(units) != {"pixel"}
        place = {
            "scale": scale if told else None,
            "units": units,
            "translate": tuple(float(self.placed["translate"][i]) for i in kept),
        }
        axes = self.origin.axes.replace("C", "")
        if self.lazy is not None:
            order, label_of = self.lazy.order, self.lazy.label_of
            shape = tuple(self.lazy.shape[i] for i in kept)
            return StoreJob(path, overwrite, axes, shape, place, self.about, None, order, label_of)
        labels = narrowed(self.layer.data, laid(self.origin.axes))
        return StoreJob(
            path, overwrite, axes, labels.shape, place, self.about, take(labels, self.layer.name)
        )
