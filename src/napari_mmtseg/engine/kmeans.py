"""k-means: group pixels by intensity or colour, and perhaps by where they are."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab
from sklearn.cluster import KMeans as Clustering

from napari_mmtseg.arrays import Sample
from napari_mmtseg.engine import Learned, Prediction, Predictor, Step, Training, Weights
from napari_mmtseg.engine.fitting import fit
from napari_mmtseg.methods import KMeans

_FITTED_PIXELS = 100_000


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
    features = [_features(pixels, lab, method) for pixels in sample.pixels]
    rows = np.concatenate([f[:, v].T for f, v in zip(features, sample.valid, strict=True)])
    values, counts = _distinct(rows, method)
    k = min(method.n_labels, len(values))
    if 1 < k < method.n_labels:
        warnings.warn(
            f"The image has {k} different values, fewer than the labels asked for "
            f"(n_labels), {method.n_labels}: it gets {k} labels",
            stacklevel=2,
        )

    start = None if initial is None else np.asarray(initial["clusters"], np.float64)
    total = 1 if start is not None else method.n_restarts
    best = None
    for restart in range(total):
        clustering = Clustering(
            k if start is None else len(start),
            init="k-means++" if start is None else start,
            n_init=1,
            random_state=(method.seed + restart) % 2**32,
        )
        fit(clustering, values, counts)
        if best is None or clustering.inertia_ < best.inertia_:
            best = clustering
        weights = {"clusters": best.cluster_centers_, "lab": np.array(lab)}
        loss = float(best.inertia_ / counts.sum())
        learned = partial(_learned, weights, sample, method)
        if (yield Step("training", restart + 1, total, (loss,), (k,), learned)):
            break
    return learned()


def predictor(weights: Weights, method: KMeans) -> Predictor:
    """Make the function that finds the nearest centre of each pixel."""
    centres, lab = weights["clusters"], bool(weights["lab"])

    def predict(
        pixels: NDArray[np.float32], label_of: NDArray[np.int64] | None = None
    ) -> Prediction:
        features = _features(pixels, lab, method)
        if centres.shape[1:] != features.shape[:1]:
            raise ValueError(f"The centres {centres.shape} do not fit {len(features)} features")
        nearest = np.zeros(features.shape[1:], np.int64)
        least = np.full(features.shape[1:], np.inf)
        # Without matrix products, whose rounding depends on how many pixels come together.
        for number, centre in enumerate(centres):
            apart = np.zeros_like(least)
            for feature, middle in zip(features, centre, strict=True):
                apart += (feature - middle) ** 2
            nearer = apart < least
            nearest[nearer] = number
            least[nearer] = apart[nearer]
        return nearest, None

    return predict


def _features(pixels: NDArray[np.float32], lab: bool, method: KMeans) -> NDArray[np.float64]:
    """Turn pixels (C, Y, X) into features (F, Y, X): intensities or colour, then position."""
    features = pixels.astype(np.float64)
    if method.smoothing_px > 0:
        features = np.stack([gaussian_filter(one, method.smoothing_px) for one in features])
    if lab:
        features = rgb2lab(features, channel_axis=0) / 100
    if method.position_weight > 0:
        longer_side = max(features.shape[1:])
        where = np.indices(features.shape[1:]) / longer_side * method.position_weight
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
    predict = predictor(weights, method)
    centres = weights["clusters"]
    sizes = np.zeros(len(centres), np.int64)
    sums = np.zeros((len(centres), sample.n_channels))
    for pixels, valid in zip(sample.pixels, sample.valid, strict=True):
        clusters = predict(pixels)[0][valid]
        sizes += np.bincount(clusters, minlength=len(centres))
        for channel, values in enumerate(pixels[:, valid]):
            sums[:, channel] += np.bincount(clusters, values, minlength=len(centres))
    used = sizes > 0
    colours = (sums[used] / sizes[used, None]).astype(np.float32)
    classes = np.zeros(np.count_nonzero(used), np.int64)
    return Learned({**weights, "clusters": centres[used]}, colours, sizes[used], classes)
