"""Find and split nuclei without learning: the rows that a learned split has to beat."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.morphology import remove_small_holes
from skimage.segmentation import watershed

from benchmarks.quality.splitting.scenes import ellipses

Image = NDArray[np.float64]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.int32]
_LOWEST, _LEVELS, _SMALLEST_PX = 0.35, 32, 20


class Nuclei(NamedTuple):
    """What is known of an image's nuclei before any network learns to split them."""

    contrast: Image
    """(Y, X): 0 in the background, 1 in nuclei."""
    foreground: Mask
    diameter_px: float
    splits: dict[str, Numbers]
    """Ways to split the foreground."""

    @property
    def best(self) -> Numbers:
        """The split of each piece of the foreground whose objects are most like ellipses."""
        return _roundest(list(self.splits.values()), self.foreground, self.diameter_px)


def nuclei(pixels: NDArray[Any], labels: NDArray[Any], label: int) -> Nuclei:
    """Measure the nuclei and split them in eight ways.

    Parameters
    ----------
    pixels : (C, Y, X) array
        Scaled pixels.
    labels : (Y, X) int array
        Labels of the image.
    label : int
        The label that is nuclei.
    """
    contrast = _contrast(pixels.astype(np.float32), labels == label)
    smooth = ndimage.gaussian_filter(contrast, 1)
    seeds = _bright_pieces(smooth)
    areas = ellipses(seeds)[0][1:]
    diameter = _middle(np.sqrt(areas * 4 / np.pi), areas) if areas.size else 10.0
    mask = ndimage.median_filter((labels == label).astype(np.uint8), 5) > 0
    foreground = ndimage.binary_fill_holes(mask | _above_half(smooth, seeds))

    depth = ndimage.distance_transform_edt(foreground)
    splits = {"brightness": watershed(-smooth, seeds, mask=foreground)}
    for share in (0.06, 0.1, 0.15):
        field = ndimage.gaussian_filter(depth, max(1, share * diameter))
        splits[f"distance {share}"] = _watershed(field, foreground, 2 * share * diameter)
    for share in (0.1, 0.15, 0.2):
        field = ndimage.gaussian_filter(np.clip(contrast, 0, 1.2) * foreground, share * diameter)
        splits[f"smooth brightness {share}"] = _watershed(field, foreground, share * diameter)
    both = np.minimum(depth, diameter / 2) / (diameter / 2) * np.clip(contrast, 0, 1.5)
    both = ndimage.gaussian_filter(both, max(1, 0.1 * diameter))
    splits["distance and brightness"] = _watershed(both, foreground, 0.2 * diameter)
    return Nuclei(
        contrast, foreground, diameter, {k: v.astype(np.int32) for k, v in splits.items()}
    )


def _contrast(pixels: NDArray[np.float32], inside: Mask) -> Image:
    """Weigh channels so that the two sides differ most (Fisher), medians at 0 and 1."""
    ones, others = pixels[:, inside], pixels[:, ~inside]
    weights = ones.mean(1) - others.mean(1)
    if len(pixels) > 1:
        scatter = np.cov(ones) * inside.mean() + np.cov(others) * (~inside).mean()
        scatter = scatter + 1e-3 * np.var(pixels) * np.eye(len(pixels))
        weights = np.linalg.solve(scatter, weights)
    else:
        weights = np.sign(weights)
    values: Image = np.tensordot(weights, pixels, 1)
    low, high = np.median(values[~inside]), np.median(values[inside])
    return (values - low) / (high - low + 1e-9)


def _bright_pieces(smooth: Image) -> Numbers:
    """Choose, in the tree of pieces above rising levels, disjoint ones most like ellipses."""
    high = np.percentile(smooth, 99.9)
    levels = _LOWEST + (high - _LOWEST) * np.linspace(0, 1, _LEVELS) ** 2
    pieces: list[tuple[int, Numbers]] = []  # the number of the level's first node, and its map
    areas, roundness, parents = np.empty(0), np.empty(0), np.empty(0, int)
    for level in levels:
        above = smooth > level
        if not above.any():
            break
        numbered, count = ndimage.label(remove_small_holes(above, max_size=50))
        size, likeness = (values[1:] for values in ellipses(numbered))
        kept = size >= _SMALLEST_PX
        if not kept.any():
            break
        number = np.zeros(count + 1, np.int32)
        number[1:][kept] = np.arange(1, kept.sum() + 1)
        numbered = number[numbered]
        parent = np.full(int(kept.sum()), -1)
        if pieces:
            first, below = pieces[-1]
            under = np.zeros(len(parent) + 1, np.int64)
            under[numbered.ravel()[::-1]] = below.ravel()[::-1]
            parent = np.where(under[1:] > 0, under[1:] - 1 + first, -1)
        pieces.append((len(areas), numbered))
        areas, roundness = np.append(areas, size[kept]), np.append(roundness, likeness[kept])
        parents = np.append(parents, parent)
    return _painted(_chosen(areas, roundness, parents), pieces, smooth.shape)


def _chosen(areas: Image, roundness: Image, parents: NDArray[np.int64]) -> Mask:
    """Keep a node if its children, weighted by area, are no rounder."""
    count = len(areas)
    value, weight, whole = roundness.copy(), areas.copy(), np.ones(count, bool)
    sums, weights = np.zeros(count), np.zeros(count)
    for node in reversed(range(count)):
        if weights[node] and sums[node] / weights[node] > roundness[node]:
            value[node], weight[node] = sums[node] / weights[node], weights[node]
            whole[node] = False
        if (parent := parents[node]) >= 0:
            sums[parent] += value[node] * weight[node]
            weights[parent] += weight[node]
    hidden, chosen = np.zeros(count, bool), np.zeros(count, bool)
    for node, parent in enumerate(parents):
        covered = parent >= 0 and hidden[parent]
        chosen[node] = whole[node] and not covered
        hidden[node] = covered or chosen[node]
    return chosen


def _painted(chosen: Mask, pieces: list[tuple[int, Numbers]], shape: tuple[int, ...]) -> Numbers:
    painted = np.zeros(shape, np.int32)
    numbers = np.cumsum(chosen) * chosen
    for first, numbered in pieces:
        here = np.append(0, numbers[first : first + int(numbered.max())])[numbered]
        painted[here > 0] = here[here > 0]
    return painted


def _above_half(smooth: Image, seeds: Numbers) -> Mask:
    """Grow each seed down to half its median."""
    if not seeds.any():
        return np.zeros(seeds.shape, bool)
    zones = watershed(-smooth, seeds, mask=smooth > 0.7 * _LOWEST)
    tops = ndimage.median(smooth, seeds, np.arange(1, int(seeds.max()) + 1))
    above: Mask = smooth > np.append(np.inf, 0.5 * np.asarray(tops))[zones]
    return above


def _watershed(field: Image, foreground: Mask, apart_px: float) -> Numbers:
    peaks = peak_local_max(
        field,
        min_distance=max(1, int(apart_px)),
        labels=foreground.astype(int),
        exclude_border=False,
    )
    markers = np.zeros(field.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    found: Numbers = watershed(-field, markers, mask=foreground)
    return found


def _roundest(splits: list[Numbers], foreground: Mask, diameter_px: float) -> Numbers:
    pieces, count = ndimage.label(foreground)
    scores = np.full((len(splits), count + 1), -9.0)
    for score, split in zip(scores, splits, strict=True):
        areas, roundness = (values[1:] for values in ellipses(split))
        home = np.zeros(len(areas) + 1, np.int64)
        home[split.ravel()] = pieces.ravel()
        size = np.bincount(home[1:], areas, count + 1)
        extra = np.bincount(home[1:], minlength=count + 1) - 1
        roundest = np.bincount(home[1:], areas * roundness, count + 1) / np.maximum(size, 1)
        cost = 0.02 * extra * np.pi / 4 * diameter_px**2 / np.maximum(size, 1)
        score[size > 0] = (roundest - cost)[size > 0]
    winner = scores.argmax(0)[pieces]
    found, last = np.zeros(foreground.shape, np.int32), 0
    for number, split in enumerate(splits):
        here = (winner == number) & foreground & (split > 0)
        found[here] = split[here] + last
        last += int(split.max())
    return found


def _middle(values: Image, weights: Image) -> float:
    """Return the median of weighted values."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])
