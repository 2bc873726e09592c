"""Label the planes that the window looks at, one by one, in the training process."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg._napari.channel import Sender
from napari_mmtseg._napari.sources import Source
from napari_mmtseg._napari.words import words_for
from napari_mmtseg.arrays import Frames, Region, grid
from napari_mmtseg.labelling import Clusters, Found, Labeller, labelled, lazy_clusters
from napari_mmtseg.model import Model

_KEPT_BYTES = 2**28


class Serve(NamedTuple):
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

    def open(self) -> Planes:
        """Open the image; only the training process may call this."""
        mask = None if self.mask is None else self.mask.open()
        return Planes(self.model, self.image.open(), self.axes, self.spacing, mask, self.uncertain)


class Look(NamedTuple):
    """The plane in view is not known yet; takes the place of what was asked for before."""

    number: int
    plane: int


class Forget(NamedTuple):
    """An image that nobody looks at any more."""

    number: int


class Seen(NamedTuple):
    """The clusters of a plane."""

    number: int
    plane: int
    clusters: Clusters
    uncertainty: NDArray[np.float32] | None = None


class Unseen(NamedTuple):
    """Why a plane cannot be labelled, in one sentence."""

    number: int
    plane: int
    text: str


class Planes:
    """The planes of an image, labelled one by one, whether the model sees planes or volumes.

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
        self.frames = model.frames(image, axes, spacing)
        self.mask = None if mask is None else self.frames.side_image(mask, "mask")
        label_of = model.label_of() if uncertain else None
        kind = _Remembering if self.frames.volumes else Labeller
        self.labeller = kind(model, label_of=label_of)

    def __len__(self) -> int:
        return len(self._planes)

    def look(self, plane: int) -> tuple[Clusters, NDArray[np.float32] | None]:
        """Find the clusters of a plane, (Y, X), and their uncertainty if it is wanted."""
        index, region = self._place(plane)
        found = self.labeller.look(self.frames, index, region, self.mask)
        shape = found.clusters.shape[-2:]
        doubt = None if found.uncertainty is None else found.uncertainty.reshape(shape)
        return found.clusters.reshape(shape), doubt

    def share(self, plane: int) -> float:
        """Return the share of the work for all planes that one of them takes."""
        _, region = self._place(plane)
        tiles = grid(self.frames.frame_shape, self.labeller.tile_px)
        touched = sum(
            all(a.start < b.stop and b.start < a.stop for a, b in zip(tile, region, strict=True))
            for tile in tiles
        )
        return touched / self.labeller.count(self.frames)

    def _place(self, plane: int) -> tuple[int, Region]:
        """Return the frame of a plane, and the plane's region in it."""
        axes, shape = self._planes.label_axes, self._planes.shape
        stack = [axis for axis in axes if axis not in "YX"]
        at = dict(zip(stack, self._planes.position(plane), strict=True))
        return self.frames.tile_of(
            tuple(
                slice(at[axis], at[axis] + 1) if axis in at else slice(0, n)
                for axis, n in zip(axes, shape, strict=True)
            )
        )


class Server:
    """Answers the window's looks, of each image the last one alone."""

    def __init__(self, out: Sender) -> None:
        self._out = out
        self._orders: dict[int, Serve] = {}
        self._open: dict[int, Planes] = {}
        self._looks: dict[int, Look] = {}

    def take(self, wish: Any) -> None:
        """Note a `Serve`, `Look` or `Forget`."""
        if isinstance(wish, Look):
            self._looks[wish.number] = wish
        elif isinstance(wish, Serve | Forget):
            for known in (self._orders, self._open, self._looks):
                known.pop(wish.number, None)
            if isinstance(wish, Serve):
                self._orders[wish.number] = wish

    def answer(self) -> None:
        """Answer the looks that are noted."""
        while self._looks:
            number, look = self._looks.popitem()
            if number not in self._orders:
                continue
            try:
                found = self.planes(self._orders[number]).look(look.plane)
                self._out.send(Seen(number, look.plane, *found))
            except Exception as error:  # the next plane may be sound
                self._out.send(Unseen(number, look.plane, words_for(error)))

    def planes(self, order: Serve) -> Planes:
        """Return the planes of an image, opened once."""
        if order.number not in self._open:
            self._open[order.number] = order.open()
        return self._open[order.number]


def lazy_labels(order: Serve, label_of: NDArray[np.int64]) -> Any:
    """Return all labels of an image as a dask array."""
    planes = order._replace(uncertain=False).open()
    clusters = lazy_clusters(planes.labeller, planes.frames, planes.mask)
    return labelled(clusters, label_of, order.model.method, planes.frames.frame_axes)


class _Remembering(Labeller):
    """Keeps the last tiles, since the neighbours of a plane in a volume lie in the same ones."""

    def __init__(self, model: Model, *, label_of: NDArray[np.int64] | None = None) -> None:
        super().__init__(model, label_of=label_of)
        self._kept: OrderedDict[tuple[int, ...], Found] = OrderedDict()

    def find(self, frames: Frames, index: int, tile: Region, mask: Any = None) -> Found:
        """Find the clusters of a tile; image and mask are the same in each call."""
        key = (index, *(one.start for one in tile))
        if key not in self._kept:
            self._kept[key] = super().find(frames, index, tile, mask)
        self._kept.move_to_end(key)
        while sum(_bytes(one) for one in self._kept.values()) > _KEPT_BYTES:
            if len(self._kept) == 1:
                break
            self._kept.popitem(last=False)
        return self._kept[key]


def _bytes(found: Found) -> int:
    return found.clusters.nbytes + (0 if found.uncertainty is None else found.uncertainty.nbytes)
