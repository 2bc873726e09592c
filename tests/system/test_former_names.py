"""What scripts import by the names of before is what it was."""

import subprocess
import sys
from importlib import import_module

import pytest

from napari_mmtseg.system.former_names import FORMER


@pytest.mark.parametrize("former", FORMER)
def test_a_former_name_is_the_module_of_today(former):
    pytest.importorskip("napari" if former.startswith("_napari") else "numpy")
    assert import_module(f"napari_mmtseg.{former}") is import_module(
        f"napari_mmtseg.{FORMER[former]}"
    )


@pytest.mark.parametrize(
    "line",
    [
        "from napari_mmtseg.stores import StoredImage, open_image",
        "from napari_mmtseg.chunks import DamagedChunk, Guarded",
        "from napari_mmtseg.writing import Written, write_labels",
        "from napari_mmtseg.levels import Levels",
        "from napari_mmtseg.labelling import Segmentation",
        "from napari_mmtseg.library import Library",
        "from napari_mmtseg.labels.correcting import Change, delete, join, split",
        "from napari_mmtseg.model import Model, load",
        "import napari_mmtseg.writing as w; w.write_labels",
        "import napari_mmtseg.stores; napari_mmtseg.stores.open_image",
    ],
)
def test_documented_imports_of_before_work_in_a_fresh_process(line):
    subprocess.run([sys.executable, "-c", line], check=True)


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys, napari_mmtseg; "
        "assert 'zarr' not in sys.modules and 'napari_mmtseg.images.stores' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"napari_mmtseg\.nothing"):
        import_module("napari_mmtseg.nothing")
