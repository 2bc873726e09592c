"""Write one table of all images: settings, measures, versions, and what went wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_mmtseg.files import write_whole
from napari_mmtseg.folders.work import Outcome

_FIRST = ("file", "state", "count", "seconds", "error", "notes")


def write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a row an image as CSV, in the place of the table of an earlier run."""
    rows = [dict(one.row or {"file": one.name, "state": one.state}) for one in outcomes]
    names = dict.fromkeys([*_FIRST, *(name for row in rows for name in row)])
    text = io.StringIO()
    table = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    table.writeheader()
    table.writerows([{name: _cell(value) for name, value in row.items()} for row in rows])
    write_whole(path, [text.getvalue().encode()], overwrite=True)


def _cell(value: Any) -> Any:
    return "" if value is None or value != value else value
