"""What a model becomes that is taught by strokes or by labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from napari_mmtseg.methods.learning_method import LearningMethod
from napari_mmtseg.methods.refined_method import SpatialMethod
from napari_mmtseg.settings import setting


@dataclass(frozen=True, kw_only=True)
class Taught(LearningMethod, SpatialMethod):
    """Two small networks that learn the user's classes from what a pixel lies in.

    They look at fixed features of a pixel's surroundings at several scales, in which the classes
    are easily told apart, so that a few strokes suffice and learning takes a moment.
    """

    title = "Taught"
    summary = "Two small networks that learn your classes from strokes or labels."
    source = "mean teachers: Tarvainen and Valpola, NeurIPS 2017"
    has_uncertainty = True
    takes_scribbles: ClassVar[bool] = True

    n_iterations: int = setting(
        40,
        "Iterations",
        "Steps of learning at most from nothing; a further stroke takes half of them.",
        ge=1,
        le=10_000,
        group="basic",
    )
    width: int = setting(
        32,
        "Network width",
        "Hidden units of each network.",
        ge=1,
        le=512,
    )
    teachers: Literal["none", "own", "mutual"] = setting(
        "none",
        "Teachers",
        "Who teaches a network on the pixels that nobody painted: none; the mean of its own past "
        "(own); or the mean of the other one's (mutual).",
    )
    perturbation: Literal["automatic", "on", "off"] = setting(
        "automatic",
        "Perturbation",
        "Whether networks see what they learn from with noise and without some of the features, "
        "so that they do not depend on what is peculiar to it. automatic: where there are "
        "teachers, and where labels are to serve other images.",
    )
    sharpening_px: int = setting(
        8,
        "Sharpening",
        "Redraw the borders between classes by the mean intensities within this distance of them, "
        "where that leaves all that is painted right: on nuclei it does, on tissue it does not.",
        ge=0,
        le=256,
        unit="px",
        zero="none",
    )
    held_out: float = setting(
        0.2,
        "Held out",
        "Share of the labelled pixels that nothing is learned from, where whole labels are given: "
        "they tell the score while it trains.",
        ge=0,
        le=0.9,
        step=0.05,
    )
