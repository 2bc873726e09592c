"""Read what to compare: a method with its settings, a reference, or a grid of settings."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray
from skimage.filters import threshold_otsu

from napari_mmtseg import segment
from napari_mmtseg.methods import METHODS, Felzenszwalb, KMeans, method_from_dict

Settings = dict[str, Any]

REFERENCES = ("blank", "otsu")
GRIDS: dict[str, list[Settings]] = {
    "KMeans:grid": [
        KMeans.preset("plain", n_labels=k).to_dict() for k in (2, 5, 8, 11, 14, 17, 20)
    ],
    "Felzenszwalb:grid": [
        Felzenszwalb(scale=scale, min_size=size, intensity="full").to_dict()
        for scale, size in product((100.0, 300.0, 500.0, 700.0, 1000.0, 2000.0), (20, 200, 400))
    ],
}


@dataclass(frozen=True)
class Contender:
    """A row of the table: one way of segmenting, or several of which the best is chosen."""

    name: str
    variants: tuple[str, ...]
    """JSON of each variant's settings, without the seed."""

    @property
    def is_grid(self) -> bool:
        """Whether its settings are chosen with the ground truth."""
        return len(self.variants) > 1

    def seeds(self, seeds: list[int]) -> list[int]:
        """Return the seeds to run: the first alone where chance plays no part."""
        method = json.loads(self.variants[0])["method"]
        return seeds[:1] if method in (*REFERENCES, "Felzenszwalb") else seeds


def default_names(kind: str) -> list[str]:
    """List what a table holds unless told otherwise.

    Where there are two classes, nuclei and the rest, networks may keep two labels.
    """
    two = ",n_labels=2" if kind in ("dsb2018", "sample") else ""
    first = ["blank", *(["otsu", "KMeans:plain,n_labels=2"] if two else [])]
    networks = [f"{name}{two}" for name in ("Kanezaki", "Kim", "IIC") if name in METHODS]
    return [
        *first,
        "KMeans:grid",
        "Felzenszwalb:grid",
        *networks,
        *(["MMT"] * bool(two)),
        f"MMT{two}",
    ]


def parse(text: str) -> Contender:
    """Read a contender: ``blank``, ``otsu``, a grid, or ``METHOD[:PRESET][,SETTING=VALUE...]``.

    Raises
    ------
    ValueError, TypeError
        If there is no such method, preset or setting, or a value is out of its range.
    """
    if text in REFERENCES:
        return Contender(text, (canonical({"method": text}),))
    if text in GRIDS:
        variants = tuple(canonical(one) for one in GRIDS[text])
        return Contender(text.split(":")[0], variants)
    head, *changes = text.split(",")
    name, _, preset = head.partition(":")
    if name not in METHODS:
        known = ", ".join([*REFERENCES, *GRIDS, *METHODS])
        raise ValueError(f"A method must be one of {known}, got {name!r}")
    types = {one.name: one.type for one in METHODS[name].settings()}
    values: Settings = {}
    for change in changes:
        key, _, value = change.partition("=")
        if key not in types:
            raise ValueError(f"{name} has no setting {key!r}; it has {', '.join(types)}")
        values[key] = _value(value, types[key])
    method = METHODS[name].preset(preset or "default", **values)
    return Contender(text, (canonical(method.to_dict()),))


def canonical(settings: Settings) -> str:
    """Return settings as JSON that is the same for equal settings; the seed stands elsewhere."""
    return json.dumps({k: v for k, v in settings.items() if k != "seed"}, sort_keys=True)


def labels_of(
    variant: str,
    image: NDArray[Any],
    axes: str,
    seed: int,
    spacing: Sequence[float] | None = None,
) -> NDArray[Any]:
    """Segment an image."""
    settings = json.loads(variant)
    if settings["method"] == "blank":
        shape = [n for n, axis in zip(image.shape, axes, strict=True) if axis not in "CS"]
        return np.ones(shape, np.int32)
    if settings["method"] == "otsu":
        return _otsu(image, axes)
    with warnings.catch_warnings():  # an image of one colour is no news here
        warnings.simplefilter("ignore", UserWarning)
        method = method_from_dict(settings)
        if any(one.name == "seed" for one in method.settings()):
            method = method_from_dict({**settings, "seed": seed})
        return segment(image, method, axes=axes, spacing=spacing)


def warm_up(variant: str) -> None:
    """Import what a method needs, so that its first measured run does not pay for it."""
    cls = METHODS.get(json.loads(variant)["method"])
    if cls is not None:
        names = {one.name for one in cls.settings()}
        quick: Settings = {"n_iterations": 1} if "n_iterations" in names else {}
        segment(np.random.default_rng(0).random((48, 48)), cls(**quick))


def _otsu(image: NDArray[Any], axes: str) -> NDArray[Any]:
    """Threshold the brightness, either side being a label; channels other than RGB are averaged."""
    if "S" in axes:
        gray = rgb2gray(np.moveaxis(image, axes.index("S"), -1)[..., :3])
    elif "C" in axes:
        gray = image.mean(axis=axes.index("C"))
    else:
        gray = image
    if gray.min() == gray.max():
        return np.ones(gray.shape, np.int32)
    return np.asarray(gray > threshold_otsu(gray)).astype(np.int32) + 1


def _value(text: str, kind: Any) -> Any:
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text)
    except ValueError:
        return text  # the setting itself says what it wants
