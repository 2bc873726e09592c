"""Sphinx: the site, with the settings tables made from the catalogue."""

from pathlib import Path

from napari_mmtseg import __version__
from napari_mmtseg.methods import METHODS, ObjectIIC, Taught

project = "napari-mmtseg"
author = "napari-mmtseg developers"
copyright = "2026, napari-mmtseg developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "amsmath"]
html_theme = "furo"
html_title = "napari-mmtseg"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False


def _range(setting):
    if setting.choices:
        return ", ".join(setting.choices)
    if setting.type is bool:
        return "True, False"
    zero = f"; 0 = {setting.zero}" if setting.zero else ""
    unit = f" {setting.unit}" if setting.unit else ""
    return f"{setting.ge:g} to {setting.le:g}{unit}{zero}"


def _settings_page():
    lines = ["# Settings", "", "Every method's settings, as the widgets and Python know them.", ""]
    for cls in (*METHODS.values(), Taught, ObjectIIC):
        lines += [f"## {cls.title}", "", f"{cls.summary} {cls.source}.", ""]
        lines += ["| Setting | Python | Default | Range | What it does |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for one in cls.settings():
            cells = (one.label, f"`{one.name}`", f"`{one.default!r}`", _range(one), one.help)
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        for name, values in cls.presets.items():
            listed = ", ".join(f"`{key}={value!r}`" for key, value in values.items())
            lines += [f"Preset `{name}`: {listed}.", ""]
    return "\n".join(lines)


_generated = Path(__file__).parent / "generated"
_generated.mkdir(exist_ok=True)
(_generated / "settings.md").write_text(_settings_page(), encoding="utf-8")
