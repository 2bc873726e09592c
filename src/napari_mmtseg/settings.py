"""Declare the settings of a method once: forms, docs, messages and files are made from this."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import numbers
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

Group = Literal["basic", "advanced", "papers"]
"""Who needs a setting: everybody, some, or only the papers' presets."""


@dataclass(frozen=True)
class Setting:
    """What is known of one setting of a method; forms, docs and messages are made from this."""

    name: str
    type: type
    default: Any
    label: str
    help: str
    ge: float | None
    le: float | None
    step: float | None
    unit: str
    zero: str
    group: Group
    choices: tuple[str, ...]

    def check(self, value: Any) -> Any:
        """Return the value in the setting's own type.

        Raises
        ------
        TypeError, ValueError
            In the user's words: the rule, the value, and so the cure.
        """
        title = f"{self.label} ({self.name})"
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{title} must be one of {', '.join(self.choices)}, got {value!r}")
            return value
        if self.type is bool:
            if not isinstance(value, bool):
                raise TypeError(f"{title} must be True or False, got {value!r}")
            return value
        kind = numbers.Integral if self.type is int else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            noun = "a whole number" if self.type is int else "a number"
            raise TypeError(f"{title} must be {noun}, got {value!r}")
        try:
            number = self.type(value)
        except OverflowError:  # a whole number too large for a float
            number = math.nan
        low = -math.inf if self.ge is None else self.ge
        high = math.inf if self.le is None else self.le
        if not low <= number <= high or (self.type is float and math.isinf(number)):
            raise ValueError(f"{title} must lie in {low:g} to {high:g}, got {value!r}")
        return number


def setting(
    default: Any,
    label: str,
    help: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    step: float | None = None,
    unit: str = "",
    zero: str = "",
    group: Group = "advanced",
) -> Any:
    """Declare a setting: its default, label, help, range, unit and what the value 0 stands for."""
    facts = {"label": label, "help": help, "ge": ge, "le": le, "step": step}
    facts |= {"unit": unit, "zero": zero, "group": group}
    return dataclasses.field(default=default, metadata=facts)


def changed(cls: type, name: str, default: Any) -> Any:
    """Declare a base class's setting again, with another default."""
    facts = next(field.metadata for field in dataclasses.fields(cls) if field.name == name)
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True, kw_only=True)
class Method:
    """What every method has. Settings are frozen: change one with `dataclasses.replace`."""

    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    trains: ClassVar[bool] = True
    """Whether it learns a model that can be kept; False for methods whose regions are local."""
    has_uncertainty: ClassVar[bool] = False
    seed: ClassVar[int] = 0
    takes_scribbles: ClassVar[bool] = False
    """Whether it may learn from strokes of the user."""
    draft: ClassVar[Mapping[str, Any]] = {}
    """Settings that leave out what only refines the labels, for a passing look."""

    intensity: Literal["percentile", "full"] = setting(
        "percentile",
        "Intensity scaling",
        "percentile: stretch the 0.1 to 99.9 percentiles to 0..1, so that a few hot pixels do not "
        "darken the rest. full: 8-bit images are divided by 255 as in the papers, others are "
        "stretched from their smallest to their largest value.",
    )

    def __post_init__(self) -> None:
        for one in self.settings():
            object.__setattr__(self, one.name, one.check(getattr(self, one.name)))

    @classmethod
    @functools.cache
    def settings(cls) -> tuple[Setting, ...]:
        """List the method's settings, its own before those that it shares."""
        hints = typing.get_type_hints(cls)
        own = [name for base in cls.__mro__ for name in inspect.get_annotations(base)]
        by_name = {field.name: field for field in dataclasses.fields(cls)}
        found = []
        for name in dict.fromkeys(name for name in own if name in by_name):
            hint, field = hints[name], by_name[name]
            choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
            found.append(
                Setting(
                    name=name,
                    type=str if choices else hint,
                    default=field.default,
                    choices=choices,
                    **field.metadata,
                )
            )
        return tuple(found)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return a preset's settings, with changes.

        Parameters
        ----------
        name : str
            "default" or a key of `presets`.
        **changes
            Settings that differ from the preset's.

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        if name != "default" and name not in cls.presets:
            known = ", ".join(["default", *cls.presets])
            raise ValueError(f"{cls.__name__} has the presets {known}, got {name!r}")
        return cls(**{**cls.presets.get(name, {}), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data from which `method_from_dict` makes an equal method."""
        return {"method": type(self).__name__, **dataclasses.asdict(self)}


@dataclass(frozen=True, kw_only=True)
class SeededMethod(Method):
    """What the methods that draw random numbers have in common."""

    seed: int = setting(  # type: ignore[misc]
        0,
        "Seed",
        "Starts the random numbers. The same seed on the same machine gives the same labels.",
        ge=0,
        le=2**31 - 1,
        group="basic",
    )
