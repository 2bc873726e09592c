"""Tables as data, written as Markdown, HTML or CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from benchmarks.quality.contenders import Contender
from benchmarks.quality.scoring import Column
from benchmarks.quality.store import Job, Result
from benchmarks.quality.summary import Comparison, Row, differing, mean_score

RATIO_TO = "Felzenszwalb"


@dataclass(frozen=True)
class Table:
    """A title, a header and cells; the first column holds names."""

    title: str
    header: tuple[str, ...]
    cells: list[list[str]]
    note: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [f"**{self.title}**", ""]
        lines += ["| " + " | ".join(self.header) + " |", "|" + " --- |" * len(self.header)]
        lines += ["| " + " | ".join(row) + " |" for row in self.cells]
        return "\n".join([*lines, *(["", self.note] if self.note else []), ""])

    def html(self) -> str:
        """Return the table as HTML."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n"
            for row in self.cells
        )
        note = f"<p>{escape(self.note)}</p>\n" if self.note else ""
        return (
            f"<h2>{escape(self.title)}</h2>\n<div class='wide'><table><thead><tr>{head}</tr>"
            f"</thead>\n<tbody>{body}</tbody></table></div>\n{note}"
        )


def main_table(table: Sequence[Row], columns: Sequence[Column]) -> Table:
    """Return the scores of every method, best first."""
    rows = sorted(table, key=lambda row: -row.scores[columns[0].key])
    reference = next((r for r in table if r.name.startswith(RATIO_TO) and not r.oracle), None)
    header = ("method", "images", *(c.title for c in columns), "labels", "time, s", "time, ratio")
    cells = []
    for row in rows:
        shown = [number(row.scores[c.key], row.intervals.get(c.key)) for c in columns]
        labels = f"{np.median(row.of_images('n_labels')):.0f}"
        seconds = rounded(float(np.median(row.of_images("seconds"))))
        cells.append([row.name, str(len(row.values)), *shown, labels, seconds, "–"])
        if reference is not None:
            images = [image for image in row.values if image in reference.values]
            ratios = row.of_images("seconds", images) / reference.of_images("seconds", images)
            cells[-1][-1] = rounded(float(np.median(ratios)))
    note = (
        "Means over images; in brackets the 95 % bootstrap interval over images. Labels and time "
        f"are medians; the ratio is to {RATIO_TO}'s time on the same image. Settings marked “best” "
        "were chosen with the ground truth: for all images at once, or, as an upper bound, for "
        "each image (oracle)."
    )
    return Table("Scores", header, cells, note)


def group_table(table: Sequence[Row], column: Column, groups: Mapping[str, str]) -> Table:
    """Return the first score for each group of images."""
    names = sorted(set(groups.values()))
    counts = {name: sum(group == name for group in groups.values()) for name in names}
    cells = []
    for row in sorted(table, key=lambda row: -row.scores[column.key]):
        cells.append([row.name])
        for name in names:
            values = {k: v for k, v in row.values.items() if groups[k] == name}
            cells[-1].append(number(mean_score(values, column)) if values else "–")
    header = ("method", *(f"{name} ({counts[name]})" for name in names))
    return Table(f"{column.title[0].upper()}{column.title[1:]} by kind of image", header, cells)


def comparison_table(found: Sequence[Comparison], column: Column) -> Table:
    """Return each row's difference from the best other one."""
    header = ("method", "against", "difference", "better on", "p")
    cells = [
        [
            one.name,
            one.against,
            number(one.difference, one.interval, sign="+"),
            f"{one.n_better} of {one.n_images}",
            "–" if one.p_value is None else f"{one.p_value:.2g}",
        ]
        for one in found
    ]
    note = (
        "The first row against the runner-up, every other against the first, on the same images; "
        "p of Wilcoxon's signed-rank test, two-sided, not corrected for their number."
    )
    return Table(f"Paired differences in {column.title}", header, cells, note)


def grid_table(
    entrant: Contender, results: Mapping[Job, Result], seeds: list[int], columns: Sequence[Column]
) -> Table:
    """Return the first score for every setting of a grid."""
    cells = []
    for variant, told in zip(entrant.variants, differing(entrant.variants), strict=True):
        found = [
            {**result.scores}
            for job, result in results.items()
            if job.variant == variant and job.seed in seeds
        ]
        values = {str(index): scores for index, scores in enumerate(found)}
        shown = [number(mean_score(values, c)) if values else "–" for c in columns[:3]]
        cells.append([told, str(len(found)), *shown])
    header = ("settings", "results", *(c.title for c in columns[:3]))
    return Table(f"Every setting of {entrant.name}", header, cells)


def write_results(path: Path, results: Mapping[Job, Result]) -> None:
    """Write one line a result."""
    keys = sorted({key for result in results.values() for key in result.scores})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "image", "settings", "seed", "seconds", "labels", *keys])
        for job, result in results.items():
            scores = [result.scores[key] for key in keys]
            start = [job.dataset, job.image, job.variant, job.seed]
            writer.writerow([*start, result.seconds, result.n_labels, *scores])


def write_table(path: Path, table: Sequence[Row], columns: Sequence[Column]) -> None:
    """Write one line a method, with all digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        ends = [f"{c.key}_{end}" for c in columns if c.interval for end in ("low", "high")]
        head = ["method", "settings", "oracle", "images", *(c.key for c in columns), *ends]
        writer.writerow([*head, "labels", "seconds"])
        for row in table:
            scores = [row.scores[c.key] for c in columns]
            bounds = [end for c in columns if c.interval for end in row.intervals[c.key]]
            medians = [float(np.median(row.of_images(key))) for key in ("n_labels", "seconds")]
            first = [row.name, row.variant or "", row.oracle, len(row.values)]
            writer.writerow([*first, *scores, *bounds, *medians])


def rounded(value: float) -> str:
    """Return two digits that count, without an exponent."""
    return f"{float(f'{value:.2g}'):g}"


def number(value: float, interval: tuple[float, float] | None = None, sign: str = "") -> str:
    """Return three decimals, with the interval behind; a dash for what is not known."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:{sign}.3f}"
    if interval and np.isfinite(interval).all():
        text += f" [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"
    return text
