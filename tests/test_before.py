"""What files, scripts and commands of before rely on is as it was: models, labels, names, settings.

`tests/data/before` holds ten images, models that an earlier version trained and saved (commit
056c057), the labels that it found with them, and the names that it had.
"""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import napari_mmtseg
from napari_mmtseg import cli, load, methods, metrics, segment

BEFORE = Path(__file__).parent / "data" / "before"
NAMES = json.loads((BEFORE / "before.json").read_text(encoding="utf-8"))
# Models meet images that they were not trained on, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:The image is unlike what the model was trained on")
PAIRS = [(name, image) for name, one in NAMES["models"].items() for image in one["images"]]


@pytest.fixture(scope="module")
def images():
    with np.load(BEFORE / "images.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def labels():
    with np.load(BEFORE / "labels.npz") as file:
        return dict(file)


@pytest.mark.parametrize(("name", "image"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
def test_a_model_of_before_finds_the_labels_of_before(name, image, images, labels):
    model = load(BEFORE / f"{name}.safetensors")
    axes, spacing = NAMES["axes"][image], NAMES["models"][name]["spacing"]
    found = model.predict(images[image], axes=axes, spacing=spacing)
    assert_array_equal(found, labels[f"{name}.{image}"])


@pytest.mark.parametrize("image", ["spots", "rgb", "time"])
def test_a_method_without_a_model_finds_the_labels_of_before(image, images, labels):
    found = segment(images[image], methods.Felzenszwalb(), axes=NAMES["axes"][image])
    assert_array_equal(found, labels[f"felzenszwalb.{image}"])


@pytest.mark.parametrize("name", NAMES["models"])
def test_a_model_of_before_is_saved_as_one_that_finds_the_same(name, images, tmp_path):
    one = NAMES["models"][name]
    image = one["images"][0]
    model = load(BEFORE / f"{name}.safetensors")
    model.save(tmp_path / "again.safetensors")
    again = load(tmp_path / "again.safetensors")
    given = {"axes": NAMES["axes"][image], "spacing": one["spacing"]}
    assert_array_equal(again.predict(images[image], **given), model.predict(images[image], **given))


def test_public_names_are_there():
    assert set(NAMES["napari_mmtseg"]) <= set(dir(napari_mmtseg))
    assert all(hasattr(napari_mmtseg, name) for name in NAMES["napari_mmtseg"])
    assert set(NAMES["metrics"]) <= set(metrics.__all__)


@pytest.mark.parametrize("name", NAMES["methods"])
def test_settings_and_presets_are_as_they_were(name):
    cls, before = getattr(napari_mmtseg, name), NAMES["methods"][name]
    assert before["settings"].items() <= {one.name: one.default for one in cls.settings()}.items()
    for preset, settings in before["presets"].items():
        assert settings.items() <= cls.preset(preset).to_dict().items()
        assert methods.method_from_dict(settings) == cls.preset(preset)


@pytest.mark.parametrize("command", NAMES["commands"])
def test_commands_and_their_options_are_as_they_were(command, capsys):
    with contextlib.suppress(SystemExit):
        cli.main([command, "--help"])
    told = capsys.readouterr().out
    for option in NAMES["commands"][command]:
        assert option in told
