"""The catalogue: every method with its settings, each declared once."""

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
    basic: bool
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
        number = self.type(value)
        low = -math.inf if self.ge is None else self.ge
        high = math.inf if self.le is None else self.le
        if not (math.isfinite(number) and low <= number <= high):
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
    basic: bool = False,
) -> Any:
    """Declare a setting: its default, label, help, range, unit and what the value 0 stands for."""
    facts = {"label": label, "help": help, "ge": ge, "le": le, "step": step}
    facts |= {"unit": unit, "zero": zero, "basic": basic}
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
    takes_scribbles: ClassVar[bool] = False
    """Whether strokes of the user guide the training."""

    seed: int = setting(
        0,
        "Seed",
        "Starts the random numbers. The same seed on the same machine gives the same labels.",
        ge=0,
        le=2**31 - 1,
        basic=True,
    )
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
class LearningMethod(Method):
    """What the methods that run networks have in common."""

    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto",
        "Device",
        "Where the network runs: auto takes an NVIDIA GPU (cuda) or an Apple GPU (mps) if there "
        "is one, otherwise the processor (cpu).",
    )
    precision: Literal["float32", "float64"] = setting(
        "float32",
        "Precision",
        "Arithmetic of the training. float64 is for comparing with reference numbers.",
    )


@dataclass(frozen=True, kw_only=True)
class NetworkMethod(LearningMethod):
    """What the methods that start from many labels and lose some of them have in common."""

    n_iterations: int = setting(
        60,
        "Iterations",
        "Training steps at most. More take longer and settle finer differences.",
        ge=1,
        le=100_000,
        basic=True,
    )
    width: int = setting(
        32,
        "Network width (q)",
        "Channels of each layer, and so the number of labels that training starts from; the image "
        "decides how many of them survive.",
        ge=2,
        le=512,
    )
    n_blocks: int = setting(
        3,
        "Network depth (M)",
        "Blocks of 3x3 convolution, ReLU and batch norm. Each widens the view by one pixel a side.",
        ge=1,
        le=16,
    )
    min_labels: int = setting(
        2,
        "Minimum labels",
        "Training stops when no more than this many labels are left.",
        ge=1,
        le=512,
    )
    learning_rate: float = setting(
        0.1, "Learning rate", "Step size of gradient descent.", ge=1e-6, le=10, step=0.01
    )
    momentum: float = setting(
        0.9, "Momentum", "Momentum of gradient descent.", ge=0, le=0.999, step=0.05
    )
    reduction: int = setting(
        0,
        "Working reduction",
        "Train on the image reduced by this factor a side; labels come back at full size. 1 keeps "
        "every pixel; automatic aims at 65,000 working pixels a plane, and never more than 8.",
        ge=0,
        le=64,
        zero="automatic",
        unit="x",
    )
    crop_px: int = setting(
        0,
        "Crop side",
        "Side of the random square that each step trains on, in working pixels.",
        ge=0,
        le=8192,
        zero="whole plane",
        unit="px",
    )
    n_planes: int = setting(
        1,
        "Planes a step",
        "In stacks, the random planes (or crops of planes) that each step trains on.",
        ge=1,
        le=64,
    )


@dataclass(frozen=True, kw_only=True)
class MMT(NetworkMethod):
    """Mutual mean-teaching: two networks teach each other on the image itself.

    Source: Wu, Guo, Zhang and Xu, "Unsupervised Image Segmentation using Mutual Mean-Teaching",
    arXiv 2012.08922, 2020. `MMT.preset("paper")` is their setting taken literally.
    """

    title = "MMT"
    summary = "Two networks teach each other; labels and an uncertainty image."
    source = "Wu et al., arXiv 2012.08922"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "n_iterations": 1000,
            "width": 100,
            "n_blocks": 3,
            "averaging": 0.999,
            "warm_up": False,
            "continuity": 1.0,
            "min_labels": 1,
            "reduction": 1,
            "intensity": "full",
        }
    }
    has_uncertainty = True

    n_labels: int = setting(
        0,
        "Labels at most",
        "How many labels the result may have. Labels that look alike are merged until so many "
        "are left; automatic keeps what the training found.",
        ge=0,
        le=512,
        zero="automatic",
        basic=True,
    )
    continuity: float = setting(
        5.0,
        "Smoothness (beta)",
        "Weight of the total variation: higher gives fewer and larger regions.",
        ge=0,
        le=1000,
        step=1,
        basic=True,
    )
    averaging: float = setting(
        0.98,
        "Averaging (alpha)",
        "How slowly a teacher follows its student: each step it keeps this share of itself.",
        ge=0,
        le=0.99999,
        step=0.01,
    )
    warm_up: bool = setting(
        True,
        "Warm-up",
        "Let the teachers follow faster at the start, so that they forget their random beginning.",
    )


def _jitter(default: float) -> Any:
    return setting(
        default,
        "Jitter",
        "How far brightness, contrast, gamma, noise and colour of the second view differ from the "
        "first: what the clusters should not depend on.",
        ge=0,
        le=1,
        step=0.1,
    )


@dataclass(frozen=True, kw_only=True)
class _Information(LearningMethod):
    """What the two uses of invariant information clustering have in common."""

    n_overclusters: int = setting(
        0,
        "Overclusters",
        "Clusters of the auxiliary head, which helps the main head to learn finer differences and "
        "serves naming from a few strokes. Automatic takes five times the main head's.",
        ge=0,
        le=64,
        zero="automatic",
    )
    n_heads: int = setting(
        3,
        "Sub-heads",
        "Copies of each head from different random starts; the one with the lowest loss is kept.",
        ge=1,
        le=20,
    )
    n_restarts: int = setting(
        1,
        "Restarts",
        "Whole trainings from different random starts; the one with the lowest loss is kept.",
        ge=1,
        le=20,
    )
    learning_rate: float = setting(
        0.003, "Learning rate", "Step size of the optimiser (Adam).", ge=1e-6, le=1, step=0.001
    )
    balance: float = setting(
        1.0,
        "Balance (lambda)",
        "Weight of the clusters' entropy: above 1 favours clusters of equal size, below 1 allows "
        "small ones.",
        ge=0.6,
        le=10,
        step=0.1,
    )
    turns: bool = setting(
        True,
        "Flips and turns",
        "Let the second view of a pair be flipped and turned by quarters. Switch it off where "
        "direction matters.",
    )


@dataclass(frozen=True, kw_only=True)
class IIC(_Information):
    """Invariant information clustering: clusters that two views of a place agree on.

    Source: Ji, Henriques and Vedaldi, "Invariant Information Clustering for Unsupervised Image
    Classification and Segmentation", ICCV 2019.
    """

    title = "IIC"
    summary = "Clusters that two views of a place agree on; one model for many images."
    source = "Ji et al., ICCV 2019"
    takes_scribbles = True

    n_labels: int = setting(
        3,
        "Labels (k)",
        "Clusters of the main head, and so labels of the result.",
        ge=2,
        le=32,
        basic=True,
    )
    n_iterations: int = setting(
        120,
        "Iterations",
        "Training steps; each trains the auxiliary head, then the main head.",
        ge=1,
        le=100_000,
        basic=True,
    )
    width: int = setting(
        6,
        "Network width",
        "Channels of the first layer; the last has eight times as many. The authors take 64.",
        ge=2,
        le=128,
    )
    pooling: int = setting(
        1,
        "Pooling",
        "Pixels a side that share an output. 1 keeps small things sharp; the authors take 2, which "
        "is faster and sees further.",
        ge=1,
        le=4,
        unit="x",
    )
    crop_px: int = setting(
        0,
        "Crop side",
        "Side of the random squares that training sees. Automatic takes 48, or the image's side "
        "where that is smaller.",
        ge=0,
        le=2048,
        zero="automatic",
        unit="px",
    )
    n_crops: int = setting(4, "Crops a step", "Random squares in each step.", ge=1, le=256)
    n_repeats: int = setting(
        1,
        "Sample repeats",
        "Differently changed second views that each square is paired with in a step.",
        ge=1,
        le=16,
    )
    displacement_px: int = setting(
        1,
        "Displacement (d)",
        "Pixels are also paired with those up to so far away: higher gives smoother labels and "
        "loses small things. The authors take 10.",
        ge=0,
        le=64,
        unit="px",
        basic=True,
    )
    information: Literal["uncollapsed", "collapsed"] = setting(
        "uncollapsed",
        "Information",
        "uncollapsed: the mean over displacements of their information, as the authors ran it. "
        "collapsed: the information of all displacements taken together.",
    )
    sharpening_px: int = setting(
        20,
        "Sharpening radius",
        "Borders between labels move to where the image has them, judged by the labels' mean "
        "intensities within this distance. 0 keeps the network's own, blunter borders.",
        ge=0,
        le=256,
        unit="px",
    )
    jitter: float = _jitter(0.2)
    neighbours: int = setting(
        1,
        "Neighbouring planes",
        "In stacks, the second view may come from a plane or frame up to so far away.",
        ge=0,
        le=16,
    )
    sobel: bool = setting(
        False,
        "Sobel channels",
        "Show the network the brightness's slopes as well. Good for photographs; the authors "
        "advise against it for images of one channel.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_px and self.displacement_px >= self.crop_px:
            raise ValueError(
                f"Displacement (displacement_px) must be smaller than the crop's side (crop_px), "
                f"{self.crop_px}, got {self.displacement_px}"
            )


@dataclass(frozen=True, kw_only=True)
class ObjectIIC(_Information):
    """Groups objects, such as cells, by what two changed views of each agree on.

    Source: Ji, Henriques and Vedaldi, "Invariant Information Clustering for Unsupervised Image
    Classification and Segmentation", ICCV 2019, section 4.1 (image clustering).
    """

    title = "Group objects"
    summary = "Sorts the objects of a Labels image into groups that look alike."
    source = "Ji et al., ICCV 2019"

    n_groups: int = setting(
        2, "Groups (k)", "How many groups to sort the objects into.", ge=2, le=32, basic=True
    )
    n_iterations: int = setting(
        150,
        "Iterations",
        "Training steps; each trains the auxiliary head, then the main head.",
        ge=1,
        le=100_000,
        basic=True,
    )
    surroundings: bool = setting(
        False,
        "See the surroundings",
        "Show the network what lies around each object as well; otherwise it sees the object "
        "alone.",
        basic=True,
    )
    crop_px: int = setting(
        0,
        "Crop side",
        "Side of the square around each object's middle; larger objects are shrunk to fit. "
        "Automatic fits nine objects of ten.",
        ge=0,
        le=2048,
        zero="automatic",
        unit="px",
    )
    width: int = setting(
        12,
        "Network width",
        "Channels of the first layer; the last has four times as many.",
        ge=2,
        le=128,
    )
    jitter: float = _jitter(0.8)
    n_objects: int = setting(
        64, "Objects a step", "Random objects in each step, all if there are fewer.", ge=2, le=4096
    )


METHODS: dict[str, type[Method]] = {cls.__name__: cls for cls in (MMT, IIC)}


def method_from_dict(data: Mapping[str, Any]) -> Method:
    """Make a method from the data that `Method.to_dict` gives.

    Raises
    ------
    ValueError, TypeError
        If the method or a setting is unknown, or a value is out of its range.
    """
    values = dict(data)
    name = values.pop("method", None)
    if name not in METHODS:
        raise ValueError(f"The method must be one of {', '.join(METHODS)}, got {name!r}")
    cls = METHODS[name]
    unknown = sorted(set(values) - {one.name for one in cls.settings()})
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}")
    return cls(**values)
