"""Take images in: name their axes, read them in windows."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MEANING = {
    "T": "time",
    "Z": "depth",
    "C": "channel",
    "S": "red, green, blue",
    "Y": "row",
    "X": "column",
}

Region = tuple[slice, ...]
"""A rectangle of an array, most often of a frame: a slice an axis."""


class Frames:
    """An image seen as frames that are looked at one by one: planes, or volumes.

    Nothing is read until `read` is called, and then no more than the region asked for.

    Parameters
    ----------
    image : array-like
        Real numbers (bool, integers or floats, any byte order): numpy, dask, zarr, a tensor of
        PyTorch on the processor, or whatever else has a shape, a dtype and slices. Left as it is.
        What a masked array masks counts as not finite.
    axes : str or sequence of str, optional
        One letter an axis: T time, Z depth, C channel, S red-green-blue(-alpha), Y row, X column,
        such as "ZYX". May be left out for a 2D image ("YX") alone: axes are never guessed from
        their lengths.
    volumes : bool
        Whether a frame is a volume (Z, Y, X) rather than a plane (Y, X). A single plane is none.

    Attributes
    ----------
    shape : tuple of int
        Shape of the labels: that of the image without its channel axis.
    frame_shape : tuple of int
        (Y, X), or (Z, Y, X).
    n_channels : int
        Number of channels; alpha is dropped.
    is_rgb : bool
        Whether the channels are red, green and blue.

    Raises
    ------
    TypeError, ValueError
        If the image holds no real numbers, is empty or smaller than 2 x 2 pixels, or if the axes
        do not fit it.
    """

    def __init__(
        self, image: ArrayLike, axes: str | Sequence[str] | None = None, *, volumes: bool = False
    ) -> None:
        data = _array(image, "image")
        self.axes = _checked_axes(data, axes)
        self.data: Any = data
        self.is_rgb = "S" in self.axes
        sizes = {axis: int(n) for axis, n in zip(self.axes, data.shape, strict=True)}
        self.volumes = volumes and self.is_stack
        self._within = "ZYX" if self.volumes else "YX"
        self._stack = [axis for axis in self.axes if axis in "TZ" and axis not in self._within]
        self.n_channels = 3 if self.is_rgb else sizes.get("C", 1)
        self._stack_shape = tuple(sizes[axis] for axis in self._stack)
        self.frame_shape = tuple(sizes[axis] for axis in self._within)
        self.label_axes = "".join(axis for axis in self.axes if axis not in "CS")
        self.shape = tuple(sizes[axis] for axis in self.label_axes)
        self.dtype = np.dtype(data.dtype)

    @property
    def is_stack(self) -> bool:
        """Whether there are planes along Z to be joined: a single one is a picture."""
        return "Z" in self.axes and self.data.shape[self.axes.index("Z")] > 1

    def __len__(self) -> int:
        return int(np.prod(self._stack_shape, dtype=int))

    def read(self, index: int, region: Region | None = None) -> NDArray[Any]:
        """Read a region of one frame as (C, Y, X) or (C, Z, Y, X), in the image's own values.

        Without a region, the whole frame is read.
        """
        region = region or (slice(None),) * len(self.frame_shape)
        place: dict[str, int | slice] = {}
        place.update(zip(self._stack, self.position(index), strict=True))
        place.update(zip(self._within, region, strict=True))
        part: Any = np.asanyarray(
            self.data[tuple(place.get(axis, slice(None)) for axis in self.axes)]
        )
        if isinstance(part, np.ma.MaskedArray):
            part = np.ma.filled(part.astype(_wide(part.dtype)), np.nan)
        left = [axis for axis in self.axes if axis not in self._stack]
        if not set(left) & {"C", "S"}:
            part, left = part[np.newaxis], ["C", *left]
        order = [left.index("S" if self.is_rgb else "C"), *(left.index(a) for a in self._within)]
        channels: NDArray[Any] = part.transpose(order)[: self.n_channels]
        return channels

    def position(self, index: int) -> tuple[int, ...]:
        """Return the place of a frame along the stack's axes, in the order of the axes."""
        return tuple(int(i) for i in np.unravel_index(index, self._stack_shape))

    def frame_of(self, labels: Any, index: int) -> Any:
        """Return the frame of an array that has the labels' shape; of a numpy array, a view."""
        place = dict(zip(self._stack, self.position(index), strict=True))
        frame = labels[tuple(place.get(axis, slice(None)) for axis in self.label_axes)]
        left = [axis for axis in self.label_axes if axis not in place]
        return frame.transpose([left.index(axis) for axis in self._within])

    def holding(self, plane: int) -> tuple[int, int]:
        """Return the frame that holds a plane, planes counted as frames, and where along Z."""
        if not self.volumes:
            return plane, 0
        stack = [axis for axis in self.axes if axis in "TZ"]
        sizes = [int(self.data.shape[self.axes.index(axis)]) for axis in stack]
        at = dict(zip(stack, (int(i) for i in np.unravel_index(plane, sizes)), strict=True))
        return at.get("T", 0), at["Z"]

    @property
    def frame_axes(self) -> tuple[int, ...]:
        """Which axes of the labels are those of a frame, in a frame's order."""
        return tuple(self.label_axes.index(axis) for axis in self._within)

    def tile_of(self, place: Region) -> tuple[int, Region]:
        """Turn a rectangle of the labels that lies in one frame into the frame and its region."""
        by_axis = dict(zip(self.label_axes, place, strict=True))
        position = [by_axis[axis].start for axis in self._stack]
        index = int(np.ravel_multi_index(position, self._stack_shape)) if position else 0
        return index, tuple(by_axis[axis] for axis in self._within)

    def parts_of(self, box: Region) -> Iterator[tuple[int, Region, Region]]:
        """Cut a box of the labels into what lies in each frame.

        Yields
        ------
        index : int
            Of the frame.
        region : Region
            What of the frame lies in the box.
        place : Region
            Where that is in the box, which `tile_view` sees as the part of a frame.
        """
        along = [
            [slice(i, i + 1) for i in range(one.start, one.stop)] if axis in self._stack else [one]
            for axis, one in zip(self.label_axes, box, strict=True)
        ]
        for part in itertools.product(*along):
            index, region = self.tile_of(part)
            yield index, region, within(part, box)

    def box_of(self, index: int, region: Region) -> Region:
        """Turn a region of a frame into the box of the labels that it is."""
        at = {a: slice(i, i + 1) for a, i in zip(self._stack, self.position(index), strict=True)}
        by_axis = at | dict(zip(self._within, region, strict=True))
        return tuple(by_axis[axis] for axis in self.label_axes)

    def tile_view(self, chunk: NDArray[Any]) -> NDArray[Any]:
        """See an array that holds a part of one frame in the labels' axes as that part."""
        others = [axis for axis in range(chunk.ndim) if axis not in self.frame_axes]
        view: NDArray[Any] = chunk.transpose(*others, *self.frame_axes)[(0,) * len(others)]
        return view

    def side_image(self, image: ArrayLike, what: str) -> Any:
        """Return an image of whole numbers that belongs to this one, checked but not read.

        Parameters
        ----------
        image : integer or bool array-like
            Of the shape of the labels; may be lazy. `frame_of` gives its frames.
        what : str
            What to call it in a message.

        Raises
        ------
        TypeError, ValueError
            If it holds other numbers or has another shape.
        """
        side = whole_numbers(_array(image, what))
        if np.dtype(side.dtype).kind not in "biu":
            raise TypeError(f"The {what} must hold whole numbers, got dtype {side.dtype}")
        if tuple(side.shape) != self.shape:
            raise ValueError(
                f"The {what} must have the shape of the image without channels, {self.shape}, "
                f"got {tuple(side.shape)}"
            )
        return side


def whole_numbers(labels: Any) -> Any:
    """Return labels that were kept as floats as integers; what is not whole stays as it is."""
    if np.dtype(labels.dtype).kind != "f" or is_lazy(labels):
        return labels
    values = np.asarray(labels)
    whole = np.isfinite(values).all() and (values == np.floor(values)).all()
    return values.astype(np.int64) if whole and np.abs(values).max(initial=0) < 2**53 else labels


def is_lazy(image: Any) -> bool:
    """Whether an image is read piece by piece, as dask's and zarr's are, and so labelled."""
    return hasattr(image, "chunks") and not isinstance(image, np.ndarray)


def several(image: ArrayLike | Sequence[ArrayLike]) -> list[ArrayLike]:
    """Return a list of images: a list of arrays is several, a list of numbers is one."""
    if isinstance(image, list | tuple) and all(hasattr(one, "shape") for one in image):
        return list(image)
    return [cast(ArrayLike, image)]


def grid(
    shape: Sequence[int], sides: Sequence[int], region: Region | None = None
) -> Iterator[Region]:
    """Cut a frame into rectangles on a grid that begins at its corner, row by row.

    With a region, those that it touches are given alone.
    """
    region = region or tuple(slice(0, n) for n in shape)
    starts = (
        range(one.start // side * side, min(one.stop, n), side)
        for n, side, one in zip(shape, sides, region, strict=True)
    )
    for corner in itertools.product(*starts):
        yield tuple(
            slice(first, min(first + side, n))
            for first, side, n in zip(corner, sides, shape, strict=True)
        )


def shared(one: Region, other: Region) -> Region:
    """Return what two regions that meet have in common."""
    return tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )


def grown(region: Region, margins: Sequence[int], shape: Sequence[int]) -> Region:
    """Widen a region on all sides as far as the frame goes."""
    return tuple(
        slice(max(0, one.start - margin), min(n, one.stop + margin))
        for one, margin, n in zip(region, margins, shape, strict=True)
    )


def neighbours(n_axes: int) -> Iterator[tuple[Region, Region]]:
    """Give the two sides of all pairs of neighbours along each axis, the later one first."""
    for axis in range(n_axes):
        before = (slice(None),) * axis
        yield (*before, slice(1, None)), (*before, slice(None, -1))


def within(region: Region, outer: Region) -> Region:
    """Return a region in the coordinates of a larger one."""
    return tuple(
        slice(one.start - around.start, one.stop - around.start)
        for one, around in zip(region, outer, strict=True)
    )


class Sample(NamedTuple):
    """The frames, or windows of frames, that a method learns from; they may differ in size."""

    pixels: list[NDArray[np.float32]]  # each (C, *spatial) in 0..1
    valid: list[NDArray[np.bool_]]  # each (*spatial), False where a pixel does not count
    scribbles: list[NDArray[np.int64]] | None = None
    """Each (*spatial): the user's class, 0 where unpainted."""
    superpixels: list[NDArray[np.int64]] | None = None
    """Each (*spatial): regions for Kanezaki's method to use in place of its own."""
    is_rgb: bool = False
    """Whether the channels are red, green and blue."""
    places: list[tuple[int, ...]] | None = None
    """Each the number of the image and the frame's position in its stack."""
    corners: list[tuple[int, ...]] | None = None
    """Each the place of the window's first pixel in its frame."""
    frame_shape: tuple[int, ...] = ()
    """Of the first image, whose size the working reduction follows; that of the first window if
    it is left out."""
    spacing: tuple[float, ...] = ()
    """Size of a pixel along each axis, the smallest 1; all alike if it is left out."""

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.pixels[0])

    @property
    def n_axes(self) -> int:
        """Number of spatial axes."""
        return self.valid[0].ndim


def _array(image: Any, what: str) -> Any:
    """Return something with a shape, a dtype of numpy's and slices."""
    if hasattr(image, "detach"):  # a tensor of PyTorch, which need not be installed
        image = image.detach()
    if hasattr(image, "dtype") and hasattr(image, "shape"):
        with contextlib.suppress(TypeError):
            np.dtype(image.dtype)
            return image
    try:
        return np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:
        cure = "call .float().cpu() on a tensor that is elsewhere or of another kind"
        if isinstance(image, list | tuple):
            cure = "all rows must have the same length"
        raise TypeError(f"The {what} cannot be read as an array of numbers: {cure}") from error


def _wide(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    narrow = dtype.itemsize <= 2 or dtype.newbyteorder("=") == np.float32
    return np.float32 if narrow else np.float64


def _checked_axes(data: Any, axes: str | Sequence[str] | None) -> str:
    kind = np.dtype(data.dtype).kind
    if kind not in "biuf":
        raise TypeError(
            f"The image must hold real numbers, got dtype {data.dtype}"
            + ("; take its magnitude or phase first" if kind == "c" else "")
        )
    if any(n != n for n in data.shape):
        raise ValueError(
            f"The size of the image is not known (shape {data.shape}), as of a dask array whose "
            "chunks are of unknown size: compute_chunk_sizes() finds it"
        )
    shape = tuple(int(n) for n in data.shape)
    if axes is None:
        if len(shape) != 2:
            raise ValueError(
                f"The image has shape {shape}: name its axes, for example axes='ZYX' for a stack "
                "or axes='YXS' for RGB"
            )
        axes = "YX"
    if not isinstance(axes, str):
        if not isinstance(axes, Sequence):
            raise TypeError(f"The axes must be letters such as 'ZYX', got {axes!r}")
        axes = "".join(map(str, axes))
    axes = axes.upper()
    unknown = [a for a in axes if a not in _MEANING]
    if unknown:
        letters = ", ".join(f"{a} {meaning}" for a, meaning in _MEANING.items())
        raise ValueError(f"Axes {axes!r} hold {unknown[0]!r}; the letters are {letters}")
    if len(set(axes)) != len(axes) or not {"X", "Y"} <= set(axes) or {"C", "S"} <= set(axes):
        raise ValueError(
            f"Axes {axes!r} must name Y and X, and each axis once (C or S for the channels, "
            "not both), for example 'ZYX'"
        )
    if len(axes) != len(shape):
        raise ValueError(
            f"Axes {axes!r} name {len(axes)} axes, but the image has {len(shape)} (shape {shape})"
        )
    sizes = dict(zip(axes, shape, strict=True))
    if 0 in shape:
        raise ValueError(f"The image is empty (shape {shape}); choose one that has pixels")
    if sizes["Y"] < 2 or sizes["X"] < 2:
        raise ValueError(
            f"The image must have at least 2 x 2 pixels a plane, got {sizes['Y']} x {sizes['X']}"
        )
    if "S" in sizes and sizes["S"] not in (3, 4):
        raise ValueError(
            f"Axis S (red, green, blue, perhaps alpha) must have length 3 or 4, got {sizes['S']}; "
            "use C for other channels"
        )
    return axes
