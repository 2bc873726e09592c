"""Take images in: name their axes, read them as planes, scale their intensities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

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


class Planes:
    """An image seen as planes: `len(planes)` planes of `planes.plane(i)`, each (C, Y, X).

    Parameters
    ----------
    image : array-like
        Real numbers (bool, integers or floats, any byte order). Left as it is.
    axes : str, optional
        One letter an axis: T time, Z depth, C channel, S red-green-blue(-alpha), Y row, X column,
        such as "ZYX". May be left out for a 2D image ("YX") alone: axes are never guessed from
        their lengths.

    Attributes
    ----------
    shape : tuple of int
        Shape of the labels: that of the image without its channel axis.
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

    def __init__(self, image: ArrayLike, axes: str | None = None) -> None:
        data = image if hasattr(image, "dtype") and hasattr(image, "shape") else np.asarray(image)
        self.axes = _checked_axes(data, axes)
        self._data: Any = data
        self._channel = next((i for i, axis in enumerate(self.axes) if axis in "CS"), None)
        self.is_rgb = "S" in self.axes
        sizes = dict(zip(self.axes, data.shape, strict=True))
        count = 1 if self._channel is None else data.shape[self._channel]
        self.n_channels = 3 if self.is_rgb else int(count)
        self._stack_axes = [axis for axis in self.axes if axis in "TZ"]
        self._stack_shape = tuple(int(sizes[axis]) for axis in self._stack_axes)
        self.shape = (*self._stack_shape, int(sizes["Y"]), int(sizes["X"]))
        self.dtype = np.dtype(data.dtype)

    def __len__(self) -> int:
        return int(np.prod(self._stack_shape, dtype=int))

    def plane(self, index: int) -> NDArray[Any]:
        """Read one plane as (C, Y, X), in the image's own values."""
        position = dict(zip(self._stack_axes, self.position(index), strict=True))
        key = tuple(position[a] if a in position else slice(None) for a in self.axes)
        plane = np.asarray(self._data[key])
        left = [axis for axis in self.axes if axis not in position]
        if self._channel is None:
            plane, left = plane[np.newaxis], ["C", *left]
        order = [next(i for i, a in enumerate(left) if a in want) for want in ("CS", "Y", "X")]
        return plane.transpose(order)[: self.n_channels]

    def position(self, index: int) -> tuple[int, ...]:
        """Return the place of a plane along T and Z, in the order of the axes."""
        return tuple(int(i) for i in np.unravel_index(index, self._stack_shape))

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.plane(index) for index in range(len(self)))

    def side_image(self, image: ArrayLike, what: str) -> NDArray[Any]:
        """Return an image of whole numbers that belongs to this one as (P, Y, X).

        Parameters
        ----------
        image : integer or bool array-like
            Of the shape of the labels.
        what : str
            What to call it in a message.

        Raises
        ------
        TypeError, ValueError
            If it holds other numbers or has another shape.
        """
        side = np.asarray(image)
        if side.dtype.kind not in "biu":
            raise TypeError(f"The {what} must hold whole numbers, got dtype {side.dtype}")
        if side.shape != self.shape:
            raise ValueError(
                f"The {what} must have the shape of the image without channels, {self.shape}, "
                f"got {side.shape}"
            )
        return side.reshape(-1, *self.shape[-2:])


def several(image: ArrayLike | Sequence[ArrayLike]) -> list[ArrayLike]:
    """Return a list of images: a list of arrays is several, a list of numbers is one."""
    if isinstance(image, list | tuple) and all(hasattr(one, "shape") for one in image):
        return list(image)
    return [cast(ArrayLike, image)]


class Sample(NamedTuple):
    """The planes that a method learns from; they may differ in size."""

    pixels: list[NDArray[np.float32]]  # each (C, Y, X) in 0..1
    valid: list[NDArray[np.bool_]]  # each (Y, X), False where a pixel does not count
    scribbles: list[NDArray[np.int64]] | None = None
    """Each (Y, X): the user's class, 0 where unpainted."""
    superpixels: list[NDArray[np.int64]] | None = None
    """Each (Y, X): regions for Kanezaki's method to use in place of its own."""
    is_rgb: bool = False
    """Whether the channels are red, green and blue."""
    places: list[tuple[int, ...]] | None = None
    """Each the number of the image and the plane's position along T and Z."""

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.pixels[0])


@dataclass(frozen=True)
class Scaling:
    """How intensities become 0..1: `(value - low) / (high - low)`, clipped, for each channel."""

    low: NDArray[np.float64]  # (C,)
    high: NDArray[np.float64]  # (C,)

    @classmethod
    def fit(
        cls,
        planes: list[NDArray[Any]],
        how: Literal["percentile", "full"],
        *,
        shared: bool = False,
    ) -> Scaling:
        """Measure the range of each channel over planes of (C, Y, X).

        Parameters
        ----------
        planes : list of (C, Y, X) arrays
            In the image's own values.
        how : {"percentile", "full"}
            See the setting "Intensity scaling".
        shared : bool
            Whether all channels share one range, as red, green and blue do.

        Raises
        ------
        ValueError
            If no pixel is finite.
        """
        channels = len(planes[0])
        top = {"b1": 1.0, "u1": 255.0}.get(planes[0].dtype.str[1:])
        if how == "full" and top is not None:
            return cls(np.zeros(channels), np.full(channels, top))
        # A sparse grid of a few million pixels pins percentiles down better than it needs to.
        step = max(1, int((sum(plane.size for plane in planes) / 4_000_000) ** 0.5))
        values = [plane[:, ::step, ::step].reshape(channels, -1) for plane in planes]
        sample = np.concatenate(values, axis=1).astype(np.float64)
        if shared:
            sample = sample.reshape(1, -1)
        low, high = np.zeros(len(sample)), np.zeros(len(sample))
        for channel, row in enumerate(sample):
            finite = row[np.isfinite(row)]
            if finite.size == 0:
                raise ValueError(
                    "The image has no finite pixel (all are NaN or infinite): there is nothing "
                    "to segment; check how it was loaded or computed"
                )
            ends = (0, 100) if how == "full" else (0.1, 99.9)
            low[channel], high[channel] = np.percentile(finite, ends)
            if low[channel] == high[channel]:
                low[channel], high[channel] = finite.min(), finite.max()
        if shared:
            low, high = np.repeat(low, channels), np.repeat(high, channels)
        return cls(low, high)

    def apply(self, plane: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scale a plane.

        Parameters
        ----------
        plane : (C, Y, X) array
            As `Planes.plane` gives it.

        Returns
        -------
        pixels : (C, Y, X) float32 array
            In 0..1; 0 where a channel is not finite, and all over where it does not vary.
        valid : (Y, X) bool array
            Where all channels are finite.
        """
        # float32 holds 16-bit integers exactly; wider values are scaled in float64 first.
        wide = plane.dtype.itemsize > 2 and plane.dtype != np.float32
        wide |= float(np.abs([self.low, self.high]).max()) > 1e37  # nor does it reach further
        values = plane.astype(np.float64 if wide else np.float32)
        low = self.low.astype(values.dtype)[:, None, None]
        span = (self.high - self.low).astype(values.dtype)[:, None, None]
        valid = np.isfinite(values).all(axis=0)
        values = np.where(np.isfinite(values), values, low) - low
        values = np.divide(values, span, out=np.zeros_like(values), where=span > 0)
        return np.clip(values, 0, 1).astype(np.float32), valid


def _checked_axes(data: Any, axes: str | None) -> str:
    kind = np.dtype(data.dtype).kind
    if kind not in "biuf":
        raise TypeError(
            f"The image must hold real numbers, got dtype {data.dtype}"
            + ("; take its magnitude or phase first" if kind == "c" else "")
        )
    shape = tuple(int(n) for n in data.shape)
    if axes is None:
        if len(shape) != 2:
            raise ValueError(
                f"The image has shape {shape}: name its axes, for example axes='ZYX' for a stack "
                "or axes='YXS' for RGB"
            )
        axes = "YX"
    axes = axes.upper()
    unknown = [a for a in axes if a not in _MEANING]
    if unknown:
        letters = ", ".join(f"{a} {meaning}" for a, meaning in _MEANING.items())
        raise ValueError(f"Axes {axes!r} hold {unknown[0]!r}; the letters are {letters}")
    if len(set(axes)) != len(axes) or not {"X", "Y"} <= set(axes) or {"C", "S"} <= set(axes):
        raise ValueError(
            f"Axes {axes!r} must name Y and X, and each axis once (C or S for the channels, "
            "not both)"
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
