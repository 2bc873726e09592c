"""Turn the results of single images into the rows of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.quality.contenders import Contender
from benchmarks.quality.scoring import Column
from benchmarks.quality.store import Job, Result

Interval = tuple[float, float]
Values = Mapping[str, Mapping[str, float]]
"""Of each image, its scores, "seconds" and "n_labels", each the mean over the seeds."""

_RESAMPLES = 2000
FEWEST_IMAGES = 5  # for an interval
_FEWEST_PAIRS = 6  # below, no Wilcoxon test can reach p < 0.05


@dataclass(frozen=True)
class Row:
    """What the table says of a contender."""

    name: str
    variant: str | None
    """The settings, JSON; None where each image has its own."""
    values: Values
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    oracle: bool = False
    """Whether the settings are chosen for each image with its ground truth."""

    def of_images(self, key: str, images: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return a score of each image."""
        return np.array([self.values[image][key] for image in images or self.values])


@dataclass(frozen=True)
class Comparison:
    """A row against the best of the others, on the images that both have."""

    name: str
    against: str
    n_images: int
    difference: float
    interval: Interval
    n_better: int
    p_value: float | None
    """Of Wilcoxon's signed-rank test, two-sided; None for too few images."""


def rows(
    results: Mapping[Job, Result],
    entrants: Sequence[Contender],
    seeds: list[int],
    columns: Sequence[Column],
) -> list[Row]:
    """Summarise each contender; a grid gives the best settings for all, and the best per image.

    Only images on which every variant and seed has a result count, so that the variants of a grid
    are compared on the same images.
    """
    by_image: dict[str, dict[tuple[str, int], Result]] = {}
    for job, result in results.items():
        by_image.setdefault(job.image, {})[job.variant, job.seed] = result
    found = []
    for one in entrants:
        wanted = [(variant, seed) for variant in one.variants for seed in one.seeds(seeds)]
        complete = {
            image: have for image, have in by_image.items() if all(key in have for key in wanted)
        }
        if not complete:
            continue
        tables = {
            variant: {
                image: _mean([have[variant, seed] for seed in one.seeds(seeds)])
                for image, have in complete.items()
            }
            for variant in one.variants
        }
        found += (
            _grid_rows(one, tables, columns)
            if one.is_grid
            else [_row(one.name, one.variants[0], tables[one.variants[0]], columns)]
        )
    return found


def compare(table: Sequence[Row], column: Column) -> list[Comparison]:
    """Compare each row with the best other one: the first with the runner-up, the rest with it.

    Rows whose settings are chosen per image are left out.
    """
    ranked = _ranked([row for row in table if not row.oracle], column)
    return [
        _comparison(row, ranked[1] if place == 0 else ranked[0], column.key)
        for place, row in enumerate(ranked)
        if len(ranked) > 1
    ]


def mean_score(values: Values, column: Column) -> float:
    """Return the mean over images, weighted if the column says so."""
    return _weighted(*_columns(values, column))


def differing(variants: Sequence[str]) -> list[str]:
    """Return what tells settings apart, such as ``n_labels=2``, for each."""
    settings = [json.loads(one) for one in variants]
    keys = [k for k in settings[0] if len({json.dumps(one.get(k)) for one in settings}) > 1]
    return [", ".join(f"{k}={_plain(one[k])}" for k in keys) for one in settings]


def _grid_rows(
    one: Contender, tables: Mapping[str, Values], columns: Sequence[Column]
) -> list[Row]:
    main = columns[0]
    sign = 1 if main.higher_is_better else -1
    best = max(tables, key=lambda variant: sign * mean_score(tables[variant], main))
    images = tables[best]
    chosen = {
        image: max((tables[v][image] for v in tables), key=lambda row: sign * row[main.key])
        for image in images
    }
    told = differing(list(tables))[list(tables).index(best)]
    return [
        _row(f"{one.name}, best for all ({told})", best, images, columns),
        _row(f"{one.name}, best per image (oracle)", None, chosen, columns, oracle=True),
    ]


def _row(
    name: str,
    variant: str | None,
    values: Values,
    columns: Sequence[Column],
    oracle: bool = False,
) -> Row:
    means = {column.key: mean_score(values, column) for column in columns}
    intervals = {c.key: _bootstrap(*_columns(values, c)) for c in columns if c.interval}
    return Row(name, variant, values, means, intervals, oracle)


def _mean(results: Sequence[Result]) -> dict[str, float]:
    tables: list[dict[str, float]] = [
        {**one.scores, "seconds": one.seconds, "n_labels": one.n_labels} for one in results
    ]
    return {key: float(np.mean([one[key] for one in tables])) for key in tables[0]}


def _columns(values: Values, column: Column) -> tuple[NDArray[Any], NDArray[Any]]:
    rows = list(values.values())
    scores = np.array([row[column.key] for row in rows])
    weights = np.array([row[column.weight] if column.weight else 1.0 for row in rows])
    known = np.isfinite(scores)  # the foreground of an empty image has no score
    return scores[known], weights[known]


def _weighted(scores: NDArray[Any], weights: NDArray[Any]) -> float:
    return float((scores * weights).sum() / weights.sum()) if len(scores) else float("nan")


def _bootstrap(scores: NDArray[Any], weights: NDArray[Any]) -> Interval:
    """Return the 95 % percentile interval of the mean when images are drawn anew."""
    if len(scores) < FEWEST_IMAGES:
        return (float("nan"), float("nan"))
    drawn = np.random.default_rng(0).integers(len(scores), size=(_RESAMPLES, len(scores)))
    means = (scores * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def _ranked(table: Sequence[Row], column: Column) -> list[Row]:
    sign = -1 if column.higher_is_better else 1
    return sorted(table, key=lambda row: sign * row.scores[column.key])


def _comparison(row: Row, other: Row, key: str) -> Comparison:
    images = [image for image in row.values if image in other.values]
    difference = row.of_images(key, images) - other.of_images(key, images)
    difference = difference[np.isfinite(difference)]
    p_value = None
    if np.count_nonzero(difference) >= _FEWEST_PAIRS:
        p_value = float(stats.wilcoxon(difference).pvalue)
    return Comparison(
        row.name,
        other.name,
        len(difference),
        float(difference.mean()) if len(difference) else float("nan"),
        _bootstrap(difference, np.ones(len(difference))),
        int((difference > 0).sum()),
        p_value,
    )


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
