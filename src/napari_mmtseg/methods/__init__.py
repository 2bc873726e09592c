"""The catalogue: every method with its settings, each declared once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_mmtseg.methods.classical import Felzenszwalb as Felzenszwalb
from napari_mmtseg.methods.classical import KMeans as KMeans
from napari_mmtseg.methods.iic import IIC as IIC
from napari_mmtseg.methods.iic import ObjectIIC as ObjectIIC
from napari_mmtseg.methods.networks import MMT as MMT
from napari_mmtseg.methods.networks import Kanezaki as Kanezaki
from napari_mmtseg.methods.networks import Kim as Kim
from napari_mmtseg.methods.networks import NetworkMethod as NetworkMethod
from napari_mmtseg.methods.refined_method import RefinedMethod as RefinedMethod
from napari_mmtseg.methods.refined_method import SpatialMethod as SpatialMethod
from napari_mmtseg.methods.taught import Taught as Taught
from napari_mmtseg.settings import Method

METHODS: dict[str, type[Method]] = {
    cls.__name__: cls for cls in (MMT, IIC, Kim, Kanezaki, KMeans, Felzenszwalb)
}
"""Every method for segmenting, in the order in which people meet them. A further one is one line
here, its dataclass in this folder and its file in `engine`: exports and widgets follow."""


def method_from_dict(data: Mapping[str, Any]) -> Method:
    """Make a method from the data that `Method.to_dict` gives.

    Raises
    ------
    ValueError, TypeError
        If the method or a setting is unknown, or a value is out of its range.
    """
    values = dict(data)
    name = values.pop("method", None)
    known: dict[str, type[Method]] = {
        **METHODS,
        "Taught": Taught,
    }  # what any of them becomes by strokes
    if name not in known:
        raise ValueError(f"The method must be one of {', '.join(known)}, got {name!r}")
    cls = known[name]
    unknown = sorted(set(values) - {one.name for one in cls.settings()})
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}")
    return cls(**values)
