"""Write labels block by block to OME-Zarr, so that a killed writing can be resumed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_mmtseg.images.chunks import region_text
from napari_mmtseg.images.frames import Region, within
from napari_mmtseg.images.stores import name_of
from napari_mmtseg.output.partial_store import PartialStore, in_words, only_writer

if TYPE_CHECKING:
    import zarr

_OVERVIEW_PX = 512  # the coarsest level is at most as large
_CHUNK_PX = 1024
"""Of a larger block, chunks are a half, a fourth...: whoever looks at it reads them whole."""
_UNITS = {
    "µm": "micrometer",  # the micro sign
    "μm": "micrometer",  # the Greek letter
    "um": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "s": "second",
    "ms": "millisecond",
}


class Written(NamedTuple):
    """What a writing has done so far."""

    done: int
    total: int
    """Chunks of all levels."""
    level: int
    """0 for the labels themselves, above for the coarser copies made of them."""
    region: Region
    """The chunk, in the voxels of its level."""
    found: bool
    """Whether an earlier writing had finished it."""


def write_labels(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    chunk: Sequence[int],
    blocks: Callable[[Region], NDArray[Any]],
    *,
    axes: str,
    fingerprint: str,
    scale: Sequence[float] | None = None,
    units: Sequence[str | None] | None = None,
    translate: Sequence[float] | None = None,
    dtype: DTypeLike = np.int32,
    overwrite: bool = False,
) -> Generator[Written, bool | None, Path]:
    """Write labels to an OME-Zarr image with ever coarser levels, one block at a time.

    Until all is done, the store lies in a folder `<name>.unfinished` beside the target, with a
    journal of the blocks that are on the disk. However the writing ends (stopped, killed, disk
    full, power cut), the next one with the same arguments computes the missing blocks only. The
    finished store takes the final name in one step.

    The format is OME-Zarr 0.4 (zarr 2), since whatever reads 0.5 reads that too, but Fiji, QuPath
    and ilastik do not all read 0.5. Chunks are packed by Blosc with zstd at level 1, which every
    such reader knows: 150 Mpixel/s on one core, and half to a third of what LZ4 needs.

    Parameters
    ----------
    path : str or path-like
        The final name, such as "labels.zarr".
    shape, chunk : sequence of int
        Size of the labels, and of a block, along each axis. A block of more than 1024 along Y or X
        is computed whole and kept in several chunks.
    blocks : callable
        Gives the labels of a block, called with its slices, for missing blocks alone. It must
        give the same labels each time.
    axes : str
        One letter an axis, of TCZYX and in that order.
    fingerprint : str
        Differs if the labels would differ: a digest of the model, the image and the settings.
    scale, translate : sequence of float, optional
        Size of a voxel and place of the first, along each axis.
    units : sequence of (str or None), optional
        Unit of each axis, such as "micrometer" or "second".
    dtype : dtype
        An integer type.
    overwrite : bool
        Whether a finished store of that name is replaced (when the new one is complete), and
        unfinished labels of another fingerprint are discarded.

    Yields
    ------
    Written
        After each chunk. Sending True stops; what is done stays for the next time.

    Returns
    -------
    Path
        The finished store; or the unfinished folder, if stopped.

    Raises
    ------
    OSError
        If the disk is full, nothing may be written there, the target exists, is being written
        by someone else, or is unfinished with another fingerprint.
    ValueError, TypeError
        If the arguments or a block do not fit each other.
    """
    target = Path(path).absolute()
    plan = _Plan(shape, chunk, axes, scale, units, translate, np.dtype(dtype))
    shapes = [plan.shape_of(level) for level in range(len(plan.factors))]
    with only_writer(target):
        with in_words(target):
            store = PartialStore(target, plan.header(fingerprint), shapes, overwrite=overwrite)
        with store:
            total = sum(math.prod(array.cdata_shape) for array in store.arrays)
            block: NDArray[Any] | None = None
            box: Region | None = None
            for done, (level, key, region) in enumerate(_chunks(store.arrays, plan.block), 1):
                found = store.holds(key)
                if not found:
                    if level == 0:
                        around = plan.block_of(region)
                        if block is None or box != around:
                            block, box = None, around  # there may be no room for both
                            block = _checked(blocks(around), around, plan.dtype)
                        made = block[within(region, around)]
                    else:
                        block = None
                        made = plan.coarser(store.arrays[level - 1], region, level)
                    with in_words(target):
                        store.arrays[level][region] = made
                        store.add(key)
                stop = yield Written(done, total, level, region, found)
                if stop and done < total:
                    return store.folder
        with in_words(target):
            store.finish(plan.attributes(name_of(target)))
    return target


def multiscales(
    name: str,
    axes: str,
    factors: Sequence[Sequence[int]],
    scale: Sequence[float],
    units: Sequence[str | None],
    translate: Sequence[float],
) -> dict[str, Any]:
    """Return the attributes of an OME-Zarr 0.4 label image.

    Parameters
    ----------
    name : str
        Of the image.
    axes : str
        One letter an axis.
    factors : sequence of sequence of int
        For each level, how many times coarser than the first it is along each axis.
    scale, units, translate : sequence
        As in `write_labels`. A coarser level has every n-th voxel beginning with the first, so
        that its first voxel lies where that of the finest does.
    """
    kinds = {"T": "time", "C": "channel"}
    described = []
    for axis, unit in zip(axes, units, strict=True):
        one = {"name": axis.lower(), "type": kinds.get(axis, "space")}
        if unit and unit not in ("pixel", "dimensionless"):  # those are no units in NGFF
            one["unit"] = _UNITS.get(unit, unit)
        described.append(one)
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [f * s for f, s in zip(factor, scale, strict=True)]},
                {"type": "translation", "translation": list(translate)},
            ],
        }
        for level, factor in enumerate(factors)
    ]
    image = {"version": "0.4", "name": name, "axes": described, "datasets": datasets}
    return {"multiscales": [image | {"type": "nearest"}], "image-label": {"version": "0.4"}}


class _Plan:
    """What is to be written: the levels, their blocks and their place in the world."""

    def __init__(
        self,
        shape: Sequence[int],
        chunk: Sequence[int],
        axes: str,
        scale: Sequence[float] | None,
        units: Sequence[str | None] | None,
        translate: Sequence[float] | None,
        dtype: np.dtype[Any],
    ) -> None:
        self.axes, self.dtype = axes.upper(), dtype
        if self.axes != "".join(a for a in "TCZYX" if a in self.axes) or "YX" not in self.axes:
            raise ValueError(f'The axes must be of TCZYX in that order, with YX, got "{axes}"')
        ndim = len(self.axes)
        per_axis = (shape, chunk, scale, units, translate)
        for what, given in zip(
            ("shape", "chunk", "scale", "units", "translation"), per_axis, strict=True
        ):
            if given is not None and len(given) != ndim:
                raise ValueError(
                    f'The {what} must have one entry for each of the axes "{self.axes}", '
                    f"got {tuple(given)}"
                )
        if min(shape) < 1 or min(chunk) < 1:
            raise ValueError(f"Shape and chunk must be 1 or more, got {shape} and {chunk}")
        if dtype.kind not in "iu":
            raise TypeError(f"Labels are whole numbers, got dtype {dtype}")
        self.shape = tuple(int(n) for n in shape)
        self.block = tuple(int(n) for n in chunk)
        self.chunk = tuple(
            _halved(n) if axis in "YX" else n for axis, n in zip(self.axes, self.block, strict=True)
        )
        self.scale = tuple(float(s) for s in ([1] * ndim if scale is None else scale))
        self.units = tuple([None] * ndim if units is None else units)
        self.translate = tuple(float(t) for t in ([0] * ndim if translate is None else translate))
        if not all(math.isfinite(s) and s > 0 for s in self.scale):
            raise ValueError(f"The scale must be above 0, got {self.scale}")
        self.factors = list(self._coarser_factors("ZYX" if scale is not None else "YX"))

    def _coarser_factors(self, which: str) -> Iterator[tuple[int, ...]]:
        """Halve the axes with the finest voxels, so that voxels become isotropic."""
        factors = np.ones(len(self.axes), int)
        while True:
            yield tuple(factors.tolist())
            sizes = -(-np.array(self.shape) // factors)
            if max(sizes[-2:]) <= _OVERVIEW_PX:
                return
            voxel = factors * self.scale
            able = np.array([a in which for a in self.axes]) & (sizes > 1)
            factors[able & (voxel < 2 * voxel[able].min())] *= 2

    def shape_of(self, level: int) -> tuple[int, ...]:
        return tuple(-(-n // f) for n, f in zip(self.shape, self.factors[level], strict=True))

    def block_of(self, region: Region) -> Region:
        """Return the block that a chunk is in."""
        starts = [r.start // b * b for r, b in zip(region, self.block, strict=True)]
        ends = [min(i + b, n) for i, b, n in zip(starts, self.block, self.shape, strict=True)]
        return tuple(map(slice, starts, ends))

    def coarser(self, finer: zarr.Array[Any], region: Region, level: int) -> NDArray[Any]:
        """Return a block of a level: every second voxel of the level before, where that halves."""
        before, after = self.factors[level - 1], self.factors[level]
        steps = [b // a for a, b in zip(before, after, strict=True)]
        box = tuple(slice(r.start * n, r.stop * n) for r, n in zip(region, steps, strict=True))
        return np.asarray(finer[box])[tuple(slice(None, None, n) for n in steps)]

    def attributes(self, name: str) -> dict[str, Any]:
        return multiscales(name, self.axes, self.factors, self.scale, self.units, self.translate)

    def header(self, fingerprint: str) -> dict[str, Any]:
        described: dict[str, Any] = {
            "fingerprint": fingerprint,
            "shape": self.shape,
            "chunk": self.chunk,
            "dtype": self.dtype.name,
            "axes": self.axes,
            "scale": self.scale,
        }
        return described


def _checked(made: NDArray[Any], region: Region, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the labels of a block in their final dtype."""
    block = np.asarray(made)
    expected = tuple(one.stop - one.start for one in region)
    if block.shape != expected or block.dtype.kind not in "biu":
        raise ValueError(
            f"The labels of {region_text(region)} must be whole numbers of shape {expected}, "
            f"got {block.dtype} of shape {block.shape}"
        )
    if not np.can_cast(block.dtype, dtype) and (block != block.astype(dtype)).any():
        raise ValueError(f"The labels of {region_text(region)} do not fit {dtype}")
    return block.astype(dtype, copy=False)


def _halved(side: int) -> int:
    while side > _CHUNK_PX and side % 2 == 0:
        side //= 2
    return side


def _chunks(
    arrays: list[zarr.Array[Any]], block: tuple[int, ...]
) -> Iterator[tuple[int, str, Region]]:
    """Give the level, the file and the voxels of every chunk, block by block, the finest first."""
    for level, array in enumerate(arrays):
        several = [max(1, b // c) for b, c in zip(block, array.chunks, strict=True)]
        places = product(*(range(count) for count in array.cdata_shape))
        for place in sorted(
            places, key=lambda at: [i // n for i, n in zip(at, several, strict=True)]
        ):
            region = tuple(
                slice(i * c, min((i + 1) * c, n))
                for i, c, n in zip(place, array.chunks, array.shape, strict=True)
            )
            yield level, f"{level}/{array.metadata.encode_chunk_key(place)}", region
