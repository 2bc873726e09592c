"""Sum what is known of each cluster once, so that labels of any joining are told of at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.images.frames import Frames
from napari_mmtseg.labels.legend import Legend

_SLAB = 2**17
"""Pixels summed up at once: what holds Python's lock takes milliseconds."""


class Votes(NamedTuple):
    """How often a pixel has a cluster and two networks give it which."""

    clusters: NDArray[np.int64]
    """(3, N): the cluster, and those that the two networks give."""
    pixels: NDArray[np.float64]
    """(N,)"""


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """Sums over the pixels of each cluster.

    Attributes
    ----------
    pixels : (K,) float64 array
    intensities : (K, C) float64 array, optional
        In the image's own values.
    votes : Votes, optional
        How often two networks give which clusters.
    total : float
        Pixels of the image, those of no cluster included.
    """

    pixels: NDArray[np.float64]
    intensities: NDArray[np.float64] | None
    votes: Votes | None
    total: float

    def by_label(self, legend: Legend) -> LabelSums:
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
        if self.votes is not None:
            table = legend.table()
            ours, first, second = table[self.votes.clusters]
            agree = self.votes.pixels * (first == second)
            sure = np.bincount(np.searchsorted(labels, ours), agree, len(labels)) / many
            sure[pixels == 0] = np.nan
        return LabelSums(labels, pixels, pixels / max(1.0, self.total), means, sure)


@dataclass(frozen=True, eq=False)
class LabelSums:
    """What is known of each label.

    Attributes
    ----------
    labels : (L,) int64 array
    pixels, share : (L,) float64 arrays
        The share is of all pixels.
    means : (L, C) float64 array, optional
        Mean intensities.
    confidence : (L,) float64 array, optional
        Share of the pixels to which both networks give one label.
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
    voters: Sequence[NDArray[np.integer]] | None = None,
) -> ClusterSums:
    """Sum over the pixels of each cluster, a little at a time.

    Parameters
    ----------
    clusters : int array
        0 to count - 1; other values are of no cluster.
    count : int
        Number of clusters K.
    image : Frames, optional
        Whose labels have the clusters' shape.
    voters : two int arrays, optional
        The clusters that each of two networks gives, of the clusters' shape.
    """
    pixels = np.zeros(count)
    intensities = None if image is None else np.zeros((count, image.n_channels))
    votes = None if voters is None else _counted(clusters, voters, count)
    for own_frame, channels in _frames(clusters, image):
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
    return ClusterSums(pixels, intensities, votes, clusters.size)


def _counted(
    clusters: NDArray[np.integer], voters: Sequence[NDArray[np.integer]], count: int
) -> Votes:
    """Count how often which clusters are given together, a little at a time."""
    known = np.zeros(0, np.int64)
    pixels: NDArray[np.float64] = np.zeros(0)
    flat = [one.reshape(-1) for one in (clusters, *voters)]
    for start in range(0, len(flat[0]), _SLAB):
        parts = [one[start : start + _SLAB].astype(np.int64) for one in flat]
        there = np.logical_and.reduce([(one >= 0) & (one < count) for one in parts])
        own, first, second = (one[there] for one in parts)
        codes, counts = np.unique((own * count + first) * count + second, return_counts=True)
        known, place = np.unique(np.concatenate([known, codes]), return_inverse=True)
        sums = np.bincount(place, np.concatenate([pixels, counts]), len(known))
        pixels = sums.astype(np.float64)
    ours, beside = np.divmod(known, count * count)
    return Votes(np.stack([ours, *np.divmod(beside, count)]), pixels)


def _frames(
    clusters: NDArray[Any], image: Frames | None
) -> Iterator[tuple[NDArray[Any], list[NDArray[Any]]]]:
    """Give the clusters of a frame, and the values of its channels, each flat."""
    if image is None:
        yield clusters, []
        return
    for index in range(len(image)):
        channels = [one.reshape(-1) for one in image.read(index)]
        yield image.frame_of(clusters, index), channels
