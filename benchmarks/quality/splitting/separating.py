"""Turn the depth that networks see into objects: peaks, then a watershed in the foreground."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import reconstruction
from skimage.segmentation import find_boundaries, watershed
from skimage.transform import resize

from benchmarks.quality.splitting.network import Network
from benchmarks.quality.splitting.scenes import Scene

Numbers = NDArray[np.int32]
_PEAK, _DEEPEST, _INSIDE = 0.1, 0.3, 0.35
_FLIPS: tuple[list[int], ...] = ([], [-2], [-1], [-2, -1])


@torch.no_grad()
def depth(networks: list[Network], one: Scene) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Average what the networks see of the scene and its mirror images.

    Returns
    -------
    inside, depth : (Y, X) float32 arrays
        The probability of foreground, and the depth, both in 0..1.
    """
    device = next(networks[0].parameters()).device
    contrast = torch.from_numpy(one.contrast).to(device)[None]
    foreground = torch.from_numpy(one.foreground.astype(np.float32)).to(device)[None]
    sums = torch.zeros(2, *one.contrast.shape, device=device)
    for network in networks:
        network.eval()
        for flip in _FLIPS:
            seen = network(contrast.flip(flip), foreground.flip(flip))
            sums[0] += torch.sigmoid(seen.inside).flip(flip)[0]
            sums[1] += seen.depth.flip(flip)[0]
    inside, deep = (sums / (len(networks) * len(_FLIPS))).cpu().numpy()
    return inside, deep


def separate(
    inside: NDArray[np.float32],
    deep: NDArray[np.float32],
    one: Scene,
    foreground: NDArray[np.bool_],
) -> Numbers:
    """Split the foreground of an image where the depth of its scene has valleys.

    A peak of depth counts if it rises a tenth above the way to any higher one. What the networks
    see as background, and objects that are nowhere deep, are taken away.

    Parameters
    ----------
    inside, deep : (y, x) float32 arrays
        From `depth`, at the resolution of the scene.
    one : Scene
        The scene that the networks saw.
    foreground : (Y, X) bool array
        The objects together, at the resolution of the image.

    Returns
    -------
    (Y, X) int32 array
        0 outside; otherwise the object's number.
    """
    smooth = ndimage.gaussian_filter(deep, 1)
    above = smooth - reconstruction(smooth - _PEAK, smooth)
    peaks, _ = ndimage.label((above > 0.999 * _PEAK) & one.foreground, np.ones((3, 3)))
    zones = watershed(-smooth, peaks, mask=one.foreground)
    shape = foreground.shape
    full = {"output_shape": shape, "order": 1, "mode": "edge", "anti_aliasing": False}
    fine = resize(smooth, **full)
    foreground = foreground & (resize(inside, **full) > _INSIDE)
    # The zones, shrunk by a pixel, mark the objects; where they meet is decided at full resolution.
    zones = resize(zones, shape, order=0, preserve_range=True, anti_aliasing=False)
    zones = zones.astype(np.int32) * foreground
    inner = np.where(find_boundaries(zones, mode="inner"), 0, zones)
    lost = ~np.isin(zones, inner)
    labels = watershed(
        -fine, _all_marked(np.where(lost, zones, inner), fine, foreground), mask=foreground
    )
    tops = ndimage.maximum(fine, labels, np.arange(int(labels.max()) + 1))
    kept = np.asarray(tops) > _DEEPEST
    kept[0] = False
    number = np.zeros(len(kept), np.int32)
    number[kept] = np.arange(1, kept.sum() + 1)
    numbered: Numbers = number[labels]
    return numbered


def _all_marked(
    markers: Numbers, fine: NDArray[np.float32], foreground: NDArray[np.bool_]
) -> Numbers:
    """Mark the deepest pixel of each piece that has no marker."""
    pieces, count = ndimage.label(foreground)
    marked = np.zeros(count + 1, bool)
    marked[pieces[markers > 0]] = True
    bare = np.flatnonzero(~marked[1:]) + 1
    markers, last = markers.copy(), int(markers.max(initial=0))
    for number, place in enumerate(ndimage.maximum_position(fine, pieces, bare), last + 1):
        markers[place] = number
    return markers
