"""Teach a model the user's classes: by a few strokes, or by images labelled in full or in part."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg.engine import Learned, Run, Step, Weights
from napari_mmtseg.images.frames import Frames, Region, grown, within
from napari_mmtseg.images.scaling import Scaling
from napari_mmtseg.images.training_input import check_classes
from napari_mmtseg.methods import SpatialMethod, Taught
from napari_mmtseg.methods.learning_method import LearningMethod
from napari_mmtseg.prediction.labeller import Labeller
from napari_mmtseg.settings import Method
from napari_mmtseg.system import memory

_EXAMPLES = 8192
_OTHERS = 16_384
_UNLABELLED_TILES = 4
"""Of images without labels, from which the teachers teach."""
_SHARPENED_TILES = 4
"""In which it is tried whether sharper borders suit the classes."""
_MOST_CHANGED = 0.2
"""Share of the smallest class."""
_MOST_CLASSES = 512
_HELD_PX = 16
"""Side of the blocks that are held out: neighbouring pixels would tell one another's class."""


class Pupil(Protocol):
    """What is asked of a model here."""

    @property
    def method(self) -> Method: ...
    @property
    def scaling(self) -> Scaling: ...
    @property
    def weights(self) -> Weights: ...
    @property
    def classes(self) -> NDArray[np.int64]: ...
    @property
    def spacing(self) -> tuple[float, ...]: ...
    @property
    def n_channels(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Beginner:
    """A model before it has learned anything."""

    method: Method
    scaling: Scaling
    spacing: tuple[float, ...]
    n_channels: int
    weights: Weights = dataclasses.field(default_factory=dict)
    classes: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))


class _Rows(NamedTuple):
    """Described pixels, in rows of features."""

    painted: NDArray[np.float32]
    classes: NDArray[np.int64]
    held: NDArray[np.bool_]
    others: NDArray[np.float32]


def taught_method(method: Method) -> Taught:
    """Return the settings with which a model of a method is taught: those that both have."""
    if isinstance(method, Taught):
        return method
    shared = {one.name for base in (LearningMethod, SpatialMethod) for one in base.settings()}
    shared -= {"vote_border", "sharpening_px"}  # suited to what the method's own votes are like
    known = {one.name: getattr(method, one.name) for one in method.settings()}
    return Taught(**{name: value for name, value in known.items() if name in shared})


def lesson_steps(
    pupil: Pupil,
    images: Sequence[Frames],
    painted: Sequence[ArrayLike | None],
    *,
    what: str = "scribbles",
) -> Run[Learned]:
    """Teach step by step, beginning with what the pupil knows.

    Parameters
    ----------
    pupil : Model or Beginner
        A model that was taught before keeps its examples and classes.
    images : sequence of Frames
    painted : sequence of integer or bool array-like, or None
        For each image the class of its pixels, 0 for none, of the shape of its labels. Truth
        values are labels in full: 1 where False, 2 where True.
    what : {"scribbles", "labels"}
        Of labels a part is held out, by which the score in each `Step` is measured.

    Raises
    ------
    TypeError, ValueError
        If they do not fit, or do not tell classes apart.
    """
    from napari_mmtseg.engine.students import STUDENTS, Lesson, beginners, teach
    from napari_mmtseg.engine.taught import bank, emphasis, window_steps  # loads PyTorch

    method = taught_method(pupil.method)
    sides = [
        None if one is None else _side(frames, one, what)
        for frames, one in zip(images, painted, strict=True)
    ]
    n_features = bank(pupil.n_channels, len(pupil.spacing)).width
    known = pupil.weights if isinstance(pupil.method, Taught) and pupil.weights else None
    names = pupil.classes if known is not None else np.zeros(0, np.int64)
    start = dict(known or _nothing(n_features, beginners(n_features, 1, method), pupil.spacing))

    held_out = method.held_out if what == "labels" else 0.0
    labeller = Labeller(cast(Any, _LastWindow(method, pupil.scaling, start)))
    rows = _gathered(labeller, pupil.scaling, images, sides, held_out, method.seed)
    names, classes = _named(names, rows.classes, what)
    if known is None:
        start["mean"] = rows.others.mean(0)
        start["spread"] = rows.others.std(0).clip(1e-5) * emphasis(n_features, pupil.n_channels)
    start |= _widened(start, len(names), STUDENTS)
    learning = ~rows.held
    every = np.concatenate([start["example_classes"], classes[learning]])
    counts = np.bincount(every, minlength=len(names))
    examples, example_classes = _remembered(start, rows.painted[learning], classes[learning])
    _check_told(examples, example_classes, what)
    start |= {"examples": examples, "example_classes": example_classes}
    start |= {"sharp": np.array(0), "window": np.array(window_steps(len(pupil.spacing), what))}

    lesson = Lesson(
        _standard(start, examples),
        example_classes,
        _standard(start, rows.others),
        perturbed=_is_perturbed(method, what),
        counts=counts if what == "labels" else None,
    )
    n_steps = method.n_iterations if known is None else -(-method.n_iterations // 2)
    weights: Weights = start
    for taken in teach(lesson, method, start, n_steps):
        weights = {**start, **taken.weights}
        learned = partial(_learned, weights, rows, names)
        score = _score(weights, rows.painted[rows.held], classes[rows.held])
        step = Step("training", taken.steps, n_steps, taken.losses, (len(names),), learned, score)
        if (yield step):
            break
    if method.sharpening_px and what == "scribbles":  # labels tell where borders are
        places = [*_places(labeller, images, sides)]
        sharp = _sharpens(method, pupil.scaling, weights, places, names)
        weights = {**weights, "sharp": np.array(int(sharp))}
    return _learned(weights, rows, names)


def _sharpens(
    method: Taught,
    scaling: Scaling,
    weights: Weights,
    painted: Sequence[tuple[Frames, int, Region, NDArray[Any]]],
    names: NDArray[np.int64],
) -> bool:
    """Tell whether borders are to be sharpened.

    That suits classes that differ in intensity, and takes classes of texture apart: then it makes
    painted pixels wrong, or much of the smallest class another one.
    """
    from napari_mmtseg.engine.taught import before_and_after

    labeller = Labeller(cast(Any, _LastWindow(method, scaling, weights)))
    gained, changed, sizes = 0, 0, np.zeros(len(names), np.int64)
    for frames, index, tile, strokes in painted[:: -(-len(painted) // _SHARPENED_TILES)]:
        pixels, valid, place = _pixels(labeller, scaling, frames, index, tile)
        before, after = (one[place][valid] for one in before_and_after(weights, method, pixels))
        told = strokes[valid]  # no class is 0, which is unpainted
        gained += int((names[after] == told).sum()) - int((names[before] == told).sum())
        changed += int((after != before).sum())
        sizes += np.bincount(before, minlength=len(names))
    return gained >= 0 and changed < _MOST_CHANGED * sizes.min()


class _LastWindow(NamedTuple):
    method: Method
    scaling: Scaling
    weights: Weights


def _side(frames: Frames, painted: ArrayLike, what: str) -> Any:
    """Return what is painted on an image, checked; truth values become classes 1 and 2."""
    side = frames.side_image(painted, what)
    return side + np.int64(1) if np.dtype(side.dtype).kind == "b" else side


def _nothing(
    n_features: int, students: Mapping[str, NDArray[Any]], spacing: tuple[float, ...]
) -> dict[str, NDArray[Any]]:
    return {
        "spacing": np.array(spacing),
        "mean": np.zeros(n_features, np.float32),
        "spread": np.ones(n_features, np.float32),
        "examples": np.zeros((0, n_features), np.float32),
        "example_classes": np.zeros(0, np.int64),
        "sharp": np.array(0),
        "window": np.array(1),
        **students,
    }


def _gathered(
    labeller: Labeller,
    scaling: Scaling,
    images: Sequence[Frames],
    sides: Sequence[Any],
    held_out: float,
    seed: int,
) -> _Rows:
    """Describe the painted pixels, and some others around and in images without labels."""
    random = np.random.default_rng(seed)
    places: list[tuple[Frames, int, Region, NDArray[Any] | None]] = []
    places += _places(labeller, images, sides)
    free: list[tuple[Frames, int, Region, NDArray[Any] | None]] = [
        (frames, *tile, None)
        for frames, side in zip(images, sides, strict=True)
        if side is None
        for tile in labeller.tiles(frames)
    ]
    places += free[:: -(-len(free) // _UNLABELLED_TILES) or 1]
    painted, classes, held, others = [], [], [], []
    for frames, index, tile, strokes in places:
        rows, valid = _described(labeller, scaling, frames, index, tile)
        some = np.flatnonzero(valid)
        some = random.choice(some, min(len(some), -(-_OTHERS // len(places))), replace=False)
        others.append(rows[:, some].T)
        if strokes is None:
            continue
        here = np.flatnonzero((strokes.ravel() > 0) & valid)
        if len(here) > _EXAMPLES:
            here = np.sort(random.choice(here, _EXAMPLES, replace=False))
        painted.append(rows[:, here].T)
        classes.append(strokes.ravel()[here])
        blocks = [at // _HELD_PX for at in np.unravel_index(here, strokes.shape)]
        number = np.unique(np.stack(blocks), axis=1, return_inverse=True)[1].ravel()
        count = number.max(initial=-1) + 1
        held.append((random.permutation(count) < int(held_out * count))[number])
    if not any(len(one) for one in classes):
        raise ValueError("Nothing is painted where pixels are finite: paint at least two classes")
    return _Rows(
        np.concatenate(painted),
        np.concatenate(classes).astype(np.int64),
        np.concatenate(held),
        np.concatenate(others),
    )


def _places(
    labeller: Labeller, images: Sequence[Frames], sides: Sequence[Any]
) -> Iterator[tuple[Frames, int, Region, NDArray[Any]]]:
    """List the tiles on which something is painted."""
    for frames, side in zip(images, sides, strict=True):
        if side is not None:
            for index, tile in labeller.tiles(frames):
                strokes = check_classes(np.asarray(frames.frame_of(side, index)[tile]))
                if strokes.any():
                    yield frames, index, tile, strokes


def _described(
    labeller: Labeller, scaling: Scaling, frames: Frames, index: int, tile: Region
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Describe a tile, (F, n), just as predicting will: it finds it described already."""
    from napari_mmtseg.engine.taught import described

    pixels, valid, place = _pixels(labeller, scaling, frames, index, tile)
    with memory.kept():
        rows = described(pixels)[:, *place].flatten(1).numpy()
    return rows, valid.ravel()


def _pixels(
    labeller: Labeller, scaling: Scaling, frames: Frames, index: int, tile: Region
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Region]:
    """Read a tile with its halo, scaled; tell which of its own pixels are finite, and its place."""
    read = grown(tile, labeller.halo_px, frames.frame_shape)
    place = within(tile, read)
    pixels, valid = scaling.apply(frames.read(index, read))
    return pixels, valid[place], place


def _named(
    names: NDArray[np.int64], painted: NDArray[np.int64], what: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add what is painted to the classes, and number them in this order."""
    new = np.setdiff1d(painted, names)
    names = np.concatenate([names, new])
    if len(names) > _MOST_CLASSES:
        raise ValueError(
            f"The {what} hold {len(names)} classes, and a model has {_MOST_CLASSES} at most: give "
            "kinds of things their numbers, not each thing its own"
        )
    order = np.argsort(names)
    return names, order[np.searchsorted(names[order], painted)]


def _widened(
    start: Weights, n_classes: int, students: Sequence[str]
) -> dict[str, NDArray[np.generic]]:
    """Give the students an output for each class; of new ones they know nothing."""
    found = {}
    for name in (s + f"out.{end}" for s in students for end in ("weight", "bias")):
        have = start[name]
        if len(have) != n_classes:
            wide = np.zeros((n_classes, *have.shape[1:]), np.float32)
            wide[: len(have)] = have[:n_classes]
            found[name] = wide
    return found


def _remembered(
    start: Weights, painted: NDArray[np.float32], classes: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Put new examples to the old ones; where they contradict one another, the last one wins."""
    known = {row.tobytes(): i for i, row in enumerate(start["examples"])}
    again = [known.get(row.tobytes(), -1) for row in painted]
    met = np.array([i for i in again if i >= 0], np.int64)
    now = np.array([c for i, c in zip(again, classes, strict=True) if i >= 0], np.int64)
    changed = int((start["example_classes"][met] != now).sum())
    if changed:
        warnings.warn(
            f"{changed} pixels were painted as another class before: the last one counts",
            stacklevel=2,
        )
    kept = np.ones(len(start["examples"]), bool)
    kept[met] = False
    rows = np.concatenate([start["examples"][kept], painted])
    of = np.concatenate([start["example_classes"][kept], classes])
    if len(rows) <= _EXAMPLES:
        return rows, of
    random = np.random.default_rng(0)
    share = _EXAMPLES // len(np.unique(of))
    chosen = np.sort(
        np.concatenate([random.permutation(np.flatnonzero(of == one))[:share] for one in set(of)])
    )
    return rows[chosen], of[chosen]


def _check_told(rows: NDArray[np.float32], classes: NDArray[np.int64], what: str) -> None:
    if len(np.unique(classes)) < 2:
        raise ValueError(f"The {what} must hold at least two classes: paint a second one")
    if not np.ptp(rows, axis=0).any():
        raise ValueError(
            f"The {what} lie where all pixels are equal: nothing tells their classes apart; paint "
            "where there is something to see"
        )


def _learned(weights: Weights, rows: _Rows, names: NDArray[np.int64]) -> Learned:
    """Count the classes among pixels chosen at random, and measure their mean intensities."""
    from napari_mmtseg.engine.taught import bank, told

    found = told(weights, rows.others)
    sizes = np.bincount(found, minlength=len(names))
    per_channel = bank(1, len(weights["spacing"])).width
    intensities = rows.others[:, ::per_channel].astype(np.float64)
    sums = np.zeros((len(names), intensities.shape[1]))
    np.add.at(sums, found, intensities)
    colours = np.where(
        sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], intensities.mean(0)
    )
    return Learned(weights, colours.astype(np.float32), sizes, names)


def _is_perturbed(method: Taught, what: str) -> bool:
    automatic = method.teachers != "none" or what == "labels"
    return {"on": True, "off": False}.get(method.perturbation, automatic)


def _standard(weights: Weights, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (rows.astype(np.float64) - weights["mean"]) / weights["spread"]
    return found


def _score(weights: Weights, rows: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    """Return the mean intersection over union of the classes held out; NaN without any."""
    from napari_mmtseg.engine.taught import told

    if not len(rows):
        return float("nan")
    found = told(weights, rows)
    each = [
        ((found == one) & (classes == one)).sum() / ((found == one) | (classes == one)).sum()
        for one in np.unique(classes)
    ]
    return float(np.mean(each))
