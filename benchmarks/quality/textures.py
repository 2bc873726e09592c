"""Make textures by rules, so that a mosaic can be of more than the few that scikit-image has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import data, transform

SIDE = 512

Values = NDArray[np.float64]


def _stripes(random: np.random.Generator, degrees: float, width: float, length: float) -> Values:
    """Smooth noise more along a direction than across it."""
    angle = np.deg2rad(degrees)
    ky, kx = np.meshgrid(*2 * [np.fft.fftfreq(SIDE)], indexing="ij")
    across, along = kx * np.cos(angle) + ky * np.sin(angle), ky * np.cos(angle) - kx * np.sin(angle)
    kept = np.exp(-20 * ((across * width) ** 2 + (along * length) ** 2))
    found: Values = np.fft.ifft2(np.fft.fft2(random.standard_normal((SIDE, SIDE))) * kept).real
    return found


def _grain(random: np.random.Generator, sigma: float) -> Values:
    """Keep the part of noise that is of one size."""
    noise = random.standard_normal((SIDE, SIDE))
    found: Values = ndimage.gaussian_filter(noise, sigma) - ndimage.gaussian_filter(
        noise, 2 * sigma
    )
    return found


def _dots(random: np.random.Generator, diameter: float) -> Values:
    spots = np.zeros((SIDE, SIDE))
    places = random.integers(0, SIDE, (2, int(SIDE**2 / (3 * diameter**2))))
    spots[tuple(places)] = 1
    spots = ndimage.gaussian_filter(spots, diameter / 3)
    found: Values = spots + 0.02 * spots.std() * random.standard_normal(spots.shape)
    return found


def _weave(random: np.random.Generator, period: float) -> Values:
    y, x = 2 * np.pi * np.mgrid[:SIDE, :SIDE] / period
    noise = ndimage.gaussian_filter(random.standard_normal((SIDE, SIDE)), 1)
    found: Values = np.sin(x) * np.sin(y) + 0.5 * noise / noise.std()
    return found


def _cells(random: np.random.Generator, count: int) -> Values:
    """Draw the walls between so many cells."""
    places = np.mgrid[:SIDE, :SIDE].reshape(2, -1).T
    near, _ = cKDTree(SIDE * random.random((count, 2))).query(places, k=2)
    walls = (near[:, 1] - near[:, 0]).reshape(SIDE, SIDE).clip(0, 8)
    found: Values = walls + 0.5 * random.standard_normal(walls.shape)
    return found


def _scaled(random: np.random.Generator, name: str, scale: float, turns: int) -> Values:
    """Shrink or enlarge one of scikit-image's, and turn it by quarters."""
    pixels = transform.rescale(getattr(data, name)().astype(float), scale)
    found: Values = np.rot90(np.tile(pixels, (3, 3)), turns)[:SIDE, :SIDE]
    return found


MADE: dict[str, Callable[[np.random.Generator], Values]] = {
    "fine stripes": partial(_stripes, degrees=0, width=2, length=14),
    "fine stripes across": partial(_stripes, degrees=90, width=2, length=14),
    "fine slanting stripes": partial(_stripes, degrees=45, width=2, length=14),
    "coarse stripes": partial(_stripes, degrees=0, width=5, length=30),
    "fine grain": partial(_grain, sigma=1),
    "grain": partial(_grain, sigma=2.5),
    "coarse grain": partial(_grain, sigma=5),
    "small dots": partial(_dots, diameter=6),
    "dots": partial(_dots, diameter=12),
    "fine weave": partial(_weave, period=10),
    "weave": partial(_weave, period=24),
    "large cells": partial(_cells, count=400),
    "small cells": partial(_cells, count=1500),
    "small brick": partial(_scaled, name="brick", scale=0.6, turns=0),
    "large brick, turned": partial(_scaled, name="brick", scale=1.4, turns=1),
    "small grass": partial(_scaled, name="grass", scale=0.7, turns=0),
    "large grass, turned": partial(_scaled, name="grass", scale=1.6, turns=1),
    "small gravel": partial(_scaled, name="gravel", scale=0.6, turns=0),
    "large gravel, turned": partial(_scaled, name="gravel", scale=1.5, turns=1),
}
"""Each makes values of 512 x 512."""
