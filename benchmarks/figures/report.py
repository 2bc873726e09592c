"""Write a report: tables, pictures, and how it was made, in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from benchmarks.figures import pictures, provenance, tables
from benchmarks.figures.tables import Table
from benchmarks.quality import summary
from benchmarks.quality.contenders import Contender
from benchmarks.quality.datasets import Dataset, Picture
from benchmarks.quality.scoring import COLUMNS
from benchmarks.quality.store import Job, Result, Store
from benchmarks.quality.summary import Row

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 82rem; padding: 0 1rem;
  color: #222; background: #fff }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
.strip { display: flex; flex-wrap: wrap; gap: .6rem } figure { margin: 0; width: 12.5rem }
figure img { width: 100%; image-rendering: auto } figcaption { font-size: .8rem }
pre { background: #f4f4f4; padding: .6rem; white-space: pre-wrap }
"""


def write(
    store: Store,
    dataset: Dataset,
    entrants: Sequence[Contender],
    seeds: list[int],
    results: Mapping[Job, Result],
    failed: Mapping[Job, str],
    command: str,
) -> Path:
    """Write report.html, tables.md, table.csv and results.csv; return the report's path.

    Raises
    ------
    ValueError
        If no method has a result on any image.
    """
    columns = COLUMNS[dataset.kind]
    rows = summary.rows(results, entrants, seeds, columns)
    if not rows:
        raise ValueError("There is no result to report: every run failed or none has finished")
    made = [tables.main_table(rows, columns)]
    groups = {picture.name: picture.group for picture in dataset.pictures}
    if len(set(groups.values())) > 1:
        made.append(tables.group_table(rows, columns[0], groups))
    if len(rows) > 1:
        made.append(tables.comparison_table(summary.compare(rows, columns[0]), columns[0]))
    made += [tables.grid_table(one, results, seeds, columns) for one in entrants if one.is_grid]
    tables.write_results(store.folder / "results.csv", results)
    tables.write_table(store.folder / "table.csv", rows, columns)
    about = _about(dataset, seeds, results, failed)
    if len({frozenset(row.values) for row in rows}) > 1:
        about.append("Rows do not all cover the same images: only paired differences are fair.")
    meanings = Table("Columns", ("column", "meaning"), [[c.title, c.meaning] for c in columns])
    facts = Table("Made with", ("what", "which"), [list(x) for x in provenance.facts().items()])
    text = [f"# {dataset.name}", "", *about, "", f"```sh\n{command}\n```", ""]
    text += [one.markdown() for one in [*made, facts]]
    (store.folder / "tables.md").write_text("\n".join(text), "utf-8")
    body = [f"<h1>{escape(dataset.name)}</h1>", *(f"<p>{escape(line)}</p>" for line in about)]
    body += [f"<pre>{escape(command)}</pre>", made[0].html()]
    body += [_pictures(store, dataset, rows, seeds), *(one.html() for one in made[1:])]
    body += [meanings.html(), facts.html()]
    page = store.folder / "report.html"
    page.write_text(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{escape(dataset.name)}</title><style>{_STYLE}</style></head>\n<body>"
        + "\n".join(body)
        + "</body></html>\n",
        "utf-8",
    )
    return page


def _about(
    dataset: Dataset,
    seeds: list[int],
    results: Mapping[Job, Result],
    failed: Mapping[Job, str],
) -> list[str]:
    told = [
        f"{len(dataset.pictures)} of {dataset.n_found} images with ground truth; seeds "
        f"{', '.join(map(str, seeds))}."
    ]
    if dataset.skipped:
        told.append(
            f"{len(dataset.skipped)} images without ground truth were skipped: "
            f"{', '.join(dataset.skipped)}."
        )
    if failed:
        images = sorted({job.image for job in failed})
        told.append(
            f"{len(failed)} runs failed, on {', '.join(images)}; those images are missing from "
            f"the rows concerned. The first reason: {next(iter(failed.values()))}"
        )
    states = {result.code for result in results.values()} - {provenance.code_state()}
    if states:
        old = sum(result.code in states for result in results.values())
        told.append(
            f"{old} of {len(results)} results come from another state of the package "
            f"({', '.join(sorted(states))}); --again METHOD runs a method anew."
        )
    efforts = sorted({result.effort for result in results.values()})
    told.append(f"Times were taken in: {'; '.join(efforts)}.")
    return told


def _pictures(store: Store, dataset: Dataset, rows: Sequence[Row], seeds: list[int]) -> str:
    """Return the best, the median and the worst image of the last row, by every method."""
    key = COLUMNS[dataset.kind][0].key
    subject = [row for row in rows if not row.oracle][-1]
    scored = {image: values[key] for image, values in subject.values.items()}
    ordered = sorted(
        (image for image in scored if np.isfinite(scored[image])), key=scored.__getitem__
    )
    if not ordered:
        return ""
    places = {"best": ordered[-1], "median": ordered[len(ordered) // 2], "worst": ordered[0]}
    by_name = {picture.name: picture for picture in dataset.pictures}
    html = [f"<h2>Best, median and worst image of {escape(subject.name)}</h2>"]
    for which, image in list(places.items())[: max(1, len(set(places.values())))]:
        html.append(f"<h3>{which}: {escape(image)}</h3><div class='strip'>")
        html += _strip(store, dataset, rows, by_name[image], key, seeds[0])
        html.append("</div>")
    html.append(
        "<p>A label has the colour of the true segment that it is assigned to; labels that are "
        "left over are dull. Below each, its score on this image.</p>"
    )
    return "\n".join(html)


def _strip(
    store: Store,
    dataset: Dataset,
    rows: Sequence[Row],
    picture: Picture,
    key: str,
    seed: int,
) -> list[str]:
    image, axes, truths = picture.read()
    n_stack = sum(axis in "TZ" for axis in axes)
    truth = pictures.middle(truths[0], n_stack)
    figures = [
        _figure(pictures.data_address(pictures.as_seen(image, axes), photo=True), "image"),
        _figure(pictures.data_address(pictures.coloured(truth)), f"truth (1 of {len(truths)})"),
    ]
    for row in rows:
        if row.variant is None or picture.name not in row.values:
            continue
        job = Job(dataset.name, picture.name, row.variant, seed)
        shown = pictures.coloured(pictures.middle(store.labels(job), n_stack), like=truth)
        caption = f"{row.name}: {row.values[picture.name][key]:.3f}"
        figures.append(_figure(pictures.data_address(shown), caption))
    return figures


def _figure(address: str, caption: str) -> str:
    text = escape(caption)
    return f"<figure><img src='{address}' alt='{text}'><figcaption>{text}</figcaption></figure>"
