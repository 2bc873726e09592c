"""What a file does not hold, or holds in an odd way, is said, and nothing is lost on the way."""

import argparse
import csv
import json

import dask.array
import numpy as np
import pytest
import tifffile
import zarr
from numpy.testing import assert_array_equal

from napari_mmtseg import KMeans, segment
from napari_mmtseg.cli import main
from napari_mmtseg.folders.image_list import find
from napari_mmtseg.images.image_files import Spot, open_image
from napari_mmtseg.images.stores import open_image as open_store

METHOD = ("--method", "KMeans", "--kind", "objects")


def cells(seed=0, ground=100, bright=1000):
    y, x = np.mgrid[:128, :128] % 32 - 16
    random = np.random.default_rng(seed)
    image = np.where(y**2 + x**2 < 49, bright, ground) + random.normal(0, 5, y.shape)
    return image.astype(np.uint16)


def count(labels):
    return len(np.setdiff1d(labels, 0))


def ome_zarr(path, data, axes, transformations, units=(), fill=0, zarr_format=3, **options):
    """Write an image with the transformations given, as converters do."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    array = group.create_array("0", shape=data.shape, dtype=data.dtype, fill_value=fill, **options)
    array[...] = data
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": one, "type": kinds.get(one, "space")} for one in axes]
    for axis, unit in dict(units).items():
        named[axes.index(axis)]["unit"] = unit
    image = {
        "axes": named,
        "datasets": [{"path": "0", "coordinateTransformations": transformations}],
        "version": "0.5" if zarr_format == 3 else "0.4",
    }
    about = {"version": "0.5", "multiscales": [image]}
    group.attrs.update({"ome": about} if zarr_format == 3 else {"multiscales": [image]})
    return path


# -- chunks that are not there ----------------------------------------------------------------


@pytest.mark.parametrize("fill", [0, 65535])
@pytest.mark.parametrize(
    ("zarr_format", "options"),
    [(2, {"chunks": (32, 32)}), (3, {"chunks": (32, 32)}),
     (3, {"chunks": (16, 16), "shards": (32, 32)})],
)  # fmt: skip
def test_chunks_that_are_not_there_are_said_and_left_out(
    tmp_path, capsys, fill, zarr_format, options
):
    scale = [{"type": "scale", "scale": [1, 1]}]
    path = ome_zarr(tmp_path / "a.zarr", cells(), "yx", scale, fill=fill, zarr_format=zarr_format,
                    **options)  # fmt: skip
    separator = "." if not list((path / "0").rglob("c/1/*")) and (path / "0/1.1").exists() else "/"
    gone = [(1, 1), (1, 2), (2, 1), (2, 2)]
    for place in gone:
        key = separator.join(map(str, place))
        next(one for one in (path / "0" / key, path / "0" / "c" / key) if one.exists()).unlink()
    found = open_image(path)
    assert found.notes == (
        f"4 of 16 chunks are not there and read as {fill}: they are left out, and have label 0.",
    )
    assert main(["segment", str(path), "-o", str(tmp_path / "l.tif"), *METHOD]) == 0
    assert "4 of 16 chunks are not there" in capsys.readouterr().err
    labels = tifffile.imread(tmp_path / "l.tif")
    assert count(labels) == 12
    assert not labels[32:96, 32:96].any()
    lazy = segment(open_store(path).pixels, KMeans(output="objects"), axes="YX")
    assert count(np.asarray(lazy)) == 12


def test_a_store_none_of_whose_chunks_is_found_says_where_it_looked(tmp_path, capsys):
    scale = [{"type": "scale", "scale": [1, 1]}]
    path = ome_zarr(tmp_path / "a.zarr", cells(), "yx", scale, zarr_format=2, chunks=(64, 64))
    metadata = path / "0" / ".zarray"
    about = json.loads(metadata.read_text())
    about["dimension_separator"] = "." if about.get("dimension_separator") == "/" else "/"
    metadata.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"none of its 4 chunks is there, and the first should be"):
        open_image(path)
    assert main(["segment", str(path), "-o", str(tmp_path / "l.tif"), *METHOD]) == 1
    assert "a.zarr/0/0" in capsys.readouterr().err


def test_blocks_of_labels_that_take_no_file_are_no_loss(tmp_path):
    image = np.zeros((256, 256), np.uint16) + 100
    image[:128, :128] = cells()
    tifffile.imwrite(tmp_path / "a.tif", image)
    assert main(["segment", str(tmp_path / "a.tif"), "-o", str(tmp_path / "l.zarr"), *METHOD]) == 0
    found = open_image(tmp_path / "l.zarr")
    assert not found.notes
    assert count(np.asarray(found.read())) == 16


# -- sets of several files --------------------------------------------------------------------


def ome_set(folder, n=3):
    """Write an OME-TIFF of n files, a frame each."""
    folder.mkdir(exist_ok=True)
    names = [f"film_{i}.ome.tif" for i in range(n)]
    planes = "".join(
        f'<TiffData IFD="0" FirstT="{i}" FirstC="0" FirstZ="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:0000000{i}-0000-0000-0000-000000000000</UUID></TiffData>'
        for i, name in enumerate(names)
    )
    for i, name in enumerate(names):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:0000000{i}-0000-0000-0000-000000000000">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="128" SizeY="128" SizeZ="1" SizeC="1" SizeT="{n}">'
            f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / name, cells(i), description=xml, metadata=None)
    return names


def test_a_set_of_files_is_done_once_and_named(tmp_path):
    names = ome_set(tmp_path / "in")
    assert [one.name for one in find([tmp_path / "in"], tmp_path / "out")] == names[:1]
    found = open_image(tmp_path / "in" / names[1])
    assert found.axes == "TYX"
    assert found.notes == (
        "film_1.ome.tif is one image together with film_0.ome.tif, film_2.ome.tif.",
    )
    command = ["batch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *METHOD]
    assert main([*command, "--workers", "1"]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "batch.csv").read_text().splitlines()))
    assert [(one["file"], one["count"]) for one in rows] == [(names[0], "48")]
    assert "film_2.ome.tif" in rows[0]["notes"]


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_set_that_lacks_a_file_names_it(tmp_path, capsys, absent):
    names = ome_set(tmp_path / "in")
    (tmp_path / "in" / names.pop(absent)).unlink()
    for name in names:
        path = str(tmp_path / "in" / name)
        assert main(["segment", path, "-o", str(tmp_path / "l.tif"), *METHOD]) == 1
        assert f"of which film_{absent}.ome.tif is not there" in capsys.readouterr().err


# -- place, time and steps --------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".tif", ".zarr"])
def test_translation_and_scale_of_each_axis_stay(tmp_path, ending):
    data = np.stack([cells(i) for i in range(2)])[:, None]
    steps = [
        {"type": "scale", "scale": [10, 2, 0.2, 0.3]},
        {"type": "translation", "translation": [0, 4, 100.5, 7]},
    ]
    units = {"t": "second", "y": "micrometer", "x": "micrometer"}
    path = ome_zarr(tmp_path / "a.zarr", data, "tzyx", steps, units)
    out = tmp_path / f"l{ending}"
    assert main(["segment", str(path), "-o", str(out), *METHOD]) == 0
    world = open_image(out).world
    assert {axis: one.size for axis, one in world.items()} == {"T": 10, "Z": 2, "Y": 0.2, "X": 0.3}
    assert (world["Y"].origin, world["X"].origin, world["Z"].origin) == (100.5, 7, 4)
    assert world["T"].unit in ("s", "second")
    assert world["Z"].unit is None
    assert open_image(out).pixel_um == {"Y": 0.2, "X": 0.3}


@pytest.mark.parametrize("units", [{}, {"t": "second"}, {"t": "second", "y": "micrometer"}])
def test_the_scale_stays_where_few_axes_or_none_have_a_unit(tmp_path, units):
    data = np.stack([[cells(i)] for i in range(2)])[:, :, None]
    steps = [{"type": "scale", "scale": [10, 1, 0.5, 0.2, 0.2]}]
    path = ome_zarr(tmp_path / "a.zarr", data, "tczyx", steps, units)
    assert main(["segment", str(path), "-o", str(tmp_path / "l.zarr"), *METHOD]) == 0
    assert open_store(tmp_path / "l.zarr").scale[0] == (10, 0.5, 0.2, 0.2)


def test_the_frame_interval_stays(tmp_path):
    film = np.stack([cells(i) for i in range(3)])
    imagej = {"axes": "TYX", "finterval": 30.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "ij.tif", film, imagej=True, resolution=(2, 2), metadata=imagej)
    ome = {"axes": "TYX", "TimeIncrement": 2.5, "TimeIncrementUnit": "min"}
    tifffile.imwrite(tmp_path / "a.ome.tif", film, metadata=ome)
    for name, expected in (("ij.tif", Spot(30, "s")), ("a.ome.tif", Spot(2.5, "min"))):
        for ending in (".tif", ".zarr"):
            out = tmp_path / f"l{ending}"
            command = ["segment", str(tmp_path / name), "-o", str(out), "--overwrite", *METHOD]
            assert main(command) == 0
            found = open_image(out).world["T"]
            assert found.size == expected.size
            assert {"s": "s", "second": "s"}.get(found.unit, found.unit) == expected.unit


@pytest.mark.parametrize("step", [0.0, float("nan"), float("inf"), -2.0])
@pytest.mark.parametrize("axis", "tczyx")
def test_a_step_that_is_none_is_taken_for_1_and_said(tmp_path, axis, step):
    data = cells()[None, None, None]
    scale = [10, 1, 0.5, 0.2, 0.2]
    scale["tczyx".index(axis)] = step
    units = {"t": "second"} | dict.fromkeys("zyx", "micrometer")
    path = ome_zarr(tmp_path / "a.zarr", data, "tczyx", [{"type": "scale", "scale": scale}], units)
    found = open_image(path)
    assert "steps that are none" in " ".join(found.notes)
    stored = open_store(path)
    assert stored.scale[0]["tczyx".index(axis)] == 1
    if axis in "tc":
        assert found.pixel_um == {"Z": 0.5, "Y": 0.2, "X": 0.2}


# -- colours and numbers ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("planes", [3, 4])
def test_planes_taken_for_colours_are_said_and_may_be_named(tmp_path, planes, dtype):
    stack = np.stack([cells(i, bright=250) for i in range(planes)]).astype(dtype)
    with np.errstate(all="ignore"):
        tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", planarconfig="separate")
    (note,) = open_image(tmp_path / "a.tif").notes
    assert f"its {planes} planes are red, green, blue" in note
    assert "--axes ZYX" in note
    named = open_image(tmp_path / "a.tif", axes="ZYX")
    assert not named.notes
    assert_array_equal(named.read(), stack)


def test_files_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        tifffile.imwrite(tmp_path / f"t{number}.tif", cells())
    found = [one.name for one in find([tmp_path], None)]
    assert found == ["t1.tif", "t2.tif", "t10.tif"]


def test_labels_kept_as_whole_floats_are_labels(tmp_path, capsys):
    labels = np.zeros((32, 32), np.float32)
    labels[4:12, 4:12] = 3
    tifffile.imwrite(tmp_path / "l.tif", labels)
    assert main(["measure", str(tmp_path / "l.tif"), "-o", str(tmp_path / "t.csv")]) == 0
    assert "1 objects" in capsys.readouterr().out
    tifffile.imwrite(tmp_path / "l.tif", labels + 0.5)
    command = ["measure", str(tmp_path / "l.tif"), "-o", str(tmp_path / "t.csv"), "--overwrite"]
    assert main(command) == 1
    assert "astype" not in capsys.readouterr().err


def test_a_table_of_objects_tells_the_notes_that_measure_tells(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", cells())
    out = ["-o", str(tmp_path / "l.tif"), "--table", str(tmp_path / "t.csv")]
    assert main(["objects", str(tmp_path / "a.tif"), *out, "--method", "KMeans"]) == 0
    assert "The size of a pixel is not known" in capsys.readouterr().err


# -- words ------------------------------------------------------------------------------------


def test_a_dask_image_of_unknown_size_is_refused_in_words():
    image = dask.array.from_array(cells(), (64, 64))
    unknown = image[image.mean(1) > 0]
    with pytest.raises(ValueError, match=r"size of the image is not known .*compute_chunk_sizes"):
        segment(unknown, KMeans())


def test_a_pattern_below_a_folder_with_brackets_finds_its_images(tmp_path):
    folder = tmp_path / "plate [1] (a)"
    folder.mkdir()
    tifffile.imwrite(folder / "t1.tif", cells())
    for pattern in (folder / "*.tif", folder / "t[0-9].tif", tmp_path / "plate*" / "*.tif"):
        (found,) = find([str(pattern)], tmp_path)
        assert found.path == folder / "t1.tif"


def test_an_image_within_a_container_is_done(tmp_path):
    scale = [{"type": "scale", "scale": [1, 1]}]
    ome_zarr(tmp_path / "c.zarr" / "0", cells(), "yx", scale)
    (found,) = find([str(tmp_path / "c.zarr" / "0")], tmp_path / "out")
    assert found.path == tmp_path / "c.zarr" / "0"
    command = ["batch", str(tmp_path / "c.zarr" / "0"), "-o", str(tmp_path / "out"), *METHOD]
    assert main(command) == 0


def test_a_file_given_as_the_kind_of_output_names_the_right_option(capsys):
    assert main(["segment", "a.tif", "--output", "out.tif", "-o", "b.tif"]) == 2
    assert "where the labels go is named by -o out.tif" in capsys.readouterr().err


def test_a_codec_that_is_missing_is_named_with_its_cure(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", cells())

    def refuse(*_, **__):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile, "imread", refuse)
    with pytest.raises(ValueError, match=r"needs the package imagecodecs.*pip install imagecodecs"):
        open_image(tmp_path / "a.tif").read()


def test_the_options_namespace_has_the_setting_under_its_name():
    from napari_mmtseg.cli.parser import parse

    parsed = parse(["segment", "a.tif", "-o", "b.tif", "--kind", "objects"])
    assert isinstance(parsed, argparse.Namespace)
    assert parsed.method.output == "objects"
