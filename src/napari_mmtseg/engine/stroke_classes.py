"""Name clusters by the strokes that a user has painted on them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def count_strokes(
    painted: Iterable[tuple[NDArray[np.integer], NDArray[np.integer]]], n_clusters: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the painted pixels of each class in each cluster.

    Parameters
    ----------
    painted : iterable of pairs of arrays
        Clusters, -1 for none, and strokes of the same shape, 0 where unpainted.
    n_clusters : int
        Number of clusters K.

    Returns
    -------
    counts : (K, M) int64 array
    names : (M,) int64 array
        The classes, in rising order.
    """
    nothing: NDArray[np.integer] = np.zeros(0, np.int64)
    found = [(nothing, nothing)]
    for clusters, strokes in painted:
        here = (strokes > 0) & (clusters >= 0)
        found.append((clusters[here], strokes[here]))
    cluster, stroke = (np.concatenate(part).astype(np.int64) for part in zip(*found, strict=True))
    names, classes = np.unique(stroke, return_inverse=True)
    flat = cluster * len(names) + classes
    counts = np.bincount(flat, minlength=n_clusters * len(names))
    return counts.reshape(n_clusters, len(names)), names


def name_clusters(
    counts: NDArray[np.int64],
    names: NDArray[np.int64],
    colours: NDArray[np.floating],
    sizes: NDArray[np.integer],
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Give each cluster the class that it meets most; several clusters may share a class.

    Users paint small things densely and the ground thinly, so a stroke counts for as many pixels
    as there are to each painted one of its class: the class has the share of each group's pixels
    that it has of the strokes there. Of equal classes the smallest number wins. A cluster that
    meets no stroke takes the class of the painted cluster that is nearest to it in mean intensity
    (Euclidean distance over the channels).

    Parameters
    ----------
    counts : (K, M) array
        Painted pixels of each class in each cluster.
    names : (M,) array
        The classes, each with a painted pixel.
    colours : (K, C) array
        Mean scaled intensity of each cluster.
    sizes : (K,) array
        Pixels of each cluster, painted or not.
    groups : (K,) array, optional
        Clusters with the same number belong together.

    Returns
    -------
    (K,) int64 array
        The class of each cluster, 0 for all if no cluster meets a stroke.

    References
    ----------
    Ji, Henriques and Vedaldi, ICCV 2019, section 4.2 (semi-supervised overclustering), there by
    the plain majority.
    """
    met = np.flatnonzero(counts.any(axis=1))
    if len(met) == 0:
        return np.zeros(len(counts), np.int64)
    group = np.arange(len(counts)) if groups is None else np.unique(groups, return_inverse=True)[1]
    painted = np.zeros((int(group.max()) + 1, len(names)))  # of each group
    np.add.at(painted, group, counts)
    share = painted / np.maximum(painted.sum(axis=1, keepdims=True), 1)
    area = np.bincount(group, sizes) @ share  # (M,): pixels of each class
    weighted = counts * (area / counts.sum(axis=0))
    apart = ((colours[:, None].astype(np.float64) - colours[met]) ** 2).sum(-1)  # (K, met)
    nearest = met[apart.argmin(axis=1)]
    nearest[met] = met
    classes: NDArray[np.int64] = names[weighted[nearest].argmax(axis=1)]
    return classes
