"""Two students of the user's classes over fixed features: describe pixels, and predict."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mmtseg.engine import Array, Predictor, Tile, Weights, voter_prediction
from napari_mmtseg.engine.features import Features
from napari_mmtseg.engine.refine.guided_filter import guided, guided_reach
from napari_mmtseg.engine.refine.sharp_borders import sharpened_groups
from napari_mmtseg.engine.refine.window_means import pooled_grid
from napari_mmtseg.engine.students import LAYERS, STUDENTS
from napari_mmtseg.engine.working_sample import with_margin
from napari_mmtseg.methods.taught import Taught

_SCALES = {2: {"n_scales": 4, "n_steps": 4, "n_contrasts": 2}, 3: {"n_scales": 2, "n_steps": 2}}
"""In a volume a wide view would cost many times what the tile does."""
_STEPS = {2: {"scribbles": 3, "labels": 2}, 3: {"scribbles": 1, "labels": 1}}
"""Of the window in which the image guides probabilities: labels tell where borders are."""
_MOST_STEPS = 3
_SHARPENING_REACH = 4
"""Times its radius: it goes in rounds."""
_KEPT_BYTES = 2**28
_kept: OrderedDict[bytes, Tensor] = OrderedDict()
_lock = threading.Lock()


def bank(n_channels: int, n_axes: int) -> Features:
    """Return the features that students look at."""
    return Features(n_channels, n_axes, **_SCALES[n_axes])


@torch.no_grad()
def described(pixels: NDArray[np.float32]) -> Tensor:
    """Describe scaled pixels; the last ones described are kept, since people paint on one plane.

    Parameters
    ----------
    pixels : (C, *spatial) array
        Beyond the border its own pixels are repeated.

    Returns
    -------
    (F, *spatial) tensor
        Not to be changed.
    """
    pixels = np.ascontiguousarray(pixels, np.float32)
    key = hashlib.blake2b(pixels.data, digest_size=16, key=repr(pixels.shape).encode()).digest()
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    features = bank(len(pixels), pixels.ndim - 1)
    wide = with_margin(torch.from_numpy(pixels)[None], features.margin)
    found: Tensor = features(wide)[0]
    with _lock:
        _kept[key] = found
        while len(_kept) > 1 and sum(one.nbytes for one in _kept.values()) > _KEPT_BYTES:
            _kept.popitem(last=False)
    return found


def arrays(method: Taught, is_rgb: bool) -> dict[str, Array]:
    """Declare the weights of a model."""
    return {
        "spacing": Array("F64", ("A",), 1e-3, 1e3),
        "mean": Array("F32", None),
        "spread": Array("F32", None, 1e-7, 1e7),
        "examples": Array("F32", None),
        "example_classes": Array("I64", None, 0, 511),
        "window": Array("I64", (), 1, _MOST_STEPS),
        "sharp": Array("I64", (), 0, 1),
        **{student: Array("F32", None) for student in STUDENTS},
    }


@torch.no_grad()
def responses(weights: Weights, rows: Tensor) -> list[Tensor]:
    """Return each student's responses (K, n) to rows of features (F, n), as they are described."""
    found = []
    for student in STUDENTS:
        first, bias, second, lift = (torch.from_numpy(weights[student + n]) for n in LAYERS)
        spread, mean = (torch.from_numpy(weights[name]) for name in ("spread", "mean"))
        first = first / spread  # (H, F)
        hidden = torch.addmm((bias - first @ mean)[:, None], first, rows).relu_()
        found.append(torch.addmm(lift[:, None], second, hidden))
    return found


def told(weights: Weights, rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the number of the class of each of (n, F) described pixels, (n,)."""
    both = responses(weights, torch.from_numpy(np.ascontiguousarray(rows.T)))
    found: NDArray[np.int64] = torch.stack(both).softmax(1).sum(0).argmax(0).numpy()
    return found


def predictor(weights: Weights, method: Taught) -> Predictor:
    """Make the predictor that asks both students.

    Raises
    ------
    ValueError
        If the weights do not fit one another.
    """
    n_axes = len(weights["spacing"])
    width = len(weights["mean"])
    n_channels = width // bank(1, n_axes).width
    _check_fit(weights, width, n_channels, n_axes)
    n_classes = len(weights[STUDENTS[0] + "out.bias"])

    radius = (0,) * n_axes
    if weights["sharp"]:
        radius = voter_prediction.sharpening_radius(method, weights["spacing"].tolist())

    def voters(pixels: Tensor, tile: Tile, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        image = pixels[0].cpu()
        shares = guided(_shares(weights, image), image, int(weights["window"]))
        if any(radius):
            shares = _sharper(shares, image, radius)
        return torch.stack([pooled_grid(one, grid) for one in shares]), pixels[0]

    reach = bank(n_channels, n_axes).margin + guided_reach(int(weights["window"]))
    return voter_prediction.predictor(
        voters,
        n_votes=max(width, 2 * n_classes),
        n_channels=n_channels,
        reach=reach + _SHARPENING_REACH * max(radius),
        factor=(1,) * n_axes,
        spacing=weights["spacing"].tolist(),
        reduce=lambda pixels: pixels,
        groups=torch.arange(n_classes),
        least_contrast=0.0,
        method=replace(method, sharpening_px=0),  # which the voters do
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


@torch.no_grad()
def before_and_after(
    weights: Weights, method: Taught, pixels: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of each pixel's class without sharpening and with it, (*spatial).

    Parameters
    ----------
    pixels : (C, *spatial) array
        Scaled.
    """
    image = torch.from_numpy(pixels)
    plain = _shares(weights, image).mean(0, keepdim=True)
    plain = guided(plain, image, int(weights["window"]))
    radius = voter_prediction.sharpening_radius(method, weights["spacing"].tolist())
    both = plain, _sharper(plain, image, radius)
    before, after = (one[0].argmax(0).numpy() for one in both)
    return before, after


def window_steps(n_axes: int, what: str) -> int:
    """Return the steps of smoothing that make the window of guided probabilities."""
    return _STEPS[n_axes][what]


def _shares(weights: Weights, pixels: Tensor) -> Tensor:
    """Return each student's probabilities, (2, K, *spatial)."""
    rows = described(pixels.numpy())
    shape = rows.shape[1:]
    both = responses(weights, rows.flatten(1))
    return torch.stack([one.softmax(0).view(-1, *shape) for one in both])


def _sharper(shares: Tensor, pixels: Tensor, radius: tuple[int, ...]) -> Tensor:
    """Let borders lie half way between where they are and where sharpening draws them."""
    votes = shares.mean(0)
    sharp = sharpened_groups(votes, torch.arange(len(votes)), pixels, radius)
    return (shares + sharp).mul_(0.5)


def emphasis(n_features: int, n_channels: int) -> NDArray[np.float32]:
    """Return by what to divide features: shrinkage then prefers what is plain and near.

    Intensities count twice as much as edges, spots and ridges, and these five times as much as
    texture; from the third scale on each counts half of the one before. Contrasts count as edges.
    """
    of_scale = np.array([2, 1, 1, 1, *(0.2,) * 4], np.float32)
    n_scales, n_contrasts = divmod(n_features // n_channels, len(of_scale))
    scales = 0.5 ** np.maximum(np.arange(n_scales, dtype=np.float32) - 1, 0)
    own = np.append(np.outer(scales, of_scale).ravel(), np.ones(n_contrasts))
    return np.tile(1 / own, n_channels).astype(np.float32)


def _check_fit(weights: Weights, width: int, n_channels: int, n_axes: int) -> None:
    shapes = {name: one.shape for name, one in weights.items()}
    hidden = len(weights["student1.in.bias"])
    n_classes = len(weights["student1.out.bias"])
    wanted: dict[str, tuple[int, ...]] = {"mean": (width,), "spread": (width,)}
    wanted["examples"] = (len(weights["example_classes"]), width)
    for student in STUDENTS:
        sizes: list[tuple[int, ...]] = [
            (hidden, width),
            (hidden,),
            (n_classes, hidden),
            (n_classes,),
        ]
        wanted |= {student + name: size for name, size in zip(LAYERS, sizes, strict=True)}
    odd = [name for name, size in wanted.items() if shapes.get(name) != size]
    if (
        odd
        or set(shapes) != {*wanted, "example_classes", "sharp", "spacing", "window"}
        or not n_channels
    ):
        raise ValueError(f"The weights do not fit one another: {', '.join(odd) or sorted(shapes)}")
    if width != bank(n_channels, n_axes).width:
        raise ValueError(f"The weights are for {width} features, which no image has")
