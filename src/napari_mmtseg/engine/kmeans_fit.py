"""Fit k-means so that every run, in any thread, ends alike."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

_ALONE = threading.Lock()
_ITERATIONS = 300
_STILL = 1e-4
"""Centres that move by less, squared and relative to the rows' mean variance, have arrived."""
_AT_ONCE = 4096
"""Rows, so that their distances stay in the processor's cache."""

Rows = NDArray[np.float64]


class KMeansFit(NamedTuple):
    """What k-means found."""

    centres: Rows  # (k, F)
    inertia: float
    """The sum of the squared distances of the rows to their centres, each by its weight."""


def fit(
    rows: Rows, start: int | Rows, weights: NDArray[np.integer] | None = None, seed: int = 0
) -> KMeansFit:
    """Fit centres to rows by Lloyd's algorithm.

    It takes the steps of scikit-learn's `KMeans` with one start, and so ends where that does; what
    needs no more than this need not wait until scikit-learn is loaded.

    Parameters
    ----------
    rows : (n, F) array of float64
        At least k.
    start : int or (k, F) array of float64
        How many centres, which greedy k-means++ chooses (Arthur and Vassilvitskii, *k-means++*,
        SODA 2007); or the centres to start from.
    weights : (n,) array of int, optional
        How many rows each stands for. One by default.
    seed : int
        For k-means++. From 0 to 2**32 - 1.
    """
    weight = np.ones(len(rows)) if weights is None else weights.astype(np.float64)
    middle = rows.mean(0)
    rows = rows - middle
    # Sums by several threads differ in their last bits from run to run.
    with one_thread("blas"):
        if isinstance(start, int):
            centres = _plus_plus(rows, start, weight, np.random.RandomState(seed))
        else:
            centres = start - middle
        centres, nearest = _settled(rows, centres, weight)
    inertia = float((((rows - centres[nearest]) ** 2).sum(1) * weight).sum())
    return KMeansFit(centres + middle, inertia)


def _plus_plus(rows: Rows, k: int, weight: Rows, random: np.random.RandomState) -> Rows:
    """Choose k of the rows: of a few drawn by their distance, each time the one that helps most."""
    n_drawn = 2 + int(np.log(k))
    chosen = [random.choice(len(rows), p=weight / weight.sum())]
    squared = (rows**2).sum(1)  # (n,)
    distance = _apart(rows[chosen], rows, squared)[0]  # (n,), to the nearest of the chosen
    total = distance @ weight
    for _ in range(1, k):
        at = random.uniform(size=n_drawn) * total
        drawn = np.searchsorted(np.cumsum(weight * distance), at)
        drawn = drawn.clip(max=len(rows) - 1)  # the sum may be rounded down
        distances = np.minimum(_apart(rows[drawn], rows, squared), distance)
        totals = distances @ weight
        best = totals.argmin()
        chosen.append(drawn[best])
        distance, total = distances[best], totals[best]
    return rows[chosen]


def _apart(some: Rows, rows: Rows, squared: Rows) -> Rows:
    """Return the squared distances (m, n) of some rows (m, F) to all."""
    distances: Rows = -2 * (some @ rows.T) + (some**2).sum(1)[:, None] + squared
    return distances.clip(0)


def _settled(rows: Rows, centres: Rows, weight: Rows) -> tuple[Rows, NDArray[np.int64]]:
    """Move centres to the mean of the rows next to them until they stay; returns also whose is."""
    k, still = len(centres), _STILL * rows.var(0).mean()
    columns = [weight, *(column * weight for column in rows.T)]
    before = None
    for _ in range(_ITERATIONS):
        nearest = _nearest(rows, centres)
        found = np.stack([np.bincount(nearest, one, minlength=k) for one in columns], 1)
        sizes, sums = found[:, 0].astype(np.float64), found[:, 1:].astype(np.float64)
        _fill(sums, sizes, rows, centres, nearest, weight)
        moved = sums * (1 / np.where(sizes > 0, sizes, 1))[:, None]
        moved[sizes == 0] = centres[sizes == 0]
        shift = ((moved - centres) ** 2).sum()
        centres = moved
        if before is not None and np.array_equal(nearest, before):
            return centres, nearest
        if shift <= still:
            break
        before = nearest
    return centres, _nearest(rows, centres)


def _nearest(rows: Rows, centres: Rows) -> NDArray[np.int64]:
    """Return the number (n,) of the centre that is nearest to each row."""
    squared, twice = (centres**2).sum(1), -2 * centres.T
    parts = (rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE))
    return np.concatenate([(squared + part @ twice).argmin(1) for part in parts])


def _fill(
    sums: Rows, sizes: Rows, rows: Rows, centres: Rows, nearest: NDArray[np.int64], weight: Rows
) -> None:
    """Give centres that have no row those that are furthest from theirs; changes sums and sizes."""
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return
    distance = ((rows - centres[nearest]) ** 2).sum(1)
    if not distance.max():
        return
    furthest = np.argpartition(distance, -len(empty))[: -len(empty) - 1 : -1]
    for number, row in zip(empty, furthest, strict=True):
        for centre, sign in ((nearest[row], -1), (number, 1)):
            sums[centre] += sign * weight[row] * rows[row]
            sizes[centre] += sign * weight[row]


@contextmanager
def one_thread(*pools: str) -> Iterator[None]:
    """Let sums be taken by one thread of some pools, "openmp" or "blas".

    How many a sum may use is a setting of the whole process, so that callers take turns.
    """
    with _ALONE, threadpool_limits(limits=dict.fromkeys(pools, 1)):
        yield
