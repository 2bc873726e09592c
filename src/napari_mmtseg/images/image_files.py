"""Open image files (TIFF, OME-TIFF, ImageJ, PNG, OME-Zarr) with their axes and voxel size."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from napari_mmtseg.images.chunks import note_of_missing
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.images.stores import StoredImage, is_step, is_store
from napari_mmtseg.images.stores import open_image as open_store

TIFF = (".tif", ".tiff")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
ZARR = ".zarr"
LAZY_BYTES = 2**31
"""Pixels of more bytes are not read at once but piece by piece."""

_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25_400.0, "pm": 1e-6}
_NAMES = {
    "nanometer": "nm",
    "micrometer": "µm",
    "micron": "µm",
    "microns": "µm",
    "um": "µm",
    "μm": "µm",  # the Greek letter
    "\\u00B5m": "µm",  # as ImageJ writes it
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "picometer": "pm",
}


class Spot(NamedTuple):
    """How an image lies along one axis, in the file's own unit."""

    size: float
    """Of a pixel, or the time from frame to frame."""
    unit: str | None = None
    origin: float = 0.0
    """Where the first pixel lies."""


@dataclass(frozen=True)
class ImageFile:
    """An image in a file, of which the pixels are not read yet.

    Attributes
    ----------
    path : Path
    shape : tuple of int
    dtype : numpy dtype
    axes : str
        One letter an axis, as `segment` takes them.
    pixel_um : mapping of str to float
        The size of a pixel along Z, Y and X in µm, as far as the file tells.
    notes : tuple of str
        What a user should know of how it was opened, in sentences.
    world : mapping of str to Spot
        How it lies along each axis that the file tells of, time included.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    pixel_um: Mapping[str, float]
    notes: tuple[str, ...] = ()
    world: Mapping[str, Spot] = field(default_factory=dict)

    @property
    def is_store(self) -> bool:
        """Whether it is a folder of chunks, OME-Zarr or zarr."""
        return self.path.is_dir()

    @property
    def is_lazy(self) -> bool:
        """Whether it is too large to be read at once."""
        return math.prod(self.shape) * self.dtype.itemsize > LAZY_BYTES

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """The voxel's size along Z, Y and X as `segment` takes it, for stacks; None if unknown."""
        known = self.pixel_um
        return (known["Z"], known["Y"], known["X"]) if set("ZYX") <= set(known) else None

    @property
    def pixel_size(self) -> tuple[float, ...] | None:
        """The size of a pixel along the image's Z (if there), Y and X as `measure` takes it."""
        within = [axis for axis in "ZYX" if axis in self.axes]
        if not set(within) <= set(self.pixel_um):
            return None
        return tuple(self.pixel_um[axis] for axis in within)

    @property
    def kind(self) -> tuple[str, int]:
        """What images must share to be labelled by one model: axes and number of channels."""
        frames = _outline(self.shape, self.dtype, self.axes)
        return frames.axes, frames.n_channels

    def read(self) -> Any:
        """Return the pixels: a numpy array, or a lazy one if they are many.

        Raises
        ------
        OSError, ValueError, MemoryError
            If they cannot be read: in one sentence that names the file.
        """
        return _told(self.path, _pixels, self)


def open_image(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    spacing: Sequence[float] | None = None,
) -> ImageFile:
    """Look at an image file, and read no pixel.

    Parameters
    ----------
    path : path-like
        TIFF (OME, ImageJ or plain), PNG, JPEG or BMP, or the folder of an (OME-)Zarr image.
    axes : str, optional
        Take the place of the file's own.
    spacing : sequence of float, optional
        The size of a pixel along Z, Y and X in µm, or along Y and X; take the place of the file's.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        If it is no image that can be opened, or does not name its axes: in one sentence that
        names the file.
    """
    path = Path(path)
    found: ImageFile = _told(path, _look, path, axes)
    if spacing is not None:
        sizes = tuple(float(one) for one in spacing)
        if len(sizes) not in (2, 3) or not all(math.isfinite(s) and s > 0 for s in sizes):
            raise ValueError(
                "The size of a pixel (spacing) must be two or three numbers above 0, along (Z,) Y "
                f"and X in µm, got {' '.join(map(str, spacing))}"
            )
        known = dict(zip("ZYX"[-len(sizes) :], sizes, strict=True))
        world = {axis: one for axis, one in found.world.items() if axis not in "ZYX"}
        world |= {axis: Spot(size, "µm") for axis, size in known.items()}
        found = replace(found, pixel_um=known, world=world)
    _outline(found.shape, found.dtype, found.axes)  # says what is wrong with it
    return found


def notes_of_store(stored: StoredImage) -> tuple[str, ...]:
    """Say what a user should know of a store: steps that are none, chunks that are not there.

    Raises
    ------
    ValueError
        If no chunk is there.
    """
    missing = "" if stored.labels else note_of_missing(stored.levels[0])
    return (*stored.notes, missing) if missing else stored.notes


class LazyTiff:
    """A TIFF file read piece by piece; it is open while one is read, and no longer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as array:
            self.shape: tuple[int, ...] = array.shape
            self.dtype: np.dtype[Any] = np.dtype(array.dtype)
            self.chunks: tuple[int, ...] = array.chunks
            self.ndim = array.ndim

    def __getitem__(self, key: Any) -> Any:
        """Read a part of it."""
        with self._opened() as array:
            return np.asarray(array[key])

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        import tifffile
        import zarr

        with tifffile.TiffFile(self._path) as file:
            store: Any = file.series[0].aszarr(level=0)
            try:
                yield zarr.open(store, mode="r")
            finally:
                store.close()


def is_image(path: Path) -> bool:
    """Tell by its name whether a file, or a folder, may be an image."""
    return path.suffix.lower() in (*TIFF, *PICTURES, ZARR)


def _outline(shape: tuple[int, ...], dtype: np.dtype[Any], axes: str) -> Frames:
    """Take an image for frames without its pixels."""
    return Frames(np.broadcast_to(np.zeros((), dtype), shape), axes)


def _told(path: Path, work: Any, *args: Any) -> Any:
    """Do something with a file; whatever goes wrong is said in a sentence that names it."""
    try:
        return work(*args)
    except MemoryError as error:
        raise MemoryError(
            f"{path} does not fit into memory: crop it, or store it as zarr"
        ) from error
    except _FileComplaint as error:
        raise ValueError(f"{path} {error}") from None
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no {path}: check the name") from error
    except PermissionError as error:
        raise PermissionError(
            f"{path} may not be read: ask for the right to, or close the program that holds it"
        ) from error
    except OSError as error:
        if error.errno is None and str(path) in str(error):
            raise  # a sentence already
        raise OSError(f"{path} cannot be read ({_first_line(error)}): copy it again") from error
    except Exception as error:  # each format fails in its own way
        if "imagecodecs" in str(error):
            raise ValueError(
                f"{path} is packed in a way that needs the package imagecodecs, which is not "
                f"installed ({_first_line(error)}): pip install imagecodecs"
            ) from error
        if str(path) in str(error) and isinstance(error, ValueError):
            raise  # of a store, a sentence already
        raise ValueError(
            f"{path} is damaged, or no {_format(path)} ({_first_line(error)}): copy it again from "
            "where it came from"
        ) from error


class _FileComplaint(Exception):
    """What is wrong with a file, as the rest of a sentence that begins with its name."""


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:160]


def _format(path: Path) -> str:
    ending = path.suffix.lower()
    return "TIFF file" if ending in TIFF else f"{ending.removeprefix('.').upper()} file"


def _look(path: Path, axes: str | None) -> ImageFile:
    if path.is_dir():
        if not is_store(path):
            raise _FileComplaint(
                "is a folder and no zarr image: name a file, or a folder of images"
            )
        return _look_at_store(path, axes)
    if path.stat().st_size == 0:
        raise _FileComplaint("is empty (0 bytes): copy it again from where it came from")
    ending = path.suffix.lower()
    if ending in TIFF:
        return _look_at_tiff(path, axes)
    if ending in PICTURES:
        return _look_at_picture(path, axes)
    known = ", ".join((*TIFF, *PICTURES, ZARR))
    raise _FileComplaint(f"is no image that can be opened here: the names of those end in {known}")


def _look_at_store(path: Path, axes: str | None) -> ImageFile:
    stored = open_store(path)
    found = axes or stored.axes
    first = stored.levels[0]
    if found is None:
        raise _FileComplaint(_unnamed("", first.shape))
    placed = zip(found, stored.scale[0], stored.units, stored.translate[0], strict=False)
    world = {axis: Spot(size, unit, origin) for axis, size, unit, origin in placed if axis != "C"}
    try:
        notes = notes_of_store(stored)
    except ValueError as error:
        raise _FileComplaint(f"holds no pixels: {error}") from None
    sizes = _in_micrometres(world)
    return ImageFile(path, first.shape, first.dtype, found, sizes, notes, world)


def _look_at_tiff(path: Path, axes: str | None) -> ImageFile:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise _FileComplaint("holds no image")
        series = tiff.series[0]
        shape, dtype = series.shape, series.dtype
        if dtype is None:
            raise _FileComplaint("holds pixels of a type that is not known")
        found = (axes or series.axes).upper()
        if not axes and not set(found) <= set("TCZYXS"):
            raise _FileComplaint(_unnamed(found, shape))
        notes: tuple[str, ...] = ()
        if (many := len(tiff.series)) > 1:
            notes = (f"{path.name} holds {many} images, of which the first is taken.",)
        if not axes:
            notes += _told_of_colours(path, series)
        notes += _told_of_set(path, tiff)
        told = _ome_world(tiff) if tiff.is_ome else _imagej_world(tiff) if tiff.is_imagej else {}
        world = {axis: one for axis, one in told.items() if is_step(one.size)}
        wrong = [f"{told[axis].size:g} along {axis}" for axis in told if axis not in world]
        if wrong:
            notes += (f"The file gives steps that are none ({', '.join(wrong)}): 1 is taken.",)
        sizes = _in_micrometres(world)
        return ImageFile(path, tuple(shape), np.dtype(dtype), found, sizes, notes, world)


def _look_at_picture(path: Path, axes: str | None) -> ImageFile:
    from imageio.v3 import improps

    known = improps(path, plugin="pillow", index=0)
    found = axes or ("YX" if len(known.shape) == 2 else "YXS")
    shape = tuple(known.shape)
    if not axes and shape[2:] == (2,):  # grey and alpha
        shape, found = shape[:2], "YX"
    return ImageFile(path, shape, np.dtype(known.dtype), found, {})


def _unnamed(axes: str, shape: tuple[int, ...]) -> str:
    named = f" ({axes} of the lengths {shape})" if axes else f" (their lengths are {shape})"
    return (
        f"does not say what all its axes are{named}: name them, such as ZYX for a stack along Z "
        "or TYX over time (--axes ZYX)"
    )


def _pixels(file: ImageFile) -> Any:
    path = file.path
    if file.is_store:
        stored = open_store(path)
        return stored.pixels if file.is_lazy else stored.levels[0][...]
    if path.suffix.lower() in TIFF:
        import tifffile

        if file.is_lazy:
            return LazyTiff(path)
        found = tifffile.imread(path, series=0, level=0)
    else:
        from imageio.v3 import imread

        found = imread(path, plugin="pillow", index=0)
        found = found[..., 0] if found.ndim > len(file.shape) else found
    if found.shape != file.shape:
        raise _FileComplaint(
            f"has changed: its shape was {file.shape} and is {found.shape}; run again"
        )
    return found


def _factor(unit: str | None) -> float | None:
    """Return how many micrometres a unit is, None if it is no length."""
    return _MICROMETRES.get(_NAMES.get(unit or "", unit or ""))


def _in_micrometres(world: Mapping[str, Spot]) -> dict[str, float]:
    """Return the size of a pixel along Z, Y and X, as far as its unit is a length."""
    return {
        axis: one.size * factor
        for axis, one in world.items()
        if axis in "ZYX" and (factor := _factor(one.unit))
    }


def _told_of_colours(path: Path, series: Any) -> tuple[str, ...]:
    """Say so where planes are taken for colours, which tifffile writes of any three or four."""
    if series.axes[:1] != "S":
        return ()
    return (
        f"{path.name} says that its {series.shape[0]} planes are red, green, blue"
        f"{' and alpha' if series.shape[0] == 4 else ''}, as any so many planes are written by "
        "default: if they are a stack or channels, name the axes (--axes ZYX, TYX or CYX).",
    )


def ome_set(path: Path) -> tuple[str, ...]:
    """Return the names of the files that an OME-TIFF belongs with, its own among them.

    Just its own, or nothing, where it is complete by itself.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            text = tiff.pages[0].description if tiff.is_ome else ""
    except Exception:  # whatever is wrong with it is said when it is opened
        return ()
    return _files_of(text)


def _files_of(ome_xml: str) -> tuple[str, ...]:
    try:
        root = ElementTree.fromstring(ome_xml)
    except ElementTree.ParseError:
        return ()
    named = (one.get("FileName") for one in root.iter() if one.tag.rpartition("}")[2] == "UUID")
    return tuple(dict.fromkeys(name for name in named if name))


def _told_of_set(path: Path, tiff: Any) -> tuple[str, ...]:
    """Say which files an OME-TIFF is one of, or which of them are not there."""
    names = _files_of(tiff.pages[0].description) if tiff.is_ome else ()
    if len(names) < 2:
        return ()
    absent = [name for name in names if not (path.parent / name).exists()]
    if absent:
        raise _FileComplaint(
            f"is one of a set of {len(names)} files, of which {', '.join(absent)} "
            f"{'is' if len(absent) == 1 else 'are'} not there: put them beside it"
        )
    others = ", ".join(name for name in names if name != path.name)
    return (f"{path.name} is one image together with {others}.",)


def _ome_world(tiff: Any) -> dict[str, Spot]:
    """Return how the image lies along each axis that OME-XML tells it of."""
    try:
        root = ElementTree.fromstring(tiff.ome_metadata or "")
    except ElementTree.ParseError:
        return {}
    pixels = next((one for one in root.iter() if one.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return {}
    plane = next((one for one in pixels if one.tag.rpartition("}")[2] == "Plane"), None)
    world = {}
    for axis, name, unit in (
        *((axis, f"PhysicalSize{axis}", "µm") for axis in "ZYX"),
        ("T", "TimeIncrement", "s"),
    ):
        size = _number(pixels.get(name))
        if size is None:
            continue
        own = pixels.get(f"{name}Unit", unit)
        origin = None if plane is None else _number(plane.get(f"Position{axis}"))
        fits = plane is not None and plane.get(f"Position{axis}Unit", "µm") == own
        world[axis] = Spot(
            size, None if own == "pixel" else own, origin if origin and fits else 0.0
        )
    return world


def _imagej_world(tiff: Any) -> dict[str, Spot]:
    """Return how the image lies along each axis that ImageJ tells it of."""
    about = tiff.imagej_metadata or {}
    unit = about.get("unit")
    unit = None if unit in ("pixel", "pixels", "") else unit
    world = {}
    for axis in "XY":
        tag = tiff.pages[0].tags.get(f"{axis}Resolution")
        if tag is not None and unit is not None:
            world[axis] = Spot(tag.value[1] / tag.value[0] if tag.value[0] else 0.0, unit)
    if "spacing" in about:
        world["Z"] = Spot(float(about["spacing"]), unit)
    if "finterval" in about:
        world["T"] = Spot(float(about["finterval"]), str(about.get("tunit", "s")))
    return world


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
