"""Write the Python that repeats a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from napari_mmtseg.settings import Method


def as_python(
    method: Method,
    layers: Sequence[str],
    axes: str,
    *,
    multiscale: Collection[str] = (),
    spacing: Sequence[float] | None = None,
    guides: Mapping[str, str],
    uncertainty: bool,
) -> str:
    """Return a script for the napari console that repeats a run.

    Parameters
    ----------
    method : Method
        The settings.
    layers : sequence of str
        Names of the image layers.
    axes : str
        Axes of the image handed to `segment`.
    multiscale : collection of str
        Names of those layers that have several levels.
    spacing : sequence of three numbers, optional
        The voxel's size along Z, Y and X.
    guides : mapping of str to str
        Names of the Labels layers given as "scribbles" or "mask".
    uncertainty : bool
        Whether the uncertainty is wanted.
    """
    cls = type(method)
    together = len(layers) > 1
    changed = [s.name for s in cls.settings() if getattr(method, s.name) != s.default]
    settings = ", ".join(f"{name}={getattr(method, name)!r}" for name in changed)
    lines = ["import napari"]
    if together:
        lines.append("import numpy as np")
    lines += [
        "",
        f"from napari_mmtseg import {', '.join(sorted((cls.__name__, 'segment'), key=str.lower))}",
        *(["from napari_mmtseg.levels import Levels"] if multiscale and not together else []),
        "",
        "viewer = napari.current_viewer()",
    ]
    if together:
        names = ", ".join(repr(name) for name in layers)
        if multiscale:
            lines.append(f"layers = [viewer.layers[name] for name in ({names})]")
            lines.append(
                "channels = [one.data[0] if one.multiscale else one.data for one in layers]"
            )
        else:
            lines.append(f"channels = [viewer.layers[name].data for name in ({names})]")
        lines.append("image = np.stack(channels, axis=-1)")
    elif multiscale:
        lines.append(f"image = Levels(viewer.layers[{layers[0]!r}].data)")
    else:
        lines.append(f"image = viewer.layers[{layers[0]!r}].data")
    for argument, name in guides.items():
        lines.append(f"{argument} = viewer.layers[{name!r}].data")
    given = "".join(f", {argument}={argument}" for argument in guides)
    if spacing is not None:
        given = f", spacing={tuple(spacing)!r}{given}"
    call = f"segment(image, {cls.__name__}({settings}), axes={axes!r}{given}"
    if uncertainty:
        lines.append(f"labels, uncertainty = {call}, return_uncertainty=True)")
    else:
        lines.append(f"labels = {call})")
    lines.append("viewer.add_labels(labels)")
    return "\n".join(lines) + "\n"
