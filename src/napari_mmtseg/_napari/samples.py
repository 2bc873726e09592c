"""Sample images for File > Open Sample."""

from __future__ import annotations

from typing import Any

from napari_mmtseg.nuclei import nuclei_stack

LayerData = tuple[Any, dict[str, Any], str]


def tissue() -> list[LayerData]:
    """Open a stained tissue: immunohistochemistry, 512 x 512 RGB (scikit-image)."""
    from skimage.data import immunohistochemistry

    return [(immunohistochemistry(), {"name": "tissue", "rgb": True}, "image")]


def nuclei() -> list[LayerData]:
    """Open a generated stack of nuclei with its ground truth."""
    image, truth = nuclei_stack()
    shared = {
        "scale": (0.8, 0.25, 0.25),
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
    }
    return [
        (image, {"name": "nuclei", "colormap": "gray", **shared}, "image"),
        (truth, {"name": "nuclei truth", "visible": False, **shared}, "labels"),
    ]


def cells() -> list[LayerData]:
    """Download and open cells3d: membranes and nuclei, 60 x 256 x 256 (scikit-image)."""
    from skimage.data import cells3d

    stack = cells3d()  # (Z, C, Y, X)
    shared = {
        "scale": (0.29, 0.26, 0.26),
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
        "blending": "additive",
    }
    return [
        (stack[:, 0], {"name": "membranes", "colormap": "magenta", **shared}, "image"),
        (stack[:, 1], {"name": "nuclei", "colormap": "green", **shared}, "image"),
    ]
