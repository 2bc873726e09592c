"""What the user has set under File > Preferences: first method, device, colours, models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.settings import get_plugin_settings
from platformdirs import user_data_path

from napari_mmtseg.labels.palettes import PALETTES
from napari_mmtseg.methods import METHODS, MMT
from napari_mmtseg.model.library import Library
from napari_mmtseg.settings import Method

_PLUGIN = "napari-mmtseg"


def first_method() -> type[Method]:
    """Return the method that a widget begins with if none is asked for."""
    return METHODS.get(str(_value("running", "method", MMT.__name__)), MMT)


def preferred(method: Method) -> Method:
    """Return settings with the preferred device, if they have one."""
    device = str(_value("running", "device", "auto"))
    if device == "auto" or getattr(method, "device", "") != "auto":
        return method
    changes: dict[str, Any] = {"device": device}
    return replace(method, **changes)


def threads() -> int:
    """Return how many threads the training process may use; 0 for as many as there are."""
    return int(_value("running", "threads", 0))


def palette() -> str:
    """Return the palette of new results, of `palettes.PALETTES`; empty for napari's colours."""
    name = str(_value("looks", "colours", ""))
    return name if name in PALETTES else ""


def library() -> Library:
    """Return the user's models."""
    folder = str(_value("models", "folder", "")).strip()
    return Library(Path(folder).expanduser() if folder else user_data_path(_PLUGIN) / "models")


def remembers() -> bool:
    """Tell whether models are remembered with the labels that they made."""
    return bool(_value("models", "remember", True))


def _value(section: str, name: str, default: Any) -> Any:
    try:
        return getattr(getattr(get_plugin_settings(_PLUGIN), section), name)
    except (KeyError, AttributeError):  # run from a checkout that napari does not know as a plugin
        return default
