"""Fit k-means so that every run, in any thread, ends alike."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

_ALONE = threading.Lock()


def fit(
    clustering: KMeans, rows: NDArray[np.floating], weights: NDArray[np.integer] | None = None
) -> KMeans:
    """Fit centres to (n, F) rows, and return them.

    Sums by several threads differ in their last bits from run to run. How many a fit may use is a
    setting of the whole process, so that fits take turns.
    """
    with _ALONE, threadpool_limits(limits=1, user_api="openmp"):
        return clustering.fit(rows, sample_weight=weights)
