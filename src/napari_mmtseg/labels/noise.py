"""Estimate the noise of an image from what no smooth thing can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_DEVIATION = 1.4826
"""Of Gaussian values, the deviation over the median of their absolute values."""


def noise_of(image: NDArray[np.floating], axes: tuple[int, ...] = (-2, -1)) -> float:
    """Estimate the deviation of white noise.

    Every pixel is compared with its neighbours by the finest difference of second order along
    each axis, that straight and bent edges cancel in; the median leaves out what remains of them.

    Parameters
    ----------
    image : (..., Y, X) array
        Intensities; NaN and infinite ones do not count.
    axes : tuple of int
        The axes with noise, of equal pixels.

    Returns
    -------
    float
        The deviation, in the image's values; 0 where fewer than three pixels lie along an axis.
    """
    if any(image.shape[axis] < 3 for axis in axes):
        return 0.0
    fine = np.asarray(image, np.float64)
    for axis in axes:
        fine = ndimage.convolve1d(fine, [1.0, -2.0, 1.0], axis=axis)
    inner = [slice(None)] * image.ndim
    for axis in axes:
        inner[axis] = slice(1, -1)
    fine = fine[tuple(inner)]
    fine = fine[np.isfinite(fine)]
    if not fine.size:
        return 0.0
    return float(np.median(np.abs(fine))) * _DEVIATION / float(np.sqrt(6.0 ** len(axes)))
