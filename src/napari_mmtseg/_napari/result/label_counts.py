"""What there is to say of a result's labels: shares, mean intensities, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image
from numpy.typing import NDArray

from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.lazy.planes import LazyResult
from napari_mmtseg._napari.process.layer_pixels import CopiedPixels, StackedChannels
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.labels.cluster_sums import ClusterSums, summed

LARGEST_NUMBER = 10**7
"""Objects with numbers beyond are not counted."""
_COLOURS = ("red", "green", "blue")
_MEAN = "intensity_mean"


@dataclass(frozen=True, eq=False)
class ClusterCounts:
    """What there is to say of each cluster of a result."""

    sums: ClusterSums
    channels: Sequence[str] = ()
    """Names of the channels of the mean intensities."""
    is_rgb: bool = False
    brightest: float = 1.0
    """Stands for white in an RGB image."""
    label_of_piece: NDArray[np.int64] | None = None

    def with_pieces(self, label_of_piece: NDArray[np.int64]) -> ClusterCounts:
        """Return the same of other pieces."""
        return replace(self, label_of_piece=label_of_piece)

    def tint(self, means: Sequence[float]) -> tuple[float, float, float] | None:
        """Return a mean colour as it is seen, 0 to 1."""
        if not self.is_rgb or any(one != one for one in means):
            return None
        red, green, blue = (min(1.0, max(0.0, one / self.brightest)) for one in means)
        return red, green, blue


def count(
    clusters: NDArray[np.integer],
    n: int,
    layers: Sequence[Image],
    axes: str,
    voters: Sequence[NDArray[np.integer]] | None = None,
    label_of_piece: NDArray[np.int64] | None = None,
) -> ClusterCounts:
    """Count the clusters of a result, in the images that it was made from if they still fit.

    Parameters
    ----------
    clusters : int array
        0 to n - 1, other values are of no cluster.
    n : int
    layers : sequence of Image
    axes : str
        Of a layer, without colours.
    voters : two int arrays, optional
        The clusters that each of two networks gives.
    label_of_piece : int array, optional
        To be kept.
    """
    image = _image(layers, axes, clusters.size)
    if image is None:
        return ClusterCounts(summed(clusters, n, None, voters), label_of_piece=label_of_piece)
    shaped = clusters.reshape(image.shape)
    names = _COLOURS if image.is_rgb else _names(layers, image.n_channels)
    top = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1.0
    sums = summed(shaped, n, image, voters)
    return ClusterCounts(sums, names, image.is_rgb, float(top), label_of_piece)


def sample_counts(labels: LazyResult) -> ClusterCounts:
    """Tell of the sample that the training of a lazy result ended with."""
    model = labels.order.model
    sizes = model.sizes.astype(np.float64)
    span = model.scaling.high - model.scaling.low
    means = model.scaling.low + model.colours * span
    names = _COLOURS if model.is_rgb else [str(i) for i in range(model.n_channels)]
    top = max(1.0, float(model.scaling.high.max()))
    sums = ClusterSums(sizes, means * sizes[:, None], None, float(max(1.0, sizes.sum())))
    areas = labels.order.areas
    return ClusterCounts(sums, names, model.is_rgb, top, None if areas is None else areas.label_of)


def table_counts(
    objects: pd.DataFrame, size: int, groups: NDArray[np.int64] | None
) -> ClusterCounts:
    """Tell of objects that were measured.

    Parameters
    ----------
    objects : DataFrame
        A layer's features, as the Measure widget leaves them.
    size : int
        Pixels of the image.
    groups : int array, optional
        The group of each object by its number, 0 for none.
    """
    known = objects[objects["pixels"] > 0]
    numbers = known["index"].to_numpy(np.int64)
    most = int(numbers.max(initial=0))
    if most > LARGEST_NUMBER:
        raise ValueError(f"Numbers up to {most} are not counted")
    of = np.zeros(most + 1, np.int64)
    of[numbers] = 1
    if groups is not None:
        of[: len(groups)] *= groups[: len(of)]
        of[len(groups) :] = 0
    count = int(of.max(initial=1))
    pixels = known["pixels"].to_numpy(np.float64)
    channels = [one for one in known if one.startswith(_MEAN)]

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(of[numbers], values, count + 1)[1:].astype(np.float64)

    sums = [total(pixels * np.nan_to_num(known[one].to_numpy(np.float64))) for one in channels]
    means = np.stack(sums, axis=1) if sums else None
    names = [one.removeprefix(_MEAN).removeprefix("_") for one in channels]
    return ClusterCounts(
        ClusterSums(total(pixels), means, None, float(size)), names, label_of_piece=of
    )


def label_of_pieces(pieces: NDArray[np.integer], labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the label that each piece is of, by its number; 0 of numbers that do not occur."""
    table = np.zeros(int(pieces.max(initial=0)) + 1, np.int64)
    table[pieces.reshape(-1)] = labels.reshape(-1)
    table[0] = 0
    return table


def _image(layers: Sequence[Image], axes: str, size: int) -> Frames | None:
    """See layers as one image, if they are in memory and their labels have that size."""
    data = [napari_layers.data_of(one) for one in layers]
    if not data or not all(isinstance(one, np.ndarray) for one in data):
        return None
    whole = data[0]
    if len(data) > 1:
        whole = StackedChannels(
            [CopiedPixels(one) for one in data], [bool(one.rgb) for one in layers]
        ).open()
    try:
        image = Frames(whole, napari_layers.axes_of(layers, axes))
    except (TypeError, ValueError):
        return None
    return image if int(np.prod(image.shape)) == size else None


def _names(layers: Sequence[Image], channels: int) -> list[str]:
    names = [one.name for one in layers]
    if len(names) == channels > 1:
        return names
    return [""] if channels == 1 else [str(i) for i in range(channels)]


def groups_in(layer: Any) -> NDArray[np.int64] | None:
    """Return the group of each object by its number, 0 for none; None if there are no groups."""
    features = layer.features
    if "group" not in features or "index" not in features:
        return None
    numbers = features["index"].to_numpy(np.int64)
    groups = features["group"].fillna(0).to_numpy(np.int64)
    if not len(numbers) or groups.max(initial=0) < 1 or numbers.min() < 0:
        return None
    table = np.zeros(int(numbers.max()) + 1, np.int64)
    table[numbers] = np.maximum(groups, 0)
    return table
