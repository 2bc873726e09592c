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

from napari_mmtseg.engine import Array, Predictor, Tile, Weights, voting
from napari_mmtseg.engine.features import Features, reach, smoothed
from napari_mmtseg.engine.refine.windows import pooled_grid
from napari_mmtseg.engine.sampling import with_margin
from napari_mmtseg.engine.students import LAYERS, STUDENTS
from napari_mmtseg.methods.teaching import Taught

_SCALES = {2: {"n_scales": 4, "n_steps": 4, "n_contrasts": 2}, 3: {"n_scales": 2, "n_steps": 2}}
"""In a volume a wide view would cost many times what the tile does."""
_SMOOTHING_PX = reach(1)
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

    def voters(pixels: Tensor, tile: Tile, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        rows = described(pixels[0].cpu().numpy())
        shape = rows.shape[1:]
        shares = [
            pooled_grid(_smooth(one.softmax(0).view(-1, *shape)), grid)
            for one in responses(weights, rows.flatten(1))
        ]
        return torch.stack(shares), pixels[0]

    return voting.predictor(
        voters,
        n_votes=max(width, 2 * n_classes),
        n_channels=n_channels,
        reach=bank(n_channels, n_axes).margin + _SMOOTHING_PX,
        factor=(1,) * n_axes,
        spacing=weights["spacing"].tolist(),
        reduce=lambda pixels: pixels,
        groups=torch.arange(n_classes),
        least_contrast=0.0,
        method=method if weights["sharp"] else replace(method, sharpening_px=0),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


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


def _smooth(shares: Tensor) -> Tensor:
    """Smooth (K, *spatial) by one pixel: neighbours are mostly of one class, and noise is not."""
    return smoothed(with_margin(shares[None], _SMOOTHING_PX)[0], 1)


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
    if odd or set(shapes) != {*wanted, "example_classes", "sharp", "spacing"} or not n_channels:
        raise ValueError(f"The weights do not fit one another: {', '.join(odd) or sorted(shapes)}")
    if width != bank(n_channels, n_axes).width:
        raise ValueError(f"The weights are for {width} features, which no image has")
