"""Strokes as a user would paint them, simulated from the ground truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

_DEEP_PX = 3.0
"""People paint in the middle of things; farther than this from a border they do not care."""
_STEPS = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]


def simulated(
    truth: NDArray[np.integer], count: int, seed: int, *, length_px: int = 30
) -> NDArray[np.int64]:
    """Paint strokes within the classes, as many in each, away from their borders and one another.

    A stroke begins at a random pixel that lies deep in its class and goes on in a random direction,
    turning as little as keeps it deep; where a thing is too small for it, it ends early.

    Parameters
    ----------
    truth : (Y, X) integer array
        The class of each pixel, from 1 on; 0 where there is none.
    count : int
        Strokes in all. With a smaller count the strokes are the first ones of a larger one, so
        that a table's columns are one user at work.
    seed : int
        Starts the random numbers.
    length_px : int
        Pixels of a stroke at most.

    Returns
    -------
    (Y, X) int64 array
        The class of the painted pixels, 0 elsewhere.
    """
    random = np.random.default_rng(seed)
    classes = [int(one) for one in np.unique(truth) if one]
    depths = {one: distance_transform_edt(np.pad(truth == one, 1))[1:-1, 1:-1] for one in classes}
    painted = np.zeros(truth.shape, np.int64)
    starts: list[tuple[int, int]] = []
    for number in range(count):
        own = classes[number % len(classes)]
        start = _start(depths[own], starts, length_px, random)
        starts.append(start)
        for place in _path(depths[own], start, length_px, random):
            painted[place] = own
    return painted


def _start(
    depth: NDArray[np.float64],
    starts: list[tuple[int, int]],
    apart: int,
    random: np.random.Generator,
) -> tuple[int, int]:
    inside = depth[depth > 0]
    places = np.argwhere(depth >= min(_DEEP_PX, float(np.quantile(inside, 0.7))))
    order = random.permutation(len(places))
    far = (
        place
        for place in places[order[:100]]
        if all(np.hypot(*(place - other)) >= apart for other in np.array(starts))
    )
    row, column = next(far, places[order[0]])
    return int(row), int(column)


def _path(
    depth: NDArray[np.float64], start: tuple[int, int], length: int, random: np.random.Generator
) -> list[tuple[int, int]]:
    heading = int(random.integers(8))
    path, seen = [start], {start}
    while len(path) < length:
        best, chosen = 0.0, None
        for turn in (0, 1, -1, 2, -2, 3, -3):
            direction = (heading + turn) % 8
            at = (path[-1][0] + _STEPS[direction][0], path[-1][1] + _STEPS[direction][1])
            if at in seen or not all(0 <= i < n for i, n in zip(at, depth.shape, strict=True)):
                continue
            score = min(depth[at], _DEEP_PX) - 0.3 * abs(turn)
            if depth[at] > 0 and (chosen is None or score > best):
                best, chosen, way = score, at, direction
        if chosen is None:
            break
        heading = way
        path.append(chosen)
        seen.add(chosen)
    return path
