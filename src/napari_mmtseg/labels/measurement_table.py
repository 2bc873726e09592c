"""A table of measurements, and how it is written to a file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg.system.whole_files import write_whole

_PLAIN = str.maketrans({"µ": "u", "μ": "u", "Å": "A", "²": "2", "³": "3"})
_ROWS_AT_ONCE = 10_000


class Table(dict[str, NDArray[Any]]):
    """Columns by name, each a 1D array of one length; ``pandas.DataFrame(table)`` takes it.

    Parameters
    ----------
    columns : mapping of str to 1D arrays
    units : mapping of str to str
        The unit of each column that has one, such as "µm²".
    notes : sequence of str
        What had to be assumed or could not be measured, in sentences.
    """

    def __init__(
        self,
        columns: Mapping[str, NDArray[Any]],
        units: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(columns)
        self.units = dict(units or {})
        self.notes = tuple(notes)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.values()), ()))

    def heading(self, name: str) -> str:
        """Return a column's name with its unit, to be read: "area (µm²)"."""
        words = name.replace("_", " ")
        return f"{words} ({self.units[name]})" if name in self.units else words


def write_table(
    path: str | os.PathLike[str], table: Mapping[str, ArrayLike], *, overwrite: bool = False
) -> None:
    """Write a table to a file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Ending in .csv, or in .parquet, which needs pyarrow.
    table : mapping of str to 1D arrays
        As `measure` gives it, or any other. Units join the columns' names in plain letters,
        such as area_um2, so that each program reads them alike. What is not a number is left
        empty.
    overwrite : bool
        Whether to replace a file that is there already.

    Raises
    ------
    ValueError
        If the path ends in something else, or the columns differ in length.
    ModuleNotFoundError
        If pyarrow is wanted and not installed.
    FileExistsError, OSError
        As in `whole_files.write_whole`: what was there is unchanged.
    """
    columns = _columns(table)
    ending = Path(path).suffix.lower()
    if ending == ".csv":
        write_whole(path, _csv(columns), overwrite=overwrite)
    elif ending == ".parquet":
        write_whole(path, [_parquet(columns)], overwrite=overwrite)
    else:
        raise ValueError(
            f"A table is saved as .csv or .parquet, got {Path(path).name!r}: let the name end so"
        )


def _columns(table: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    units = table.units if isinstance(table, Table) else {}
    columns = {}
    for name, values in table.items():
        unit = units.get(name, "").translate(_PLAIN)
        unit = "".join(one for one in unit if one.isascii() and one.isalnum())
        columns[f"{name}_{unit}" if unit else name] = np.asarray(values)
    shapes = {name: column.shape for name, column in columns.items()}
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
        raise ValueError(
            f"The columns of a table must be 1D arrays of one length, got shapes {shapes}"
        )
    return columns


def _csv(columns: Mapping[str, NDArray[Any]]) -> Iterator[bytes]:
    length = len(next(iter(columns.values()), ()))
    yield _lines([list(columns)])
    for start in range(0, length, _ROWS_AT_ONCE):
        part = [_cells(column[start : start + _ROWS_AT_ONCE]) for column in columns.values()]
        yield _lines(zip(*part, strict=True))


def _cells(values: NDArray[Any]) -> list[Any]:
    if values.dtype.kind != "f":
        return list(values.tolist())
    return ["" if value != value else value for value in values.tolist()]


def _lines(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")


def _parquet(columns: Mapping[str, NDArray[Any]]) -> memoryview:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Parquet needs pyarrow, which is not installed: "
            "pip install 'napari-mmtseg[parquet]', or save as CSV"
        ) from error
    arrays = {
        name: pyarrow.array(column, from_pandas=True)  # not a number becomes an empty cell
        for name, column in columns.items()
    }
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays), file)
    return file.getbuffer()
