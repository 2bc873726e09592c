"""What importing brings along, and what the package can do without."""

import subprocess
import sys

WITHOUT_GUI = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"napari", "qtpy", "PyQt6", "PySide6", "magicgui", "superqt"}:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_no_torch_and_no_gui():
    code = WITHOUT_GUI + "import napari_mmtseg; print('torch' in sys.modules)"
    assert run(code).strip() == "False"


def test_the_declarations_and_the_widget_need_no_torch():
    code = """
import sys
sys.modules["torch"] = None
import napari_mmtseg.methods, napari_mmtseg.metrics, napari_mmtseg._napari.widgets.segment
"""
    run(code)


def test_everything_but_the_napari_side_works_without_a_gui():
    code = (
        WITHOUT_GUI
        + """
import importlib, pkgutil
import numpy as np
import napari_mmtseg
for found in pkgutil.walk_packages(napari_mmtseg.__path__, "napari_mmtseg."):
    if "_napari" not in found.name:
        importlib.import_module(found.name)
image = np.zeros((16, 16)); image[4:12, 4:12] = 1
labels = napari_mmtseg.segment(image, napari_mmtseg.MMT(n_iterations=3, width=4))
print(labels.shape)
"""
    )
    assert run(code).strip() == "(16, 16)"


def test_a_run_loads_nothing_that_takes_long_and_is_not_needed():
    code = """
import sys
import numpy as np
import napari_mmtseg
image = np.zeros((16, 16)); image[4:12, 4:12] = 1
for method in (napari_mmtseg.MMT, napari_mmtseg.Kim, napari_mmtseg.Kanezaki):
    napari_mmtseg.segment(image, method(n_iterations=3, width=4))
print({"sklearn", "pandas", "torch._dynamo", "napari"} & {*sys.modules})
"""
    assert run(code).strip() == "set()"


def test_every_public_name_can_be_imported():
    import napari_mmtseg

    for name in napari_mmtseg.__all__:
        assert getattr(napari_mmtseg, name) is not None
    assert callable(napari_mmtseg.segment), "not the module of that name"
