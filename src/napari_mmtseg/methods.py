"""The catalogue: every method with its settings, each declared once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from napari_mmtseg.settings import Method, changed, setting


@dataclass(frozen=True, kw_only=True)
class LearningMethod(Method):
    """What the methods that run networks have in common."""

    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto",
        "Device",
        "Where the network runs: auto takes an NVIDIA GPU (cuda) or an Apple GPU (mps) if there "
        "is one, otherwise the processor (cpu).",
    )
    precision: Literal["float32", "float64"] = setting(
        "float32",
        "Precision",
        "Arithmetic of the training. float64 is for comparing with reference numbers.",
    )


@dataclass(frozen=True, kw_only=True)
class NetworkMethod(LearningMethod):
    """What the methods that start from many labels and lose some of them have in common."""

    takes_scribbles: ClassVar[bool] = True
    draft: ClassVar[Mapping[str, Any]] = {"vote_border": 0.0, "sharpening_px": 0}

    n_labels: int = setting(
        0,
        "Labels at most",
        "How many labels the result may have. Labels that look alike are merged until so many "
        "are left; automatic keeps as many as tell most about the image (Variance explained).",
        ge=0,
        le=512,
        zero="automatic",
        basic=True,
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
        basic=True,
    )
    width: int = setting(
        32,
        "Network width (q)",
        "Channels of each layer, and so the number of labels that training starts from; the image "
        "decides how many of them survive.",
        ge=2,
        le=512,
    )
    n_blocks: int = setting(
        3,
        "Network depth (M)",
        "Blocks of 3x3 convolution, ReLU and batch norm. Each widens the view by one pixel a side.",
        ge=1,
        le=16,
    )
    min_labels: int = setting(
        2,
        "Minimum labels",
        "Training stops when no more than this many labels are left, or as many as were painted.",
        ge=1,
        le=512,
    )
    scribble_weight: float = setting(
        1.0,
        "Scribble weight",
        "How strongly painted strokes bind their pixels to the painted class; 0 leaves them free. "
        "The 0.5 of Kim et al. needs more iterations.",
        ge=0,
        le=1000,
        step=0.1,
    )
    learning_rate: float = setting(
        0.1, "Learning rate", "Step size of gradient descent.", ge=1e-6, le=10, step=0.001
    )
    momentum: float = setting(
        0.9, "Momentum", "Momentum of gradient descent.", ge=0, le=0.999, step=0.05
    )
    reduction: int = setting(
        0,
        "Working reduction",
        "Train on the image reduced by this factor a side; labels come back at full size. 1 keeps "
        "every pixel; automatic aims at 65,000 working pixels a plane, at a million where training "
        "sees crops, and is never more than 8.",
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
    )
    n_crops: int = setting(
        1,
        "Crops a step",
        "Random squares, or whole planes of a stack, that each step trains on.",
        ge=1,
        le=256,
    )
    start: Literal["image", "random"] = setting(
        "random",
        "Start",
        "random: random weights, as in the papers. image: weights that give k-means' labels of the "
        "smoothed image, and crops on an even grid, so that every run ends alike.",
    )
    borders: Literal["replicate", "zero"] = setting(
        "replicate",
        "Beyond the border",
        "What the network sees outside of the image. zero: black, as in the papers, which can "
        "leave a frame of its own label. replicate: the border's own pixels.",
    )
    output: Literal["classes", "regions"] = setting(
        "classes",
        "Output",
        "classes: one label for each kind of thing, wherever it is. regions: one for each "
        "connected piece, plane by plane.",
        basic=True,
    )
    vote_border: float = setting(
        0.0,
        "Weakest border",
        "Pixels that no border of this strength parts, from 0 to 1, share the label that wins "
        "among them: higher gives clearer shapes and fewer regions, and loses smaller things.",
        ge=0,
        le=1,
        step=0.05,
        zero="none",
    )
    sharpening_px: int = setting(
        0,
        "Sharpening",
        "Redraw the border between the brighter and the darker labels by the mean intensities "
        "within this distance of it. It makes nuclei fit their edges where the light is uneven.",
        ge=0,
        le=256,
        unit="px",
        zero="none",
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
            "continuity": 1.0,
            "min_labels": 1,
            "scribble_weight": 1.0,
            "learning_rate": 0.1,
            "reduction": 1,
            "intensity": "full",
            "crop_px": 0,
            "n_crops": 1,
            "start": "random",
            "borders": "zero",
            "vote_border": 0.0,
            "sharpening_px": 0,
            "explained": 1.0,
        },
        "nuclei": {"n_labels": 2},
        "areas": {"vote_border": 0.65, "sharpening_px": 0, "explained": 1.0},
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
    continuity: float = setting(
        0.2,
        "Smoothness (beta)",
        "Weight of the total variation: higher gives fewer and larger regions.",
        ge=0,
        le=1000,
        step=0.1,
        basic=True,
    )
    averaging: float = setting(
        0.95,
        "Averaging (alpha)",
        "How slowly a teacher follows its student: each step it keeps this share of itself.",
        ge=0,
        le=0.99999,
        step=0.01,
    )
    warm_up: bool = setting(
        True,
        "Warm-up",
        "Let the teachers follow faster at the start, so that they forget their random beginning.",
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
            "scribble_weight": 0.5,
            "min_labels": 3,
            "reduction": 1,
            "intensity": "full",
            "borders": "zero",
        },
        "nuclei": {"n_labels": 2, "sharpening_px": 24},
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
        basic=True,
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
            "min_labels": 3,
            "reduction": 1,
            "intensity": "full",
            "borders": "zero",
        },
        "nuclei": {"n_labels": 2, "sharpening_px": 24},
    }

    n_superpixels: int = setting(
        0,
        "Superpixels",
        "Small regions (SLIC) a plane whose pixels share a label: more keep finer detail, fewer "
        "give larger regions. Automatic makes one for each 25 working pixels.",
        ge=0,
        le=1_000_000,
        zero="automatic",
        basic=True,
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


@dataclass(frozen=True, kw_only=True)
class KMeans(Method):
    """k-means on the pixels: each belongs to the nearest of k mean intensities or colours.

    Source: Lloyd, "Least squares quantization in PCM", IEEE TIT 28, 1982, as scikit-learn has it.
    `KMeans.preset("plain")` takes intensities as they are, without smoothing.
    """

    title = "k-means"
    summary = "Groups pixels of similar intensity or colour; ready at once."
    source = "Lloyd, IEEE TIT 1982"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "plain": {"smoothing_px": 0.0, "colour": "rgb", "intensity": "full"},
        "nuclei": {"n_labels": 2},
    }

    n_labels: int = setting(
        3,
        "Labels (k)",
        "How many groups to make; fewer if the image has fewer different values.",
        ge=2,
        le=256,
        basic=True,
    )
    smoothing_px: float = setting(
        1.0,
        "Smoothing",
        "Sigma of the Gaussian blur that quietens noise before the pixels are grouped.",
        ge=0,
        le=100,
        step=0.5,
        unit="px",
        zero="none",
        basic=True,
    )
    colour: Literal["lab", "rgb"] = setting(
        "lab",
        "Colour space",
        "For RGB images. lab: CIELAB, where distances are differences as the eye sees them. rgb: "
        "red, green and blue as they are.",
    )
    position_weight: float = setting(
        0.0,
        "Position weight",
        "How much the place of a pixel counts. At 1, the longer side of the image counts as much "
        "as the step from black to white.",
        ge=0,
        le=100,
        step=0.1,
        zero="none",
    )
    n_restarts: int = setting(
        4,
        "Restarts",
        "Runs from different random starts; the one with the smallest distances is kept.",
        ge=1,
        le=100,
    )


@dataclass(frozen=True, kw_only=True)
class Felzenszwalb(Method):
    """Regions grown along the weakest borders first, each plane for itself.

    Source: Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation", IJCV 59,
    2004, as scikit-image has it. Regions are local: they have no meaning in another plane, so
    there is no model to keep; ids are unique over a stack.
    """

    title = "Felzenszwalb"
    summary = "Connected regions bounded by edges; ready at once."
    source = "Felzenszwalb and Huttenlocher, IJCV 2004"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tissue": {"scale": 700.0, "min_size": 400},
        "nuclei": {"scale": 50.0, "min_size": 50},
    }
    trains = False

    scale: float = setting(
        300.0,
        "Scale",
        "Higher gives fewer and larger regions. In units of intensities from 0 to 255, whatever "
        "the image's own are, as in the paper.",
        ge=0,
        le=1_000_000,
        step=50,
        basic=True,
    )
    sigma: float = setting(
        0.8,
        "Smoothing (sigma)",
        "Sigma of the Gaussian blur that quietens noise before regions grow.",
        ge=0,
        le=100,
        step=0.1,
        unit="px",
        zero="none",
    )
    min_size: int = setting(
        50,
        "Smallest region",
        "Smaller regions join a neighbour.",
        ge=1,
        le=1_000_000,
        unit="px",
        basic=True,
    )


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
        0.003, "Learning rate", "Step size of the optimiser (Adam).", ge=1e-6, le=1, step=0.001
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
        "Let the second view of a pair be flipped and turned: images by quarters, objects by any "
        "angle. Switch it off where direction matters.",
    )


@dataclass(frozen=True, kw_only=True)
class IIC(_Information):
    """Invariant information clustering: clusters that two views of a place agree on.

    Source: Ji, Henriques and Vedaldi, "Invariant Information Clustering for Unsupervised Image
    Classification and Segmentation", ICCV 2019.
    """

    title = "IIC"
    summary = "Clusters that two views of a place agree on; one model for many images."
    source = "Ji et al., ICCV 2019"
    takes_scribbles = True
    draft: ClassVar[Mapping[str, Any]] = {"sharpening_px": 0}

    n_labels: int = setting(
        3,
        "Labels (k)",
        "Clusters of the main head, and so labels of the result.",
        ge=2,
        le=32,
        basic=True,
    )
    n_iterations: int = setting(
        200,
        "Iterations",
        "Training steps; each trains the auxiliary head, then the main head, and makes the next "
        "one a little smaller.",
        ge=1,
        le=100_000,
        basic=True,
    )
    width: int = setting(
        6,
        "Network width",
        "Channels of the first layer; the last has eight times as many. The authors take 64.",
        ge=2,
        le=128,
    )
    pooling: int = setting(
        1,
        "Pooling",
        "Pixels a side that share an output. 1 keeps small things sharp; the authors take 2, which "
        "is faster and sees further.",
        ge=1,
        le=4,
        unit="x",
    )
    crop_px: int = setting(
        0,
        "Crop side",
        "Side of the random squares that training sees. Automatic takes 48, or the image's side "
        "where that is smaller.",
        ge=0,
        le=2048,
        zero="automatic",
        unit="px",
    )
    n_crops: int = setting(4, "Crops a step", "Random squares in each step.", ge=1, le=256)
    n_repeats: int = setting(
        1,
        "Sample repeats",
        "Differently changed second views that each square is paired with in a step.",
        ge=1,
        le=16,
    )
    displacement_px: int = setting(
        1,
        "Displacement (d)",
        "Pixels are also paired with those up to so far away: higher gives smoother labels and "
        "loses small things. The authors take 10.",
        ge=0,
        le=64,
        unit="px",
        basic=True,
    )
    information: Literal["uncollapsed", "collapsed"] = setting(
        "uncollapsed",
        "Information",
        "uncollapsed: the mean over displacements of their information, as the authors ran it. "
        "collapsed: the information of all displacements taken together.",
    )
    sharpening_px: int = setting(
        20,
        "Sharpening radius",
        "Borders between labels move to where the image has them, judged by the labels' mean "
        "intensities within this distance. 0 keeps the network's own, blunter borders.",
        ge=0,
        le=256,
        unit="px",
    )
    jitter: float = _jitter(0.2)
    neighbours: int = setting(
        1,
        "Neighbouring planes",
        "In stacks, the second view may come from a plane or frame up to so far away.",
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
        2, "Groups (k)", "How many groups to sort the objects into.", ge=2, le=32, basic=True
    )
    n_iterations: int = setting(
        150,
        "Iterations",
        "Training steps; each trains the auxiliary head, then the main head.",
        ge=1,
        le=100_000,
        basic=True,
    )
    n_restarts: int = changed(_Information, "n_restarts", 4)
    surroundings: bool = setting(
        False,
        "See the surroundings",
        "Show the network what lies around each object as well; otherwise it sees the object "
        "alone.",
        basic=True,
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
    )
    width: int = setting(
        12,
        "Network width",
        "Channels of the first layer; the last has four times as many.",
        ge=2,
        le=128,
    )
    jitter: float = _jitter(0.8)
    n_objects: int = setting(
        64, "Objects a step", "Random objects in each step, all if there are fewer.", ge=2, le=4096
    )


METHODS: dict[str, type[Method]] = {
    cls.__name__: cls for cls in (MMT, IIC, Kim, Kanezaki, KMeans, Felzenszwalb)
}


def method_from_dict(data: Mapping[str, Any]) -> Method:
    """Make a method from the data that `Method.to_dict` gives.

    Raises
    ------
    ValueError, TypeError
        If the method or a setting is unknown, or a value is out of its range.
    """
    values = dict(data)
    name = values.pop("method", None)
    if name not in METHODS:
        raise ValueError(f"The method must be one of {', '.join(METHODS)}, got {name!r}")
    cls = METHODS[name]
    unknown = sorted(set(values) - {one.name for one in cls.settings()})
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}")
    return cls(**values)
