"""Pack named arrays into a file that shows damage, and unpack it without believing it.

The format is that of safetensors: 8 bytes with the length of a JSON header, the header, then plain
numbers. The last array is the SHA-256 digest of all bytes before it, which tells damage, but not
malice, so that sizes are compared with the file's own before any memory is taken.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

_NAME = "napari-mmtseg"
_LARGEST_HEADER = 2**20
_ALIGNED = 8
_TYPES = {"F64": "<f8", "I64": "<i8", "F32": "<f4", "BOOL": "|b1", "U8": "|u1"}  # widest first

Arrays = dict[str, NDArray[Any]]


class Part(NamedTuple):
    """An array as the header describes it."""

    name: str
    kind: str
    """Its type as safetensors calls it."""
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return math.prod(self.shape) * np.dtype(_TYPES[self.kind]).itemsize


DIGEST = Part("sha256", "U8", (32,))
"""What the last array has to be."""


def parts_of(arrays: Mapping[str, NDArray[Any]]) -> list[Part]:
    """Describe arrays, in the order in which a file has them.

    Raises
    ------
    ValueError
        If a file has no such type.
    """
    kinds = {np.dtype(known): kind for kind, known in _TYPES.items()}
    parts = []
    for name, value in arrays.items():
        kind = kinds.get(value.dtype.newbyteorder("<"))
        if kind is None:
            raise ValueError(f"{name} has the type {value.dtype}, which no file keeps")
        parts.append(Part(name, kind, value.shape))
    order = list(_TYPES)
    return sorted(parts, key=lambda part: (order.index(part.kind), part.name))


def pack(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> list[bytes]:
    """Return the bytes of a file with arrays and plain JSON data about them, in several blocks."""
    parts = parts_of(arrays)
    entries: dict[str, Any] = {"__metadata__": {_NAME: json.dumps(about)}}
    offset = 0
    for part in (*parts, DIGEST):
        ends = [offset, offset + part.size]
        entries[part.name] = {"dtype": part.kind, "shape": part.shape, "data_offsets": ends}
        offset = ends[1]
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNED)
    blocks = [len(header).to_bytes(8, "little"), header]
    blocks += [arrays[part.name].astype(_TYPES[part.kind]).tobytes() for part in parts]
    return [*blocks, digest_of(blocks)]


def unpack_header(file: IO[bytes], size: int) -> tuple[list[Part], Any]:
    """Read what a file of a size says of its arrays, and the JSON data about them.

    Raises
    ------
    ValueError
        If it is no such file, or too small or too large for what it says.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(_LARGEST_HEADER, size - 8) or length % _ALIGNED:
        raise ValueError("it does not begin as a safetensors file")
    parts, about = _parsed(file.read(length))
    if 8 + length + sum(part.size for part in parts) != size:
        raise ValueError(f"its {size} bytes are not as many as its header announces")
    return parts, about


def unpack_arrays(file: IO[bytes], parts: Sequence[Part]) -> Arrays:
    """Read the arrays of a file of which `unpack_header` has been read.

    Raises
    ------
    ValueError
        If the last array is not the digest of all before it.
    """
    if not parts or parts[-1] != DIGEST:
        raise ValueError("it does not end with a digest")
    parts = parts[:-1]
    start = file.tell()
    file.seek(0)
    header = file.read(start)
    data = memoryview(bytearray(sum(part.size for part in parts)))
    filled = 0
    while count := file.readinto(data[filled:]):  # type: ignore[attr-defined]
        filled += count
    if filled != len(data) or file.read(DIGEST.size) != digest_of([header, data]):
        raise ValueError("its digest differs: some of it is not as it was written")
    arrays, offset = {}, 0
    for part in parts:
        values = np.frombuffer(data[offset : offset + part.size], _TYPES[part.kind])
        native = values.dtype.newbyteorder("=")
        arrays[part.name] = values.reshape(part.shape).astype(native, copy=False)
        offset += part.size
    return arrays


def digest_of(blocks: Sequence[bytes | memoryview]) -> bytes:
    """Return the SHA-256 digest of blocks in a row."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.digest()


def _parsed(header: bytes) -> tuple[list[Part], Any]:
    """Return the arrays, which must lie one after the other, and the data about them."""
    try:
        entries = _json(header.decode())
        about = _json(entries.pop("__metadata__")[_NAME])
        parts, offset = [], 0
        for name, entry in entries.items():
            part = Part(name, entry["dtype"], tuple(entry["shape"]))
            if len(part.shape) > 5 or not all(type(n) is int and n >= 0 for n in part.shape):
                raise ValueError(f"{name[:80]} has an odd shape")
            if entry["data_offsets"] != [offset, offset + part.size] or len(entry) != 3:
                raise ValueError(f"{name[:80]} does not follow the array before it")
            if offset % np.dtype(_TYPES[part.kind]).itemsize:
                raise ValueError(f"{name[:80]} is not aligned")
            parts.append(part)
            offset += part.size
    except (AttributeError, KeyError, TypeError, UnicodeError, RecursionError) as error:
        raise ValueError("its header is not that of a model") from error
    except json.JSONDecodeError as error:
        raise ValueError("its header is no JSON") from error
    return parts, about


def _json(text: str) -> Any:
    """Read JSON in which an object has each name once, and numbers are finite and short."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("its header has a name twice")
        return found

    def whole(digits: str) -> int:
        if len(digits) > 19:
            raise ValueError(f"its header has a number of {len(digits)} digits")
        return int(digits)

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"its header has the value {word}")

    return json.loads(text, object_pairs_hook=unique, parse_int=whole, parse_constant=refuse)
