"""Model files: kept whole, and refused when they are not."""

import dataclasses
import json
import os
import time
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from numpy.testing import assert_array_equal

from napari_mmtseg import MMT, Kim, KMeans, Model, load, segment, train
from napari_mmtseg.model.model_file import arrays_of
from napari_mmtseg.model.tensor_file import pack, unpack_arrays, unpack_header


@pytest.fixture(params=[Kim(n_iterations=2, width=6, n_blocks=2), KMeans()], ids=["Kim", "KMeans"])
def path(request, gray, tmp_path):
    """A model file."""
    path = tmp_path / "model.safetensors"
    train(gray, request.param).save(path)
    return path


def rewrite(path, change):
    """Write a model file again with its header and arrays changed, under a digest that fits."""
    with path.open("rb") as file:
        parts, header = unpack_header(file, path.stat().st_size)
        arrays = unpack_arrays(file, parts)
    change(header, arrays)
    path.write_bytes(b"".join(pack(arrays, header)))


def test_saving_never_replaces_a_file_unasked(path, gray):
    model = load(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        model.save(path)
    assert path.read_bytes() == before
    model.save(path, overwrite=True)
    assert os.listdir(path.parent) == [path.name]
    assert_array_equal(Model.load(path).predict(gray), model.predict(gray))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model file .*nothing"):
        load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="damaged or no model"):
        load(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    for data in (
        b"\x80\x04\x95pickled",
        b"not a model at all",
        safetensors.numpy.save({"weight": np.zeros(3)}),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="damaged or no model"):
            load(path)


DAMAGE = {
    "later format": lambda header, arrays: header.update(format=99),
    "no format": lambda header, arrays: header.pop("format"),
    "unknown method": lambda header, arrays: header["method"].update(method="UNet"),
    "method without a model": lambda header, arrays: header.update(
        method={"method": "Felzenszwalb"}
    ),
    "unknown setting": lambda header, arrays: header["method"].update(depth=3),
    "setting out of range": lambda header, arrays: header["method"].update(seed=-1),
    "setting of another type": lambda header, arrays: header["method"].update(seed="1"),
    "no method": lambda header, arrays: header.update(method=None),
    "sizes missing": lambda header, arrays: arrays.pop("sizes"),
    "sizes too short": lambda header, arrays: arrays.update(sizes=arrays["sizes"][1:]),
    "other channels": lambda header, arrays: arrays.update(
        colours=np.zeros((len(arrays["sizes"]), 3), np.float32)
    ),
    "no clusters": lambda header, arrays: arrays.update(
        sizes=arrays["sizes"][:0], classes=arrays["classes"][:0], colours=arrays["colours"][:0]
    ),
    "scaling missing": lambda header, arrays: arrays.pop("scaling/low"),
    "scaling of another shape": lambda header, arrays: arrays.update({"scaling/high": np.ones(2)}),
    "weights missing": lambda header, arrays: [
        arrays.pop(name) for name in list(arrays) if name.startswith("weights/")
    ],
    "weights not finite": lambda header, arrays: _spoil(arrays, np.nan),
    "setting too large for a float": lambda header, arrays: header["method"].update(
        {_a_setting(header, float): 10**18}
    ),
    "setting of 400 digits": lambda header, arrays: header["method"].update(seed=10**400),
    "RGB with one channel": lambda header, arrays: header.update(is_rgb=True),
    "RGB perhaps": lambda header, arrays: header.update(is_rgb=0),
    "more than a header": lambda header, arrays: header.update(code="print()"),
    "earlier format": lambda header, arrays: header.update(format=1),
    "scaling not finite": lambda header, arrays: arrays["scaling/low"].fill(np.nan),
    "scaling upside down": lambda header, arrays: arrays["scaling/low"].fill(1e9),
    "scaling too wide": lambda header, arrays: [
        arrays["scaling/low"].fill(-1.5e308),
        arrays["scaling/high"].fill(1.5e308),
    ],
    "colours not finite": lambda header, arrays: arrays["colours"].fill(np.inf),
    "colours out of range": lambda header, arrays: arrays["colours"].fill(2),
    "negative sizes": lambda header, arrays: arrays["sizes"].fill(-1),
    "sizes of another type": lambda header, arrays: arrays.update(
        sizes=arrays["sizes"].astype(np.float64)
    ),
    "classes larger than labels can be": lambda header, arrays: arrays["classes"].fill(2**31),
    "negative classes": lambda header, arrays: arrays["classes"].fill(-1),
    "an array more": lambda header, arrays: arrays.update(more=np.zeros(3)),
    "clusters out of range": lambda header, arrays: arrays.update(
        {"weights/clusters": arrays["weights/clusters"] + 10**7}
    ),
    "weights of another shape": lambda header, arrays: [
        arrays.update({name: value[..., :0]})
        for name, value in arrays.items()
        if value.ndim > 1 and name.startswith("weights/")
    ],
}


def _a_setting(header, kind):
    return next(name for name, value in header["method"].items() if type(value) is kind)


def _spoil(arrays, value):
    name = next(n for n, a in arrays.items() if n.startswith("weights/") and a.dtype.kind == "f")
    arrays[name] = np.full_like(arrays[name], value)


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_damaged_models_are_refused_with_the_files_name(path, change):
    rewrite(path, change)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or no model"):
        load(path)


def test_an_untouched_rewrite_is_read(path, gray):
    before = load(path).predict(gray)
    rewrite(path, lambda header, arrays: None)
    assert_array_equal(load(path).predict(gray), before)


def test_another_number_of_clusters_than_the_weights_have_is_refused(path):
    def drop(header, arrays):
        for name in ("sizes", "classes", "colours"):
            arrays[name] = arrays[name][1:]

    rewrite(path, drop)
    with pytest.raises(ValueError, match="damaged or no model"):
        load(path)


def test_every_array_of_a_model_is_declared(path):
    model = load(path)
    names = {one.name for one in dataclasses.fields(Model)}
    declared = {name.partition("/")[0] for name in arrays_of(model.method, model.is_rgb)}
    assert declared | {"method", "is_rgb", "names"} == names


@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.6, 0.9, 1.0])
def test_a_flipped_bit_is_found(path, place):
    data = bytearray(path.read_bytes())
    data[round(place * (len(data) - 1))] ^= 4
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged or no model"):
        load(path)


def test_the_file_is_a_safetensors_file(path):
    arrays = safetensors.numpy.load_file(path)
    model = load(path)
    assert_array_equal(arrays["colours"], model.colours)
    assert_array_equal(arrays["sizes"], model.sizes)


def test_an_earlier_format_says_to_train_again(path):
    header = {"format": 1, "method": KMeans().to_dict(), "is_rgb": False}
    metadata = {"napari-mmtseg": json.dumps(header)}
    safetensors.numpy.save_file({"sizes": np.ones(3, np.int64)}, path, metadata)
    with pytest.raises(ValueError, match=r"its format is 1, this version reads 2\); train again"):
        load(path)


def test_networks_that_are_not_in_the_file_take_no_memory(path):
    def widen(header, arrays):
        header["method"].update(width=512, n_blocks=16)
        arrays["weights/halves"] = np.zeros(512, np.int64)

    if isinstance(load(path).method, Kim):
        rewrite(path, widen)
        _refused_with_little_memory(path)


def test_a_header_of_large_arrays_takes_no_memory(tmp_path):
    path = tmp_path / "model.safetensors"
    entry = {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}
    header = json.dumps({"__metadata__": {"napari-mmtseg": "{}"}, "sizes": entry}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    _refused_with_little_memory(path)


def test_a_file_that_pretends_to_be_huge_is_not_read(tmp_path):
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(2**36)
    _refused_with_little_memory(path)


def _refused_with_little_memory(path):
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(ValueError, match="damaged or no model"):
        load(path)
    assert time.monotonic() - started < 5
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_too_little_memory_is_no_damage(path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("napari_mmtseg.model.model_file.unpack_arrays", fail)
    with pytest.raises(MemoryError, match=r"too little memory to read .*model\.safetensors"):
        load(path)


def test_a_model_that_could_not_be_read_is_not_saved(path, tmp_path):
    model = load(path)
    model = dataclasses.replace(model, colours=model.colours * np.float32(np.nan))
    with pytest.raises(ValueError, match=r"colours holds values out of their range.*train again"):
        model.save(tmp_path / "other.safetensors")
    assert os.listdir(tmp_path) == [path.name]


# -- class numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", [MMT(n_iterations=2), KMeans()], ids=["MMT", "KMeans"])
def test_the_largest_class_takes_no_table(gray, method):
    model = train(gray, method)
    named = model.with_classes(gray, strokes(2**31 - 1))
    assert set(np.unique(named.predict(gray))) <= {1, 2**31 - 1}
    if method.takes_scribbles:
        labels = segment(gray, method, scribbles=strokes(2**31 - 1))
        assert labels.max() == 2**31 - 1


def test_a_class_too_large_for_labels_is_refused(gray):
    model = train(gray, KMeans())
    for number in (2**31, 2**40):
        with pytest.raises(ValueError, match=f"1 to 2147483647, got {number}: paint that class"):
            model.with_classes(gray, strokes(number))
    with pytest.raises(ValueError, match="got -1"):
        model.with_classes(gray, strokes(-1))


def strokes(second):
    """Paint class 1 on the ground and another one on a disc."""
    painted = np.zeros((24, 32), np.int64)
    painted[:2, :20] = 1
    painted[8:10, 7:12] = second
    return painted


def test_a_model_of_a_reduced_image_is_read_again(gray, tmp_path):
    model = train(gray, Kim(n_iterations=2, width=6, n_blocks=2, reduction=3))
    model.save(tmp_path / "reduced.safetensors")
    again = load(tmp_path / "reduced.safetensors")
    assert_array_equal(again.predict(gray), model.predict(gray))
