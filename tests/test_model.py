"""Model files: kept whole, and refused when they are not."""

import json
import os

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from numpy.testing import assert_array_equal

from napari_mmtseg import Kim, KMeans, Model, load, train


@pytest.fixture(params=[Kim(n_iterations=2, width=6, n_blocks=2), KMeans()], ids=["Kim", "KMeans"])
def path(request, gray, tmp_path):
    """A model file."""
    path = tmp_path / "model.safetensors"
    train(gray, request.param).save(path)
    return path


def rewrite(path, change):
    """Write a model file again with its header and arrays changed."""
    with safetensors.safe_open(str(path), framework="numpy") as file:
        header = json.loads(file.metadata()["napari-mmtseg"])
        arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
    change(header, arrays)
    data = safetensors.numpy.save(arrays, metadata={"napari-mmtseg": json.dumps(header)})
    path.write_bytes(data)


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
    "weights of another shape": lambda header, arrays: [
        arrays.update({name: value[..., :0]})
        for name, value in arrays.items()
        if value.ndim > 1 and name.startswith("weights/")
    ],
}


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
