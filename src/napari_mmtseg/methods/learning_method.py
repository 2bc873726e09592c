"""What the methods that run networks have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_mmtseg.settings import SeededMethod, setting


@dataclass(frozen=True, kw_only=True)
class LearningMethod(SeededMethod):
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
        group="papers",
    )
