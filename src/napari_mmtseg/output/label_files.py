"""Write labels to files that carry their axes and voxel size: OME-TIFF, or OME-Zarr."""

from __future__ import annotations

import hashlib
import io
import math
import os
import uuid
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.images.frames import Region, is_lazy
from napari_mmtseg.images.image_files import Spot
from napari_mmtseg.output.ome_zarr import Written, write_labels
from napari_mmtseg.prediction.dask_cluster import BlocksAhead
from napari_mmtseg.system.whole_files import write_whole

_SIDE_PX = 1024
_SHORT = {
    "micrometer": "µm",
    "micron": "µm",
    "um": "µm",
    "μm": "µm",  # the Greek letter
    "nanometer": "nm",
    "millimeter": "mm",
    "second": "s",
    "sec": "s",
    "millisecond": "ms",
    "minute": "min",
    "hour": "h",
}
"""Units as OME-XML writes them."""
_CLASSIC_BYTES = 2**31


def tiff_of(labels: NDArray[Any], axes: str, world: Mapping[str, Spot]) -> bytes:
    """Return labels as the bytes of an OME-TIFF; the same labels give the same bytes.

    Parameters
    ----------
    labels : integer or float array
        Or the uncertainty.
    axes : str
        Of the labels.
    world : mapping of str to Spot
        How they lie along each axis of which that is known.
    """
    import tifffile

    about: dict[str, Any] = {"axes": axes}
    plane: dict[str, Any] = {}
    n_planes = math.prod(n for axis, n in zip(axes, labels.shape, strict=True) if axis not in "YX")
    for axis, (size, unit, origin) in world.items():
        if axis not in axes:
            continue
        own = _SHORT.get(unit or "", unit)
        if axis == "T":
            about |= {"TimeIncrement": size, "TimeIncrementUnit": own or "s"}
            continue
        about |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": own or "pixel"}
        if origin:
            plane |= {f"Position{axis}": [origin] * n_planes}
            plane |= {f"Position{axis}Unit": [own or "pixel"] * n_planes}
    if plane:
        about["Plane"] = plane
    digest = hashlib.sha256(np.ascontiguousarray(labels).data)
    about["UUID"] = str(uuid.UUID(bytes=digest.digest()[:16]))  # by default it is of the moment
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        labels,
        ome=True,
        photometric="minisblack",
        compression="zlib",
        metadata=about,
        bigtiff=labels.nbytes > _CLASSIC_BYTES,
    )
    return file.getvalue()


def write_tiff(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    axes: str,
    world: Mapping[str, Spot],
    *,
    overwrite: bool = False,
) -> None:
    """Write labels as OME-TIFF, whole or not at all.

    Raises
    ------
    OSError
        As in `whole_files.write_whole`.
    """
    write_whole(path, [tiff_of(labels, axes, world)], overwrite=overwrite)


def store_steps(
    path: str | os.PathLike[str],
    labels: Any,
    axes: str,
    world: Mapping[str, Spot],
    *,
    fingerprint: str,
    overwrite: bool = False,
    client: Any = None,
) -> Generator[Written, bool | None, Path]:
    """Write labels, lazy ones too, as OME-Zarr block by block; see `write_labels`.

    With the client of a cluster, that computes the blocks of lazy ones.
    """
    lazy = is_lazy(labels)
    side = {"Y": _SIDE_PX, "X": _SIDE_PX}
    chunk = labels.chunksize if lazy else [side.get(axis, 1) for axis in axes]
    known = [world.get(axis, Spot(1.0)) for axis in axes]

    def block(region: Region) -> NDArray[Any]:
        part = labels[region]
        return np.asarray(part.compute(scheduler="threads") if hasattr(part, "compute") else part)

    return write_labels(
        path,
        labels.shape,
        chunk,
        BlocksAhead(client, labels) if lazy and client is not None else block,
        axes=axes,
        fingerprint=fingerprint,
        scale=[one.size for one in known],
        units=[one.unit for one in known],
        translate=[one.origin for one in known],
        overwrite=overwrite,
    )
