"""k-means and Felzenszwalb: no network, an answer at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from napari_mmtseg.methods.refined_method import SpatialMethod
from napari_mmtseg.settings import Method, setting


@dataclass(frozen=True, kw_only=True)
class KMeans(SpatialMethod):
    """k-means on the pixels: each belongs to the nearest of k mean intensities or colours.

    Source: Lloyd, "Least squares quantization in PCM", IEEE TIT 28, 1982, as scikit-learn has it.
    `KMeans.preset("plain")` takes intensities as they are, without smoothing, and
    keeps single pixels.
    """

    title = "k-means"
    summary = "Groups pixels of similar intensity or colour; ready at once."
    takes_scribbles = True
    source = "Lloyd, IEEE TIT 1982"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "plain": {
            "smoothing_px": 0.0,
            "colour": "rgb",
            "intensity": "full",
            "smallest_px": 1,
        },
        "nuclei": {"output": "objects", "n_labels": 2},
    }

    n_labels: int = setting(
        3,
        "Labels at most",
        "How many labels to make (k); fewer if the image has fewer different values.",
        ge=2,
        le=256,
        group="basic",
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
        group="basic",
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
        group="basic",
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
        group="basic",
    )
