"""Score one segmentation against all annotators of its image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg import metrics


@dataclass(frozen=True)
class Column:
    """A score in the table."""

    key: str
    title: str
    meaning: str
    weight: str = ""
    """The score that weights an image in the mean; empty where all images count alike."""
    interval: bool = False
    higher_is_better: bool = True


_ACCURACY = Column(
    "accuracy",
    "Hungarian accuracy",
    "Share of pixels that agree under the best one-to-one assignment of labels, mean over the "
    "annotators of an image, then over images.",
    interval=True,
)
_BEST = Column("best", "best annotator", "The same for the annotator of an image that agrees most.")
_COVERING = Column(
    "covering",
    "covering",
    "Segmentation covering: mean best overlap (IoU) of the true segments, weighted by size.",
    interval=True,
)
_RAND = Column("rand", "Rand", "Share of pixel pairs that both images join or both separate.")
_VI = Column(
    "vi",
    "VI (bits)",
    "Variation of information; lower is better.",
    higher_is_better=False,
)
_KIM = tuple(
    Column(
        f"kim_{which}",
        f"mIoU {which}",
        f"Kim's mean IoU of true segments with the best connected piece, {whom}; pooled over "
        "segments, so images with many segments count more.",
        weight=f"n_{which}",
    )
    for which, whom in (
        ("all", "every annotator"),
        ("fine", "the annotator with most segments"),
        ("coarse", "the one with fewest"),
    )
)
_FOREGROUND = Column(
    "foreground",
    "foreground IoU",
    "IoU of the foreground (true label not 0) with the single label that fits it best; that label "
    "is chosen with the ground truth.",
    interval=True,
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "bsds500": (_ACCURACY, _BEST, _COVERING, _RAND, _VI, *_KIM),
    "dsb2018": (_FOREGROUND, _ACCURACY, _COVERING, _RAND, _VI),
    "sample": (_FOREGROUND, _ACCURACY, _COVERING, _RAND, _VI),
    "folder": (_ACCURACY, _COVERING, _RAND, _VI, *_KIM, _FOREGROUND),
}
"""The scores of each kind of data; the first decides the order and the best settings."""


def score(labels: NDArray[Any], truths: list[NDArray[Any]]) -> dict[str, float]:
    """Return every score of one image, by the keys of the columns."""
    accuracy = [metrics.hungarian_accuracy(labels, truth) for truth in truths]
    kim = metrics.kim_miou(labels, truths)
    foreground = [metrics.foreground_iou(labels, truth) for truth in truths]
    found = {
        "accuracy": np.mean(accuracy),
        "best": np.max(accuracy),
        "covering": np.mean([metrics.covering(labels, truth) for truth in truths]),
        "rand": np.mean([metrics.rand_index(labels, truth) for truth in truths]),
        "vi": np.mean([metrics.variation_of_information(labels, truth) for truth in truths]),
        "foreground": np.mean(foreground),
        **{f"kim_{which}": getattr(kim, which) for which in ("all", "fine", "coarse")},
        **{f"n_{which}": getattr(kim, f"n_{which}") for which in ("all", "fine", "coarse")},
    }
    return {key: float(value) for key, value in found.items()}
