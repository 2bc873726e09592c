"""Label the planes that the window looks at, one by one, in the training process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg._napari.process.layer_pixels import Source
from napari_mmtseg._napari.process.pipe import Sender
from napari_mmtseg._napari.process.view_places import Places
from napari_mmtseg.images.frames import Frames, Region, grid
from napari_mmtseg.labels.pieces import TiledPieces
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.model import Model
from napari_mmtseg.prediction.labeller import Clusters, Labeller, TileCache
from napari_mmtseg.prediction.lazy_labels import Areas, Boxes, as_dask, boxes_of
from napari_mmtseg.system import memory
from napari_mmtseg.system.error_text import error_text

_SMALL_PLANE = 2**22
_PATIENCE_SECONDS = 3.0
_MANY = 4
"""Tiles so many times as large as a place are worth a draft of the place."""
_SOON_SECONDS = 0.5
"""Who gets the result within this time needs no draft, whose drawing would hold up the result."""


class ViewOrder(NamedTuple):
    """An image, and the model to look at it with."""

    number: int
    """What to call it in the other messages."""
    model: Model
    image: Source
    axes: str
    spacing: tuple[float, ...] | None = None
    mask: Source | None = None
    uncertain: bool = False
    """Whether the uncertainty of the model's own labels is wanted as well."""
    areas: TiledPieces | None = None
    """The areas, if the model's output is these."""

    def open(self) -> PlaneLabels:
        """Open the image; only the training process may call this."""
        mask = None if self.mask is None else self.mask.open()
        planes = PlaneLabels(
            self.model, self.image.open(), self.axes, self.spacing, mask, self.uncertain
        )
        if planes.areas is not None:
            planes.areas.pieces = self.areas
        return planes


class ViewRequest(NamedTuple):
    """What is in view is not known yet; takes the place of what was asked for before."""

    number: int
    place: int
    """As `Places` counts them."""
    exact: bool = False
    """Whether a draft would not do, where the labels themselves take long."""


class ViewEnd(NamedTuple):
    """An image that nobody looks at any more."""

    number: int


class PlaceLabels(NamedTuple):
    """The clusters of a place, or its areas or objects."""

    number: int
    place: int
    values: NDArray[np.integer]
    uncertainty: NDArray[np.float32] | None = None
    draft: bool = False
    """Whether others take their place: those of a small plane follow in a moment, those of a place
    in a large one are to be asked for."""


class PlaceFailure(NamedTuple):
    """Why a place cannot be labelled, in one sentence."""

    number: int
    place: int
    text: str


class PlaneLabels:
    """The planes of an image, labelled one by one, whether the model sees planes or volumes.

    Planes that are too large to be looked at whole are labelled tile by tile.

    Parameters
    ----------
    model : Model
    image : array-like
    axes : str
    spacing : sequence of three numbers, optional
    mask : array-like, optional
        Of the shape of the labels; pixels where it is 0 get no cluster.
    uncertain : bool
        Whether the uncertainty of the model's labels is found as well.
    """

    def __init__(
        self,
        model: Model,
        image: ArrayLike,
        axes: str,
        spacing: tuple[float, ...] | None = None,
        mask: ArrayLike | None = None,
        uncertain: bool = False,
    ) -> None:
        self._planes = Frames(image, axes)
        self.places = Places(self._planes.shape)
        self.frames = model.frames(image, axes, spacing)
        self.mask = None if mask is None else self.frames.side_image(mask, "mask")
        self._model, self._spacing, self._uncertain = model, spacing, uncertain
        self._of_clusters = output_of(model.method) == "classes"
        once = self._of_clusters and not self.frames.volumes and not self.places.cut
        kind = Labeller if once else TileCache
        self.labeller = kind(model, label_of=model.label_of() if uncertain else None)
        self._boxes = self._made(model.label_of())

    def __len__(self) -> int:
        return len(self._planes)

    @property
    def small(self) -> bool:
        """Whether sending what is in view twice takes no time."""
        return math.prod(self._planes.frame_shape) <= _SMALL_PLANE

    def is_far(self, place: int) -> bool:
        """Tell whether a place needs a tile many times its size that is not known yet."""
        if self._uncertain or not self._of_clusters or not isinstance(self.labeller, TileCache):
            return False
        index, region = self.frames.tile_of(self._box(place))
        wide = math.prod(self.labeller.tile_px) >= _MANY * self.places.size(place)
        return wide and not self.labeller.remembers(self.frames, index, region)

    def glance(self, place: int) -> Clusters:
        """Find about what the clusters of a place are, (Y, X), from its neighbourhood."""
        index, region = self.frames.tile_of(self._box(place))
        found = self.labeller.glance(self.frames, index, region, self.mask)
        return found.reshape(found.shape[-2:])

    @property
    def areas(self) -> Areas | None:
        """The areas, if the model's output is these."""
        return self._boxes if isinstance(self._boxes, Areas) else None

    def labels(self, label_of: NDArray[np.int64]) -> Boxes:
        """Return the labels of all planes; of a model of areas or objects, these.

        Parameters
        ----------
        label_of : (K,) int array
            The label of each cluster.
        """
        return self._made(label_of) if self._of_clusters else self._boxes

    def look(
        self, place: int, draft: Callable[[Clusters], None] | None = None
    ) -> tuple[Clusters, NDArray[np.float32] | None]:
        """Find the clusters of a place, (Y, X), and their uncertainty if it is wanted.

        `draft` is called with what is known of the clusters before, as for `Labeller.look`.
        """
        index, region = self.frames.tile_of(self._box(place))

        def flat(values: NDArray[Any]) -> NDArray[Any]:
            return values.reshape(values.shape[-2:])

        early = None if draft is None else lambda clusters: draft(flat(clusters))
        found = self.labeller.look(self.frames, index, region, self.mask, early)
        doubt = None if found.uncertainty is None else flat(found.uncertainty)
        return flat(found.clusters), doubt

    def result(
        self, place: int, draft: Callable[[Clusters], None] | None = None
    ) -> tuple[NDArray[np.integer], NDArray[np.float32] | None]:
        """Find what the model's output asks for, and the uncertainty if it is wanted.

        Returns
        -------
        values : (Y, X) array
            Clusters, of which drafts are told; or areas or objects.
        uncertainty : (Y, X) float32 array or None
        """
        if self._of_clusters:
            return self.look(place, draft)
        box = self._box(place)
        values = self._boxes.box(box)
        shape = tuple(one.stop - one.start for one in self.places.box(place)[1])
        return values.reshape(shape), self.look(place)[1] if self._uncertain else None

    def share(self, place: int) -> float:
        """Return the share of the work for all of the image that a place takes."""
        _, region = self.frames.tile_of(self._box(place))
        touched = grid(self.frames.frame_shape, self.labeller.tile_px, region)
        return sum(1 for _ in touched) / self.labeller.count(self.frames)

    def _made(self, label_of: NDArray[np.int64]) -> Boxes:
        return boxes_of(self._model, self.labeller, self.frames, self.mask, self._spacing, label_of)

    def _box(self, place: int) -> Region:
        """Return the box of the labels that a place is."""
        return self._planes.box_of(*self.places.box(place))


class ViewServer:
    """Answers the window's looks, of each image the last one alone.

    Parameters
    ----------
    out : Sender
    waiting : callable
        Tells whether the window has another wish; a look that has come to its draft waits for it.
    """

    def __init__(self, out: Sender, waiting: Callable[[], bool] = lambda: False) -> None:
        self._out, self._waiting = out, waiting
        self._orders: dict[int, ViewOrder] = {}
        self._open: dict[int, PlaneLabels] = {}
        self._looks: dict[int, ViewRequest] = {}
        self._seconds: dict[int, float] = {}
        self._memory = ExitStack()
        self.patience: float | None = None
        """After so many seconds without a wish it should rest; never if None."""

    def take(self, wish: Any) -> None:
        """Note a `ViewOrder`, `ViewRequest` or `ViewEnd`."""
        if isinstance(wish, ViewRequest):
            self._looks[wish.number] = wish
        elif isinstance(wish, ViewOrder | ViewEnd):
            for known in (self._orders, self._open, self._looks, self._seconds):
                known.pop(wish.number, None)
            if isinstance(wish, ViewOrder):
                self._orders[wish.number] = wish

    def answer(self) -> None:
        """Answer the looks that are noted."""
        if self._looks and self.patience is None:
            self._memory.enter_context(memory.kept())  # what a look has used is left to the next
            self.patience = _PATIENCE_SECONDS
        while self._looks:
            number, look = self._looks.popitem()
            if number not in self._orders:
                continue
            try:
                planes = self.planes(self._orders[number])
                if not look.exact and planes.is_far(look.place):
                    draft = planes.glance(look.place)
                    self._out.send(PlaceLabels(number, look.place, draft, draft=True))
                    continue
                start = time.perf_counter()
                early = partial(self._come_to_draft, look, planes)
                self._out.send(PlaceLabels(number, look.place, *planes.result(look.place, early)))
                self._seconds[number] = time.perf_counter() - start
            except _InterruptedError:
                self._looks.setdefault(number, look)  # the wish may be another look
                return
            except Exception as error:  # the next place may be sound
                self._out.send(PlaceFailure(number, look.place, error_text(error)))

    def rest(self) -> None:
        """Give memory back to the system."""
        self._memory.close()
        self.patience = None

    def _come_to_draft(self, look: ViewRequest, planes: PlaneLabels, clusters: Clusters) -> None:
        """Send a draft if the last look took long, and give up the look for another wish."""
        if planes.small and self._seconds.get(look.number, math.inf) > _SOON_SECONDS:
            self._out.send(PlaceLabels(look.number, look.place, clusters, draft=True))
        if self._waiting():
            raise _InterruptedError

    def planes(self, order: ViewOrder) -> PlaneLabels:
        """Return the planes of an image, opened once."""
        if order.number not in self._open:
            self._open[order.number] = order.open()
        return self._open[order.number]


class _InterruptedError(Exception):
    """Something else comes first."""


def lazy_labels(order: ViewOrder, label_of: NDArray[np.int64]) -> Any:
    """Return all labels of an image as a dask array."""
    planes = order._replace(uncertain=False).open()
    return as_dask(planes.labels(label_of), planes.frames.shape)
