"""Read and scale the planes that a method learns from, and what the user painted on them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg.arrays import Planes, Sample, Scaling, several
from napari_mmtseg.methods import METHODS, Kanezaki
from napari_mmtseg.settings import Method

_SAMPLE_VALUES = 8_000_000
LARGEST_CLASS = 2**31 - 1
"""Labels are 32-bit numbers, and a class is a label."""


def images_of(image: ArrayLike | Sequence[ArrayLike], axes: str | None) -> list[Planes]:
    """Take one image or several of one kind as planes.

    Raises
    ------
    TypeError, ValueError
        If there is none, one cannot be read, or they differ in their channels.
    """
    images = [Planes(one, axes) for one in several(image)]
    if not images:
        raise ValueError("There is no image to train on; give at least one")
    for number, planes in enumerate(images):
        if (planes.n_channels, planes.is_rgb) != (images[0].n_channels, images[0].is_rgb):
            raise ValueError(
                f"Image {number} has {planes.n_channels} channels where the first has "
                f"{images[0].n_channels}: train on images of one kind"
            )
    return images


def read_sample(
    images: list[Planes],
    method: Method,
    scribbles: ArrayLike | None,
    mask: ArrayLike | None,
    superpixels: ArrayLike | None = None,
) -> tuple[Sample, Scaling]:
    """Read and scale planes chosen at random, all if they are few, and every painted one."""
    beside = (scribbles, mask, superpixels)
    if len(images) > 1 and any(one is not None for one in beside):
        raise ValueError(
            "Scribbles, masks and superpixels go with a single image; train on one, or leave them"
        )
    painted = None if scribbles is None else _strokes(images[0], method, scribbles)
    hidden = None if mask is None else images[0].side_image(mask, "mask") == 0
    grouped = None if superpixels is None else images[0].side_image(superpixels, "superpixels")
    if grouped is not None and not isinstance(method, Kanezaki):
        raise ValueError(
            f"{type(method).__name__} uses no superpixels; choose Kanezaki, or leave them"
        )
    if hidden is not None and hidden.all():
        raise ValueError("The mask hides every pixel: paint where the image is to be used")
    all_planes = [(planes, index) for planes in images for index in range(len(planes))]
    order = np.random.default_rng(method.seed).permutation(len(all_planes))
    if painted is not None:
        order = order[np.argsort(~painted[order].any(axis=(1, 2)), kind="stable")]
    room = np.cumsum([np.prod((p.n_channels, *p.shape[-2:])) for p, _ in all_planes])
    count = max(1, int((room <= _SAMPLE_VALUES).sum()))
    if painted is not None:
        count = max(count, int(painted.any(axis=(1, 2)).sum()))
    chosen = [all_planes[i] for i in sorted(order[:count])]
    raw = [planes.plane(index) for planes, index in chosen]
    scaling = Scaling.fit(raw, method.intensity, shared=images[0].is_rgb)
    scaled = [scaling.apply(plane) for plane in raw]
    pixels, valid = [list(part) for part in zip(*scaled, strict=True)]
    if hidden is not None:
        valid = [seen & ~hidden[index] for seen, (_, index) in zip(valid, chosen, strict=True)]
    for channel in range(images[0].n_channels):
        seen = np.concatenate([p[channel][v] for p, v in zip(pixels, valid, strict=True)])
        if seen.size and seen.min() == seen.max():
            for plane in pixels:
                plane[channel] = 0
    if not any(plane.any() for plane in pixels):
        warnings.warn("All pixels of the image are equal: it gets one label", stacklevel=3)
    strokes, regions = (
        None if side is None else [side[i].astype(np.int64) for _, i in chosen]
        for side in (painted, grouped)
    )
    places = [(images.index(planes), *planes.position(index)) for planes, index in chosen]
    return Sample(pixels, valid, strokes, regions, images[0].is_rgb, places), scaling


def check_classes(painted: NDArray[Any]) -> NDArray[Any]:
    """Return scribbles, or say which of them is no class.

    Raises
    ------
    ValueError
        If one is negative, or larger than a label can be.
    """
    low, high = int(painted.min()), int(painted.max())
    if low < 0 or high > LARGEST_CLASS:
        raise ValueError(
            f"The scribbles must be 0 (unpainted) or a class from 1 to {LARGEST_CLASS}, "
            f"got {low if low < 0 else high}: paint that class with another number"
        )
    return painted


def _strokes(planes: Planes, method: Method, scribbles: ArrayLike) -> NDArray[Any]:
    """Return the scribbles as (P, Y, X), if the method can make something of them."""
    if not method.takes_scribbles:
        able = ", ".join(name for name, one in METHODS.items() if one.takes_scribbles)
        raise ValueError(
            f"{type(method).__name__} takes no scribbles; choose one of {able}, or leave them"
        )
    painted = check_classes(planes.side_image(scribbles, "scribbles"))
    if len(np.unique(painted[painted > 0])) < 2:
        raise ValueError("The scribbles must hold at least two classes: paint a second one")
    return painted
