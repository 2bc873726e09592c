"""Where layers lie: their transforms, units and axes, handed on to results."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_mmtseg._napari.channel_axis import laid


def placement(layer: Image | Labels, axes: str) -> dict[str, Any]:
    """Return the keywords that put a result where its image is: transforms, units and axis labels.

    Axes left out of the result are left out of each; the one pixel of channels that stay spans all
    of them.
    """
    kept = list(range(layer.ndim))[len(axes) - len(laid(axes)) :]
    rotate, shear = turned(layer)
    affine = np.asarray(layer.affine.affine_matrix)
    scale, translate = np.array(layer.scale), np.array(layer.translate)
    if "C" in laid(axes):
        at = axes.index("C")
        data = layer.data[0] if layer.multiscale else layer.data
        count = data.shape[at]
        translate += (rotate @ shear)[:, at] * scale[at] * (count - 1) / 2
        scale[at] *= count
    both = np.ix_(kept, kept)
    corner = np.ix_([*kept, layer.ndim], [*kept, layer.ndim])
    return {
        "scale": scale[kept],
        "translate": translate[kept],
        "rotate": rotate[both],
        "shear": shear[both][np.triu_indices(len(kept), 1)],
        "affine": affine[corner],
        "units": tuple(layer.units[i] for i in kept),
        "axis_labels": tuple(layer.axis_labels[i] for i in kept),
    }


def turned(layer: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a layer's rotation and its shear as matrices."""
    rotate = np.atleast_2d(layer.rotate)
    if rotate.size == 1 or rotate.shape[0] != layer.ndim:
        rotate = _as_matrix(layer.rotate, layer.ndim)
    shear = np.eye(layer.ndim)
    shear[np.triu_indices(layer.ndim, 1)] = layer.shear
    return rotate, shear


def lies_on(one: Image, other: Image) -> bool:
    """Tell whether two layers of one shape have their pixels in the same places."""
    numbers = ("scale", "translate", "rotate", "shear")
    pairs = [(getattr(one, name), getattr(other, name)) for name in numbers]
    pairs.append((one.affine.affine_matrix, other.affine.affine_matrix))
    return one.units == other.units and all(
        np.shape(a) == np.shape(b) and np.allclose(a, b) for a, b in pairs
    )


def _as_matrix(rotate: Any, ndim: int) -> NDArray[np.float64]:
    matrix = np.eye(ndim)
    inner = np.atleast_2d(np.asarray(rotate, float))
    matrix[-len(inner) :, -len(inner) :] = inner
    return matrix
