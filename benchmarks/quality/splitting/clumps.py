"""Lay trusted objects beside and over each other, so that the borders of clumps are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels, find_boundaries

from benchmarks.quality.splitting.scenes import OBJECT_PX, Scene

SIDE = 6 * OBJECT_PX
"""Side of a lesson in pixels."""
_RIM = 4


class Lesson(NamedTuple):
    """A square of a scene, perhaps with pasted objects, and what is known of it."""

    contrast: NDArray[np.float32]
    """(SIDE, SIDE)."""
    foreground: NDArray[np.bool_]
    """(SIDE, SIDE)."""
    distance: NDArray[np.float32]
    """(SIDE, SIDE): distance from the object's border as a share of the object's largest."""
    centre: NDArray[np.float32]
    """(2, SIDE, SIDE): the way to the object's centre along Y and X in radii, 0 outside."""
    known: NDArray[np.bool_]
    """(SIDE, SIDE): background or in a trusted object, so that the foreground is sure."""
    whole: NDArray[np.bool_]
    """(SIDE, SIDE): known, and not in an object that the square cuts: the distance is sure."""


class Cutout(NamedTuple):
    """A trusted object with a rim around it."""

    contrast: NDArray[np.float32]
    mask: NDArray[np.bool_]


class _Square(NamedTuple):
    contrast: NDArray[np.float32]
    foreground: NDArray[np.bool_]
    labels: NDArray[np.int32]
    inside: NDArray[np.bool_]


def cutouts(scenes: Sequence[Scene]) -> list[Cutout]:
    """Cut out the trusted objects that do not touch the border; neighbours become background."""
    found = []
    for one in scenes:
        outside = one.contrast[~one.foreground]
        background = float(np.median(outside)) if outside.size else 0.0
        for number, box in enumerate(ndimage.find_objects(one.labels), 1):
            if box is None or not one.trusted[number]:
                continue
            sides = list(zip(box, one.labels.shape, strict=True))
            if any(a.start == 0 or a.stop == n for a, n in sides):
                continue
            wide = tuple(slice(max(0, a.start - _RIM), min(n, a.stop + _RIM)) for a, n in sides)
            mask = one.labels[wide] == number
            others = one.foreground[wide] & ~mask
            found.append(Cutout(np.where(others, background, one.contrast[wide]), mask))
    return found


def lesson(
    rng: np.random.Generator, one: Scene, objects: Sequence[Cutout], *, side: int = SIDE
) -> Lesson:
    """Take a random square of a scene, and paste objects into it if any are given."""
    square, trusted = _square(rng, one, side)
    if not objects:
        return _taught(square, trusted)
    contrast, foreground, labels, inside = square
    style = str(rng.choice(["brighter", "over", "over", "sum"]))
    for _ in range(rng.integers(2, 9)):
        cutout = _turned(rng, objects[int(rng.integers(len(objects)))])
        if cutout.mask.sum() < 20:
            continue
        place = _beside(rng, cutout, labels, trusted)
        if place is not None and _paste(rng, cutout, place, square, trusted, style):
            trusted = np.append(trusted, True)
    # A foreground found by intensity also fills the narrow gaps between objects.
    if gap := int(rng.integers(0, 3)):
        filled = ndimage.binary_closing(np.pad(foreground, 4), iterations=gap)[4:-4, 4:-4]
        foreground = foreground | filled
    labels = np.where(foreground & (labels == 0), expand_labels(labels, 3), labels)
    return _taught(_Square(contrast, labels > 0, labels, inside), trusted)


def _square(rng: np.random.Generator, one: Scene, side: int) -> tuple[_Square, NDArray[np.bool_]]:
    height, width = one.contrast.shape
    y, x = (int(rng.integers(0, max(1, n - side + 1))) for n in (height, width))
    cut = np.s_[y : y + side, x : x + side]
    padding = ((0, max(0, side - height)), (0, max(0, side - width)))
    contrast = np.pad(one.contrast[cut], padding, mode="symmetric")
    foreground, inside = (
        np.pad(values, padding)
        for values in (one.foreground[cut], np.ones(one.contrast[cut].shape, bool))
    )
    labels = np.pad(one.labels[cut], padding)
    here = np.setdiff1d(labels, 0)
    number = np.zeros(len(one.trusted), np.int32)
    number[here] = np.arange(1, len(here) + 1)
    trusted = np.concatenate([[True], one.trusted[here]])
    return _Square(contrast, foreground, number[labels], inside), trusted


def _turned(rng: np.random.Generator, cutout: Cutout) -> Cutout:
    """Turn, mirror and resize an object at random."""
    angle, scale = rng.uniform(0, 2 * np.pi), float(np.exp(rng.normal(0, 0.12)))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) / scale
    if rng.random() < 0.5:
        matrix[:, 1] *= -1
    side = int(np.ceil(np.hypot(*cutout.mask.shape) * scale))
    middle = (np.array(cutout.mask.shape) - 1) / 2
    given: dict[str, Any] = {
        "offset": middle - matrix @ np.full(2, (side - 1) / 2),
        "output_shape": (side, side),
        "order": 1,
    }
    contrast = ndimage.affine_transform(cutout.contrast, matrix, mode="nearest", **given)
    mask = ndimage.affine_transform(cutout.mask.astype(np.float32), matrix, **given) > 0.5
    return Cutout(contrast * np.float32(np.exp(rng.normal(0, 0.2))), mask)


def _beside(
    rng: np.random.Generator,
    cutout: Cutout,
    labels: NDArray[np.int32],
    trusted: NDArray[np.bool_],
) -> tuple[int, int] | None:
    """Find a place where the object just touches or slightly overlaps another one."""
    side, size = labels.shape[0], cutout.mask.shape[0]
    centre = rng.uniform(0, side, 2)
    partners = np.setdiff1d(labels, np.append(np.flatnonzero(~trusted), 0))
    if len(partners) and rng.random() > 0.25:
        centre = np.argwhere(labels == rng.choice(partners)).mean(0)
    angle, allowed = rng.uniform(0, 2 * np.pi), float(rng.choice([0, 0.03, 0.08, 0.15]))
    for radius in range(3 * OBJECT_PX):
        y = int(centre[0] + radius * np.sin(angle) - size / 2)
        x = int(centre[1] + radius * np.cos(angle) - size / 2)
        window, part = _clipped(y, x, size, side)
        mask, there = cutout.mask[part], labels[window]
        if min(mask.shape) < 6 or not mask.any():
            return None
        if (there[mask] > 0).mean() <= allowed:
            # What lies in a clump of unknown borders would teach nothing.
            return (y, x) if trusted[there[mask]].all() else None
    return None


def _paste(
    rng: np.random.Generator,
    cutout: Cutout,
    place: tuple[int, int],
    square: _Square,
    trusted: NDArray[np.bool_],
    style: str,
) -> bool:
    """Draw the object into the square; the arrays of the square are changed."""
    window, part = _clipped(*place, cutout.mask.shape[0], square.labels.shape[0])
    mask, pasted = cutout.mask[part], cutout.contrast[part]
    contrast, labels = square.contrast[window], square.labels[window]
    under = rng.random() < 0.5
    own = mask & (labels == 0) if under else mask
    near = ndimage.binary_dilation(mask, iterations=3)
    if style == "brighter":
        contrast[near] = np.maximum(contrast, pasted)[near]
    elif style == "sum":
        both = np.where((labels > 0) & mask, 0.75, 1)
        contrast[near] = ((contrast + np.maximum(pasted, 0)) * both)[near]
    else:
        share = _soft(ndimage.binary_dilation(mask))
        if under:
            share = share * (1 - _soft(labels > 0))
        contrast[:] = share * pasted + (1 - share) * contrast
    labels[own] = len(trusted)
    square.foreground[window] |= mask
    return True


def _clipped(
    y: int, x: int, size: int, side: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where a window lies in the square, and which part of the window that is."""
    top, left = max(0, y), max(0, x)
    bottom, right = max(top, min(side, y + size)), max(left, min(side, x + size))
    return (
        (slice(top, bottom), slice(left, right)),
        (slice(top - y, bottom - y), slice(left - x, right - x)),
    )


def _soft(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(mask.astype(np.float32), 0.7)
    return blurred


def _taught(square: _Square, trusted: NDArray[np.bool_]) -> Lesson:
    contrast, foreground, labels, inside = square
    cut = np.zeros(len(trusted), bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        cut[edge] = True
    cut[0] = False
    core = (labels > 0) & ~find_boundaries(labels, mode="inner")
    distance = ndimage.distance_transform_edt(core) + 0.5 * (labels > 0)
    top = np.full(len(trusted), 0.5)
    np.maximum.at(top, labels.ravel(), distance.ravel())
    known = trusted[labels] & inside
    return Lesson(
        contrast.astype(np.float32),
        foreground,
        (distance / top[labels]).astype(np.float32),
        _to_centres(labels, len(trusted)),
        known,
        known & ~cut[labels],
    )


def _to_centres(labels: NDArray[np.int32], count: int) -> NDArray[np.float32]:
    areas = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
    ways = []
    for place in np.indices(labels.shape):
        centres = np.bincount(labels.ravel(), place.ravel(), count) / areas
        ways.append((centres[labels] - place) * (labels > 0) / (OBJECT_PX / 2))
    return np.stack(ways).astype(np.float32)
