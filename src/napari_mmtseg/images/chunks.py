"""Read zarr arrays chunk by chunk, and name the chunks that are missing or damaged."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.images.frames import Region

if TYPE_CHECKING:
    import zarr

_COUNTED = 100_000
"""Chunks of which one looks whether each is there; of more it would take long."""


class DamagedChunk(OSError):
    """A chunk of a store cannot be read.

    Attributes
    ----------
    region : tuple of slice
        The voxels that it holds.
    file : str
        Where it lies.
    """

    def __init__(self, region: Region, file: str, cause: object) -> None:
        super().__init__(
            f"The voxels {region_text(region)} cannot be read from {file} ({cause}): copy that "
            "file again from where the image came from, or go on without these voxels (label 0)"
        )
        self.region, self.file, self.cause = region, file, cause

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.region, self.file, str(self.cause))


class Guarded:
    """A zarr array, read lazily, that knows which of its chunks are damaged.

    Zarr 2 keeps no checksums, so bytes that still decode, but to other numbers, go unnoticed.

    Parameters
    ----------
    array : zarr.Array
        What to read.
    on_damage : {"raise", "blank"}
        Whether a chunk that cannot be read raises `DamagedChunk`, or is given as the array's fill
        value and listed in `damaged`.

    fill_counts : bool
        Whether chunks that are not there hold the fill value, as in images of labels. Of others
        the values are masked.

    Attributes
    ----------
    damaged : list of tuple of slice
        The regions met so far, in this process, that hold no value of the image; their labels
        should be 0.
    """

    def __init__(
        self,
        array: zarr.Array[Any],
        *,
        on_damage: Literal["raise", "blank"] = "raise",
        fill_counts: bool = False,
    ) -> None:
        self.array = array
        self.on_damage = on_damage
        self.fill_counts = fill_counts
        self.damaged: list[Region] = []
        self.shape: tuple[int, ...] = array.shape
        self.chunks: tuple[int, ...] = array.chunks
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.ndim = array.ndim
        self.size = math.prod(array.shape)
        self._there: dict[tuple[int, ...], bool] = {}

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read by whole numbers and slices with a positive step.

        Of chunks that are not there, which read as the fill value, all values are masked, unless
        that value counts.

        Raises
        ------
        DamagedChunk
            If a chunk cannot be read and `on_damage` is "raise".
        """
        try:
            found = np.asarray(self.array[key])
        except (IndexError, MemoryError):
            raise
        except Exception:  # each codec fails in its own way
            found = self._chunk_by_chunk(key)
        missing = [] if self.fill_counts else self._missing(key)
        if not missing:
            return found
        masked: NDArray[Any] = np.ma.MaskedArray(found, np.zeros(found.shape, bool))
        wanted, _ = _as_ranges(key, self.shape)
        hidden = masked.mask.reshape([len(span) for span in wanted])  # type: ignore[attr-defined]
        for place in missing:
            hidden[_overlap(wanted, _region(place, self._unit, self.shape))[1]] = True
        return masked

    @property
    def _unit(self) -> tuple[int, ...]:
        """Of what is stored in one file: a shard, or a chunk."""
        return self.array.shards or self.array.chunks

    def _missing(self, key: Any) -> list[tuple[int, ...]]:
        """Return the places of the chunks of a selection that are not there."""
        wanted, _ = _as_ranges(key, self.shape)
        touched = (
            sorted({i // side for i in span}) for span, side in zip(wanted, self._unit, strict=True)
        )
        absent = []
        for place in product(*touched):
            if place not in self._there:
                self._there[place] = _has_bytes(_stored_file(self.array, place))
            if not self._there[place]:
                absent.append(place)
        return absent

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)

    def _chunk_by_chunk(self, key: Any) -> NDArray[Any]:
        """Read the chunks of a selection one after the other, and so find the damaged ones."""
        wanted, numbered = _as_ranges(key, self.shape)
        fill = self.array.fill_value
        found = np.full([len(span) for span in wanted], 0 if fill is None else fill, self.dtype)
        touched = (
            sorted({i // chunk for i in span})
            for span, chunk in zip(wanted, self.chunks, strict=True)
        )
        for place in product(*touched):
            region = _region(place, self.chunks, self.shape)
            source, target = _overlap(wanted, region)
            try:
                found[target] = self.array[source]
            except MemoryError:
                raise
            except Exception as error:
                if self.on_damage == "raise":
                    raise DamagedChunk(region, _chunk_file(self.array, place), error) from error
                if region not in self.damaged:
                    self.damaged.append(region)
        return found[tuple(0 if one else slice(None) for one in numbered)]


def missing_chunks(array: Guarded) -> list[Region]:
    """Return the regions for which no file is stored, which zarr reads as the fill value.

    That is worth a note and no error: many writers leave out chunks that hold nothing else.
    One look at the file system a chunk, no pixel is read.
    """
    stored = array.array
    unit = stored.shards or stored.chunks
    places = product(*(range(-(-size // of)) for size, of in zip(stored.shape, unit, strict=True)))
    return [
        _region(place, unit, stored.shape)
        for place in places
        if not _has_bytes(_stored_file(stored, place))
    ]


def note_of_missing(array: Guarded) -> str:
    """Say how many chunks are not there and what they read as; nothing if all are.

    Raises
    ------
    ValueError
        If none is there.
    """
    count = math.prod(-(-size // of) for size, of in zip(array.shape, array._unit, strict=True))
    if count > _COUNTED:
        return ""
    missing = len(missing_chunks(array))
    if not missing:
        return ""
    if missing == count:
        first = _stored_file(array.array, (0,) * array.ndim)
        raise ValueError(
            f"none of its {count} chunks is there, and the first should be {first}: copy the store "
            "whole, or mend its metadata if the chunks have other names"
        )
    fill = array.array.fill_value
    return (
        f"{missing} of {count} chunks are not there and read as {0 if fill is None else fill}: "
        "they are left out, and have label 0."
    )


def region_text(region: Region) -> str:
    """Return a region as one would type it: "[0:64, 64:128]"."""
    return f"[{', '.join(f'{one.start}:{one.stop}' for one in region)}]"


def _chunk_file(array: zarr.Array[Any], place: tuple[int, ...]) -> str:
    """Return where a chunk is stored: the file of its shard, if there are shards."""
    if array.shards is not None:
        ratio = (shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True))
        place = tuple(i // many for i, many in zip(place, ratio, strict=True))
    return _stored_file(array, place)


def _stored_file(array: zarr.Array[Any], place: tuple[int, ...]) -> str:
    key = array.metadata.encode_chunk_key(place)
    return f"{array.store_path}/{key}".removeprefix("file://")


def _has_bytes(file: str) -> bool:
    try:
        return os.stat(file).st_size > 0
    except FileNotFoundError:
        return False


def _region(place: Iterable[int], chunk: Iterable[int], shape: Iterable[int]) -> Region:
    return tuple(
        slice(i * of, min((i + 1) * of, size))
        for i, of, size in zip(place, chunk, shape, strict=True)
    )


def _as_ranges(key: Any, shape: tuple[int, ...]) -> tuple[list[range], list[bool]]:
    """Return which indices of each axis are selected, and whether by a bare number."""
    given = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, one in enumerate(given) if one is Ellipsis), len(given))
    given[at : at + 1] = [slice(None)] * (len(shape) - len(given) + (at < len(given)))
    spans, numbered = [], []
    for one, size in zip(given, shape, strict=True):
        if isinstance(one, slice):
            spans.append(range(size)[one])
        else:
            index = range(size)[operator.index(one)]
            spans.append(range(index, index + 1))
        numbered.append(not isinstance(one, slice))
    return spans, numbered


def _overlap(wanted: list[range], region: Region) -> tuple[Region, Region]:
    """Return the selected part of a chunk, in the array and in what is read."""
    source, target = [], []
    for span, one in zip(wanted, region, strict=True):
        first = max(0, -((span.start - one.start) // span.step))
        last = min(len(span), -((span.start - one.stop) // span.step))
        part = span[first:last]
        source.append(slice(part.start, part.stop, part.step))
        target.append(slice(first, last))
    return tuple(source), tuple(target)
