"""Draw images and label images so that methods can be compared by eye."""

from __future__ import annotations

import base64
import io
from colorsys import hsv_to_rgb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_mmtseg import metrics

_GOLDEN = 0.61803398875


def coloured(labels: NDArray[Any], like: NDArray[Any] | None = None) -> NDArray[np.uint8]:
    """Return labels as (Y, X, 3) colours.

    Parameters
    ----------
    labels : (Y, X) array
        Label image.
    like : (Y, X) array, optional
        Another one: labels take the bright colours of their partners there under the best
        one-to-one assignment; a label without a partner is dull.
    """
    values, codes = np.unique(labels, return_inverse=True)
    if like is None:
        sizes = np.bincount(codes.ravel())
        place = np.empty(len(values), int)
        place[np.argsort(-sizes, kind="stable")] = np.arange(len(values))
        palette = [_colour(i) for i in place]
    else:
        partner = metrics.hungarian_mapping(labels, like)
        others, sizes = np.unique(like, return_counts=True)
        rank = {int(others[i]): n for n, i in enumerate(np.argsort(-sizes, kind="stable"))}
        palette = [
            _colour(rank[partner[int(value)]]) if int(value) in partner else _colour(i, dull=True)
            for i, value in enumerate(values)
        ]
    return np.array(palette, np.uint8)[codes.reshape(labels.shape)]


def as_seen(image: NDArray[Any], axes: str) -> NDArray[np.uint8]:
    """Return an image as (Y, X, 3) to look at; of a stack the middle plane."""
    order = [axes.index(axis) for axis in "TZYXCS" if axis in axes]
    plane = middle(image.transpose(order), sum(axis in "TZ" for axis in axes))
    if "S" in axes:
        plane = plane[..., :3]
        if plane.dtype == np.uint8:
            return np.ascontiguousarray(plane)
    elif "C" in axes:
        plane = plane.mean(axis=-1)
    plane = plane.astype(float)
    low, high = np.nanpercentile(plane, (0.1, 99.9))
    scaled = np.clip((plane - low) / max(high - low, 1e-12), 0, 1)
    gray = np.nan_to_num(scaled * 255).astype(np.uint8)
    return gray if gray.ndim == 3 else np.repeat(gray[..., np.newaxis], 3, axis=2)


def middle(stack: NDArray[Any], n_stack_axes: int) -> NDArray[Any]:
    """Return the middle plane along the leading axes."""
    for _ in range(n_stack_axes):
        stack = stack[len(stack) // 2]
    return stack


def data_address(pixels: NDArray[np.uint8], *, photo: bool = False, side_px: int = 480) -> str:
    """Return a picture as an address that HTML can hold, no larger than a side."""
    picture = Image.fromarray(pixels)
    scale = min(1.0, side_px / max(picture.size))
    if scale < 1:
        size = (round(picture.width * scale), round(picture.height * scale))
        how = Image.Resampling.LANCZOS if photo else Image.Resampling.NEAREST
        picture = picture.resize(size, how)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if photo else "PNG", optimize=True)
    kind = "jpeg" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _colour(number: int, *, dull: bool = False) -> tuple[int, int, int]:
    hue = (0.58 + number * _GOLDEN) % 1
    saturation, value = (0.25, 0.35 + 0.2 * (number % 3)) if dull else (0.62, 0.95)
    red, green, blue = hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
