"""Write the Python that repeats the run behind a result, from what its layer records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_mmtseg.methods import method_from_dict

Record = Mapping[str, Any]
"""How a result was made; see `provenance.record_of`."""


def as_python(record: Record, name: str) -> str:
    """Return a script for the napari console that repeats a run and adds its layers.

    Parameters
    ----------
    record : mapping
        What the result's layer holds under the plugin's key.
    name : str
        What to call the labels.
    """
    script = _Script()
    labels = script.labels(record)
    script.show(record, labels, name)
    return script.text()


class _Script:
    """Lines, and what they import."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._names: set[str] = set()
        self._others: set[str] = set()

    def text(self) -> str:
        """Put the imports before the lines."""
        top = sorted({"import napari", *(one for one in self._others if one[0] == "i")})
        above = sorted(one for one in self._others if one[0] == "f" and "napari_mmtseg" not in one)
        ours = [f"from napari_mmtseg import {', '.join(sorted(self._names, key=str.lower))}"]
        ours += sorted(one for one in self._others if "napari_mmtseg" in one)
        head = [*above, *([""] if above else []), *top, "", *ours]
        return "\n".join([*head, "", "viewer = napari.current_viewer()", *self._lines]) + "\n"

    def labels(self, record: Record) -> str:
        """Find the labels; returns what they are called, in the order of the viewer's axes."""
        self._image(record)
        where, masked = _where(record), ", mask=mask" * ("mask" in record.get("guides", {}))
        doubt = ", return_uncertainty=True" * bool(record.get("uncertainty"))
        found = "labels, uncertainty" if doubt else "labels"
        told = record.get("labels")
        count = record.get("n_labels") if told is None else None
        changed = told is not None or count is not None or record.get("object_at") is not None
        if record.get("model") is None and not changed:
            self._call(f"{found} = segment", record, doubt)
        else:
            self._model(record)
            if record.get("model") is not None:
                self._image(record)  # which may be another than the model's
            if doubt or (count is None and told is None):
                self._lines.append(f"{found} = model.predict(image, {where}{masked}{doubt})")
            if count is not None:
                self._lines.append(
                    f"labels = model.predict(image, {where}{masked}, n_labels={count})"
                )
            if told is not None:
                self._relabel(told)
                self._lines.append(f"labels = model.predict(image, {where}{masked})")
        return "labels"

    def show(self, record: Record, labels: str, name: str) -> None:
        """Add the layers where their image is."""
        at = _kept_channel(record)
        place = _place(record.get("place", {}))
        options = "" if not place else ", **place"
        if place:
            listed = ", ".join(f"{key}={value!r}" for key, value in place.items())
            self._lines.append(f"place = dict({listed})")
        index = "" if at is None else f"[{':, ' * at}None]"
        names = (record.get("labels") or {}).get("names")
        if names and record["settings"].get("output", "classes") == "classes":
            columns = {"index": [int(one) for one in names], "name": [*names.values()]}
            options += f", features={columns!r}"
        self._lines.append(f"viewer.add_labels({labels}{index}, name={name!r}{options})")
        if record.get("uncertainty"):
            options = ", **place" * bool(place)
            self._lines.append(
                f"viewer.add_image(uncertainty{index}, name={name + ' uncertainty'!r}, "
                f"rgb=False, contrast_limits=(0, 1), colormap='inferno', visible=False{options})"
            )

    def _model(self, record: Record) -> None:
        """Train the model, or take it from where the run took it, with what was said of it."""
        source, where = record.get("model"), _where(record)
        guides = record.get("guides", {})
        if source is None:
            self._call("model = train", record, "")
        elif "file" in source:
            self._names.add("load")
            self._lines.append(f"model = load({source['file']!r})")
        else:
            self._image(source["made"])
            self._model(source["made"])
            self._relabel(source["made"].get("labels"))
        if source is not None and "scribbles" in guides:
            self._image(record)
            self._lines.append(
                f"model = model.with_classes(image, scribbles, axes={record['axes']!r})"
            )
        at = record.get("object_at")
        if at is not None:
            channel = _kept_channel(record)
            at = [int(one) for i, one in enumerate(at) if i != channel]
            masked = ", mask=mask" * ("mask" in guides)
            self._lines.append(f"model = model.with_objects(image, {tuple(at)!r}, {where}{masked})")
        diameter = record["settings"].get("diameter_px", 0.0)
        if diameter and (at is not None or source is not None):
            self._others.add("from dataclasses import replace")
            self._lines.append(
                f"model = replace(model, method=replace(model.method, diameter_px={diameter!r}))"
            )

    def _relabel(self, told: Mapping[str, Any] | None) -> None:
        """Join, part and name the labels as the user has done."""
        if told is not None:
            names = {int(label): name for label, name in told["names"].items()}
            given = f", names={names!r}" if names else ""
            self._lines.append(f"model = model.with_labels({told['label_of']!r}{given})")

    def _call(self, called: str, record: Record, doubt: str) -> None:
        """Call `train` or `segment` with the settings and all that guides them."""
        self._names |= {called.split()[-1], record["settings"]["method"]}
        given = "".join(f", {argument}={argument}" for argument in record.get("guides", {}))
        stopped = record.get("stopped")
        if stopped:  # the labels are all found, but training ends where it was stopped
            given += f", on_step=lambda step: step.phase == 'training' and step.done >= {stopped}"
        self._lines.append(
            f"{called}(image, {_method(record['settings'])}, {_where(record)}{given}{doubt})"
        )

    def _image(self, record: Record) -> None:
        """Define the image and what guides the method."""
        names, coloured = record["image"], record.get("rgb") or [False] * len(record["image"])
        levels = record.get("levels") or [False] * len(names)
        lines, part = [], _slices(record.get("part"))
        if len(names) == 1 and levels[0]:
            if not part:
                self._others.add("from napari_mmtseg.images.levels import Levels")
            whole = f"viewer.layers[{names[0]!r}].data"
            lines.append(f"image = {whole}[0]{part}" if part else f"image = Levels({whole})")
        elif len(names) == 1:
            lines.append(f"image = viewer.layers[{names[0]!r}].data{part}")
        else:
            self._others.add("import numpy as np")
            parts = []
            for name, rgb, several in zip(names, coloured, levels, strict=True):
                one = f"viewer.layers[{name!r}].data" + "[0]" * bool(several) + part
                parts.append(one if rgb else f"{one}[..., None]")
            lines.append(f"image = np.concatenate([{', '.join(parts)}], axis=-1)")
        for key, one in record.get("guides", {}).items():
            if one.get("shapes"):
                self._others.add("from napari_mmtseg._napari.layers.image_part import mask_of")
            lines.append(f"{key} = {_guide(one, record)}")
        if self._lines[-len(lines) :] != lines:
            self._lines += lines


def _guide(one: Mapping[str, Any], record: Record) -> str:
    """Write how a layer is taken as strokes or mask."""
    axes = _layer_axes(record)
    pairs = zip(axes, record.get("part") or [], strict=False)
    part = _slices([span for axis, span in pairs if axis != "C"])
    if one.get("shapes"):
        image = f"viewer.layers[{record['image'][0]!r}]"
        return f"mask_of(viewer.layers[{one['layer']!r}], {image}, {axes!r}){part}"
    data = f"viewer.layers[{one['layer']!r}].data"
    at = one.get("channels")
    return f"{data}{part}" if at is None else f"{data}.max(axis={int(at)}){part}"


def _slices(part: Sequence[Sequence[int]] | None) -> str:
    return "" if not part else f"[{', '.join(f'{int(a)}:{int(b)}' for a, b in part)}]"


def _layer_axes(record: Record) -> str:
    """Return the axes of the first layer, without its colours."""
    axes = str(record["axes"]).replace("S", "")
    return axes[:-1] if len(record["image"]) > 1 else axes


def _where(record: Record) -> str:
    spacing = record.get("spacing")
    told = "" if spacing is None else f", spacing={tuple(spacing)!r}"
    return f"axes={record['axes']!r}{told}"


def _method(settings: Mapping[str, Any]) -> str:
    cls = type(method_from_dict(settings))
    changed = [one.name for one in cls.settings() if settings[one.name] != one.default]
    return f"{cls.__name__}({', '.join(f'{name}={settings[name]!r}' for name in changed)})"


def _kept_channel(record: Record) -> int | None:
    """Return which axis of the layers is that of the channels, if they have one."""
    several = len(record["image"]) > 1
    at = -1 if several else str(record["axes"]).find("C")
    return at if at > 0 else None


def _place(place: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what napari would take anyway."""
    ndim = len(place.get("scale", ()))
    eye = [[float(i == j) for j in range(ndim + 1)] for i in range(ndim + 1)]
    plain = {
        "scale": [1.0] * ndim,
        "translate": [0.0] * ndim,
        "rotate": [row[:ndim] for row in eye[:ndim]],
        "shear": [0.0] * (ndim * (ndim - 1) // 2),
        "affine": eye,
        "units": ["pixel"] * ndim,
        "axis_labels": [str(i) for i in range(-ndim, 0)],
    }
    return {key: value for key, value in place.items() if value != plain[key]}
