"""Teach two students classes by examples, and perhaps each other by what nobody painted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from napari_mmtseg.engine import Weights
from napari_mmtseg.engine.kmeans_fit import one_thread
from napari_mmtseg.methods.taught import Taught

LAYERS = ("in.weight", "in.bias", "out.weight", "out.bias")
STUDENTS = ("student1.", "student2.")
_SHRINKAGE = 0.01
"""Weight of half the squared weights: a few strokes are few, and features are many."""
_NOISE, _DROPPED = 0.3, 0.3
_CONFIDENT = 0.9
_AVERAGING = 0.5
_OTHERS = 2048
_AT_ONCE = 20
"""Steps, which are short, before others hear of them."""
_NEIGHBOURS = 15
"""Examples along a stroke that count alike."""
_UNLIKE = 0.95
"""How much by chance an example counts more for one student than for the other."""

Rows = NDArray[np.float64]
Student = dict[str, Rows]


class Lesson(NamedTuple):
    """What students learn from."""

    rows: Rows  # (n, F), standardised
    classes: NDArray[np.int64]  # (n,) in 0..K - 1
    others: Rows  # (m, F): pixels that nobody painted
    perturbed: bool = False
    """Whether students see noise and lack features."""
    counts: NDArray[np.int64] | None = None
    """Pixels of each class where these tell how common it is: labels do, and strokes do not."""


class LessonProgress(NamedTuple):
    """How far a lesson has come."""

    steps: int
    losses: tuple[float, ...]
    weights: Weights
    """Of the means of both students, named as in a model."""


def beginners(n_features: int, n_classes: int, method: Taught) -> dict[str, NDArray[np.float32]]:
    """Draw students that know nothing, each with a view of its own on the features."""
    random = np.random.default_rng(method.seed)
    students = [
        {
            "in.weight": random.normal(0, n_features**-0.5, (method.width, n_features)),
            "in.bias": random.normal(0, 0.5, method.width),
            # From nothing at all, nothing is learned.
            "out.weight": random.normal(0, 0.01, (n_classes, method.width)),
            "out.bias": np.zeros(n_classes),
        }
        for _ in STUDENTS
    ]
    return _named(students)


def teach(lesson: Lesson, method: Taught, start: Weights, n_steps: int) -> Iterator[LessonProgress]:
    """Let both students learn, some steps at a time.

    A student minimises the cross-entropy of the examples, each class counting alike, or as the
    square root of how common it is where that is known, plus half its squared weights, plus, if
    there are teachers, the cross-entropy to the teacher's probabilities on the pixels of which it
    is confident, as a share of all. Where it is wanted, students see their pixels with noise and
    without some of the features, drawn anew each time; teachers, which are running means of the
    students, see them as they are. The steps are those of L-BFGS: gradient descent would still be
    far from the minimum when a user has lost patience.

    Parameters
    ----------
    lesson : Lesson
    method : Taught
        Its `teachers` decide who teaches.
    start : mapping of str to array
        Students to begin with.
    n_steps : int
        Steps at most.

    References
    ----------
    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017. Ge, Chen and Li,
    "Mutual mean-teaching", ICLR 2020. Liu and Nocedal, "On the limited memory BFGS method for
    large scale optimization", 1989.
    """
    random = np.random.default_rng(method.seed)
    students = [{n: np.array(start[s + n], np.float64) for n in LAYERS} for s in STUDENTS]
    teachers = students
    n_classes = len(students[0]["out.bias"])
    targets = np.eye(n_classes)[lesson.classes]
    weights = _weights(lesson, n_classes, random)
    whose = {"own": (0, 1), "mutual": (1, 0)}.get(method.teachers)

    done, losses = 0, [0.0] * len(students)
    while done < n_steps:
        count = min(_AT_ONCE, n_steps - done)
        with one_thread("openmp", "blas"):
            others = lesson.others[:0]
            if whose is not None and done:  # there are teachers worth listening to
                others = lesson.others[random.integers(len(lesson.others), size=_OTHERS)]
            taught = [softmax(_responses(one, others)[1], axis=1) for one in teachers]
            for number, student in enumerate(students):
                told = taught[number if whose is None else whose[number]]
                sure = told.max(1, initial=0) > _CONFIDENT
                rows = np.concatenate([lesson.rows, others[sure]])
                if lesson.perturbed:
                    rows = _perturbed(rows, random)
                share = np.full(int(sure.sum()), 1 / max(len(others), 1))
                students[number], losses[number] = _improved(
                    student,
                    rows,
                    np.concatenate([targets, told[sure]]),
                    np.concatenate([weights[number], share]),
                    count,
                )
        kept = _AVERAGING if lesson.perturbed and done else 0.0
        teachers = [
            {name: kept * mean[name] + (1 - kept) * new[name] for name in LAYERS}
            for mean, new in zip(teachers, students, strict=True)
        ]
        done += count
        yield LessonProgress(done, tuple(losses), _named(teachers))


def _improved(
    student: Student, rows: Rows, targets: Rows, weights: Rows, n_steps: int
) -> tuple[Student, float]:
    """Take some steps towards the minimum; return the student and its loss."""
    shapes = {name: one.shape for name, one in student.items()}
    ends = np.cumsum([one.size for one in student.values()])[:-1]

    def parts(flat: Rows) -> Student:
        cut = zip(shapes.items(), np.split(flat, ends), strict=True)
        return {name: values.reshape(shape) for (name, shape), values in cut}

    def loss(flat: Rows) -> tuple[float, Rows]:
        one = parts(flat)
        hidden, responses = _responses(one, rows)  # (n, H), (n, K)
        likely = log_softmax(responses, axis=1)
        total = -(weights * (targets * likely).sum(1)).sum()
        above = (np.exp(likely) - targets) * weights[:, None]
        below = above @ one["out.weight"] * (hidden > 0)
        slopes = {
            "in.weight": below.T @ rows + _SHRINKAGE * one["in.weight"],
            "in.bias": below.sum(0),
            "out.weight": above.T @ hidden + _SHRINKAGE * one["out.weight"],
            "out.bias": above.sum(0),
        }
        squares = sum(float(np.square(one[name]).sum()) for name in ("in.weight", "out.weight"))
        return total + _SHRINKAGE / 2 * squares, np.concatenate([slopes[n].ravel() for n in LAYERS])

    first = np.concatenate([student[name].ravel() for name in LAYERS])
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": n_steps})
    return parts(found.x), float(found.fun)


def _responses(student: Student, rows: Rows) -> tuple[Rows, Rows]:
    """Return what the hidden units (n, H) and the outputs (n, K) answer to rows (n, F)."""
    hidden = np.maximum(rows @ student["in.weight"].T + student["in.bias"], 0)
    return hidden, hidden @ student["out.weight"].T + student["out.bias"]


def _perturbed(rows: Rows, random: np.random.Generator) -> Rows:
    kept = random.random(rows.shape) > _DROPPED
    found: Rows = (rows + random.normal(0, _NOISE, rows.shape)) * kept / (1 - _DROPPED)
    return found


def _weights(lesson: Lesson, n_classes: int, random: np.random.Generator) -> list[Rows]:
    """Return what each example counts for each student: classes, and places at random.

    If all classes counted alike, rare ones would be found too often; if each pixel did, they would
    be missed. What lies half way suits the intersection over union. Of the places, what is half of
    all to one student is hardly anything to the other: where they agree all the same, they are
    sure to.
    """
    classes = lesson.classes
    common = np.ones(n_classes) if lesson.counts is None else np.sqrt(lesson.counts)
    places = -(-len(classes) // _NEIGHBOURS)
    more = random.permutation(np.arange(places) % 2 * 2 - 1).repeat(_NEIGHBOURS)[: len(classes)]
    found = []
    for sign in (1, -1):
        weights = 1 + sign * _UNLIKE * more
        total = np.bincount(classes, weights, n_classes)
        found.append(weights * common[classes] / total[classes] / common[total > 0].sum())
    return found


def _named(students: list[Student]) -> dict[str, NDArray[np.float32]]:
    return {
        prefix + name: student[name].astype(np.float32)
        for prefix, student in zip(STUDENTS, students, strict=True)
        for name in LAYERS
    }
