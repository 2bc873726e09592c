"""Keep models in files: written whole, and refused where anything is not as it may be."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from napari_mmtseg import engine
from napari_mmtseg.engine import Array
from napari_mmtseg.images.scaling import Scaling
from napari_mmtseg.images.training_input import LARGEST_CLASS
from napari_mmtseg.labels.legend import checked_names
from napari_mmtseg.methods import method_from_dict
from napari_mmtseg.model.tensor_file import (
    DIGEST,
    Arrays,
    Part,
    pack,
    parts_of,
    unpack_arrays,
    unpack_header,
)
from napari_mmtseg.settings import Method
from napari_mmtseg.system.whole_files import write_whole

_FORMAT = 2
_LARGEST_FILE = 2**30  # two of the widest and deepest networks in float64 take 0.6 GiB
_LONGEST = {"K": 512, "C": 4096}
_ROUNDING = 1e-4


def arrays_of(method: Method, is_rgb: bool) -> dict[str, Array]:
    """Declare the arrays of a method's model by name; one that ends in "." begins many names."""
    return {
        "scaling/low": Array("F64", ("C",)),
        "scaling/high": Array("F64", ("C",)),
        "colours": Array("F32", ("K", "C"), -_ROUNDING, 1 + _ROUNDING),
        "sizes": Array("I64", ("K",), 0, 2**53),  # which float64 still holds exactly
        "classes": Array("I64", ("K",), 0, LARGEST_CLASS),
        "groups": Array("I64", ("K",), 0, LARGEST_CLASS),
        "order": Array("I64", ("M", 2), 0, _LONGEST["K"] - 1),
        "labels": Array("I64", ("K",), 1, LARGEST_CLASS),
        "objects": Array("I64", ("K",), 0, 1),
        "contrast": Array("F64", ("C + 1",)),
        "diameter": Array("F64", (1,), 0, 1e6),
        **{f"weights/{name}": one for name, one in engine.arrays(method, is_rgb).items()},
    }


def write(
    path: str | os.PathLike[str], fields: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Write the fields of a `Model` to a file; see `Model.save`.

    Parameters
    ----------
    path : path-like
        Of a regular file, or of nothing yet.
    fields : mapping of str to value
        "method", "scaling", "is_rgb", "weights", "names", and arrays or None under names of
        `arrays_of`.
    overwrite : bool
        Whether to replace a file that is there already.

    Raises
    ------
    OSError
        If the file cannot be written; see `write_whole`.
    ValueError
        If `read` would refuse the file.
    """
    write_whole(path, packed(fields), overwrite=overwrite)


def packed(fields: Mapping[str, Any], *, checked: bool = False) -> list[bytes]:
    """Return the bytes of a model's file in several blocks, the last of which is their digest.

    Parameters
    ----------
    fields : mapping
        Those of a `Model`.
    checked : bool
        Whether it is known already that `read` takes them: to check them loads PyTorch.

    Raises
    ------
    ValueError
        If `read` would refuse the file.
    """
    method, is_rgb = fields["method"], fields["is_rgb"]
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    arrays |= {f"weights/{name}": value for name, value in fields["weights"].items()}
    arrays |= {f"scaling/{end}": getattr(fields["scaling"], end) for end in ("low", "high")}
    if not checked:
        try:
            _check_shapes(parts_of(arrays), method, is_rgb)
            _check_values(arrays, method, is_rgb)
        except ValueError as error:
            told = f"This is no model that a file can keep ({error}); train again"
            raise ValueError(told) from error
    about = {"format": _FORMAT, "method": method.to_dict(), "is_rgb": is_rgb}
    if fields["names"]:
        about["names"] = {str(label): name for label, name in fields["names"].items()}
    return pack(arrays, about)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the fields of a `Model` that `write` wrote; see `load`.

    Raises
    ------
    FileNotFoundError, OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is damaged, of another format, or no model.
    MemoryError
        If the computer has too little memory for it.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"There is no model file {source}")
    try:
        with source.open("rb") as file:
            return _read(file)
    except OSError:
        raise
    except MemoryError as error:
        raise MemoryError(f"The computer has too little memory to read {source}") from error
    except Exception as error:  # whatever it provokes, it is not what was written
        why = str(error).partition("\n")[0][:200]
        raise ValueError(
            f"{source} is damaged or no model of this version of napari-mmtseg ({why}); train "
            "again, or take another copy of the file"
        ) from error


def _read(file: IO[bytes]) -> dict[str, Any]:
    size = os.fstat(file.fileno()).st_size
    if size > _LARGEST_FILE:
        raise ValueError(f"it has {size} bytes, and no model has more than {_LARGEST_FILE}")
    parts, about = unpack_header(file, size)
    version = about.get("format") if isinstance(about, dict) else None
    if version != _FORMAT:
        raise ValueError(f"its format is {version}, this version reads {_FORMAT}")
    names = about.pop("names", {})
    known = set(about) == {"format", "method", "is_rgb"}
    if not known or not isinstance(about["method"], dict) or not isinstance(names, dict):
        raise ValueError("its header is not that of a model")
    method, is_rgb, names = method_from_dict(about["method"]), about["is_rgb"], checked_names(names)
    _check_shapes([part for part in parts if part != DIGEST], method, is_rgb)
    arrays = unpack_arrays(file, parts)
    _check_values(arrays, method, is_rgb)
    weights = {
        name.removeprefix("weights/"): value
        for name, value in arrays.items()
        if name.startswith("weights/")
    }
    if hasattr(method, "device"):  # it runs networks
        from napari_mmtseg.engine.devices import is_out_of_memory  # loads PyTorch

        try:
            _try_out(weights, method, arrays["colours"].shape)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise MemoryError from error
            raise
    scaling = Scaling(arrays["scaling/low"], arrays["scaling/high"])
    others = {name: value for name, value in arrays.items() if "/" not in name}
    fields = {"method": method, "scaling": scaling, "is_rgb": is_rgb, "names": names}
    return {**fields, "weights": weights, **others}


def _check_shapes(parts: Sequence[Part], method: Method, is_rgb: Any) -> None:
    """Refuse arrays that are missing, unknown, or of another type or shape than declared."""
    if not method.trains:
        raise ValueError(f"{type(method).__name__} learns no model")
    if type(is_rgb) is not bool:
        raise ValueError("its header does not say whether it is for RGB")
    declared = arrays_of(method, is_rgb)
    missing = set(declared) - {_declared_name(part.name) for part in parts}
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    shapes = {part.name: part.shape for part in parts}
    lengths = {"K": math.prod(shapes["sizes"]), "C": math.prod(shapes["scaling/low"])}
    for letter, most in _LONGEST.items():
        if not 1 <= lengths[letter] <= most:
            what = {"K": "clusters", "C": "channels"}[letter]
            raise ValueError(f"it has {lengths[letter]} {what} where 1 to {most} belong")
    if is_rgb and lengths["C"] != 3:
        raise ValueError(f"it has {lengths['C']} channels and is for RGB")
    axes = shapes.get("weights/spacing", (2,))
    lengths["A"] = 3 if axes == (3,) else 2
    lengths["C + A"] = lengths["C"] + lengths["A"]
    lengths["C + 1"] = lengths["C"] + 1
    lengths["T"] = shapes.get("weights/traits", (0, 1))[-1]
    lengths["M"] = math.prod(shapes["order"]) // 2
    for name, kind, shape in parts:
        known = declared.get(_declared_name(name))
        if known is None:
            raise ValueError(f"{name[:80]} belongs to no model of {type(method).__name__}")
        if kind not in known.kinds.split():
            raise ValueError(f"{name} has the type {kind} where {known.kinds} belongs")
        if known.shape is not None:
            wanted = tuple(n if isinstance(n, int) else lengths[n] for n in known.shape)
            if shape != wanted:
                raise ValueError(f"{name} has shape {shape} where {wanted} belongs")


def _declared_name(name: str) -> str:
    """Return the name under which an array is declared."""
    first, dot, _ = name.partition(".")
    return first + dot


def _check_values(arrays: Arrays, method: Method, is_rgb: bool) -> None:
    """Refuse values out of their ranges; shapes have been checked."""
    declared = arrays_of(method, is_rgb)
    for name, value in arrays.items():
        known = declared[_declared_name(name)]
        low, high = known.low, known.high
        if value.dtype == bool:  # a byte that is neither 0 nor 1 is no truth
            value = value.view(np.uint8)
        elif name.endswith(".running_var"):
            low = 0
        # Not a number is never in between. Without a copy of the array as large as itself.
        if value.size and not low <= float(value.min()) <= float(value.max()) <= high:
            raise ValueError(f"{name} holds values out of their range, or not finite")
    lows, highs = (arrays[f"scaling/{end}"] / 2 for end in ("low", "high"))
    if not ((lows <= highs) & (highs - lows < np.finfo(np.float64).max / 2)).all():
        raise ValueError("scaling/high is less than scaling/low, or too far from it")
    used = int(((arrays["sizes"] > 0) | (arrays["classes"] > 0)).sum())
    if not used or len(arrays["order"]) >= used or (arrays["order"] >= used).any():
        raise ValueError("order merges other clusters than it has")


def _try_out(weights: Arrays, method: Method, shape: tuple[int, ...]) -> None:
    """Refuse weights that do not make a network which gives clusters of tiny images."""
    n_clusters, n_channels = shape
    settings = {**method.draft, "device": "cpu"}  # without what only refines the labels
    made = engine.predictor(weights, replace(method, **settings))
    shape = tuple(4 * factor for factor in made.factor)
    tile = engine.Tile((slice(0, 4),) * len(shape), shape, (0,) * len(shape))
    label_of = np.arange(n_clusters) if method.has_uncertainty else None
    noise = np.random.default_rng(0).random((n_channels, *shape), np.float32)
    for pixels in (np.zeros_like(noise), np.ones_like(noise), noise):
        clusters, doubt = made.find(made.reduce(pixels), tile, label_of)
        if not 0 <= clusters.min() <= clusters.max() < n_clusters:
            raise ValueError("its networks give other clusters than it has")
        unsure = None if doubt is None else doubt.uncertainty
        if unsure is not None and not 0 <= unsure.min() <= unsure.max() <= 1:
            raise ValueError("its networks give numbers that are not finite")
