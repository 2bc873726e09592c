"""Give a layer the axes and the pixel size of its file, where napari's reader leaves them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pint
from napari.layers import Image

from napari_mmtseg.images.image_files import TIFF, open_image

FROM_FILE = "napari-mmtseg from file"
"""Under which a layer's metadata say what was taken from its file."""


def take_from_file(layer: Image) -> bool:
    """Name a layer's axes and set its scale and units as its TIFF file says, once.

    Nothing is changed where the layer says something itself, or is not what lies in the file.

    Parameters
    ----------
    layer : napari Image

    Returns
    -------
    bool
        Whether it lies elsewhere than before.
    """
    path = Path(getattr(layer.source, "path", None) or "")
    if path.suffix.lower() not in TIFF or FROM_FILE in layer.metadata or not _says_nothing(layer):
        return False
    try:
        file = open_image(path)
    except (OSError, ValueError, MemoryError):  # napari has opened it, and that is enough
        return False
    data = layer.data[0] if layer.multiscale else layer.data
    if tuple(data.shape) != file.shape or layer.rgb != file.axes.endswith("S"):
        return False
    axes = file.axes.removesuffix("S")
    if "S" in axes or (axes == "YX" and not file.world):
        return False
    layer.axis_labels = tuple(axes.lower())
    known = [file.world.get(axis) for axis in axes]
    layer.scale = [1.0 if one is None else one.size for one in known]
    layer.units = [unit_of(None if one is None else one.unit) for one in known]
    size = "" if not file.pixel_um else " and its pixel size"
    layer.metadata[FROM_FILE] = f"Its axes {axes}{size} are those of {path.name}."
    return True


def _says_nothing(layer: Image) -> bool:
    labels = [str(one) for one in layer.axis_labels]
    unnamed = all(one.lstrip("-").isdecimal() for one in labels)
    plain = np.allclose(layer.scale, 1) and not np.any(layer.translate)
    return unnamed and plain and all(str(unit) == "pixel" for unit in layer.units)


def unit_of(name: str | None) -> str:
    """Return the unit of an axis as napari takes it: a pixel where it is none that it knows."""
    try:
        return str(pint.Unit(name or "pixel"))
    except (ValueError, AttributeError):  # what pint raises for a word that is no unit
        return "pixel"
