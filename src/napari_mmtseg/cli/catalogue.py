"""Show the methods and their settings."""

from __future__ import annotations

import argparse
import json
import textwrap

from napari_mmtseg.cli.parser import flag_of, help_of
from napari_mmtseg.methods import METHODS
from napari_mmtseg.settings import Method

_GROUPS = {"basic": "Basic", "advanced": "Advanced", "papers": "Of the papers"}


def carry_out(parsed: argparse.Namespace) -> int:
    """Print the methods, or all settings of one."""
    if parsed.json:
        print(json.dumps(_as_data(parsed.method), indent=1))
    elif parsed.method is None:
        for name, cls in METHODS.items():
            print(f"{name:14}{cls.summary} ({cls.source})")
    else:
        print(_settings(parsed.method))
    return 0


def _settings(cls: type[Method]) -> str:
    lines = [f"{cls.title}: {cls.summary} {cls.source}."]
    for group, title in _GROUPS.items():
        known = [one for one in cls.settings() if one.group == group]
        lines += ["", f"{title}:"] if known else []
        for one in known:
            flag = (
                flag_of(one) if one.type is not bool else f"{flag_of(one)}, --no-{flag_of(one)[2:]}"
            )
            choices = f" {'|'.join(one.choices)}" if one.choices else ""
            lines.append(f"  {flag}{choices}")
            text = f"{one.label}. {help_of(one)}"
            lines += textwrap.wrap(text, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
    for name, values in cls.presets.items():
        told = " ".join(f"{key}={value}" for key, value in values.items())
        lines += ["", f"Preset {name}:"]
        lines += textwrap.wrap(told, 96, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def _as_data(chosen: type[Method] | None) -> dict[str, object]:
    return {
        name: {
            "summary": cls.summary,
            "source": cls.source,
            "presets": {key: dict(values) for key, values in cls.presets.items()},
            "settings": {
                one.name: {
                    "label": one.label,
                    "help": one.help,
                    "default": one.default,
                    "range": list(one.choices) or [one.ge, one.le],
                    "unit": one.unit,
                    "group": one.group,
                }
                for one in cls.settings()
            },
        }
        for name, cls in METHODS.items()
        if chosen in (None, cls)
    }
