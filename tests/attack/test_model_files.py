"""Model files that chance or malice has changed are refused in a sentence, or right."""

import json
import random
import time

import numpy as np
import pytest

from napari_mmtseg import IIC, MMT, Kim, KMeans, load, train
from napari_mmtseg.model.tensor_file import digest_of, pack, unpack_arrays, unpack_header

MODELS = {
    "MMT": MMT(n_iterations=2, width=6, n_blocks=2),
    "Kim": Kim(n_iterations=2, width=5, n_blocks=1, precision="float64", output="areas"),
    "KMeans": KMeans(n_labels=3, n_restarts=1),
    "IIC": IIC(n_iterations=2, width=2, n_heads=1, n_overclusters=3),
}
IMAGE = np.random.default_rng(0).integers(0, 255, (12, 10), np.uint8)


@pytest.fixture(params=MODELS, scope="module")
def whole(request, tmp_path_factory):
    """The bytes of a model file."""
    path = tmp_path_factory.mktemp("whole") / "model.safetensors"
    train(IMAGE, MODELS[request.param]).save(path)
    return path.read_bytes()


# -- by chance --------------------------------------------------------------------------------


def flip(data, rng):
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut_off(data, rng):
    del data[rng.randrange(len(data)) :]


def append(data, rng):
    data += rng.randbytes(rng.choice([1, 8, 1000]))


def drop(data, rng):
    start = rng.randrange(len(data))
    del data[start : start + rng.choice([1, 8, 64])]


def double(data, rng):
    start, size = rng.randrange(len(data)), rng.choice([1, 8, 64])
    data[start:start] = data[start : start + size]


def move(data, rng):
    size = rng.choice([8, 64, 256])
    source, target = (rng.randrange(len(data)) for _ in range(2))
    data[target : target + size] = data[source : source + size]


def blank(data, rng):
    start, size = rng.randrange(len(data)), rng.choice([8, 512, 4096])
    data[start : start + size] = bytes(len(data[start : start + size]))


def scramble(data, rng):
    start, size = rng.randrange(len(data)), rng.choice([8, 64])
    data[start : start + size] = rng.randbytes(size)


def another_length(data, rng):
    length = rng.choice([0, 1, 2**20, 2**31, 2**63 - 1, 2**64 - 1, rng.randrange(len(data))])
    data[:8] = length.to_bytes(8, "little")


CHANCE = [flip, flip, cut_off, append, drop, double, move, blank, scramble, another_length]


def test_damage_is_always_found(whole, tmp_path, attacks):
    path = tmp_path / "model.safetensors"
    rng = random.Random(0)
    for number in range(attacks(350, 1200)):
        data = bytearray(whole)
        change = rng.choice(CHANCE)
        change(data, rng)
        if data != whole:
            path.write_bytes(data)
            assert not accepted(path), f"file {number}, {change.__name__}"


# -- by malice: the digest fits ---------------------------------------------------------------

NESTED = json.loads("[" * 400 + "]" * 400)
ODD = [None, True, -1, 0, 1, 2, 7, 2**31, 2**53, 10**18, 0.5, -1e300, 1e300, "", "auto", "cuda"]
ODD += ["float64", "float32", [], {}, [1], {"method": "MMT"}, NESTED, "x" * 10_000]
NUMBERS = [0, 1, -1, 2, 255, 2**31 - 1, 2**31, 2**62, -(2**62), 1e-30, 1e9, 1e38, 1e300]
NUMBERS += [np.nan, np.inf, -np.inf]


def an_odd_setting(header, arrays, rng):
    name = rng.choice(list(header["method"]))
    header["method"][name] = rng.choice(ODD)


def another_setting(header, arrays, rng):
    numbers = [k for k, v in header["method"].items() if isinstance(v, int | float)]
    name = rng.choice(numbers)
    header["method"][name] = type(header["method"][name])(rng.choice([0, 1, 2, 16, 64, 512]))


def an_odd_entry(header, arrays, rng):
    header[rng.choice([*header, "more"])] = rng.choice(ODD)


def odd_values(header, arrays, rng):
    name = rng.choice(list(arrays))
    value = arrays[name].reshape(-1)
    with np.errstate(all="ignore"):
        odd = np.array(rng.choice(NUMBERS)).astype(value.dtype)
    where = slice(None) if rng.random() < 0.3 else rng.randrange(len(value))
    value[where] = odd


def flipped_values(header, arrays, rng):
    name = rng.choice(list(arrays))
    raw = arrays[name].reshape(-1).view(np.uint8)
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)


def another_type(header, arrays, rng):
    name = rng.choice(list(arrays))
    with np.errstate(all="ignore"):
        arrays[name] = arrays[name].astype(rng.choice(["<f8", "<f4", "<i8", "?", "u1"]))


def another_shape(header, arrays, rng):
    name = rng.choice(list(arrays))
    value = arrays[name]
    ways = [value[None], value.ravel(), value.T.copy(), value.reshape(-1)[:-1]]
    ways += [np.repeat(value.ravel(), 2), np.zeros((0, 5)), np.zeros((2, 0, 3, 1), np.float32)]
    arrays[name] = rng.choice(ways)


def another_name(header, arrays, rng):
    name = rng.choice(list(arrays))
    value = arrays.pop(name)
    if rng.random() < 0.8:
        arrays[rng.choice(["more", "weights/", "groups", "weights/network3.x", name + "x"])] = value


def exchange(header, arrays, rng):
    one, other = rng.choices(list(arrays), k=2)
    arrays[one], arrays[other] = arrays[other].copy(), arrays[one].copy()


def other_counts(header, arrays, rng):
    for name in ("sizes", "classes", "colours", "groups", "weights/clusters", "weights/groups"):
        if name in arrays and arrays[name].ndim:  # another change may have exchanged two
            rows = rng.choice([slice(1, None), slice(0, 1), [0] * 3, [0] * 600])
            arrays[name] = arrays[name][rows].copy()


MALICE = [an_odd_setting, another_setting, an_odd_entry, odd_values, odd_values, flipped_values]
MALICE += [another_type, another_shape, another_name, exchange, other_counts]


def is_still_a_model(header, arrays):
    """Tell whether a second change would find what it changes."""
    method = header["method"]
    return isinstance(method, dict) and method and all(value.size for value in arrays.values())


@pytest.mark.filterwarnings("ignore:The image is unlike")
def test_forged_models_are_refused_or_right(whole, tmp_path, attacks):
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole)
    rng, taken = random.Random(1), 0
    for number in range(attacks(250, 800)):
        path.write_bytes(whole)
        with path.open("rb") as file:
            parts, header = unpack_header(file, len(whole))
            arrays = unpack_arrays(file, parts)
        changes = rng.choices(MALICE, k=rng.choice([1, 1, 2]))
        for change in changes:
            if is_still_a_model(header, arrays):
                change(header, arrays, rng)
        path.write_bytes(b"".join(pack(arrays, header)))
        told = f"file {number}, {[change.__name__ for change in changes]}"
        taken += accepted(path, told)
    assert taken  # otherwise the digest does not fit


def texts(header, rng):
    """Return a header's text with something odd in it."""
    entries = json.loads(header)
    name = rng.choice([one for one in entries if one != "__metadata__"])
    entry = entries[name]
    way = rng.randrange(8)
    if way == 0:
        entry["shape"] = rng.choice([[2**62], [-1], [1.5], ["1"], [True], None, [1] * 9, [[1]]])
    elif way == 1:
        entry["data_offsets"] = rng.choice([[0, 8], [8, 0], [-8, 0], [2**62, 2**63], [], None])
    elif way == 2:
        entry["dtype"] = rng.choice(["F16", "I8", "C64", "", None, [], 1, "f8", "O"])
    elif way == 3:
        entry["more"] = rng.choice([1, "code", []])
    elif way == 4:
        entries["__metadata__"] = rng.choice([{}, None, [], {"napari-mmtseg": 1}, "x"])
    elif way == 5:
        about = entries["__metadata__"]["napari-mmtseg"]
        deep = rng.choice(["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "NaN", "1e999", "\\ud800"])
        entries["__metadata__"]["napari-mmtseg"] = about.replace("true", deep).replace("0", deep)
    elif way == 6:
        return header[:1] + b'"' + name.encode() + b'":{},' + header[1:]  # one name twice
    else:
        place = rng.randrange(len(header))
        return header[:place] + rng.choice([b"[" * 5000, b"\xff", b"NaN", b'"']) + header[place:]
    return json.dumps(entries).encode()


def test_forged_headers_are_refused_or_right(whole, tmp_path, attacks):
    path = tmp_path / "model.safetensors"
    rng = random.Random(2)
    length = int.from_bytes(whole[:8], "little")
    for number in range(attacks(150, 500)):
        header = texts(whole[8 : 8 + length], rng)
        header += b" " * (-len(header) % 8)
        body = [len(header).to_bytes(8, "little"), header, whole[8 + length : -32]]
        path.write_bytes(b"".join([*body, digest_of(body)]))
        accepted(path, f"file {number}")


def test_a_hundred_thousand_entries_are_refused_at_once(tmp_path):
    path = tmp_path / "model.safetensors"
    for entries in (
        {str(i): 0 for i in range(60_000)},
        {str(i): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(15_000)},
    ):
        header = json.dumps({"__metadata__": {"napari-mmtseg": "{}"}, **entries}).encode()
        header += b" " * (-len(header) % 8)
        assert len(header) < 2**20
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        assert not accepted(path)


def accepted(path, told=""):
    """Tell whether a file is read, after a look at what its model then gives."""
    started = time.monotonic()
    model, refusal = None, ""
    try:
        model = load(path)
    except ValueError as error:
        refusal = str(error)
    assert time.monotonic() - started < 5, told  # a second, on a machine at rest
    if model is None:
        assert refusal.startswith(f"{path} is damaged or no model"), told
        assert refusal.endswith("take another copy of the file"), told
        assert len(refusal) < 500, told
        return False
    shape = (*IMAGE.shape, model.n_channels)
    image = np.resize(IMAGE[..., None], shape)
    labels, uncertainty = model.predict(
        image, axes="YXS" if model.is_rgb else "YXC", return_uncertainty=True
    )
    assert labels.shape == IMAGE.shape, told
    assert labels.min() >= 1, told
    assert np.isin(labels, model.label_of()).all() or model.method.output == "areas", told
    if uncertainty is not None:
        assert 0 <= uncertainty.min() <= uncertainty.max() <= 1, told
    return True
