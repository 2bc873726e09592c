"""Measure how well two label images agree as partitions of the pixels.

Only the partition counts, and 0 is a label like any other (`foreground_iou` alone reads a true 0
as background). Where a large background hides the objects, score the foreground by itself,
``covering(labels[truth != 0], truth[truth != 0])``; not with `kim_miou` and `boundary_f`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.measure import label as connected_pieces

from napari_mmtseg.metrics.contingency_table import Table, checked, coded, one_to_one, tabulate
from napari_mmtseg.metrics.metric_docs import metric


@metric("From label to true label, sorted. A label that is left without a partner is absent.")
def hungarian_mapping(labels: ArrayLike, truth: ArrayLike) -> dict[int, int]:
    """Pair labels with true labels one to one so that the most pixels agree.

    Maximises ``sum_i n[i, m(i)]`` over one-to-one m, where n[i, j] pixels have label i and true
    label j; exact, also for many thousands of labels. Kuhn, Nav. Res. Logist. Q. 2, 1955.
    """
    t = tabulate(labels, truth)
    pairs = zip(t.labels.tolist(), one_to_one(t, t.n).tolist(), strict=True)
    return {label: t.truths[partner].item() for label, partner in pairs if partner >= 0}


@metric("Above 0, to 1. One label for all pixels scores the share of the largest true segment.")
def hungarian_accuracy(labels: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of pixels that agree under the best one-to-one mapping.

    ``max_m sum_i n[i, m(i)] / N``, m as in `hungarian_mapping`; "unsupervised clustering accuracy"
    in Xie, Girshick and Farhadi, ICML 2016. A label without a partner counts as wrong.
    """
    t = tabulate(labels, truth)
    return float(t.n[one_to_one(t, t.n)[t.row] == t.col].sum() / t.n.sum())


@metric("Above 0, to 1; at least `hungarian_accuracy`.")
def many_to_one_accuracy(labels: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of pixels that agree when each label takes its commonest true label.

    ``sum_i max_j n[i, j] / N``, also called purity; Manning, Raghavan and Schütze, Introduction to
    Information Retrieval, 2008, section 16.3. Splitting labels never lowers it.
    """
    t = tabulate(labels, truth)
    first = np.flatnonzero(np.diff(t.row, prepend=-1))  # of each row
    return float(np.maximum.reduceat(t.n, first).sum() / t.n.sum())


class KimMiou(NamedTuple):
    """Mean best IoUs, and the numbers of segments: the weights when pooling over images."""

    all: float
    fine: float
    coarse: float
    n_all: int
    n_fine: int
    n_coarse: int


@metric(
    "Means above 0, to 1: of all annotators, the one with most segments and the one with fewest.",
    truth="array_like of int or bool, the shape of `labels`; or a list, tuple or stack of such\n"
    "    One label image an annotator. Each value is a segment, 0 too, even where scattered.",
)
def kim_miou(labels: ArrayLike, truth: ArrayLike | list[Any] | tuple[Any, ...]) -> KimMiou:
    """Return the mean, over annotated segments R, of the best IoU with any piece of the labels.

    ``mean_R max_P |R & P| / |R | P|``, P running over the connected components of the labels (of
    pixels that share a face, within three axes: time points apart), not one to one; Kim, Kanezaki
    and Tanaka, IEEE TIP 29, 2020, in our reading of what they leave open.
    """
    several = isinstance(truth, (list, tuple)) or np.ndim(truth) == np.ndim(labels) + 1
    annotations: Any = truth if several else [truth]
    if len(annotations) == 0:
        raise ValueError("truth must hold a label image or more, got an empty list: add one")
    pairs = [checked(labels, annotation) for annotation in annotations]
    pieces = _components(pairs[0][0])
    best = [_best_ious(tabulate(pieces, annotation)) for _, annotation in pairs]
    every, fine, coarse = np.concatenate(best), max(best, key=len), min(best, key=len)
    means = (float(every.mean()), float(fine.mean()), float(coarse.mean()))
    return KimMiou(*means, len(every), len(fine), len(coarse))


@metric("0 to 1; nan where the truth is all 0: there is nothing to find.")
def foreground_iou(labels: ArrayLike, truth: ArrayLike) -> float:
    """Return the best IoU of any single label with the foreground F, where the truth is not 0.

    ``max_i |L_i & F| / |L_i | F|``; Jaccard, New Phytologist 11, 1912. Every label is tried, 0
    too, as they come in no order. For objects with an id each, pass ``labels != 0``.
    """
    t = tabulate(labels, truth)
    inside = np.bincount(t.row, t.n * (t.truths[t.col] != 0))
    foreground = inside.sum()
    return float((inside / (foreground + t.a - inside)).max()) if foreground else float("nan")


@metric("Above 0, to 1; 1 only for equal partitions.")
def covering(labels: ArrayLike, truth: ArrayLike) -> float:
    """Return how well the labels L cover the true segments R (not the other way round).

    ``sum_R |R| max_L (|R & L| / |R | L|) / N``; "segmentation covering" in Arbeláez, Maire, Fowlkes
    and Malik, IEEE TPAMI 33, 2011. A label is one region even where scattered.
    """
    t = tabulate(labels, truth)
    return float((t.b * _best_ious(t)).sum() / t.b.sum())


@metric("0 to 1; 1 for a single pixel.")
def rand_index(labels: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of pixel pairs that both images join or both separate.

    ``(TP + TN) / (TP + TN + FP + FN)``; Rand, JASA 66, 1971. Mean over annotators: Berkeley's PRI.
    """
    tp, fp, fn, tn = _pair_counts(tabulate(labels, truth))
    return float((tp + tn) / (tp + tn + fp + fn)) if tp + tn + fp + fn else 1.0


@metric("-0.5 to 1: 1 for equal partitions, about 0 by chance, 0 where one image alone is blank.")
def adjusted_rand(labels: ArrayLike, truth: ArrayLike) -> float:
    """Return the Rand index corrected for chance.

    ``2 (TP TN - FN FP) / ((TP + FN)(FN + TN) + (TP + FP)(FP + TN))``; Hubert and Arabie, Journal
    of Classification 2, 1985.
    """
    tp, fp, fn, tn = _pair_counts(tabulate(labels, truth))
    if fp == fn == 0:  # equal partitions, also those where the formula is 0 / 0
        return 1.0
    return float(2 * (tp * tn - fn * fp) / ((tp + fn) * (fn + tn) + (tp + fp) * (fp + tn)))


@metric("0 (equal partitions) to log2 N; lower is better.")
def variation_of_information(labels: ArrayLike, truth: ArrayLike) -> float:
    """Return the information in each image that the other does not give, in bits.

    ``H(labels | truth) + H(truth | labels)``; Meilă, Journal of Multivariate Analysis 98, 2007.
    """
    t = tabulate(labels, truth)
    return float((t.n * np.log2((t.a[t.row] / t.n) * (t.b[t.col] / t.n))).sum() / t.n.sum())


@metric(
    "0 to 1; 1 where neither image has a boundary, 0 where only one has.",
    tolerance_px="float\n    Largest distance of a match (Euclidean, all axes alike), 0 or more.",
)
def boundary_f(labels: ArrayLike, truth: ArrayLike, *, tolerance_px: float = 2.0) -> float:
    """Return the F-measure of the boundaries, matched by distance.

    ``2 P R / (P + R)``, P the share of boundary pixels of the labels within the tolerance of one
    of the truth, R the reverse; Csurka, Larlus and Perronnin, BMVC 2013. A pixel is boundary where
    the next one along an axis differs: thin lines. Berkeley's measure matches one to one.
    """
    if not tolerance_px >= 0:
        raise ValueError(f"tolerance_px must be 0 or more, got {tolerance_px}: use a distance")
    ours, true = (_boundary(image) for image in checked(labels, truth))
    if not ours.any() or not true.any():
        return float(ours.any() == true.any())
    precision = _near(true, tolerance_px)[ours].mean()
    recall = _near(ours, tolerance_px)[true].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


@metric("As the functions give with their defaults; ``kim_miou`` is its ``all``.")
def scores(labels: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """Return every score under the name of its function, counting the pixels once."""
    table: Any = tabulate(labels, truth)
    shared: Any = [hungarian_accuracy, many_to_one_accuracy, foreground_iou, covering]
    shared += [rand_index, adjusted_rand, variation_of_information]
    others = {"kim_miou": kim_miou(labels, [truth]).all, "boundary_f": boundary_f(labels, truth)}
    return {one.__name__: one(table, truth) for one in shared} | others


def _best_ious(t: Table) -> NDArray[np.float64]:
    best = np.zeros(len(t.b))  # of each true label, with any label
    np.maximum.at(best, t.col, t.n / (t.a[t.row] + t.b[t.col] - t.n))
    return best


def _pair_counts(t: Table) -> tuple[float, float, float, float]:
    """Return TP, FP, FN, TN over ordered pixel pairs; positive: in one segment."""
    total, both, ours, true = t.n.sum(), (t.n**2).sum(), (t.a**2).sum(), (t.b**2).sum()
    return both - total, ours - both, true - both, total**2 - ours - true + both


def _components(image: NDArray[Any]) -> NDArray[Any]:
    """Number the connected pieces of equal label, each (Z, Y, X) frame for itself."""
    frames = (coded(image)[0] + 1).reshape(-1, *(1, 1, *image.shape)[-3:])  # (T, Z, Y, X)
    stack = np.pad(frames, ((0, 0), (0, int(len(frames) > 1)), (0, 0), (0, 0)))  # 0 keeps apart
    pieces = connected_pieces(stack.reshape(-1, *stack.shape[2:]), background=0, connectivity=1)
    return np.asarray(pieces).reshape(stack.shape)[:, : frames.shape[1]].reshape(image.shape)


def _boundary(image: NDArray[Any]) -> NDArray[np.bool_]:
    edge = np.zeros(image.shape, bool)
    for axis in range(image.ndim):
        value = np.moveaxis(image, axis, 0)
        np.moveaxis(edge, axis, 0)[:-1] |= value[1:] != value[:-1]
    return edge


def _near(mask: NDArray[np.bool_], tolerance_px: float) -> NDArray[np.bool_]:
    if tolerance_px >= 4:  # beyond, distances are quicker than a ball
        return np.asarray(ndimage.distance_transform_edt(~mask) <= tolerance_px)
    steps = np.indices((2 * int(tolerance_px) + 1,) * mask.ndim) - int(tolerance_px)
    return np.asarray(ndimage.binary_dilation(mask, (steps**2).sum(axis=0) <= tolerance_px**2))
