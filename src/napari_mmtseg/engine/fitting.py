"""Fit k-means so that every run, in any thread, ends alike."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
    with one_thread("openmp"):
        return clustering.fit(rows, sample_weight=weights)


@contextmanager
def one_thread(*pools: str) -> Iterator[None]:
    """Let sums be taken by one thread of some pools, "openmp" or "blas"."""
    with _ALONE, threadpool_limits(limits=dict.fromkeys(pools, 1)):
        yield
