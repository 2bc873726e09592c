"""OME-Zarr opened from the menu: where it lies, in which units, and labels as labels."""

import numpy as np
import pytest
import zarr
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from numpy.testing import assert_array_equal
from qtpy.QtWidgets import QFileDialog

from napari_mmtseg._napari.layers.ome_zarr import ask_and_open, layer_of
from napari_mmtseg.output.ome_zarr import multiscales, write_labels

PLACED = {"axes": "ZYX", "scale": (2.0, 0.5, 0.5), "translate": (0.0, 7.0, 9.0)}


@pytest.fixture
def labels(tmp_path):
    """A finished label image of several levels."""
    pixels = np.arange(2 * 600 * 40, dtype=np.int32).reshape(2, 600, 40)
    path = tmp_path / "cells.zarr"
    writing = write_labels(
        path,
        pixels.shape,
        (1, 256, 40),
        pixels.__getitem__,
        fingerprint="",
        units=("um",) * 3,
        **PLACED,
    )
    for _ in writing:
        pass
    return path, pixels


def chosen(monkeypatch, path):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(path))


def test_saved_labels_are_opened_as_labels_where_their_image_lies(viewer, monkeypatch, labels):
    path, pixels = labels
    chosen(monkeypatch, path)
    ask_and_open()
    layer = viewer.layers["cells"]
    assert isinstance(layer, Labels)
    assert layer.multiscale
    assert_array_equal(layer.scale, PLACED["scale"])
    assert_array_equal(layer.translate, PLACED["translate"])
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    assert_array_equal(np.asarray(layer.data[0]), pixels)


def test_an_image_is_opened_as_an_image_whatever_its_unit_is_called(tmp_path):
    group = zarr.open_group(tmp_path / "i.ome.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(30, 40), chunks=(20, 20), dtype="u2")[:] = 5
    about = multiscales("", "YX", [(1, 1)], (0.5, 0.5), ("micrometer", "floop"), (0, 0))
    del about["image-label"]
    group.attrs.update(about)
    layer = layer_of(tmp_path / "i.ome.zarr")
    assert isinstance(layer, Image)
    assert (layer.name, layer.contrast_limits) == ("i", [5, 6])
    assert [str(unit) for unit in layer.units] == ["micrometer", "pixel"]


def test_a_folder_that_is_no_image_is_named(viewer, monkeypatch, tmp_path):
    errors = []
    monkeypatch.setattr(notification_manager, "dispatch", errors.append)
    chosen(monkeypatch, tmp_path)
    ask_and_open()
    assert "is no zarr store" in errors[0].message
    assert not viewer.layers
