"""Generate a stack of nuclei that looks like a real one, with its ground truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def nuclei_stack(
    shape: tuple[int, int, int] = (24, 256, 256), *, n_nuclei: int = 60, seed: int = 0
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Generate fluorescent nuclei: textured ellipsoids, blur, uneven light and camera noise.

    Parameters
    ----------
    shape : (Z, Y, X)
        Size in voxels; a voxel is 0.8 x 0.25 x 0.25 um.
    n_nuclei : int
        Number of nuclei to place; those that find no room are left out.
    seed : int
        The same seed gives the same stack.

    Returns
    -------
    image : (Z, Y, X) uint16 array
        Camera counts, about 100 to 4000.
    truth : (Z, Y, X) int32 array
        0 outside, otherwise the nucleus's number.
    """
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.int32)
    brightness = np.zeros(shape)
    placed = 0
    for _ in range(20 * n_nuclei):
        if placed == n_nuclei:
            break
        radii = np.array([rng.uniform(3.0, 5.0), *rng.uniform(10, 17, 2)])
        centre = [rng.uniform(r * 0.3, n - r * 0.3) for r, n in zip(radii, shape, strict=True)]
        turn = rng.uniform(0, np.pi)
        reach = (radii[0], radii[1:].max(), radii[1:].max())
        box = tuple(
            slice(max(0, int(c - 1.1 * r)), int(c + 1.1 * r) + 2)
            for c, r in zip(centre, reach, strict=True)
        )
        grid = np.ogrid[
            tuple(slice(b.start, min(b.stop, n)) for b, n in zip(box, shape, strict=True))
        ]
        z, y, x = (axis - c for axis, c in zip(grid, centre, strict=True))
        across, along = y * np.cos(turn) - x * np.sin(turn), y * np.sin(turn) + x * np.cos(turn)
        distance = (z / radii[0]) ** 2 + (across / radii[1]) ** 2 + (along / radii[2]) ** 2
        if not (distance <= 1).any() or truth[box][distance <= 1.15].any():
            continue
        placed += 1
        truth[box][distance <= 1] = placed
        brightness[box][distance <= 1] = rng.uniform(0.6, 1.2)
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), (0.8, 2.5, 2.5))
    brightness *= 1 + 0.25 * texture / texture.std()
    blurred = ndimage.gaussian_filter(brightness, (1.0, 1.6, 1.6))
    haze = ndimage.gaussian_filter(brightness, (4, 14, 14))
    rows, columns = (np.linspace(-1, 1, n) for n in shape[1:])
    light = 1.0 - 0.35 * ((rows[:, None] - 0.3) ** 2 + (columns + 0.2) ** 2) / 2
    fading = np.linspace(1.0, 0.75, shape[0])[:, None, None]
    photons = (60 + 900 * blurred + 160 * haze) * light * fading
    counts = 100 + 2.2 * rng.poisson(photons) + rng.normal(0, 12, shape)
    return np.clip(counts, 0, 65535).astype(np.uint16), truth
