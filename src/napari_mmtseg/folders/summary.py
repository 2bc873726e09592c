"""Write one table of all images: settings, measures, versions, and what went wrong."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_mmtseg.folders.image_task import Outcome
from napari_mmtseg.system.whole_files import write_whole

_OTHERS = 5
"""So many results tell what is usual."""
_FAR_COUNT, _FAR_SHARE = 6.0, 0.4
"""How many times more or fewer labels than usual, and how much more or less cover, are odd."""
_FIRST = ("file", "state", "count", "seconds", "error", "notes")


def odd_ones(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Name the images whose result is none, or far from those of the others, and say why.

    Parameters
    ----------
    outcomes : sequence of Outcome

    Returns
    -------
    dict of str to str
        For each such image what is odd of it, as the end of a sentence.
    """
    counted = {one.name: one.row for one in outcomes if one.row and one.count is not None}
    if not counted:
        return {}
    counts = {name: int(row["count"]) for name, row in counted.items()}
    shares = {name: float(row.get("covered", 0)) for name, row in counted.items()}
    count, share = (float(np.median(list(one.values()))) for one in (counts, shares))
    odd = {}
    for name in counted:
        far = abs(math.log((counts[name] + 1) / (count + 1))) > math.log(_FAR_COUNT)
        if not counts[name]:
            odd[name] = "nothing was found"
        elif len(counted) >= _OTHERS and far:
            odd[name] = f"{counts[name]} were found where half of the images have {count:g} or more"
        elif len(counted) >= _OTHERS and abs(shares[name] - share) > _FAR_SHARE:
            odd[name] = f"{shares[name]:.0%} are covered where half of the images have {share:.0%}"
    return odd


def write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a row an image as CSV, in the place of the table of an earlier run."""
    rows = [dict(one.row or {"file": one.name, "state": one.state}) for one in outcomes]
    odd = odd_ones(outcomes)
    for row in rows:
        if row["file"] in odd:
            said = f"Look at it: {odd[row['file']]}."
            row["notes"] = " ".join(filter(None, (said, row.get("notes"))))
    names = dict.fromkeys([*_FIRST, *(name for row in rows for name in row)])
    text = io.StringIO()
    table = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    table.writeheader()
    table.writerows([{name: _cell(value) for name, value in row.items()} for row in rows])
    write_whole(path, [text.getvalue().encode()], overwrite=True)


def _cell(value: Any) -> Any:
    return "" if value is None or value != value else value
