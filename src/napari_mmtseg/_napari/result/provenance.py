"""Record how a result was made, in plain JSON that its layer keeps."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image

from napari_mmtseg._napari.layers.layers import METADATA_KEY
from napari_mmtseg.model import Model
from napari_mmtseg.settings import Method

_PACKAGES = ("napari-mmtseg", "napari", "torch", "numpy", "scikit-image")
_SOURCES: WeakKeyDictionary[Model, dict[str, Any]] = WeakKeyDictionary()


def record_of(
    method: Method, layers: Sequence[Image], axes: str, seconds: float, **more: Any
) -> dict[str, Any]:
    """Record how a result was made: settings, seed, versions, image, axes and time taken.

    Parameters
    ----------
    method : Method
    layers : sequence of Image
    axes : str
        Of the image handed over.
    seconds : float
        That it took.
    **more
        What repeats the run, JSON: "spacing", "guides", "uncertainty", "place", "model", "stopped".

    Returns
    -------
    dict
        The metadata of a layer.
    """
    return {
        METADATA_KEY: {
            "settings": method.to_dict(),
            "image": [layer.name for layer in layers],
            "rgb": [bool(layer.rgb) for layer in layers],
            "levels": [bool(layer.multiscale) for layer in layers],
            "axes": axes,
            **more,
            "seconds": round(seconds, 3),
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"python": platform.python_version()}
            | {name: _version(name) for name in _PACKAGES},
        }
    }


def place_of(placed: Mapping[str, Any]) -> dict[str, Any]:
    """Turn what `layers.placement` returns into JSON."""
    numbers = ("scale", "translate", "rotate", "shear", "affine")
    return {key: np.asarray(placed[key], float).tolist() for key in numbers} | {
        "units": [str(unit) for unit in placed["units"]],
        "axis_labels": [str(label) for label in placed["axis_labels"]],
    }


def remember(model: Model | None, source: Mapping[str, Any]) -> None:
    """Note where a model is from, as long as it lives.

    Parameters
    ----------
    model : Model or None
    source : mapping
        {"file": its path}, or {"made": the record of the run that made it}.
    """
    if model is not None:
        _SOURCES[model] = dict(source)


def source_of(model: Model) -> dict[str, Any]:
    """Return where a model is from; empty if nobody has noted it."""
    return _SOURCES.get(model, {})


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
