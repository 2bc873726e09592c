"""Sum what is known of each cluster once, so that labels of any joining are told of at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.arrays import Frames
from napari_mmtseg.labels.legend import Legend

_SLAB = 2**17
"""Pixels summed up at once: what holds Python's lock takes milliseconds."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the pixels of each cluster.

    Attributes
    ----------
    pixels : (K,) float64 array
    intensities : (K, C) float64 array, optional
        In the image's own values.
    doubt : (K,) float64 array, optional
        Of the uncertainty.
    total : float
        Pixels of the image, those of no cluster included.
    """

    pixels: NDArray[np.float64]
    intensities: NDArray[np.float64] | None
    doubt: NDArray[np.float64] | None
    total: float

    def by_label(self, legend: Legend) -> Told:
        """Tell of each label of a legend."""
        labels = np.array(legend.labels, np.int64)
        own = np.searchsorted(labels, legend.table())
        pixels = np.bincount(own, self.pixels, len(labels)).astype(np.float64)
        many = np.maximum(pixels, 1e-9)
        means = None
        if self.intensities is not None:
            channels = [np.bincount(own, one, len(labels)) for one in self.intensities.T]
            means = np.stack(channels, axis=1) / many[:, None]
            means[pixels == 0] = np.nan
        sure = None
        if self.doubt is not None:
            sure = 1 - np.bincount(own, self.doubt, len(labels)) / many
            sure[pixels == 0] = np.nan
        return Told(labels, pixels, pixels / max(1.0, self.total), means, sure)


@dataclass(frozen=True, eq=False)
class Told:
    """What is known of each label.

    Attributes
    ----------
    labels : (L,) int64 array
    pixels, share : (L,) float64 arrays
        The share is of all pixels.
    means : (L, C) float64 array, optional
        Mean intensities.
    confidence : (L,) float64 array, optional
        1 less the mean uncertainty.
    """

    labels: NDArray[np.int64]
    pixels: NDArray[np.float64]
    share: NDArray[np.float64]
    means: NDArray[np.float64] | None
    confidence: NDArray[np.float64] | None


def summed(
    clusters: NDArray[np.integer],
    count: int,
    image: Frames | None = None,
    doubt: NDArray[np.floating] | None = None,
) -> Sums:
    """Sum over the pixels of each cluster, a little at a time.

    Parameters
    ----------
    clusters : int array
        0 to count - 1; other values are of no cluster.
    count : int
        Number of clusters K.
    image : Frames, optional
        Whose labels have the clusters' shape.
    doubt : float array, optional
        The uncertainty, of the clusters' shape.
    """
    pixels = np.zeros(count)
    intensities = None if image is None else np.zeros((count, image.n_channels))
    doubts = None if doubt is None else np.zeros(count)
    for own_frame, channels, unsure in _frames(clusters, image, doubt):
        flat = own_frame.reshape(-1)
        for start in range(0, len(flat), _SLAB):
            part = flat[start : start + _SLAB]
            at = np.flatnonzero((part >= 0) & (part < count))
            own, at = part[at].astype(np.int64), at + start
            pixels += np.bincount(own, minlength=count)
            if intensities is not None:
                for channel, values in enumerate(channels):
                    seen = values[at].astype(np.float64)
                    seen[~np.isfinite(seen)] = 0
                    intensities[:, channel] += np.bincount(own, seen, count)
            if doubts is not None and unsure is not None:
                doubts += np.bincount(own, unsure[at], count)
    return Sums(pixels, intensities, doubts, clusters.size)


def _frames(
    clusters: NDArray[Any], image: Frames | None, doubt: NDArray[Any] | None
) -> Iterator[tuple[NDArray[Any], list[NDArray[Any]], NDArray[Any] | None]]:
    """Give the clusters of a frame, the values of its channels and its uncertainty, each flat."""
    if image is None:
        yield clusters, [], None if doubt is None else doubt.reshape(-1)
        return
    for index in range(len(image)):
        unsure = None if doubt is None else image.frame_of(doubt, index).reshape(-1)
        channels = [one.reshape(-1) for one in image.read(index)]
        yield image.frame_of(clusters, index), channels, unsure
