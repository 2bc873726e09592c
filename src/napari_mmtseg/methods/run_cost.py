"""Tell about how long a run will take and how much memory, before anything is read."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

from napari_mmtseg.methods import IIC, MMT, NetworkMethod
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.settings import Method

# As measured with two cores of one machine; see `make bench-engine` and `make bench-scale`.
_OPERATIONS_A_SECOND = 1.2e11  # of one core
_MOST_CORES = 8
_START_SECONDS = 0.3
_PIXEL_SECONDS = 0.06e-6  # to read, scale and label a pixel
_VOTE_SECONDS = 0.6e-6  # to refine what the networks say of a working pixel
_OBJECT_SECONDS = 2e-6  # to part a pixel into objects
_REGION_SECONDS = 4e-6  # to grow regions from a pixel
_TORCH_BYTES = 400e6
_KEPT = 5  # layers of activations that a training step keeps, each with its gradient


class Estimate(NamedTuple):
    """What a run will take."""

    training: float
    """Seconds."""
    labelling: float
    """Seconds, objects included."""
    memory: float
    """Bytes."""

    @property
    def seconds(self) -> float:
        """Seconds in all."""
        return self.training + self.labelling


def estimate(
    method: Method, shape: tuple[int, ...], n_channels: int, seen: int | None = None
) -> Estimate:
    """Estimate a run; within a factor of two or so, and more on machines that are unlike ours.

    Parameters
    ----------
    method : Method
    shape : tuple of int
        Of the labels, ending in that of a plane.
    n_channels : int
    seen : int, optional
        How many pixels are in view of a lazy image: the others wait until they are looked at.
    """
    cores = min(os.cpu_count() or 1, _MOST_CORES)
    plane = math.prod(shape[-2:])
    pixels = held = math.prod(shape)
    if seen is not None:
        held = seen
        pixels = pixels if output_of(method) == "areas" else seen  # all areas are found first
    memory = held * (12.0 + 4 * n_channels)
    if not method.trains:
        return Estimate(0.0, _REGION_SECONDS * pixels, memory + 350.0 * plane)
    reduction = max(1, method.reduction_of(plane)) if isinstance(method, NetworkMethod) else 1
    votes = pixels / reduction**2
    step, forward, width = _operations(method, plane / reduction**2, n_channels)
    iterations = getattr(method, "n_iterations", 1) * getattr(method, "n_restarts", 1)
    speed = _OPERATIONS_A_SECOND * cores
    training = _START_SECONDS + iterations * step / speed
    labelling = _PIXEL_SECONDS * pixels + votes * (_VOTE_SECONDS + forward / speed)
    if output_of(method) == "objects":
        labelling += _OBJECT_SECONDS * pixels
    trained = min(plane / reduction**2, _drawn(method, plane / reduction**2))
    memory += _TORCH_BYTES + 8.0 * width * trained * _KEPT * (2 if isinstance(method, MMT) else 1)
    return Estimate(training, labelling, memory)


def _drawn(method: Method, plane: float) -> float:
    """Return the working pixels of a step."""
    side, count = getattr(method, "crop_px", 0), getattr(method, "n_crops", 1)
    if isinstance(method, IIC):
        return float(count * (side or 128) ** 2)
    return float(count * side**2) if side else plane


def _operations(method: Method, plane: float, n_channels: int) -> tuple[float, float, int]:
    """Return the operations of a step and of labelling a working pixel, and the widest layer."""
    if isinstance(method, NetworkMethod):
        w = method.width
        pixel = 2.0 * (9 * n_channels * w + (method.n_blocks - 1) * 9 * w * w + w * w)
        # Two students learn and two teachers look; a single network learns.
        passes, networks = (8, 2) if isinstance(method, MMT) else (3, 1)
        return passes * pixel * _drawn(method, plane), networks * pixel, w
    if isinstance(method, IIC):
        w = method.width
        pixel = 2.0 * 9 * (n_channels * w + 2 * w * w + 8 * w * w + 16 * w * w)
        return 12 * pixel * _drawn(method, plane), pixel, 4 * w
    k = max(2, getattr(method, "n_labels", 0) or 16)
    return 200.0 * k * n_channels * plane, 4.0 * k * n_channels, k
