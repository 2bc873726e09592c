"""k-means: group pixels by intensity or colour, and perhaps by where they are."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from napari_mmtseg.engine import (
    Array,
    Draft,
    Learned,
    Prediction,
    Predictor,
    Step,
    Tile,
    Training,
    Weights,
)
from napari_mmtseg.engine.foreground import LEAST_CONTRAST, contrast, halves
from napari_mmtseg.engine.kmeans_fit import fit
from napari_mmtseg.images.frames import Sample
from napari_mmtseg.methods import KMeans

_FITTED_PIXELS = 100_000
_TILE_SIDE = {2: 1024, 3: 128}


def train(sample: Sample, method: KMeans, initial: Weights | None = None) -> Training:
    """Find the cluster centres, one restart a step; the best restart is kept.

    Parameters
    ----------
    sample : Sample
        Scaled pixels.
    method : KMeans
        The settings.
    initial : mapping of str to array, optional
        "clusters" (k, F): the centres to start from instead of random ones; there are no restarts
        then.
    """
    lab = sample.is_rgb and method.colour == "lab"
    longest = max(sample.frame_shape or sample.valid[0].shape)
    corners = sample.corners or [(0,) * sample.n_axes] * len(sample.pixels)
    features = [
        _features(pixels, lab, method, corner, longest)
        for pixels, corner in zip(sample.pixels, corners, strict=True)
    ]
    rows = np.concatenate([f[:, v].T for f, v in zip(features, sample.valid, strict=True)])
    del features
    values, counts = _distinct(rows, method)
    k = min(method.n_labels, len(values))
    if 1 < k < method.n_labels:
        warnings.warn(
            f"The image has {k} different values, fewer than the labels asked for "
            f"(n_labels), {method.n_labels}: it gets {k} labels",
            stacklevel=2,
        )

    start = None if initial is None else _given(initial, rows.shape[1])
    total = 1 if start is not None else method.n_restarts
    best = None
    for restart in range(total):
        seed = (method.seed + restart) % 2**32
        fitted = fit(values, k if start is None else start, counts, seed)
        if best is None or fitted.inertia < best.inertia:
            best = fitted
        weights = {
            "clusters": best.centres,
            "lab": np.array(lab),
            "longest": np.array(longest),
            "variance": np.array(max(best.inertia / counts.sum() / rows.shape[1], 1e-6)),
        }
        loss = float(best.inertia / counts.sum())
        learned = partial(_learned, weights, sample, method)
        if (yield Step("training", restart + 1, total, (loss,), (k,), learned)):
            break
    return learned()


def arrays(method: KMeans, is_rgb: bool) -> dict[str, Array]:
    """Declare the weights of a model."""
    lab = is_rgb and method.colour == "lab"
    features = "C + A" if method.position_weight > 0 else "C"
    return {
        "clusters": Array("F64", ("K", features), -1e6, 1e6),
        "lab": Array("BOOL", (), lab, lab),
        "longest": Array("I64", (), 1, 2**53),
        "variance": Array("F64", (), 1e-6, 1e12),
        "spacing": Array("F64", ("A",), 1e-3, 1e3),
        "channels": Array("I64", (), 1, 4096),
        "halves": Array("I64", ("K",), 0, 1),
        "contrast": Array("F64", (), 0, 1.001),
    }


def predictor(weights: Weights, method: KMeans) -> Predictor:
    """Make the predictor that finds the nearest centre of each pixel."""
    centres, lab, longest = weights["clusters"], bool(weights["lab"]), int(weights["longest"])
    axes = len(weights["spacing"])
    blur = int(4 * method.smoothing_px + 0.5)  # as far as SciPy's Gaussian reaches

    def apart(pixels: NDArray[np.float32], tile: Tile) -> Iterator[NDArray[np.float64]]:
        """Give the squared distance of each pixel to one centre after the other."""
        features = _features(pixels, lab, method, tile.origin, longest)
        if centres.shape[1:] != features.shape[:1]:
            raise ValueError(f"The centres {centres.shape} do not fit {len(features)} features")
        # Without matrix products, whose rounding depends on how many pixels come together.
        for centre in centres:
            distance = np.zeros(features.shape[1:])
            for feature, middle in zip(features, centre, strict=True):
                distance += (feature - middle) ** 2
            yield distance

    if method.vote_border or method.sharpening_px:
        return _refined(apart, weights, method, blur, axes)

    def find(
        pixels: NDArray[np.float32],
        tile: Tile,
        label_of: NDArray[np.int64] | None = None,
        draft: Draft | None = None,
    ) -> Prediction:
        nearest, least = None, None
        for number, distance in enumerate(apart(pixels, tile)):
            distance = distance[tile.inner]
            if nearest is None or least is None:
                nearest, least = np.zeros(distance.shape, np.int64), distance
                continue
            nearer = distance < least
            nearest[nearer] = number
            least[nearer] = distance[nearer]
        assert nearest is not None
        return nearest, None

    side = (_TILE_SIDE[axes],) * axes
    return Predictor((1,) * axes, side, (blur,) * axes, lambda pixels: pixels, find)


def _refined(
    apart: Callable[[NDArray[np.float32], Tile], Iterator[NDArray[np.float64]]],
    weights: Weights,
    method: KMeans,
    blur: int,
    axes: int,
) -> Predictor:
    """Make a predictor from the probabilities of Gaussians of one variance around the centres."""
    import torch  # plain k-means does without

    from napari_mmtseg.engine import voter_prediction
    from napari_mmtseg.engine.refine.window_means import pooled_grid

    def voters(
        pixels: torch.Tensor, tile: Tile, grid: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        distances = np.stack(list(apart(pixels[0].numpy(), tile)))
        scores = torch.from_numpy(distances / (-2 * float(weights["variance"])))
        return pooled_grid(scores.softmax(0).float(), grid)[None], pixels[0]

    return voter_prediction.predictor(
        voters,
        n_votes=len(weights["clusters"]),
        n_channels=int(weights["channels"]),
        reach=blur,
        factor=(1,) * axes,
        spacing=weights["spacing"].tolist(),
        reduce=lambda pixels: pixels,
        groups=torch.from_numpy(weights["halves"]),
        least_contrast=LEAST_CONTRAST * float(weights["contrast"]),
        method=method,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def _given(initial: Weights, n_features: int) -> NDArray[np.float64]:
    """Return the centres to start from.

    Raises
    ------
    ValueError
        If there are none, or they do not fit.
    """
    if set(initial) != {"clusters"} or initial["clusters"] is None:
        raise ValueError(
            f"k-means starts from initial={{'clusters': centres}}, got {sorted(initial)}: give the "
            f"centres as an array of shape (k, {n_features})"
        )
    centres = np.asarray(initial["clusters"], np.float64)
    if centres.ndim != 2 or centres.shape[1] != n_features or not np.isfinite(centres).all():
        raise ValueError(
            f"The centres (initial['clusters']) must be finite numbers of shape (k, {n_features}), "
            f"got shape {centres.shape}"
        )
    return centres


def _features(
    pixels: NDArray[np.float32],
    lab: bool,
    method: KMeans,
    origin: tuple[int, ...],
    longest: int,
) -> NDArray[np.float64]:
    """Turn pixels (C, *spatial) into features (F, *spatial): colour, then position."""
    features = pixels.astype(np.float64)
    if method.smoothing_px > 0:
        features = np.stack([gaussian_filter(one, method.smoothing_px) for one in features])
    if lab:
        features = rgb2lab(features, channel_axis=0) / 100
    if method.position_weight > 0:
        first = np.reshape(origin, (-1, *(1,) * len(origin)))
        where = (np.indices(features.shape[1:]) + first) / longest * method.position_weight
        features = np.concatenate([features, where])
    return features


def _distinct(
    rows: NDArray[np.float64], method: KMeans
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the different rows of a random choice of pixels, and how often each occurs."""
    chosen = rows
    if len(rows) > _FITTED_PIXELS:
        random = np.random.default_rng(method.seed)
        chosen = rows[np.sort(random.choice(len(rows), _FITTED_PIXELS, replace=False))]
    values, counts = np.unique(chosen, axis=0, return_counts=True)
    if len(values) < method.n_labels and len(chosen) < len(rows):
        values, counts = np.unique(rows, axis=0, return_counts=True)
    return values, counts


def _learned(weights: Weights, sample: Sample, method: KMeans) -> Learned:
    """Measure the clusters over the sample, leaving out those without a pixel."""
    weights = {
        **weights,
        "spacing": np.array(sample.spacing or (1.0,) * sample.n_axes),
        "channels": np.array(sample.n_channels),
    }
    plain = dataclasses.replace(method, vote_border=0.0, sharpening_px=0)
    find = predictor(weights, plain).find
    centres = weights["clusters"]
    sizes = np.zeros(len(centres), np.int64)
    sums = np.zeros((len(centres), sample.n_channels))
    found = []
    corners = sample.corners or [(0,) * sample.n_axes] * len(sample.pixels)
    for pixels, valid, corner in zip(sample.pixels, sample.valid, corners, strict=True):
        whole = tuple(slice(0, n) for n in valid.shape)
        clusters = find(pixels, Tile(whole, valid.shape, corner), None)[0]
        sizes += np.bincount(clusters[valid], minlength=len(centres))
        for channel, values in enumerate(pixels[:, valid]):
            sums[:, channel] += np.bincount(clusters[valid], values, minlength=len(centres))
        found.append(np.where(valid, clusters, -1))
    used = sizes > 0
    colours = (sums[used] / sizes[used, None]).astype(np.float32)
    number = np.append(np.cumsum(used) - 1, -1)  # the last is for -1
    maps = [number[one] for one in found] if method.sharpening_px else []
    groups = halves(maps, sample.pixels, len(colours)) if maps else np.zeros(len(colours), np.int64)
    weights |= {
        "clusters": centres[used],
        "halves": groups,
        "contrast": contrast(groups, colours, sizes[used]),
    }
    return Learned(weights, colours, sizes[used], np.zeros(len(colours), np.int64))
