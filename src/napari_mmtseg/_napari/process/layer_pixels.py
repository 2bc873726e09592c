"""Hand a layer's pixels to the training process, as they are at the click and without reading."""

from __future__ import annotations

import mmap
import pickle
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.images.frames import is_lazy
from napari_mmtseg.images.levels import Levels


class Source(Protocol):
    """Where the training process finds the pixels of a layer."""

    def open(self) -> Any:
        """Return an array-like; only the training process may call this."""
        ...


class CopiedPixels(NamedTuple):
    """Pixels as they were when they were taken."""

    pixels: NDArray[Any]

    def open(self) -> NDArray[Any]:
        """Return the pixels."""
        return self.pixels


class MappedPixels(NamedTuple):
    """Where in a file the pixels are."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int  # bytes from the file's beginning to the first pixel

    def open(self) -> NDArray[Any]:
        """Map the file, to be read where it is looked at."""
        with Path(self.path).open("rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.ndarray(self.shape, self.dtype, whole, self.offset, self.strides)


class LazyPixels:
    """A dask or zarr array, or another array-like, that the training process reads itself."""

    def __init__(self, data: Any, name: str) -> None:
        self._data = data
        self._name = name

    def open(self) -> Any:
        """Return the array-like."""
        return self._data

    def __reduce__(self) -> tuple[type[PackedPixels], tuple[str, pickle.PickleBuffer]]:
        """Pack the array-like, with classes and functions that only the window knows.

        Raises
        ------
        TypeError
            If it cannot be packed.
        """
        try:
            packer = import_module("cloudpickle")  # comes with dask
        except ImportError:
            packer = pickle
        try:
            packed = packer.dumps(self._data, protocol=5)
        except MemoryError:
            raise
        except Exception as error:
            raise TypeError(
                f"{self._name} ({_kind(self._data)}) cannot be handed to the training process: "
                f"{error}. Open it as a dask or zarr array, or load it: "
                f"layer.data = numpy.asarray(layer.data)"
            ) from error
        return PackedPixels, (self._name, pickle.PickleBuffer(packed))


class PackedPixels(NamedTuple):
    """What a `LazyPixels` arrives as."""

    name: str
    packed: Any  # bytes-like

    def open(self) -> Any:
        """Return the array-like.

        Raises
        ------
        TypeError
            If it needs something that the training process does not have.
        """
        try:
            return pickle.loads(self.packed)
        except MemoryError:
            raise
        except Exception as error:
            raise TypeError(
                f"{self.name} cannot be opened in the training process: "
                f"{type(error).__name__}: {error}. Open it as a dask or zarr array, or load it: "
                f"layer.data = numpy.asarray(layer.data)"
            ) from error


class StackedChannels(NamedTuple):
    """Several sources of one shape, as channels of one image."""

    parts: Sequence[Source]
    coloured: Sequence[bool]
    """Whether the last axis of each is its colours, which are channels already."""

    def open(self) -> Any:
        """Return an array-like whose last axis is the channels."""
        return _Channels([part.open() for part in self.parts], self.coloured)


class LevelledPixels(NamedTuple):
    """Sources of the levels of one image, the finest first."""

    levels: Sequence[Source]

    def open(self) -> Levels:
        """Return the image with its levels."""
        return Levels([one.open() for one in self.levels])


def take(data: Any, name: str) -> Source:
    """Take a layer's pixels: copied if they are in memory, otherwise where they can be read.

    Parameters
    ----------
    data : array-like
    name : str
        What to call it in a message.

    Raises
    ------
    MemoryError
        If there is no room for a copy.
    """
    if not isinstance(data, np.ndarray):
        return LazyPixels(data, name)
    masked = isinstance(data, np.ma.MaskedArray)
    return _mapped(data) or CopiedPixels(np.array(data, order="A", subok=masked))


def in_memory(data: Any) -> bool:
    """Tell whether `take` copies the pixels."""
    return isinstance(data, np.ndarray) and _mapped(data) is None


def _mapped(array: NDArray[Any]) -> MappedPixels | None:
    """Return where an array is in a file, if the file holds what the array shows."""
    if isinstance(array, np.ma.MaskedArray):
        return None
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    # A view keeps the offset of what it is a view of, so that only the addresses tell its own.
    if not isinstance(root, np.memmap) or root.filename is None or root.mode == "c":
        return None
    if not Path(root.filename).is_file():
        return None
    offset = root.offset + array.ctypes.data - root.ctypes.data
    return MappedPixels(str(root.filename), array.dtype, array.shape, array.strides, offset)


class _Channels:
    """Array-likes of one shape, seen as one with the channels last; read where it is indexed."""

    def __init__(self, parts: Sequence[Any], coloured: Sequence[bool]) -> None:
        self._parts = list(zip(parts, coloured, strict=True))
        count = sum(part.shape[-1] if colours else 1 for part, colours in self._parts)
        one, colours = self._parts[0]
        self.shape: tuple[int, ...] = (*(one.shape[:-1] if colours else one.shape), count)
        self.ndim = len(self.shape)
        self.dtype = np.result_type(*(np.dtype(part.dtype) for part in parts))
        if any(is_lazy(part) for part in parts):
            self.chunks = self.shape  # that there are some makes an image lazy

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = list(key) if isinstance(key, tuple) else [key]
        for at in [i for i, one in enumerate(keys) if one is Ellipsis]:
            keys[at : at + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        channels = keys.pop() if len(keys) == self.ndim else slice(None)
        read = [(np.asanyarray(part[tuple(keys)]), colours) for part, colours in self._parts]
        planes = [pixels if colours else pixels[..., None] for pixels, colours in read]
        masked = any(isinstance(plane, np.ma.MaskedArray) for plane in planes)
        joined: NDArray[Any] = (np.ma if masked else np).concatenate(planes, axis=-1)
        return joined[..., channels]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)


def _kind(data: Any) -> str:
    return f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
