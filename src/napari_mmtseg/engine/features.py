"""Describe what a pixel lies in, by fixed features of its surroundings at several scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from napari_mmtseg.engine.working_sample import with_margin

Upper = dict[tuple[int, int], Tensor]
"""The upper triangle of symmetric matrices, by row and column."""

_FEATURES = 8
"""Of a channel at a scale; see `Features`."""
_NARROWEST = 4
"""Steps of smoothing that make the narrowest window of contrast."""
_FAINT = 0.02
"""A deviation of no account, so that a plain image has no contrast."""
_SCALES, _STEPS = {2: 4, 3: 3}, {2: 5, 3: 3}
"""By the number of spatial axes: in a volume a wide view costs its third power."""


class Features:
    """Intensity, edges, spots, ridges and texture at several scales.

    The first scale is that of the pixels. For each further one a channel is smoothed once more with
    the B3 spline (1, 4, 6, 4, 1) / 16, whose taps move apart by 1, 2, 4, ... pixels: the standard
    deviations are 1, 2.2, 4.6, ... pixels. The derivatives at a scale are differences between
    neighbours so far apart, 1 at the first. At each scale there are

    1. the smoothed intensity,
    2. the length of its gradient,
    3. the mean and
    4. the spread of the eigenvalues of its Hessian: spots, and ridges;

    and over a window of texture

    5. the root mean square of 2,
    6. how far the gradients keep to one direction: the spread of the structure tensor's
       eigenvalues, divided by 5,
    7. the root mean square of 3 and
    8. that of 4.

    All of them are in units of intensity. Where it is asked for, there follows the contrast of the
    second scale to wide windows, smoothed by 4, 5, ... steps (9, 18, ... pixels): how far it is
    from the mean there, divided by the standard deviation plus 0.02.

    The features of a mirror image are the features
    mirrored, to the last bit, and so are those of an image turned by a quarter, but for rounding.
    A pixel's features depend on nothing but its surroundings, however large the block is that they
    are found in: sums are taken pixel by pixel and never by a library's convolution, whose
    rounding depends on the block.

    Parameters
    ----------
    n_channels : int
        Channels C of the image.
    n_axes : int
        Spatial axes, 2 or 3.
    n_scales : int, optional
        Scales; 4 in planes and 3 in volumes unless told.
    n_steps : int, optional
        Steps of smoothing that make the window of texture; 5 in planes, which give it a standard
        deviation of 18 pixels, and 3 in volumes (4.6 pixels) unless told.
    n_contrasts : int, optional
        Windows of contrast.

    Attributes
    ----------
    margin : int
        Pixels a side beyond a pixel that its features depend on.
    width : int
        Number F of features: those of the first channel come first, scale by scale.
    of_texture : (F,) tensor of bool
        Which of them describe the window of texture: 5 to 8, and the coarsest intensity.

    References
    ----------
    Starck and Murtagh, "Astronomical image and data analysis", 2006 (smoothing by steps). Laws,
    "Textured image segmentation", 1980; Malik and Perona, "Preattentive texture discrimination
    with early vision mechanisms", JOSA A 7, 1990 (texture as the energy of filters in a window).
    """

    def __init__(
        self,
        n_channels: int,
        n_axes: int,
        *,
        n_scales: int | None = None,
        n_steps: int | None = None,
        n_contrasts: int = 0,
    ) -> None:
        self.n_channels, self.n_axes = n_channels, n_axes
        self.n_scales = n_scales or _SCALES[n_axes]
        self.n_steps = n_steps or _STEPS[n_axes]
        self.n_contrasts = n_contrasts
        self.width = n_channels * (self.n_scales * _FEATURES + n_contrasts)
        last = self.n_scales - 1
        self.margin = reach(last) + _step(last) + reach(self.n_steps)
        if n_contrasts:
            self.margin = max(self.margin, reach(_NARROWEST + n_contrasts - 1))
        of_texture = torch.zeros(n_channels, self.n_scales, _FEATURES, dtype=torch.bool)
        of_texture[:, :, _FEATURES // 2 :] = True
        of_texture[:, last, 0] = True
        others = torch.zeros(n_channels, n_contrasts, dtype=torch.bool)
        self.of_texture = torch.cat([of_texture.flatten(1), others], 1).flatten()

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Describe pixels.

        Parameters
        ----------
        pixels : (B, C, *spatial + 2 * margin) tensor
            With the margin's pixels on each side of each axis.

        Returns
        -------
        (B, F, *spatial) tensor
        """
        inner = [n - 2 * self.margin for n in pixels.shape[2:]]
        found = pixels.new_empty(len(pixels), self.width, *inner)
        place = 0
        for channel in range(self.n_channels):
            smooth = pixels[:, channel]  # (B, *spatial)
            for scale in range(self.n_scales):
                step = _step(scale)
                smooth = smoothed(smooth, step) if scale else smooth
                seen = [n + 2 * (reach(self.n_steps) + step) for n in inner]
                for one in self._of_scale(_middle(smooth, seen), step):
                    found[:, place] = _middle(one, inner)
                    place += 1
            for one in self._contrasts(pixels[:, channel], inner):
                found[:, place] = one
                place += 1
        return found

    def _of_scale(self, smooth: Tensor, step: int) -> list[Tensor]:
        """Describe one channel at one scale, (B, *spatial); the results are smaller."""
        slopes, curvatures = _derivatives(smooth, step)
        length = torch.sqrt(_sum([one * one for one in slopes]))
        mean, spread = _eigenvalues(curvatures)
        tensor = {pair: self._window(slopes[pair[0]] * slopes[pair[1]]) for pair in curvatures}
        energy, sided = _eigenvalues(tensor)
        power = torch.sqrt(energy.mul_(self.n_axes))
        powers = [torch.sqrt(self._window(one * one)) for one in (mean, spread)]
        return [smooth, length, mean, spread, power, sided.div_(power.clamp_min(1e-6)), *powers]

    def _contrasts(self, pixels: Tensor, inner: Sequence[int]) -> Iterator[Tensor]:
        """Compare one channel (B, *spatial) with its mean and deviation in wide windows."""
        if not self.n_contrasts:
            return
        own = _middle(smoothed(pixels, 1), inner)
        mean, square = pixels, pixels.square()
        for number in range(_NARROWEST + self.n_contrasts - 1):
            mean, square = smoothed(mean, 2**number), smoothed(square, 2**number)
            if number >= _NARROWEST - 1:
                here = _middle(mean, inner)
                variance = (_middle(square, inner) - here.square()).clamp_min_(0)
                yield (own - here).div_(variance.sqrt_().add_(_FAINT))

    def _window(self, values: Tensor) -> Tensor:
        """Average over the window of texture."""
        for number in range(self.n_steps):
            values = smoothed(values, 2**number)
        return values


def _step(scale: int) -> int:
    """Return how far apart neighbours are at a scale."""
    return 1 << max(0, scale - 1)


def reach(n_steps: int) -> int:
    """Return how many pixels a side smoothing by so many steps reaches."""
    return 2 * ((1 << n_steps) - 1)


def smoothed(values: Tensor, step: int) -> Tensor:
    """Smooth (B, *spatial) with a B3 spline, along all axes; it is 2 steps smaller a side."""
    for axis in range(1, values.ndim):
        for _ in range(2):  # (1, 2, 1) twice is (1, 4, 6, 4, 1)
            n = values.shape[axis] - 2 * step
            total = values.narrow(axis, 0, n) + values.narrow(axis, 2 * step, n)
            # Doubling is exact, and so the sum does not depend on how the machine takes it.
            values = total.add_(values.narrow(axis, step, n), alpha=2)
    return values.mul_(1 / 16 ** (values.ndim - 1))


def evened(values: Tensor, n_steps: int) -> Tensor:
    """Smooth (B, *spatial) by so many steps; beyond the border its own pixels are repeated."""
    values = with_margin(values[None], reach(n_steps))[0]
    for number in range(n_steps):
        values = smoothed(values, 1 << number)
    return values


def _derivatives(values: Tensor, step: int) -> tuple[list[Tensor], Upper]:
    """Return the gradient (A,) and the Hessian of (B, *spatial), a step smaller a side."""
    n_axes = values.ndim - 1

    def moved(*moves: tuple[int, int]) -> Tensor:
        """Return the values so many steps further along some axes."""
        by = dict(moves)
        here = [step * (1 + by.get(axis, 0)) for axis in range(n_axes)]
        sizes = [n - 2 * step for n in values.shape[1:]]
        return values[:, *(slice(a, a + n) for a, n in zip(here, sizes, strict=True))]

    gradient = [(moved((a, 1)) - moved((a, -1))).mul_(0.5) for a in range(n_axes)]
    hessian = {}
    for a, b in combinations_with_replacement(range(n_axes), 2):
        if a == b:
            hessian[a, a] = (moved((a, 1)) + moved((a, -1))).sub_(moved(), alpha=2)
        else:
            alike = moved((a, 1), (b, 1)) + moved((a, -1), (b, -1))
            unlike = moved((a, 1), (b, -1)) + moved((a, -1), (b, 1))
            hessian[a, b] = alike.sub_(unlike).mul_(0.25)
    return gradient, hessian


def _eigenvalues(matrix: Upper) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of a symmetric matrix's eigenvalues."""
    diagonal = [one for (a, b), one in matrix.items() if a == b]
    mean = _sum(diagonal).mul_(1 / len(diagonal))
    squares = [(one - mean).square_() for one in diagonal]
    squares += [one.square().mul_(2) for (a, b), one in matrix.items() if a != b]
    return mean, _sum(squares).mul_(1 / len(diagonal)).sqrt_()


def _sum(values: Sequence[Tensor]) -> Tensor:
    total = values[0].clone()
    for one in values[1:]:
        total += one
    return total


def _middle(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cut the middle out of (B, *spatial)."""
    places = zip(values.shape[1:], sizes, strict=True)
    return values[:, *(slice((n - m) // 2, (n + m) // 2) for n, m in places)]
