"""Part the clusters of an image into two: what a user would call foreground and background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

LEAST_CONTRAST = 0.1
"""Of the squared contrast of the halves: where there is less, sharpening leaves labels alone."""


def halves(
    clusters: Sequence[NDArray[np.integer]], pixels: Sequence[NDArray[np.floating]], count: int
) -> NDArray[np.int64]:
    """Cut the clusters in two where the halves differ much, are both large, and meet at edges.

    The clusters are sorted along the first principal component of their mean intensities, and cut
    where ``contrast^2 * (share * (1 - share))^2 * gradient`` is largest: the distance between the
    means of the halves, the share of the pixels in one of them, and the mean difference of
    neighbouring pixels across the border. Otsu's threshold maximises
    ``contrast^2 * share * (1 - share)``.

    Parameters
    ----------
    clusters : sequence of (Y, X) or (Z, Y, X) integer arrays
        In 0..K - 1, or -1 where a pixel does not count.
    pixels : sequence of (C, Y, X) or (C, Z, Y, X) arrays
    count : int
        Number of clusters K, each in use.

    Returns
    -------
    (K,) int64 array
        0 or 1; all 0 if there is one cluster.

    References
    ----------
    Otsu, "A threshold selection method from gray-level histograms", IEEE TSMC 9, 1979.
    """
    number = count + 1  # the last one is for cluster -1
    sizes = np.zeros(number)
    sums = np.zeros((number, len(pixels[0])))
    borders = np.zeros((number, number))  # pairs of neighbouring pixels
    steps = np.zeros((number, number))  # the sum of their differences
    for found, values in zip(clusters, pixels, strict=True):
        own = np.where(found < 0, count, found).astype(np.int64)
        sizes += np.bincount(own.ravel(), minlength=number)
        smooth = uniform_filter(values, (1, *(3,) * own.ndim), mode="nearest")
        for channel, one in enumerate(values):
            sums[:, channel] += np.bincount(own.ravel(), one.ravel(), minlength=number)
        for axis in range(own.ndim):
            before, after = (np.delete(own, end, axis) for end in (-1, 0))
            pair = (before * number + after).ravel()
            step = np.abs(np.diff(smooth, axis=axis + 1)).sum(0).ravel()
            borders += np.bincount(pair, minlength=number**2).reshape(number, number)
            steps += np.bincount(pair, step, minlength=number**2).reshape(number, number)
    sizes, sums = sizes[:count], sums[:count]
    borders, steps = (one[:count, :count] + one[:count, :count].T for one in (borders, steps))

    means = sums / np.maximum(sizes, 1)[:, None]
    apart = means - sums.sum(0) / max(sizes.sum(), 1)
    _, vectors = np.linalg.eigh((apart.T * sizes) @ apart)
    place = apart @ vectors[:, -1]  # (K,)
    order = np.argsort(place, kind="stable")
    best, halved = 0.0, np.zeros(count, np.int64)
    for cut in range(1, count):
        low, high = order[:cut], order[cut:]
        share = sizes[low].sum() / sizes.sum()
        contrast = np.average(place[high], weights=sizes[high])
        contrast -= np.average(place[low], weights=sizes[low])
        across = np.ix_(low, high)
        gradient = steps[across].sum() / max(borders[across].sum(), 1)
        score = (contrast * share * (1 - share)) ** 2 * gradient
        if score > best:
            best, halved = score, np.isin(np.arange(count), high).astype(np.int64)
    return halved


def contrast(
    groups: NDArray[np.int64], colours: NDArray[np.float32], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the squared distance between the halves' mean colours, a mean over the channels."""
    if groups.max() == 0:
        return np.array(0.0)
    low, high = (
        np.average(colours[groups == half], axis=0, weights=sizes[groups == half])
        for half in (0, 1)
    )
    return np.array(np.square(high - low).mean(), np.float64)
