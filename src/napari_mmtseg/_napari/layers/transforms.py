"""Where layers lie: their transforms, units and axes, handed on to results."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray
from scipy import ndimage

from napari_mmtseg._napari.layers.channel_axis import laid


def placement(layer: Image | Labels, axes: str) -> dict[str, Any]:
    """Return the keywords that put a result where its image is: transforms, units and axis labels.

    Axes left out of the result are left out of each; the one pixel of channels that stay spans all
    of them.
    """
    kept = list(range(layer.ndim))[len(axes) - len(laid(axes)) :]
    rotate, shear = turned(layer)
    affine = np.asarray(layer.affine.affine_matrix)
    scale, translate = sound(layer.scale), np.nan_to_num(np.array(layer.translate, float))
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


def sound(scale: Any) -> NDArray[np.float64]:
    """Return a layer's scale with 1 where it is none: napari takes NaN without a word (0.9.2)."""
    sizes = np.array(scale, float)
    return np.where(np.isfinite(sizes) & (sizes != 0), sizes, 1.0)


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


def laid_over(labels: Any, layer: Labels, image: Any, axes: str) -> Any:
    """Return what of a Labels layer lies on each pixel of an image: places in the world decide.

    Parameters
    ----------
    labels : array-like
        The layer's, without channels.
    layer : Labels
    image : Image or Part
    axes : str
        Of the image, without its colours.

    Returns
    -------
    array-like
        The labels as they are where the pixels of both lie on each other; otherwise taken from the
        nearest pixel, 0 where there is none.

    Raises
    ------
    ValueError
        If they lie elsewhere and are not in memory, or nothing of them lies on the image.
    """
    kept = [i for i, axis in enumerate(axes) if axis != "C"]
    if layer.ndim not in (len(kept), len(axes)) or labels.ndim != len(kept):
        return labels  # what does not fit is said where it is used
    own = kept if layer.ndim == len(axes) else list(range(layer.ndim))
    to_world, from_image = _to_world(layer, own), _to_world(image, kept)
    if np.allclose(to_world, from_image):
        return labels
    shape = [int(image.data.shape[i]) for i in kept]
    if not isinstance(labels, np.ndarray):
        scales = " and ".join(str(tuple(map(float, one.scale))) for one in (layer, image))
        raise ValueError(
            f"{layer.name} and {image.name} differ in scale or place (scales {scales}), and "
            f"{layer.name} is not in memory: give both one scale and place"
        )
    both = np.linalg.inv(to_world) @ from_image
    laid: NDArray[Any] = ndimage.affine_transform(
        labels,
        both[:-1, :-1],
        both[:-1, -1],
        output_shape=tuple(shape),
        order=0,
        mode="grid-constant",  # a pixel reaches half of its side beyond its centre
        prefilter=False,
    )
    if labels.any() and not laid.any():
        raise ValueError(
            f"Nothing of {layer.name} lies on {image.name}, though they may have one shape: their "
            f"scales are {tuple(map(float, layer.scale))} and {tuple(map(float, image.scale))}; "
            "give both one scale and place, or paint on the image"
        )
    return laid


def _to_world(layer: Any, kept: list[int]) -> NDArray[np.float64]:
    """Return the matrix from pixels to the world along some axes, with one row and column more."""
    n = layer.ndim
    rotate, shear = turned(layer)
    inner = np.eye(n + 1)
    inner[:n, :n] = rotate @ shear @ np.diag(np.asarray(layer.scale, float))
    inner[:n, n] = layer.translate
    whole = np.asarray(layer.affine.affine_matrix, float) @ inner
    corner = [*kept, n]
    found: NDArray[np.float64] = whole[np.ix_(corner, corner)]
    return found


def _as_matrix(rotate: Any, ndim: int) -> NDArray[np.float64]:
    matrix = np.eye(ndim)
    inner = np.atleast_2d(np.asarray(rotate, float))
    matrix[-len(inner) :, -len(inner) :] = inner
    return matrix
