"""Make mosaics of textures, which nothing but texture tells apart."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from skimage import data

from benchmarks.quality.datasets import Dataset, Picture
from benchmarks.quality.textures import MADE, SIDE

TEXTURES = {"mosaics": ("brick", "grass", "gravel"), "textures": tuple(MADE)}
"""Of the two kinds of mosaics: pictures of 512 x 512 that scikit-image brings along, and what is
made by rules."""
N_REGIONS = {"mosaics": (2, 3), "textures": (2, 3, 4, 5)}
N_MOSAICS = 6
_LEAST_SHARE = 0.6
"""Of the pixels that a region would have if all were equal."""


@dataclass(frozen=True)
class MosaicPicture(Picture):
    """A mosaic, made when it is read."""

    made_of: str = "mosaics"
    n_regions: int = 2
    seed: int = 0

    def read(self) -> tuple[NDArray[Any], str, list[NDArray[Any]]]:
        """Return the mosaic, its axes and the regions, from 1."""
        image, regions = mosaic(self.n_regions, self.seed, kind=self.made_of)
        return image, "YX", [regions]


def sets() -> dict[str, Dataset]:
    """List the mosaics, one set for each kind and number of regions."""
    found = {}
    for kind, counts in N_REGIONS.items():
        for count in counts:
            name = f"{kind} of {count}"
            pictures = tuple(
                MosaicPicture(f"{count}_{seed}", "folder", Path(), (), "", "YX", kind, count, seed)
                for seed in range(N_MOSAICS)
            )
            found[name] = Dataset(name, "folder", pictures, (), len(pictures))
    return found


def mosaic(
    n_regions: int, seed: int, side: int = SIDE, *, kind: str = "mosaics"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Put different textures of equal histograms into the Voronoi cells of random points.

    Parameters
    ----------
    n_regions : int
        At most as many as there are textures.
    seed : int
    side : int
        In pixels, at most 512.
    kind : str
        A key of `TEXTURES`.

    Returns
    -------
    image : (side, side) uint8 array
    regions : (side, side) int64 array
        In 1..n_regions; none has less than 0.6 of an equal share.
    """
    random = np.random.default_rng(seed)
    chosen = random.permutation(TEXTURES[kind])[:n_regions]
    places = np.mgrid[:side, :side]  # (2, Y, X)
    while True:
        points = random.random((n_regions, 2)) * side
        apart = [((places - point[:, None, None]) ** 2).sum(0) for point in points]
        regions = np.argmin(apart, 0)
        counts = np.bincount(regions.ravel(), minlength=n_regions)
        if counts.min() >= _LEAST_SHARE * side**2 / n_regions:
            break
    image = np.zeros((side, side))
    for region, name in enumerate(chosen):
        texture = _texture(str(name))
        y, x = (random.integers(0, n - side + 1) for n in texture.shape)
        here = regions == region
        image[here] = texture[y : y + side, x : x + side][here]
    return (255 * image).astype(np.uint8), regions + 1


@functools.cache
def _texture(name: str) -> NDArray[np.float64]:
    """Return a texture with a flat histogram, in 0..1; chance decides between equal pixels."""
    random = np.random.default_rng(0)
    pixels = MADE[name](random) if name in MADE else getattr(data, name)()
    step = 1.0 if pixels.dtype.kind == "u" else 1e-9 * np.ptp(pixels)  # between unequal ones
    apart = pixels + step * random.random(pixels.shape)
    ranks: NDArray[np.float64] = rankdata(apart.ravel()).reshape(apart.shape) / apart.size
    return ranks
