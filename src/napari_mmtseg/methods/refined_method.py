"""What follows the probabilities of any method: votes in regions, sharper borders, the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from napari_mmtseg.settings import Method, SeededMethod, setting


@dataclass(frozen=True, kw_only=True)
class RefinedMethod(SeededMethod):
    """What the methods that give each pixel probabilities have in common."""

    draft: ClassVar[Mapping[str, Any]] = {
        "vote_border": 0.0,
        "sharpening_px": 0,
        "smallest_px": 1,
    }

    output: Literal["classes", "areas", "objects"] = setting(
        "classes",
        "Output",
        "classes: one label for each kind of thing, wherever it is. areas: one for each "
        "connected piece, plane by plane. objects: one for each nucleus or the like, on ground 0, "
        "apart where they touch, and joined through Z.",
        group="basic",
    )
    exposure: Literal["automatic", "shared", "own"] = setting(
        "automatic",
        "Exposure",
        "shared: a number means the same brightness in every image. own: each image is scaled by "
        "its own range, for images that differ in exposure alone. automatic: own where images that "
        "are learned from together differ so, otherwise shared.",
    )
    smallest_px: int = setting(
        6,
        "Smallest piece",
        "Connected pixels of a label that are fewer than this take the label around them; 1 keeps "
        "single pixels.",
        ge=1,
        le=64,
        unit="px",
    )
    diameter_px: float = setting(
        0.0,
        "Diameter",
        "Of objects: about how wide a typical one is. Smoothing, the smallest object and where "
        "they are parted follow from it; measured on the image unless you know better.",
        ge=0,
        le=10_000,
        unit="px",
        zero="measured",
        group="basic",
    )
    over_time: Literal["apart", "linked"] = setting(
        "apart",
        "Over time",
        "Of objects in a time series. apart: each frame has its own. linked: an object keeps its "
        "number in the next frame, if it overlaps itself there (IoU of 0.2 or more).",
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
        "Redraw the border between the brighter and the darker labels (of IIC: between all) by the "
        "mean intensities within this distance of it. It makes nuclei fit their edges where the "
        "light is uneven.",
        ge=0,
        le=256,
        unit="px",
        zero="none",
    )


@dataclass(frozen=True, kw_only=True)
class SpatialMethod(RefinedMethod):
    """What the methods that also work in volumes have in common."""

    work_in: Literal["automatic", "planes", "volume"] = setting(
        "automatic",
        "Work in",
        "For stacks along Z. planes: each plane for itself. volume: look along Z as well, with the "
        "voxels' shape in mind. automatic: volume if the voxels' size is known and their depth is "
        "at most twice their width.",
    )


PRESET_OF = {"objects": "nuclei", "areas": "areas", "classes": "default"}
"""The preset that suits each output, where a method has it."""


def output_of(method: Method) -> str:
    """Return what a method's labels stand for: classes, areas or objects."""
    return str(getattr(method, "output", "classes"))
