"""The voxels' shape: given by the user, kept relative, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from napari_mmtseg.methods import SpatialMethod
from napari_mmtseg.settings import Method

_DEEPEST = 2.0
_EXTREME = 1000.0
_ALIKE = 1.25
"""Voxels whose depth differs by less count as of one shape."""


def relative(spacing: Sequence[float] | None) -> tuple[float, float, float]:
    """Return the size of a voxel along Z, Y and X with the smaller side in the plane as 1.

    Parameters
    ----------
    spacing : sequence of three numbers or None
        The voxel's size along Z, Y and X, in any unit; None counts as a cube.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if spacing is None:
        return (1.0, 1.0, 1.0)
    try:
        sizes = tuple(float(one) for one in spacing)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) != 3 or not all(math.isfinite(one) and one > 0 for one in sizes):
        raise ValueError(
            "The voxel's size (spacing) must be three numbers above 0, along Z, Y and X, for "
            f"example (0.8, 0.25, 0.25), got {spacing!r}"
        )
    z, y, x = (one / min(sizes[1:]) for one in sizes)
    return z, y, x


def works_in_volumes(method: Method, axes: str, spacing: Sequence[float] | None) -> bool:
    """Tell whether a method looks along Z in an image of these axes.

    Raises
    ------
    ValueError
        If it is to, and the voxels are too flat or too deep for that.
    """
    if "Z" not in axes or not isinstance(method, SpatialMethod) or method.work_in == "planes":
        return False
    shape = relative(spacing)
    sound = 1 / _EXTREME <= min(shape) <= max(shape) <= _EXTREME
    if method.work_in == "automatic":
        return spacing is not None and sound and shape[0] <= _DEEPEST
    if not sound:
        raise ValueError(
            f"The sides of a voxel (spacing) must differ by less than a factor of {_EXTREME:.0f} "
            f"for work in a volume, got {tuple(spacing or ())}: correct them, or choose "
            "work_in='planes'"
        )
    return True


def check_alike(known: Sequence[float], given: Sequence[float] | None) -> None:
    """Refuse an image whose voxels are of another shape than those trained on.

    Raises
    ------
    ValueError
        If their depth differs by a quarter or more.
    """
    if given is None or len(known) != 3:
        return
    depth = relative(given)[0]
    if not 1 / _ALIKE < depth / known[0] < _ALIKE:
        raise ValueError(
            f"The model was trained on voxels {known[0]:.2g} times as deep as wide, the image's "
            f"are {depth:.2g} times: scale the image along Z to the same shape, or train on it"
        )
