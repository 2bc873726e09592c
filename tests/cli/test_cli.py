"""The command line: made from the declarations, exact, quick to start, and clear when it fails."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_mmtseg import KMeans, load, measure, segment
from napari_mmtseg.cli import main
from napari_mmtseg.cli.parser import flag_of, parse
from napari_mmtseg.images.image_files import open_image
from napari_mmtseg.methods import METHODS

FEW = ["--n-iterations", "3"]


@pytest.fixture
def image(tmp_path, spots, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("cells.tif", spots)
    return spots


def run(*told):
    return main([str(one) for one in told])


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_is_an_option_with_its_own_check(name):
    told = ["segment", "a.tif", "-o", "b.tif", "--method", name]
    for one in METHODS[name].settings():
        value = one.choices[-1] if one.choices else one.default
        text = [flag_of(one), str(value)]
        if one.type is bool:
            text = [f"--no-{flag_of(one)[2:]}"]
            value = False
        parsed = parse([*told, "--preset", "default", *text])
        assert getattr(parsed.method, one.name) == value
        assert type(parsed.method) is METHODS[name]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["--n-labels", "1000"], "must lie in 0 to 512, got 1000"),
        (["--n-labels", "few"], "must be a whole number, got 'few'"),
        (["--method", "magic"], "it is one of MMT, IIC"),
        (["--preset", "magic"], "has the presets default"),
        (["--method", "KMeans", "--continuity", "2"], "unrecognized arguments: --continuity 2"),
        (["--spacing", "-1", "1"], "a size is a number above 0"),
    ],
)
def test_what_is_not_understood_is_said_with_code_2(told, says, capsys):
    assert run("segment", "a.tif", "-o", "b.tif", *told) == 2
    assert says in capsys.readouterr().err


def test_every_command_has_help_worth_reading(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    commands = re.findall(r"^    (\w+) ", text, re.MULTILINE)
    assert len(commands) == 11
    for one in commands:
        assert run(one, "--help") == 0
        assert len(capsys.readouterr().out) > 200
    assert run("methods", "Kim") == 0
    told = capsys.readouterr().out
    assert all(flag_of(one) in told for one in METHODS["Kim"].settings())
    assert run("methods", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == set(METHODS)


def test_help_and_methods_start_without_what_computes():
    code = (
        "import sys\nfrom napari_mmtseg.cli import main\nmain(['methods', 'MMT'])\n"
        "main(['batch', '--help'])\nloaded = {'torch', 'numpy', 'skimage', 'sklearn', 'dask'}\n"
        "print(sorted(loaded & set(sys.modules)))\nimport time\nprint(time.process_time())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded, seconds = done.stdout.splitlines()[-2:]
    assert loaded == "[]", done.stderr
    assert float(seconds) < 0.3


def test_segment_predict_and_train_give_what_python_gives(image, capsys):
    method = KMeans(n_labels=3, seed=2)
    told = ["--method", "kmeans", "--n-labels", "3", "--seed", "2"]
    assert run("segment", "cells.tif", "-o", "a.tif", "--save-model", "m.safetensors", *told) == 0
    assert capsys.readouterr().out == "a.tif: 3 labels\n"
    expected = segment(image, method)
    np.testing.assert_array_equal(open_image("a.tif").read(), expected)
    assert run("predict", "cells.tif", "--model", "m.safetensors", "-o", "p.zarr", "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["command"], outcome["n_labels"]) == ("predict", 3)
    np.testing.assert_array_equal(open_image("p.zarr").read(), expected)
    assert run("train", "cells.tif", "cells.tif", "-o", "two.safetensors", "-q", *told) == 0
    assert load("two.safetensors").method == method
    assert capsys.readouterr().out == ""


def test_objects_are_found_measured_and_scored(image, capsys):
    told = ["--method", "KMeans", "--spacing", "0.5", "0.5", "--table", "t.csv"]
    assert run("objects", "cells.tif", "-o", "o.tif", *told) == 0
    labels = open_image("o.tif")
    assert labels.pixel_size == (0.5, 0.5)
    assert labels.read().max() == 4
    assert "4 objects" in capsys.readouterr().out
    assert run("measure", "o.tif", "--image", "cells.tif", "-o", "m.csv", "-q") == 0
    wanted = measure(labels.read(), image)
    assert len(Path("m.csv").read_text().splitlines()) == 1 + wanted.n_rows
    assert run("compare", "o.tif", "o.tif", "--objects", "--json") == 0
    assert json.loads(capsys.readouterr().out)["scores"]["f1"] == 1
    assert run("compare", "o.tif", "o.tif") == 0
    assert "covering" in capsys.readouterr().out


def test_uncertainty_and_guides_are_files_too(image, capsys):
    strokes = np.zeros(image.shape, np.uint8)
    strokes[17, 12:18], strokes[:3, :40] = 2, 1
    tifffile.imwrite("strokes.tif", strokes)
    tifffile.imwrite("mask.tif", (np.indices(image.shape)[1] < 60).astype(np.uint8))
    told = ["--scribbles", "strokes.tif", "--mask", "mask.tif", "--uncertainty", "u.tif", *FEW]
    assert run("segment", "cells.tif", "-o", "a.tif", "-q", *told) == 0
    assert not open_image("a.tif").read()[:, 60:].any()
    assert open_image("u.tif").read().dtype == np.float32


def test_failures_are_a_sentence_and_code_1_before_any_work(image, capsys):
    said = {}
    for told in (
        ["segment", "none.tif", "-o", "b.tif"],
        ["segment", "cells.tif", "-o", "b.jpg"],
        ["segment", "cells.tif", "-o", "cells.tif"],
        ["segment", "cells.tif", "-o", "nowhere/b.tif"],
        ["predict", "cells.tif", "--model", "none.safetensors", "-o", "b.tif"],
        ["predict", "cells.tif", "--model", "cells.tif", "-o", "b.tif"],
        ["batch", "nothing/*.tif"],
        ["batch", "cells.tif", "--model", "m.safetensors", "--seed", "3"],
    ):
        assert run(*told) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        said[" ".join(told)] = err
    assert "must end in .tif or .tiff or .zarr" in said["segment cells.tif -o b.jpg"]
    assert "--overwrite" in said["segment cells.tif -o cells.tif"]
    assert "leave --seed" in said["batch cells.tif --model m.safetensors --seed 3"]


def test_batch_prints_a_line_of_json_for_each_file(image, capsys, tmp_path):
    (tmp_path / "bad.tif").write_text("no")
    told = ["batch", "*.tif", "-o", "out", "--method", "KMeans", "--output", "objects", "--json"]
    assert run(*told) == 1
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert {one["file"]: one["state"] for one in lines[:-1]} == {
        "bad.tif": "failed",
        "cells.tif": "done",
    }
    assert lines[-1]["counts"] == {"failed": 1, "done": 1}
    assert "bad.tif is damaged" in err
    (tmp_path / "bad.tif").unlink()
    assert run(*told) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["state"] == "kept"


def test_the_program_is_installed_under_its_name():
    from importlib.metadata import entry_points

    found = entry_points(group="console_scripts", name="napari-mmtseg")
    for one in found:
        assert one.load() is main
    done = subprocess.run(
        [sys.executable, "-m", "napari_mmtseg", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("napari-mmtseg ")
