"""Let probabilities follow the image: even within things, and with borders at their edges."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_mmtseg.engine.features import evened, reach

_FAINT = 5e-4
"""A variance of no account: where intensity varies less, probabilities are just averaged."""


def guided_reach(n_steps: int) -> int:
    """Return how many pixels a side `guided` reaches."""
    return 2 * reach(n_steps)


@torch.no_grad()
def guided(shares: Tensor, pixels: Tensor, n_steps: int) -> Tensor:
    """Fit probabilities by the image, in a window around every pixel.

    In each window the probabilities are fitted by a linear function of the intensity, the mean of
    the channels, smoothed by one step and by two; each pixel gets the mean of the fits of all the
    windows that it lies in. Where the intensity tells classes apart, their border so comes to lie
    at its edge, and elsewhere noise is averaged away.

    Parameters
    ----------
    shares : (V, K, *spatial) tensor
        Probabilities that each of V voters gives to K classes.
    pixels : (C, *spatial) tensor
        Scaled intensities.
    n_steps : int
        Steps of smoothing that make the window; three give it a standard deviation of 4.6 pixels.

    Returns
    -------
    (V, K, *spatial) tensor
        Probabilities. As for features, they do not depend on the block that they are found in.

    References
    ----------
    He, Sun and Tang, "Guided image filtering", IEEE TPAMI 35, 2013.
    """
    intensity = pixels[:1].clone()
    for channel in pixels[1:]:
        intensity += channel
    intensity /= len(pixels)
    fine, coarse = evened(intensity, 1), evened(intensity, 2)
    fine_mean, coarse_mean = evened(fine, n_steps), evened(coarse, n_steps)
    # The matrix of the two intensities' covariances is symmetric, and made safe to invert.
    a = evened(fine.square(), n_steps) - fine_mean.square() + _FAINT
    b = evened(fine * coarse, n_steps) - fine_mean * coarse_mean
    c = evened(coarse.square(), n_steps) - coarse_mean.square() + _FAINT
    determinant = a * c - b.square()
    found = torch.empty_like(shares)
    for voter, fits in zip(shares, found, strict=True):
        fits[-1] = 1
        for one, fit in zip(voter[:-1, None], fits[:-1, None], strict=True):
            level = evened(one, n_steps)
            with_fine = evened(one * fine, n_steps) - level * fine_mean
            with_coarse = evened(one * coarse, n_steps) - level * coarse_mean
            of_fine = (c * with_fine - b * with_coarse) / determinant
            of_coarse = (a * with_coarse - b * with_fine) / determinant
            level -= of_fine * fine_mean + of_coarse * coarse_mean
            fit[:] = evened(of_fine, n_steps) * fine + evened(of_coarse, n_steps) * coarse
            fit += evened(level, n_steps)
            fits[-1:] -= fit.clamp_(0, 1)
        fits[-1].clamp_(0, 1)  # linear fits of what sums to 1 do so too
    return found
