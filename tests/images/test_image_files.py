"""Image files: axes and voxel sizes as the file tells them, and sentences about bad ones."""

import os

import imageio.v3
import numpy as np
import pytest
import tifffile
import zarr

from napari_mmtseg.images import image_files
from napari_mmtseg.images.image_files import Spot, open_image
from napari_mmtseg.images.stores import open_image as open_store
from napari_mmtseg.output.label_files import store_steps, tiff_of, write_tiff


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 900, (3, 20, 24)).astype(np.uint16)


def test_ome_tiff_tells_axes_and_voxels_in_any_unit(tmp_path, stack):
    path = tmp_path / "a.ome.tif"
    about = {"axes": "ZYX", "PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm"}
    about |= {"PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 0.0008}
    tifffile.imwrite(path, stack, metadata=about | {"PhysicalSizeZUnit": "mm"})
    found = open_image(path)
    assert found.axes == "ZYX"
    assert found.spacing == pytest.approx((0.8, 0.25, 0.25))
    np.testing.assert_array_equal(found.read(), stack)


def test_imagej_tells_them_too(tmp_path, stack):
    path = tmp_path / "a.tif"
    about = {"axes": "ZYX", "spacing": 0.8, "unit": "micron"}
    tifffile.imwrite(path, stack, imagej=True, metadata=about, resolution=(4, 4))
    assert open_image(path).spacing == pytest.approx((0.8, 0.25, 0.25))


def test_a_resolution_in_dots_an_inch_is_no_voxel_size(tmp_path, stack):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack[0], resolution=(72, 72), resolutionunit="INCH")
    assert open_image(path).pixel_size is None


@pytest.mark.parametrize(
    ("shape", "axes"), [((20, 24), "YX"), ((20, 24, 3), "YXS"), ((20, 24, 2), "YX")]
)
def test_pictures_are_grey_or_coloured(tmp_path, shape, axes):
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    imageio.v3.imwrite(tmp_path / "a.png", pixels)
    found = open_image(tmp_path / "a.png")
    assert found.axes == axes
    grey = pixels if axes != "YX" else pixels.reshape(20, 24, -1)[..., 0]
    np.testing.assert_array_equal(found.read(), grey)


def test_ome_zarr_is_opened_with_its_scale(tmp_path, stack):
    sizes = {"Z": Spot(0.8, "µm"), "Y": Spot(0.25, "µm"), "X": Spot(0.25, "µm")}
    for _ in store_steps(tmp_path / "a.zarr", stack.astype(np.int32), "ZYX", sizes, fingerprint=""):
        pass
    found = open_image(tmp_path / "a.zarr")
    assert (found.axes, found.spacing) == ("ZYX", (0.8, 0.25, 0.25))
    np.testing.assert_array_equal(found.read(), stack)


def test_large_files_are_read_piece_by_piece(tmp_path, stack, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, metadata={"axes": "ZYX"}, photometric="minisblack")
    monkeypatch.setattr(image_files, "LAZY_BYTES", 100)
    found = open_image(path).read()
    assert isinstance(found, image_files.LazyTiff)
    np.testing.assert_array_equal(found[1], stack[1])


def test_axes_are_never_guessed(tmp_path, stack):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for plane in stack:
            file.write(plane, metadata=None)
    with pytest.raises(ValueError, match=r"a\.tif does not say what all its axes are.*--axes ZYX"):
        open_image(tmp_path / "a.tif")
    assert open_image(tmp_path / "a.tif", axes="tyx").axes == "TYX"
    with pytest.raises(ValueError, match="name 2 axes, but the image has 3"):
        open_image(tmp_path / "a.tif", axes="YX")


def test_bad_files_are_named_in_one_sentence(tmp_path, stack):
    tifffile.imwrite(
        tmp_path / "cut.tif", stack, metadata={"axes": "ZYX"}, photometric="minisblack"
    )
    os.truncate(tmp_path / "cut.tif", 1500)
    (tmp_path / "foreign.tif").write_text("dear diary")
    (tmp_path / "foreign.png").write_text("dear diary")
    (tmp_path / "empty.tif").touch()
    (tmp_path / "notes.docx").write_text("dear diary")
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.zarr").mkdir()
    (tmp_path / "bad.zarr" / ".zarray").write_text("{")
    said = {}
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises((ValueError, OSError)) as caught:
            open_image(path).read()
        said[path.name] = str(caught.value)
        assert str(path) in said[path.name]
        assert "\n" not in said[path.name]
    assert "empty (0 bytes)" in said["empty.tif"]
    assert "no TIFF file" in said["foreign.tif"]
    assert "copy it again" in said["cut.tif"]
    assert "is no image that can be opened here" in said["notes.docx"]
    with pytest.raises(FileNotFoundError, match="check the name"):
        open_image(tmp_path / "none.tif")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root, and Windows, may read all")
def test_a_locked_file_is_said_to_be_locked(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack[0])
    (tmp_path / "a.tif").chmod(0)
    with pytest.raises(PermissionError, match="may not be read"):
        open_image(tmp_path / "a.tif")


def test_labels_come_back_with_their_voxels_and_as_the_same_bytes(tmp_path, stack):
    labels, sizes = (
        stack.astype(np.int32),
        {"Z": Spot(0.8, "µm"), "Y": Spot(0.25, "µm"), "X": Spot(0.25, "µm")},
    )
    write_tiff(tmp_path / "l.tif", labels, "ZYX", sizes)
    found = open_image(tmp_path / "l.tif")
    assert (found.axes, found.spacing, found.dtype) == ("ZYX", (0.8, 0.25, 0.25), np.int32)
    np.testing.assert_array_equal(found.read(), labels)
    assert tiff_of(labels, "ZYX", sizes) == tiff_of(labels.copy(), "ZYX", sizes)
    assert tiff_of(labels, "ZYX", sizes) != tiff_of(labels + 1, "ZYX", sizes)
    with pytest.raises(FileExistsError):
        write_tiff(tmp_path / "l.tif", labels, "ZYX", sizes)


def test_a_plain_zarr_array_needs_its_axes_named(tmp_path, stack):
    zarr.save_array(tmp_path / "a.zarr", stack)
    with pytest.raises(ValueError, match="does not say what all its axes are"):
        open_image(tmp_path / "a.zarr")
    assert open_image(tmp_path / "a.zarr", axes="ZYX").shape == stack.shape
    assert open_store(tmp_path / "a.zarr").axes is None
