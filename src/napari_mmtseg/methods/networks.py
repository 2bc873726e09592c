"""MMT, Kim and Kanezaki: networks that start from many labels and lose some of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from napari_mmtseg.methods.learning_method import LearningMethod
from napari_mmtseg.methods.refined_method import SpatialMethod
from napari_mmtseg.settings import changed, setting

MAX_REDUCTION = 8
_WORKING_PIXELS = 65_536
_WORKING_PIXELS_OF_CROPS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class NetworkMethod(LearningMethod, SpatialMethod):
    """What the methods that start from many labels and lose some of them have in common."""

    takes_scribbles: ClassVar[bool] = True

    def reduction_of(self, pixels: int) -> int:
        """Return the working reduction a side of planes of so many pixels.

        Objects are no larger in a larger image, so that they are looked at as they are.
        """
        if self.crop_px and self.output == "objects":
            return self.reduction or 1
        aim = _WORKING_PIXELS_OF_CROPS if self.crop_px else _WORKING_PIXELS
        return self.reduction or min(MAX_REDUCTION, round(math.sqrt(pixels / aim)))

    n_labels: int = setting(
        0,
        "Labels at most",
        "How many labels the result may have. Labels that look alike are merged until so many "
        "are left; automatic keeps as many as tell most about the image (Variance explained).",
        ge=0,
        le=512,
        zero="automatic",
        group="basic",
    )
    explained: float = setting(
        1.0,
        "Variance explained",
        "With automatic labels: merge those that look alike while the others still explain this "
        "share of the variance between their mean intensities; 1 keeps all that training found.",
        ge=0,
        le=1,
        step=0.05,
    )
    n_iterations: int = setting(
        60,
        "Iterations",
        "Training steps at most. More take longer and settle finer differences.",
        ge=1,
        le=100_000,
        group="basic",
    )
    width: int = setting(
        32,
        "Network width (q)",
        "Channels of each layer, and so the number of labels that training starts from; the image "
        "decides how many of them survive.",
        ge=2,
        le=512,
        group="papers",
    )
    n_blocks: int = setting(
        3,
        "Network depth (M)",
        "Blocks of 3x3 convolution, ReLU and batch norm. Each widens the view by one pixel a side.",
        ge=1,
        le=16,
        group="papers",
    )
    min_labels: int = setting(
        2,
        "Minimum labels",
        "Training stops when no more than this many labels are left, or as many as were painted.",
        ge=1,
        le=512,
        group="papers",
    )
    strokes: Literal["teach", "bind"] = setting(
        "teach",
        "Strokes",
        "What painted strokes do. teach: two small networks learn the classes from what the "
        "painted pixels lie in, and take the place of this method's. bind: they hold this "
        "method's own network to the painted classes, as in Kim et al.",
    )
    scribble_weight: float = setting(
        1.0,
        "Stroke weight",
        "How strongly strokes that bind hold their pixels to the painted class; 0 leaves them "
        "free. The 0.5 of Kim et al. needs more iterations.",
        ge=0,
        le=1000,
        step=0.1,
    )
    learning_rate: float = setting(
        0.1,
        "Learning rate",
        "Step size of gradient descent.",
        ge=1e-6,
        le=10,
        step=0.001,
        group="papers",
    )
    momentum: float = setting(
        0.9,
        "Momentum",
        "Momentum of gradient descent.",
        ge=0,
        le=0.999,
        step=0.05,
        group="papers",
    )
    reduction: int = setting(
        0,
        "Working reduction",
        "Train on the image reduced by this factor a side; labels come back at full size. 1 keeps "
        "every pixel; automatic aims at 65,000 working pixels a plane, at a million where training "
        "sees crops, is never more than 8, and 1 for objects where training sees crops.",
        ge=0,
        le=64,
        zero="automatic",
        unit="x",
    )
    crop_px: int = setting(
        0,
        "Crop side",
        "Side of the random squares that each step trains on, in working pixels. Few pixels a step "
        "make the cost of training independent of the image's size.",
        ge=0,
        le=8192,
        zero="whole plane",
        unit="px",
        group="papers",
    )
    n_crops: int = setting(
        1,
        "Crops a step",
        "Random squares, or whole planes of a stack, that each step trains on.",
        ge=1,
        le=256,
        group="papers",
    )
    start: Literal["image", "random"] = setting(
        "random",
        "Start",
        "random: random weights, as in the papers. image: weights that give k-means' labels of the "
        "smoothed image, and crops on an even grid, so that every run ends alike.",
        group="papers",
    )
    padding: Literal["replicate", "zero"] = setting(
        "replicate",
        "Beyond the border",
        "What the network sees outside of the image. zero: black, as in the papers, which can "
        "leave a frame of its own label. replicate: the border's own pixels.",
        group="papers",
    )


@dataclass(frozen=True, kw_only=True)
class MMT(NetworkMethod):
    """Mutual mean-teaching: two networks teach each other on the image itself.

    Source: Wu, Guo, Zhang and Xu, "Unsupervised Image Segmentation using Mutual Mean-Teaching",
    arXiv 2012.08922, 2020. `MMT.preset("paper")` is their setting taken literally.
    """

    title = "MMT"
    summary = "Two networks teach each other; labels and an uncertainty image."
    source = "Wu et al., arXiv 2012.08922"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "n_iterations": 1000,
            "width": 100,
            "n_blocks": 3,
            "averaging": 0.999,
            "warm_up": False,
            "look_at": "intensity",
            "teacher": "mutual",
            "perturbation": 0.0,
            "continuity": 1.0,
            "min_labels": 1,
            "strokes": "bind",
            "scribble_weight": 1.0,
            "learning_rate": 0.1,
            "reduction": 1,
            "intensity": "full",
            "crop_px": 0,
            "n_crops": 1,
            "start": "random",
            "padding": "zero",
            "smallest_px": 1,
            "vote_border": 0.0,
            "sharpening_px": 0,
            "explained": 1.0,
        },
        "nuclei": {"output": "objects", "n_labels": 2},
        "areas": {"vote_border": 0.55, "sharpening_px": 0, "explained": 1.0},
    }
    has_uncertainty = True

    explained: float = changed(NetworkMethod, "explained", 0.95)
    n_iterations: int = changed(NetworkMethod, "n_iterations", 10)
    width: int = changed(NetworkMethod, "width", 16)
    scribble_weight: float = changed(NetworkMethod, "scribble_weight", 20.0)
    learning_rate: float = changed(NetworkMethod, "learning_rate", 0.001)
    crop_px: int = changed(NetworkMethod, "crop_px", 32)
    n_crops: int = changed(NetworkMethod, "n_crops", 64)
    start: Literal["image", "random"] = changed(NetworkMethod, "start", "image")
    vote_border: float = changed(NetworkMethod, "vote_border", 0.2)
    sharpening_px: int = changed(NetworkMethod, "sharpening_px", 24)
    look_at: Literal["automatic", "intensity", "texture"] = setting(
        "automatic",
        "Look at",
        "What tells things apart. intensity: how bright pixels are, or of what colour. texture: "
        "the pattern that they lie in, as in tissue or fabric; borders are found less finely. "
        "automatic: texture where areas differ in it and hardly in intensity.",
        group="basic",
    )
    continuity: float = setting(
        0.2,
        "Smoothness (beta)",
        "Weight of the total variation: higher gives fewer and larger regions.",
        ge=0,
        le=1000,
        step=0.1,
        group="basic",
    )
    teacher: Literal["mutual", "own", "none"] = setting(
        "mutual",
        "Teacher",
        "Whose labels a network learns. mutual: those of the other network's average, as in the "
        "paper. own: of its own average. none: its own.",
        group="papers",
    )
    perturbation: float = setting(
        0.0,
        "Perturbation",
        "What students see is mirrored at random, made brighter or darker and noisy: so strongly "
        "relative to its contrast. Teachers see the image as it is.",
        ge=0,
        le=2,
        step=0.05,
        group="papers",
    )
    averaging: float = setting(
        0.95,
        "Averaging (alpha)",
        "How slowly a teacher follows its student: each step it keeps this share of itself.",
        ge=0,
        le=0.99999,
        step=0.01,
        group="papers",
    )
    warm_up: bool = setting(
        True,
        "Warm-up",
        "Let the teachers follow faster at the start, so that they forget their random beginning.",
        group="papers",
    )


@dataclass(frozen=True, kw_only=True)
class Kim(NetworkMethod):
    """Differentiable feature clustering: a network that sharpens and smooths its own labels.

    Source: Kim, Kanezaki and Tanaka, "Unsupervised Learning of Image Segmentation Based on
    Differentiable Feature Clustering", IEEE TIP 29, 2020. `Kim.preset("paper")` is their setting
    for photographs taken literally.
    """

    title = "Kim 2020"
    summary = "One network with neighbouring pixels held together."
    source = "Kim et al., IEEE TIP 2020"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "n_iterations": 1000,
            "width": 100,
            "n_blocks": 3,
            "continuity": 5.0,
            "strokes": "bind",
            "scribble_weight": 0.5,
            "min_labels": 3,
            "reduction": 1,
            "intensity": "full",
            "padding": "zero",
            "smallest_px": 1,
        },
        "nuclei": {"output": "objects", "n_labels": 2, "sharpening_px": 24},
    }

    similarity: float = setting(
        1.0,
        "Similarity weight",
        "Weight of the cross-entropy to the network's own labels: higher makes it surer of them.",
        ge=0,
        le=1000,
        step=0.5,
    )
    continuity: float = setting(
        5.0,
        "Smoothness (mu)",
        "Weight of the total variation: higher gives fewer and larger regions.",
        ge=0,
        le=1000,
        step=1,
        group="basic",
    )


@dataclass(frozen=True, kw_only=True)
class Kanezaki(NetworkMethod):
    """A network whose labels agree within small regions of similar pixels (superpixels).

    Source: Kanezaki, "Unsupervised Image Segmentation by Backpropagation", ICASSP 2018.
    `Kanezaki.preset("paper")` is the setting of the published code taken literally; it needs an
    image of at least 10,000 pixels.
    """

    title = "Kanezaki 2018"
    summary = "One network with the pixels of a superpixel held together."
    source = "Kanezaki, ICASSP 2018"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "n_iterations": 1000,
            "width": 100,
            "n_blocks": 2,
            "n_superpixels": 10_000,
            "compactness": 100.0,
            "strokes": "bind",
            "min_labels": 3,
            "reduction": 1,
            "intensity": "full",
            "padding": "zero",
            "smallest_px": 1,
        },
        "nuclei": {"output": "objects", "n_labels": 2, "sharpening_px": 24},
    }

    n_superpixels: int = setting(
        0,
        "Superpixels",
        "Small regions (SLIC) a plane whose pixels share a label: more keep finer detail, fewer "
        "give larger regions. Automatic makes one for each 25 working pixels.",
        ge=0,
        le=1_000_000,
        zero="automatic",
        group="basic",
    )
    compactness: float = setting(
        10.0,
        "Compactness",
        "High makes the superpixels square, low lets them follow edges in the image. In units of "
        "lightness, 0 to 100.",
        ge=0.001,
        le=10_000,
        step=1,
    )
