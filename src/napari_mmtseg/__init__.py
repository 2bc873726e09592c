"""Segment microscopy images and stacks without labels and without pretrained weights."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_mmtseg.methods import METHODS
from napari_mmtseg.system.former_names import keep_former_names

if TYPE_CHECKING:
    from napari_mmtseg._version import __version__ as __version__
    from napari_mmtseg.grouping import Groups as Groups
    from napari_mmtseg.grouping import group_objects as group_objects
    from napari_mmtseg.labels.measurement import measure as measure
    from napari_mmtseg.labels.measurement_table import Table as Table
    from napari_mmtseg.labels.measurement_table import write_table as write_table
    from napari_mmtseg.methods import IIC as IIC
    from napari_mmtseg.methods import MMT as MMT
    from napari_mmtseg.methods import Felzenszwalb as Felzenszwalb
    from napari_mmtseg.methods import Kanezaki as Kanezaki
    from napari_mmtseg.methods import Kim as Kim
    from napari_mmtseg.methods import KMeans as KMeans
    from napari_mmtseg.methods import ObjectIIC as ObjectIIC
    from napari_mmtseg.methods import Taught as Taught
    from napari_mmtseg.model import Model as Model
    from napari_mmtseg.model import load as load
    from napari_mmtseg.output.outline_files import OutlineLabels as OutlineLabels
    from napari_mmtseg.output.outline_files import read_outlines as read_outlines
    from napari_mmtseg.output.outline_files import write_outlines as write_outlines
    from napari_mmtseg.segmentation import segment as segment
    from napari_mmtseg.segmentation import train as train

_HOME_OF = {
    "Groups": "grouping",
    "Model": "model",
    "ObjectIIC": "methods",
    "OutlineLabels": "output.outline_files",
    "Table": "labels.measurement_table",
    "Taught": "methods",
    "__version__": "_version",
    "group_objects": "grouping",
    "load": "model",
    "measure": "labels.measurement",
    "read_outlines": "output.outline_files",
    "segment": "segmentation",
    "train": "segmentation",
    "write_outlines": "output.outline_files",
    "write_table": "labels.measurement_table",
} | dict.fromkeys(METHODS, "methods")

__all__ = [*_HOME_OF]

keep_former_names()


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing the package stays instant."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
