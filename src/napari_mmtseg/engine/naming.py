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
    counts: NDArray[np.int64], names: NDArray[np.int64], colours: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Give each cluster the class that it meets most; several clusters may share a class.

    Of classes met equally often the smallest number wins. A cluster that meets no stroke takes
    the class of the painted cluster that is nearest to it in mean intensity (Euclidean distance
    over the channels).

    Parameters
    ----------
    counts : (K, M) array
        Painted pixels of each class in each cluster.
    names : (M,) array
        The classes.
    colours : (K, C) array
        Mean scaled intensity of each cluster.

    Returns
    -------
    (K,) int64 array
        The class of each cluster, 0 for all if no cluster meets a stroke.

    References
    ----------
    Ji, Henriques and Vedaldi, ICCV 2019, section 4.2 (semi-supervised overclustering).
    """
    met = np.flatnonzero(counts.any(axis=1))
    if len(met) == 0:
        return np.zeros(len(counts), np.int64)
    apart = ((colours[:, None].astype(np.float64) - colours[met]) ** 2).sum(-1)  # (K, met)
    nearest = met[apart.argmin(axis=1)]
    nearest[met] = met
    classes: NDArray[np.int64] = names[counts[nearest].argmax(axis=1)]
    return classes
