"""Modules that users import by the names of before: the same modules in the rooms of today."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_PACKAGE = "napari_mmtseg."
FORMER = {
    "_napari.regions": "_napari.layers.image_part",  # in scripts that the window has written
    "chunks": "images.chunks",
    "labelling": "prediction.label_image",
    "labels.correcting": "labels.corrections",
    "levels": "images.levels",
    "library": "model.library",
    "stores": "images.stores",
    "writing": "output.ome_zarr",
}
"""Those that the documentation named, and where they are by now."""


def keep_former_names() -> None:
    """Let the names of before be imported; none of these modules is until someone does."""
    if not any(isinstance(one, _FormerNames) for one in sys.meta_path):
        sys.meta_path.append(_FormerNames())


class _FormerNames(MetaPathFinder, Loader):
    """Finds a module of before as that of today, the very same one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_PACKAGE) or fullname[len(_PACKAGE) :] not in FORMER:
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # an empty one, which stands in until the next step

    def exec_module(self, module: ModuleType) -> None:
        # From here on the name stands for the module itself, so that nothing exists twice.
        now = import_module(_PACKAGE + FORMER[module.__name__[len(_PACKAGE) :]])
        sys.modules[module.__name__] = now
