"""Turn label images into outlines along the edges of pixels, and outlines into label images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import label

Ring = NDArray[np.float64]
"""(N, 2) corners as x and y, the last one joined to the first. The upper left corner of the upper
left pixel is (0, 0), its centre (0.5, 0.5)."""

# Edges run clockwise around what they bound: along its top, right, bottom and left.
_EAST, _SOUTH, _WEST, _NORTH = range(4)
_STEP = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
"""From the first corner of an edge to its last, as rows and columns."""
_FIRST = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
"""The first corner of an edge, from the corner that its pixel is called after."""


class Outline(NamedTuple):
    """The outline of an object of a plane."""

    id: int
    pieces: list[list[Ring]]
    """For each connected piece the ring around it, clockwise as one sees it, then its holes'."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom."""
        corners = np.concatenate([ring for rings in self.pieces for ring in rings])
        left, top = corners.min(0)
        right, bottom = corners.max(0)
        return float(left), float(top), float(right), float(bottom)


def outlines_of(plane: ArrayLike) -> list[Outline]:
    """Outline the objects of a plane along the edges of their pixels.

    The area of an outline, its holes taken off, is the number of pixels of its object, and
    `filled` gives the same pixels again.

    Parameters
    ----------
    plane : (Y, X) integer array
        0 is ground.

    Returns
    -------
    list of Outline
        In the order of the ids. Pieces that meet at a corner alone are two.
    """
    ids = np.asarray(plane)
    pieces = np.pad(label(ids, connectivity=1, background=0), 1)
    rings, owner = _rings(pieces)
    id_of = np.zeros(int(pieces.max()) + 1, np.int64)
    id_of[pieces[1:-1, 1:-1]] = ids
    found: dict[int, dict[int, list[Ring]]] = {}
    for ring, piece in zip(rings, owner, strict=True):
        of_piece = found.setdefault(int(id_of[piece]), {}).setdefault(piece, [])
        of_piece.insert(0 if _area(ring) > 0 else len(of_piece), ring)
    return [Outline(one, list(found[one].values())) for one in sorted(found)]


def filled(outlines: Iterable[Outline], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Give the pixels whose centres lie within outlines their ids; the later outline wins.

    Parameters
    ----------
    outlines : iterable of Outline
        With any corners; what lies outside of the plane is left out.
    shape : (int, int)
        Rows and columns of the plane.

    Returns
    -------
    (Y, X) int32 array
    """
    plane = np.zeros(shape, np.int32)
    for outline in outlines:
        left, top, right, bottom = outline.box
        # Half a pixel beyond each way is enough for any centre.
        x0, y0 = max(0, int(np.floor(left - 0.5))), max(0, int(np.floor(top - 0.5)))
        x1, y1 = min(shape[1], int(np.ceil(right + 0.5))), min(shape[0], int(np.ceil(bottom + 0.5)))
        if x0 >= x1 or y0 >= y1:
            continue
        rings = [ring - (x0, y0) for piece in outline.pieces for ring in piece]
        plane[y0:y1, x0:x1][_inside(rings, (y1 - y0, x1 - x0))] = outline.id
    return plane


def _area(ring: Ring) -> float:
    """Return the area of a ring: above 0 if it runs clockwise, with y downwards."""
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _inside(rings: list[Ring], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centres an odd number of rings surrounds."""
    crossings = np.zeros((shape[0], shape[1] + 1), np.int64)
    for ring in rings:
        x, y = ring.T
        x1, y1 = np.roll(x, -1), np.roll(y, -1)
        # Rows whose centres lie in [lower end, upper end) of an edge are crossed by it once.
        first = np.clip(np.ceil(np.minimum(y, y1) - 0.5), 0, shape[0]).astype(np.int64)
        last = np.clip(np.ceil(np.maximum(y, y1) - 0.5), 0, shape[0]).astype(np.int64)
        count = last - first
        edge = np.repeat(np.arange(len(x)), count)
        begin = np.cumsum(count) - count
        row = first[edge] + np.arange(len(edge)) - begin[edge]
        share = (row + 0.5 - y[edge]) / (y1 - y)[edge]
        at = x[edge] + share * (x1 - x)[edge]
        column = np.clip(np.ceil(at - 0.5), 0, shape[1]).astype(np.int64)
        np.add.at(crossings, (row, column), 1)
    odd: NDArray[np.bool_] = np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1
    return odd


def _rings(pieces: NDArray[np.int64]) -> tuple[list[Ring], list[int]]:
    """Walk around the pieces of a padded plane; return the rings and the piece of each."""
    at, heading = _edges(pieces)  # (E, 2) pixels, (E,)
    if not len(at):
        return [], []
    own = pieces[tuple(at.T)]
    ahead = at + _STEP[heading]
    left = ahead + _STEP[(heading - 1) % 4]
    # Pixels of one piece that meet at a corner are kept together, so that a hole that touches the
    # outside there is a ring of its own.
    turn = np.where(pieces[tuple(left.T)] == own, -1, np.where(pieces[tuple(ahead.T)] == own, 0, 1))
    after = (heading + turn) % 4
    pixel = np.where((turn == -1)[:, None], left, np.where((turn == 0)[:, None], ahead, at))
    width = np.int64(pieces.shape[1])
    names = (at[:, 0] * width + at[:, 1]) * 4 + heading
    order = np.argsort(names)
    wanted = (pixel[:, 0] * width + pixel[:, 1]) * 4 + after
    following = order[np.searchsorted(names[order], wanted)].tolist()

    ends = (at + _FIRST[heading] + _STEP[heading] - 1)[:, ::-1].astype(np.float64)
    is_corner = turn != 0
    rings, owner = [], []
    walked = bytearray(len(at))
    for start in range(len(at)):
        if walked[start]:
            continue
        ring, edge = [], start
        while not walked[edge]:
            walked[edge] = 1
            ring.append(edge)
            edge = following[edge]
        way = np.array(ring)
        rings.append(ends[way[is_corner[way]]])
        owner.append(int(own[start]))
    return rings, owner


def _edges(pieces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixel and the heading of each edge between a piece and something else."""
    inner = pieces[1:-1, 1:-1]
    beside = {
        _EAST: pieces[:-2, 1:-1],
        _SOUTH: pieces[1:-1, 2:],
        _WEST: pieces[2:, 1:-1],
        _NORTH: pieces[1:-1, :-2],
    }
    found = {
        heading: np.argwhere((inner > 0) & (inner != other)) + 1
        for heading, other in beside.items()
    }
    at = np.concatenate(list(found.values()))
    return at, np.repeat(list(found), [len(one) for one in found.values()]).astype(np.int64)
