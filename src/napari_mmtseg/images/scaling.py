"""Scale intensities to 0..1, by a range that is measured once and kept in the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_HUGE = 1e300
NOISE_ALONE = 6.0
"""A range that ends within so many standard deviations of the ground's noise holds nothing else."""
_RARE = 2.0
"""What lies so many times further from the ground than the end of the range is something."""
_RARE_PX = 6
_OTHER_GAIN, _OTHER_GROUND = 1.5, 0.25
"""Ranges that differ by this factor, or whose lower ends differ by this share, are of other
exposures."""


@dataclass(frozen=True)
class Scaling:
    """How intensities become 0..1: `(value - low) / (high - low)`, clipped, for each channel."""

    low: NDArray[np.float64]  # (C,)
    high: NDArray[np.float64]  # (C,)

    @classmethod
    def fit(
        cls,
        parts: list[NDArray[Any]],
        how: Literal["percentile", "full"],
        *,
        shared: bool = False,
    ) -> Scaling:
        """Measure the range of each channel over arrays of (C, *spatial).

        Parameters
        ----------
        parts : list of (C, *spatial) arrays
            In the image's own values.
        how : {"percentile", "full"}
            See the setting "Intensity scaling".
        shared : bool
            Whether all channels share one range, as red, green and blue do.

        Raises
        ------
        ValueError
            If no pixel is finite.
        """
        channels = len(parts[0])
        top = {"b1": 1.0, "u1": 255.0}.get(parts[0].dtype.str[1:])
        if how == "full" and top is not None:
            return cls(np.zeros(channels), np.full(channels, top))
        # A sparse grid of a few million pixels pins percentiles down better than it needs to.
        step = max(1, int((sum(part.size for part in parts) / 4_000_000) ** 0.5))
        values = [part[..., ::step, ::step].reshape(channels, -1) for part in parts]
        sample = np.concatenate(values, axis=1).astype(np.float64)
        if shared:
            sample = sample.reshape(1, -1)
        low, high = np.zeros(len(sample)), np.zeros(len(sample))
        for channel, row in enumerate(sample):
            finite = row[np.isfinite(row)]
            if finite.size == 0:
                raise ValueError(
                    "The image has no finite pixel (all are NaN or infinite): there is nothing "
                    "to segment; check how it was loaded or computed"
                )
            ends = (0, 100) if how == "full" else (0.1, 99.9)
            # A quarter of the largest numbers leaves room for their difference.
            low[channel], high[channel] = 4 * np.percentile(finite / 4, ends)
            if how == "percentile":
                own = slice(None) if shared else slice(channel, channel + 1)
                planes = [part[own] for part in parts]
                low[channel], high[channel] = _with_rare(
                    planes, finite, low[channel], high[channel]
                )
            if low[channel] == high[channel]:
                low[channel], high[channel] = finite.min(), finite.max()
        if shared:
            low, high = np.repeat(low, channels), np.repeat(high, channels)
        return cls(low, high)

    @property
    def span(self) -> NDArray[np.float64]:
        """How wide the range of each channel is: (C,)."""
        return self.high - self.low

    def differs(self, other: Scaling) -> bool:
        """Tell whether images of these ranges differ in exposure: in gain, or in their ground."""
        spans = np.maximum(self.span, 1e-300), np.maximum(other.span, 1e-300)
        gain = np.abs(np.log(spans[0] / spans[1]))
        ground = np.abs(self.low - other.low) / np.minimum(*spans)
        return bool((gain > math.log(_OTHER_GAIN)).any() or (ground > _OTHER_GROUND).any())

    def apply(self, part: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scale a part of an image.

        Parameters
        ----------
        part : (C, *spatial) array
            As `Frames.read` gives it.

        Returns
        -------
        pixels : (C, *spatial) float32 array
            In 0..1; 0 where a channel is not finite, and all over where it does not vary.
        valid : (*spatial) bool array
            Where all channels are finite.
        """
        if part.dtype.kind == "b":
            part = part.view(np.uint8)
        if part.dtype.kind == "u" and part.dtype.itemsize <= 2:
            # As many values as a table holds: looked up, they cost a tenth.
            every = np.arange(2 ** (8 * part.dtype.itemsize), dtype=part.dtype.newbyteorder("="))
            tables = self._scaled(np.broadcast_to(every, (len(part), len(every))))
            pixels = np.stack([table[own] for table, own in zip(tables, part, strict=True)])
            return pixels, np.ones(part.shape[1:], bool)
        valid = np.isfinite(part).all(axis=0)
        return self._scaled(part), valid

    def _scaled(self, part: NDArray[Any]) -> NDArray[np.float32]:
        ends = np.stack([self.low, self.high])
        # float32 holds 16-bit integers exactly; wider values are scaled in float64 first.
        # float32 does not reach further either.
        narrow = part.dtype.itemsize <= 2 or part.dtype.newbyteorder("=") == np.float32
        narrow &= float(np.abs(ends).max()) < 1e37
        values: NDArray[Any] = part.astype(np.float32 if narrow else np.float64)
        shrunk = 0.25 if np.abs(ends).max() > _HUGE else 1.0
        if shrunk != 1:
            values = np.multiply(values, shrunk)
        axes = (slice(None), *(None,) * (part.ndim - 1))
        low, high = (end.astype(values.dtype)[axes] for end in shrunk * ends)
        values = np.where(np.isfinite(values), values, low)
        values = np.clip(values, low, high) - low
        span = high - low
        values = np.divide(values, span, out=np.zeros_like(values), where=span > 0)
        scaled: NDArray[np.float32] = np.clip(values, 0, 1).astype(np.float32)
        return scaled


def is_noise(parts: list[NDArray[Any]], scaling: Scaling) -> bool:
    """Tell whether a range, as `Scaling.fit` measures it, holds the ground's noise and no more."""
    if max(np.abs(scaling.low).max(), np.abs(scaling.high).max()) > _HUGE:
        return False
    for channel in range(len(scaling.low)):
        values = np.concatenate([part[channel].ravel()[::7] for part in parts]).astype(np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        before, ground, after = 4 * np.percentile(values / 4, (16, 50, 84))
        above = scaling.high[channel] - ground > NOISE_ALONE * (after - ground)
        below = ground - scaling.low[channel] > NOISE_ALONE * (ground - before)
        if above or below or after - before > 0.5 * scaling.span[channel]:
            return False
    return True


def _with_rare(
    planes: list[NDArray[Any]], sample: NDArray[np.float64], low: float, high: float
) -> tuple[float, float]:
    """Widen a range that holds the ground's noise alone by what is rare in the image.

    A few cells in a large field are less than a thousandth of its pixels, and would all be cut off
    with the ends of the range, of which noise would be left. Single pixels do not count: hot ones
    are no cells.
    """
    before, ground, after = (float(one) for one in 4 * np.percentile(sample / 4, (16, 50, 84)))
    ends = {-1: low, 1: high}
    if max(abs(low), abs(high)) > _HUGE:  # beyond what can be added up
        return low, high
    for sign, end, spread in ((-1, low, ground - before), (1, high, after - ground)):
        reach = sign * (end - ground)
        if reach > NOISE_ALONE * spread:
            continue
        rare = [_coherent(part, ground + sign * _RARE * reach, sign) for part in planes]
        values = np.concatenate(rare)
        if len(values) >= _RARE_PX:
            ends[sign] = float(np.median(values))
    return ends[-1], ends[1]


def _coherent(part: NDArray[Any], least: float, sign: int) -> NDArray[np.float64]:
    """Return the values of (C, *spatial) pixels beyond a value that do not lie there alone."""
    beyond = (part > least) if sign > 0 else (part < least)
    if part.dtype.kind == "f":
        beyond &= np.isfinite(part)
    if not beyond.any():
        return np.zeros(0)
    together = ndimage.binary_opening(beyond, np.ones((*(1,) * (part.ndim - 2), 2, 2)))
    found: NDArray[np.float64] = part[together].astype(np.float64)
    return found
