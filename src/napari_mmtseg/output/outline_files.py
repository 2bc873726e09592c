"""Write the outlines of labels to files for Fiji and QuPath, and read such files as labels."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg.images.frames import Frames
from napari_mmtseg.labels.outlines import Outline, Ring, filled, outlines_of
from napari_mmtseg.system.whole_files import write_whole

_ENDINGS = ".zip (ImageJ ROIs) or .geojson (QuPath)"
_GEOJSON = (".geojson", ".json")
_MOST_INT16 = 2**15 - 1
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0  # of the paths in a composite ROI
_WITH_INSIDE = {"POLYGON", "RECT", "OVAL", "FREEHAND", "TRACED"}
_NO_SHAPES = {"TEXT", "ARROW", "IMAGE"}


class OutlineLabels(NamedTuple):
    """Labels that were read from outlines."""

    labels: NDArray[np.int32]
    notes: tuple[str, ...]
    """What was left out, or had to be assumed, in sentences."""


class _Placed(NamedTuple):
    """An outline and the plane that it lies in: the index along T and along Z, None for any."""

    name: str
    pieces: list[list[Ring]]
    t: int | None = None
    z: int | None = None


def write_outlines(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    *,
    axes: str | Sequence[str] | None = None,
    overwrite: bool = False,
) -> int:
    """Write the outline of each object to a file, whole or not at all.

    Outlines run along the edges of pixels, with (0, 0) the upper left corner of the upper left
    pixel, which is how ImageJ and QuPath count; who gives each pixel whose centre lies inside an
    outline its name has the labels again. Holes and pieces are kept. Of a stack each plane has
    outlines of its own.

    Parameters
    ----------
    path : path-like
        Ending in .zip for ImageJ's ROI Manager, which needs roifile, or in .geojson for QuPath.
    labels : integer array-like
        0 is ground; an object's id becomes the name of its outlines. Lazy ones are read plane by
        plane.
    axes : str, optional
        One letter an axis of the labels, T, Z, Y and X; may be left out in 2D.
    overwrite : bool
        Whether to replace a file that is there already.

    Returns
    -------
    int
        The number of outlines written.

    Raises
    ------
    ValueError
        If the path ends in something else, or the axes do not fit.
    TypeError
        If the labels are no whole numbers.
    ModuleNotFoundError
        If ImageJ's ROIs are wanted and roifile is not installed.
    FileExistsError, OSError
        As for `write_table`: what was there is unchanged.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".zip", *_GEOJSON):
        raise ValueError(
            f"Outlines are saved as {_ENDINGS}, got {Path(path).name!r}: let the name end so"
        )
    frames = Frames(labels, axes)
    if frames.n_channels > 1 or frames.label_axes != frames.axes:
        raise ValueError(f"Labels have no channels, got axes {frames.axes}: name T, Z, Y and X")
    if frames.dtype.kind not in "biu":
        raise TypeError(
            f"Labels are whole numbers, got {frames.dtype}: outline the labels, not the image"
        )
    if ending == ".zip":
        _roifile()
    count = 0

    def counted(all_of_them: Iterable[_Placed]) -> Iterator[_Placed]:
        nonlocal count
        for one in all_of_them:
            count += 1
            yield one

    blocks = _roi_zip if ending == ".zip" else _geojson
    write_whole(path, blocks(counted(_placed(frames)), frames), overwrite=overwrite)
    return count


def read_outlines(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    *,
    axes: str | None = None,
    pixel_size: float = 1.0,
) -> OutlineLabels:
    """Read ImageJ's ROIs or GeoJSON as labels: pixels whose centres lie inside have the id.

    An outline's name is its id if it is a whole number above 0; otherwise outlines are numbered on
    from the largest name, in the file's order. Where outlines overlap the later one wins.

    Parameters
    ----------
    path : path-like
        Ending in .roi, .zip or .geojson.
    shape : sequence of int
        Of the labels.
    axes : str, optional
        One letter an axis of the labels, T, Z, Y and X; may be left out in 2D.
    pixel_size : float
        What a pixel measures in the units of the outlines: 1 where they count pixels.

    Returns
    -------
    OutlineLabels

    Raises
    ------
    ValueError
        If the file is damaged or holds no outline that lies in the image.
    ModuleNotFoundError
        If ImageJ's ROIs are read and roifile is not installed.
    OSError
        If it cannot be read.
    """
    ending = Path(path).suffix.lower()
    if ending in _GEOJSON:
        placed, notes = _from_geojson(Path(path))
    elif ending in (".roi", ".zip"):
        placed, notes = _from_rois(Path(path))
    else:
        raise ValueError(
            f"Outlines are read from .roi, .zip or .geojson, got {Path(path).name!r}: choose one"
        )
    if not pixel_size > 0 or not np.isfinite(pixel_size):
        raise ValueError(f"The pixel size must be above 0, got {pixel_size}")
    labels = np.zeros(tuple(shape), np.int32)
    frames = Frames(labels, axes)
    ids = _ids(placed)
    by_frame: dict[int, list[Outline]] = {}
    for one, number in zip(placed, ids, strict=True):
        pieces = [[ring / pixel_size for ring in rings] for rings in one.pieces]
        for index in _frames_of(one, frames):
            by_frame.setdefault(index, []).append(Outline(number, pieces))
    for index, outlines in by_frame.items():
        frames.frame_of(labels, index)[...] = filled(outlines, (shape[-2], shape[-1]))
    lost = len(set(ids)) - np.count_nonzero(np.isin(np.unique(labels), list(set(ids))))
    if placed and lost == len(set(ids)):
        raise ValueError(
            f"None of the {len(placed)} outlines of {path} holds a pixel of an image of shape "
            f"{tuple(shape)}: were they drawn on this image, and do they count pixels? Give the "
            "pixel size if they are in other units"
        )
    if lost:
        notes.append(f"{lost} outlines hold no pixel of the image, or lie below later ones")
    return OutlineLabels(labels, tuple(notes))


def _placed(frames: Frames) -> Iterator[_Placed]:
    stack = [axis for axis in frames.label_axes if axis in "TZ"]
    for index in range(len(frames)):
        at = dict(zip(stack, frames.position(index), strict=True))
        for outline in outlines_of(frames.read(index)[0]):
            yield _Placed(str(outline.id), outline.pieces, at.get("T"), at.get("Z"))


def _ids(placed: list[_Placed]) -> list[int]:
    named = [int(one.name) if one.name.isdecimal() else 0 for one in placed]
    named = [one if one < 2**31 else 0 for one in named]
    following = max(named, default=0) + 1
    ids = []
    for one in named:
        ids.append(one or following)
        following += not one
    return ids


def _frames_of(one: _Placed, frames: Frames) -> Iterator[int]:
    """Return the frames that an outline lies in: all, where the file does not tell."""
    stack = [axis for axis in frames.label_axes if axis in "TZ"]
    wanted = {"T": one.t, "Z": one.z}
    for index in range(len(frames)):
        at = dict(zip(stack, frames.position(index), strict=True))
        if all(wanted[axis] in (None, place) for axis, place in at.items()):
            yield index


def _geojson(placed: Iterable[_Placed], frames: Frames) -> Iterator[bytes]:
    yield b'{"type": "FeatureCollection", "features": ['
    before = b"\n"
    for one in placed:
        polygons = [[_closed(ring) for ring in rings] for rings in one.pieces]
        single = len(polygons) == 1
        geometry: dict[str, Any] = {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": polygons[0] if single else polygons,
        }
        if len(frames) > 1:
            geometry["plane"] = {"c": -1, "z": one.z or 0, "t": one.t or 0}
        properties = {"objectType": "detection", "name": one.name}
        feature = {"type": "Feature", "geometry": geometry, "properties": properties}
        yield before + json.dumps(feature).encode()
        before = b",\n"
    yield b"\n]}\n"


def _closed(ring: Ring) -> list[list[float]]:
    corners = [[int(n) if n == int(n) else n for n in corner] for corner in ring.tolist()]
    return [*corners, corners[0]]


def _from_geojson(path: Path) -> tuple[list[_Placed], list[str]]:
    try:
        told = json.loads(path.read_bytes())
        features = told.get("features", [told]) if isinstance(told, dict) else told
        placed = []
        others = 0
        for feature in features:
            geometry = feature.get("geometry", feature)
            kind = geometry.get("type")
            if kind not in ("Polygon", "MultiPolygon"):
                others += 1
                continue
            coordinates = geometry["coordinates"]
            polygons = [coordinates] if kind == "Polygon" else coordinates
            pieces = [[_ring(ring) for ring in rings] for rings in polygons]
            plane = geometry.get("plane", {})
            name = str((feature.get("properties") or {}).get("name", ""))
            placed.append(_Placed(name, pieces, plane.get("t"), plane.get("z")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no GeoJSON of polygons ({error}): export the objects anew"
        ) from error
    return placed, _left_out(others, path)


def _ring(corners: Any) -> Ring:
    ring = np.asarray([corner[:2] for corner in corners], np.float64)
    if ring.ndim != 2 or len(ring) < 3 or not np.isfinite(ring).all():
        raise ValueError("a ring needs three corners or more, of finite numbers")
    return ring[:-1] if (ring[0] == ring[-1]).all() else ring


def _left_out(count: int, path: Path) -> list[str]:
    if not count:
        return []
    what = "1 point, line or the like" if count == 1 else f"{count} points, lines and the like"
    return [f"{what} in {path.name} have no inside and were left out"]


def _roifile() -> Any:
    try:
        import roifile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ImageJ's ROIs need roifile, which is not installed: "
            "pip install 'napari-mmtseg[formats]', or save as .geojson"
        ) from error
    return roifile


def _roi_zip(placed: Iterable[_Placed], frames: Frames) -> Iterator[bytes | memoryview]:
    several = len([axis for axis in frames.label_axes if axis in "TZ"]) > 1
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in placed:
            roi = _roi(one)
            if several:
                roi.t_position, roi.z_position = 1 + (one.t or 0), 1 + (one.z or 0)
            elif one.t is not None or one.z is not None:
                roi.position = 1 + (one.z if one.t is None else one.t)  # type: ignore[operator]
            at = [f"{place + 1:04}" for place in (one.t, one.z) if place is not None]
            # Without a date, so that the same labels give the same bytes.
            entry = zipfile.ZipInfo("-".join([*at, f"{one.name}.roi"]))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, roi.tobytes())
    yield file.getbuffer()


def _roi(one: _Placed) -> Any:
    """Make a traced selection of one ring, and a composite one of several."""
    roifile = _roifile()
    rings = [ring for piece in one.pieces for ring in piece]
    corners = np.concatenate(rings)
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    roi = roifile.ImagejRoi(name=one.name)
    roi.left, roi.top, roi.right, roi.bottom = (int(n) for n in (*low, *high))
    if len(rings) > 1:
        path: list[float] = []
        for ring in rings:
            for number, (x, y) in enumerate(ring.tolist()):
                path += [_LINE if number else _MOVE, x, y]
            path.append(_CLOSE)
        roi.roitype = roifile.ROI_TYPE.RECT
        roi.multi_coordinates = np.array(path, np.float32)
        roi.shape_roi_size = len(path)
        return roi
    roi.roitype = roifile.ROI_TYPE.TRACED
    roi.n_coordinates = len(corners)
    roi.integer_coordinates = (corners - low).astype(np.int32)
    if high.max() > _MOST_INT16:  # the integers of the format end there
        roi.options |= roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.subpixel_coordinates = corners.astype(np.float32)
    return roi


def _from_rois(path: Path) -> tuple[list[_Placed], list[str]]:
    roifile = _roifile()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: check the name")
    try:
        read = roifile.ImagejRoi.fromfile(path)
        rois = read if isinstance(read, list) else [read]
        placed = []
        others = 0
        for roi in rois:
            if roi.roitype.name not in _WITH_INSIDE or roi.subtype.name in _NO_SHAPES:
                others += 1
                continue
            t, z = roi.t_position - 1, roi.z_position - 1
            if t < 0 and z < 0:  # of a stack that is no hyperstack
                t = z = roi.position - 1
            rings = [_ring(ring) for ring in roi.coordinates(multi=True)]
            known = [None if at < 0 else at for at in (t, z)]
            placed.append(_Placed(roi.name, [rings], *known))
    except (ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is no file of ImageJ ROIs, or damaged ({error}): save it anew from the ROI "
            "Manager"
        ) from error
    return placed, _left_out(others, path)
