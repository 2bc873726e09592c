"""Open OME-Zarr with its scale, units and axes, which napari's own reader leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog

from napari_mmtseg._napari.layers.file_axes import unit_of
from napari_mmtseg.images.image_files import notes_of_store
from napari_mmtseg.images.stores import StoredImage, name_of, open_image

_PROBE_PX = 1024


def ask_and_open() -> None:
    """Ask for an OME-Zarr and add it to the viewer: File > IO Utilities."""
    viewer = napari.current_viewer()
    path = QFileDialog.getExistingDirectory(None, "Open OME-Zarr (a folder)")
    if path and viewer is not None:
        try:
            viewer.add_layer(layer_of(path))
            for note in notes_of_store(open_image(path)):
                show_info(note)
        except (OSError, ValueError) as error:
            show_error(str(error))


def layer_of(path: str | Path) -> Image | Labels:
    """Make the layer of an OME-Zarr, or of a zarr array; pixels are read where one looks.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    napari Image or Labels
        Labels if the store says that it holds a label image.

    Raises
    ------
    OSError, ValueError
        As `stores.open_image`.
    """
    image = open_image(path)
    levels: list[Any] = list(image.levels)
    several = len(levels) > 1
    placed: dict[str, Any] = {
        "name": name_of(path),
        "multiscale": several,
        "scale": image.scale[0],
        "translate": image.translate[0],
        "units": [unit_of(one) for one in image.units],
    }
    if image.axes is not None:
        placed["axis_labels"] = tuple(image.axes.lower())
    data = levels if several else levels[0]
    if image.labels:
        return Labels(data, **placed)
    return Image(data, rgb=False, contrast_limits=_limits(image), **placed)


def _limits(image: StoredImage) -> tuple[float, float]:
    """Return the range in the middle: napari reads a plane whole, or a level of faint means."""
    level = image.levels[0]
    middle = tuple(
        slice(max(0, n // 2 - half), n // 2 + half)
        for n, half in zip(
            level.shape, (*(1,) * (level.ndim - 2), _PROBE_PX // 2, _PROBE_PX // 2), strict=True
        )
    )
    seen = level[middle]
    low, high = float(np.nanmin(seen)), float(np.nanmax(seen))
    return (low, high) if low < high else (low, low + 1)
