"""IIC: segmentation, and grouping objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from napari_mmtseg.methods.learning_method import LearningMethod
from napari_mmtseg.methods.refined_method import SpatialMethod
from napari_mmtseg.settings import changed, setting


def _jitter(default: float) -> Any:
    return setting(
        default,
        "Jitter",
        "How far brightness, contrast, gamma, noise and colour of the second view differ from the "
        "first: what the clusters should not depend on.",
        ge=0,
        le=1,
        step=0.1,
    )


@dataclass(frozen=True, kw_only=True)
class _Information(LearningMethod):
    """What the two uses of invariant information clustering have in common."""

    n_overclusters: int = setting(
        0,
        "Overclusters",
        "Clusters of the auxiliary head, which helps the main head to learn finer differences and "
        "serves naming from a few strokes. Automatic takes five times the main head's.",
        ge=0,
        le=64,
        zero="automatic",
    )
    n_heads: int = setting(
        3,
        "Sub-heads",
        "Copies of each head from different random starts; the one with the lowest loss is kept.",
        ge=1,
        le=20,
    )
    n_restarts: int = setting(
        1,
        "Restarts",
        "Whole trainings from different random starts; the one with the lowest loss is kept. When "
        "grouping objects, none follows a loss half way to the best possible.",
        ge=1,
        le=20,
    )
    learning_rate: float = setting(
        0.003,
        "Learning rate",
        "Step size of the optimiser (Adam).",
        ge=1e-6,
        le=1,
        step=0.001,
        group="papers",
    )
    balance: float = setting(
        1.0,
        "Balance (lambda)",
        "Weight of the clusters' entropy: above 1 favours clusters of equal size, below 1 allows "
        "small ones.",
        ge=0.6,
        le=10,
        step=0.1,
    )
    turns: bool = setting(
        True,
        "Flips and turns",
        "Let the second view of a pair be flipped and turned: images by quarters, in volumes where "
        "voxels are square; objects by any angle. Switch it off where direction matters.",
    )


@dataclass(frozen=True, kw_only=True)
class IIC(_Information, SpatialMethod):
    """Invariant information clustering: clusters that two views of a place agree on.

    Source: Ji, Henriques and Vedaldi, "Invariant Information Clustering for Unsupervised Image
    Classification and Segmentation", ICCV 2019.
    """

    title = "IIC"
    summary = "Clusters that two views of a place agree on; one model for many images."
    source = "Ji et al., ICCV 2019"
    takes_scribbles = True

    n_labels: int = setting(
        3,
        "Labels at most",
        "Clusters of the main head (k), and so labels of the result; those that no pixel takes "
        "are left out.",
        ge=2,
        le=32,
        group="basic",
    )
    n_iterations: int = setting(
        200,
        "Iterations",
        "Training steps; each trains the auxiliary head, then the main head, and makes the next "
        "one a little smaller.",
        ge=1,
        le=100_000,
        group="basic",
    )
    width: int = setting(
        6,
        "Network width",
        "Channels of the first layer; the last has eight times as many. The authors take 64.",
        ge=2,
        le=128,
        group="papers",
    )
    pooling: int = setting(
        1,
        "Pooling",
        "Pixels a side that share an output. 1 keeps small things sharp; the authors take 2, which "
        "is faster and sees further.",
        ge=1,
        le=4,
        unit="x",
        group="papers",
    )
    crop_px: int = setting(
        0,
        "Crop side",
        "Side of the random squares that training sees, in volumes of boxes. Automatic takes 48, "
        "in volumes 16, or the image's side where that is smaller.",
        ge=0,
        le=2048,
        zero="automatic",
        unit="px",
        group="papers",
    )
    n_crops: int = setting(
        4, "Crops a step", "Random squares in each step.", ge=1, le=256, group="papers"
    )
    n_repeats: int = setting(
        1,
        "Sample repeats",
        "Differently changed second views that each square is paired with in a step.",
        ge=1,
        le=16,
        group="papers",
    )
    displacement_px: int = setting(
        1,
        "Displacement (d)",
        "Pixels are also paired with those up to so far away, in volumes along Z too: higher gives "
        "smoother labels and loses small things. The authors take 10.",
        ge=0,
        le=64,
        unit="px",
        group="basic",
    )
    information: Literal["uncollapsed", "collapsed"] = setting(
        "uncollapsed",
        "Information",
        "uncollapsed: the mean over displacements of their information, as the authors ran it. "
        "collapsed: the information of all displacements taken together.",
        group="papers",
    )
    sharpening_px: int = changed(SpatialMethod, "sharpening_px", 20)
    jitter: float = _jitter(0.2)
    neighbours: int = setting(
        1,
        "Neighbouring planes",
        "The second view may come from a plane of a stack, or a frame of a series, up to so far "
        "away.",
        ge=0,
        le=16,
    )
    sobel: bool = setting(
        False,
        "Sobel channels",
        "Show the network the brightness's slopes as well. Good for photographs; the authors "
        "advise against it for images of one channel.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_px and self.displacement_px >= self.crop_px:
            raise ValueError(
                f"Displacement (displacement_px) must be smaller than the crop's side (crop_px), "
                f"{self.crop_px}, got {self.displacement_px}"
            )


@dataclass(frozen=True, kw_only=True)
class ObjectIIC(_Information):
    """Groups objects, such as cells, by what two changed views of each agree on.

    Source: Ji, Henriques and Vedaldi, "Invariant Information Clustering for Unsupervised Image
    Classification and Segmentation", ICCV 2019, section 4.1 (image clustering).
    """

    title = "Group objects"
    summary = "Sorts the objects of a Labels image into groups that look alike."
    source = "Ji et al., ICCV 2019"

    n_groups: int = setting(
        2, "Groups (k)", "How many groups to sort the objects into.", ge=2, le=32, group="basic"
    )
    n_iterations: int = setting(
        150,
        "Iterations",
        "Training steps; each trains the auxiliary head, then the main head.",
        ge=1,
        le=100_000,
        group="basic",
    )
    n_restarts: int = changed(_Information, "n_restarts", 4)
    surroundings: bool = setting(
        False,
        "See the surroundings",
        "Show the network what lies around each object as well; otherwise it sees the object "
        "alone.",
        group="basic",
    )
    crop_px: int = setting(
        0,
        "Crop side",
        "Side of the square around each object's middle; larger objects are shrunk to fit. "
        "Automatic fits nine objects of ten.",
        ge=0,
        le=2048,
        zero="automatic",
        unit="px",
        group="papers",
    )
    width: int = setting(
        12,
        "Network width",
        "Channels of the first layer; the last has four times as many.",
        ge=2,
        le=128,
        group="papers",
    )
    jitter: float = _jitter(0.8)
    n_objects: int = setting(
        64, "Objects a step", "Random objects in each step, all if there are fewer.", ge=2, le=4096
    )
