"""Kanezaki: a network whose labels agree within superpixels (Kanezaki, ICASSP 2018)."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.segmentation import slic
from torch import Tensor

from napari_mmtseg.engine import Training, Weights
from napari_mmtseg.engine.devices import drive
from napari_mmtseg.engine.frozen_networks import arrays, predictor
from napari_mmtseg.engine.losses import IGNORED, cross_entropy
from napari_mmtseg.engine.self_training import learn
from napari_mmtseg.engine.votes import majority
from napari_mmtseg.engine.working_sample import Batch, working_sample
from napari_mmtseg.images.frames import Sample
from napari_mmtseg.methods import Kanezaki

__all__ = ["arrays", "predictor", "train"]

_SUPERPIXEL_PX = 25


def train(sample: Sample, method: Kanezaki, initial: Weights | None = None) -> Training:
    """Train the network (section 3 of the paper).

    Parameters
    ----------
    sample : Sample
        Scaled pixels. `sample.superpixels`, if given, takes the place of the SLIC superpixels.
    method : Kanezaki
        The settings.
    initial : mapping of str to array, optional
        "conv1.weight" and so on: the network's start.

    Raises
    ------
    ValueError
        If more superpixels are asked for than a plane has working pixels.
    """
    return drive(method.device, partial(_train, sample, method, initial))


def _train(
    sample: Sample, method: Kanezaki, initial: Weights | None, device: torch.device
) -> Training:
    working = working_sample(sample, method, device)
    planes = [
        plane._replace(superpixels=_superpixels(sample, number, plane, working.factor, method))
        for number, plane in enumerate(working.planes)
    ]
    return (yield from learn(working._replace(planes=planes), method, initial, _loss))


def _loss(responses: Tensor, own: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy to the most common label of each pixel's superpixel."""
    target = refine(own, batch, responses.shape[1])
    return cross_entropy(responses, target.masked_fill_(~batch.unpainted, IGNORED))


def refine(own: Tensor, batch: Batch, width: int) -> Tensor:
    """Give each pixel the most common label of its superpixel, the smallest of equal ones.

    Parameters
    ----------
    own : (B, *spatial) tensor of int64
        Labels in 0..q - 1.
    batch : Batch
        Its superpixels; pixels that are not valid have no say.
    width : int
        Number of responses q.
    """
    superpixels = batch.superpixels
    if superpixels is None:
        raise ValueError("The batch has no superpixels")
    count = int(superpixels.max()) + 1
    first = torch.arange(len(own), device=own.device) * count
    superpixels = superpixels + first[:, None, None]  # unique over the batch
    valid = batch.valid
    winner = majority(superpixels[valid], own[valid], len(own) * count, width)
    return winner[superpixels]


def _superpixels(
    sample: Sample, number: int, plane: Batch, factor: tuple[int, ...], method: Kanezaki
) -> Tensor:
    """Return the plane's superpixels (1, Y, X), numbered from 0 without gaps."""
    if sample.superpixels is not None:
        regions = sample.superpixels[number]
        # A working pixel belongs where the middle of its block does.
        sides = zip(plane.valid.shape[1:], regions.shape, factor, strict=True)
        places = [np.minimum(np.arange(n) * f + f // 2, full - 1) for n, full, f in sides]
        regions = regions[np.ix_(*places)]
    else:
        regions = _slic(plane.own_pixels[0].float().cpu().numpy(), sample.is_rgb, method)
    numbered = np.unique(regions, return_inverse=True)[1].reshape(regions.shape)
    return torch.from_numpy(numbered.astype(np.int64)).to(plane.pixels.device)[None]


def _slic(pixels: NDArray[np.float32], is_rgb: bool, method: Kanezaki) -> NDArray[np.int64]:
    room = pixels[0].size
    if method.n_superpixels > room:
        raise ValueError(
            f"Superpixels (n_superpixels) must be at most the plane's pixels at the working "
            f"reduction, {room}, got {method.n_superpixels}: choose fewer, or a smaller reduction"
        )
    found: NDArray[np.int64] = slic(
        np.moveaxis(pixels, 0, -1),
        n_segments=method.n_superpixels or max(1, room // _SUPERPIXEL_PX),
        # SLIC sees lightness as 0..100 in CIELAB, other intensities as 0..1.
        compactness=method.compactness if is_rgb else method.compactness / 100,
        convert2lab=is_rgb,
        channel_axis=-1,
        start_label=0,
    )
    return found
