"""What the pages on folders, the command line and clusters tell to type is executed."""

import ast
import re
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from benchmarks.plan import __main__ as plan
from napari_mmtseg.cli import image_commands, main
from napari_mmtseg.cli.parser import parse
from napari_mmtseg.images.image_files import open_image
from napari_mmtseg.samples import nuclei_stack

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.M | re.S)


def commands(page, language="sh"):
    lines = "\n".join(blocks(page, language)).splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


@pytest.fixture
def place(tmp_path, monkeypatch, spots):
    """A folder with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    stack = np.stack([np.roll(spots[:64, :64], shift, axis=0) for shift in range(5)])
    about = {"axes": "ZYX"}
    for name in ("stack.tif", "other.tif"):
        tifffile.imwrite(name, stack, metadata=about, photometric="minisblack")
    zarr.save_array("stack.zarr", stack)
    tifffile.imwrite("nuclei.tif", spots)
    tifffile.imwrite("truth.tif", (spots > 160).astype(np.uint8))
    tifffile.imwrite("tissue.tif", np.stack([spots, spots // 2, 255 - spots], -1))
    Path("images").mkdir()
    for number in range(3):
        tifffile.imwrite(f"images/{number}.tif", np.roll(spots, 5 * number, axis=1))
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # of dask's sockets, at their end
def test_the_commands_and_the_scripts_do_what_the_pages_say(place, capsys):
    told = commands("command_line.md") + commands("measuring.md") + commands("folders.md")
    assert len(told) >= 12
    for command in told:
        assert command[0] == "napari-mmtseg"
        if command[1] == "demo":
            continue  # it takes longer, and has a test of its own
        assert main(command[1:]) == 0, command
    assert open_image("other_labels.zarr").axes == "ZYX"
    made = {one.name for one in Path("results").iterdir()}
    assert {"batch.csv", "0_labels.tif", "0_objects.csv"} <= made
    capsys.readouterr()
    (script,) = blocks("folders.md", "python")
    exec(compile(script, "folders.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.count("state='kept'") == 3

    first, *others = blocks("cluster.md", "python")
    exec(compile(first, "cluster.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out
    assert len(others) == 2
    for script in others:
        ast.parse(script)
    for command in commands("cluster.md", "text"):
        assert parse(command[1:]).scheduler == "tcp://10.0.0.1:8786"


def test_the_plan_is_what_its_command_computes():
    assert plan.page(plan.known(), plan.Asked()) in (DOCS / "plan.md").read_text("utf-8")


def test_a_plan_grows_with_the_data_and_shrinks_with_the_cores():
    known = plan.known()
    rows = {name: figure for name, figure, _ in plan.cost(known, plan.Asked(terabytes=1.0))}
    hours = 0.5e12 / 1e6 * known.planes_s_per_mvoxel / 3600
    assert rows["core hours"] == f"{hours:,.0f}"
    assert rows["hours on 1,000 cores, if the storage keeps up"] == f"{hours / 1000:.1f}"


def test_the_demo_needs_neither_data_nor_a_window(tmp_path, capsys, monkeypatch):
    small = partial(nuclei_stack, (8, 96, 96), n_nuclei=8)
    monkeypatch.setattr(image_commands, "nuclei_stack", small)
    assert main(["demo", "-o", str(tmp_path / "demo"), "--json"]) == 0
    assert '"f1": ' in capsys.readouterr().out
    assert open_image(tmp_path / "demo" / "labels.tif").spacing == (0.8, 0.25, 0.25)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 1
    assert "--overwrite" in capsys.readouterr().err
