"""Which label each cluster has and what labels are called: joined, parted, named and hidden."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.labels.object_numbers import LARGEST
from napari_mmtseg.labels.palettes import PALETTES

LONGEST_NAME = 80

Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, 0 to 1."""


@dataclass(frozen=True)
class Legend:
    """A table from cluster to label, and what is known of each label. Changes give a new one.

    Attributes
    ----------
    label_of : tuple of int
        The label of each cluster, from 1.
    cut : tuple of int
        The same before labels were joined by hand: what `parted` goes back to.
    names : mapping of int to str
        What labels are called, of those that have a name.
    colours : mapping of int to (red, green, blue, opacity)
        Of the labels whose colour was chosen.
    hidden : frozenset of int
        Labels that are not seen.
    palette : str
        Of `palettes.PALETTES`, for the labels whose colour was not chosen; empty for the viewer's.
    """

    label_of: tuple[int, ...]
    cut: tuple[int, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, Colour] = field(default_factory=dict)
    hidden: frozenset[int] = frozenset()
    palette: str = ""

    def __post_init__(self) -> None:
        if not self.cut:
            object.__setattr__(self, "cut", self.label_of)

    @classmethod
    def of(
        cls,
        label_of: Iterable[int] | NDArray[Any],
        names: Mapping[int, str] | None = None,
        palette: str = "",
    ) -> Legend:
        """Make the legend of a table from cluster to label."""
        labels = tuple(int(one) for one in label_of)
        present = set(labels)
        kept = {label: name for label, name in (names or {}).items() if label in present}
        return cls(labels, names=kept, palette=palette)

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels that clusters have, rising."""
        return tuple(sorted(set(self.label_of)))

    @property
    def shown(self) -> tuple[int, ...]:
        """Those that are seen."""
        return tuple(one for one in self.labels if one not in self.hidden)

    @property
    def joined_by_hand(self) -> bool:
        """Whether labels were joined since they were cut."""
        return self.label_of != self.cut

    def table(self) -> NDArray[np.int64]:
        """Return the label of each cluster, (K,)."""
        return np.array(self.label_of, np.int64)

    def name(self, label: int) -> str:
        """Return what a label is called."""
        return self.names.get(label, f"Label {label}")

    def joined(self, labels: Collection[int]) -> Legend:
        """Make one label of several; it keeps the smallest number, and the first name there is.

        Raises
        ------
        ValueError
            If fewer than two of them are labels.
        """
        those = sorted(set(labels) & set(self.labels))
        if len(those) < 2:
            raise ValueError(f"Joining takes two labels or more, got {sorted(labels)}")
        into, gone = those[0], set(those[1:])
        names = {one: name for one, name in self.names.items() if one not in gone}
        called = [self.names[one] for one in those if one in self.names]
        if called:
            names[into] = called[0]
        hidden = self.hidden - gone
        if not set(those) <= self.hidden:
            hidden -= {into}
        return replace(
            self,
            label_of=tuple(into if one in gone else one for one in self.label_of),
            names=names,
            colours={one: value for one, value in self.colours.items() if one not in gone},
            hidden=hidden,
        )

    def can_part(self, label: int, tree: Tree | None = None) -> bool:
        """Tell whether a label consists of several."""
        own = [i for i, one in enumerate(self.label_of) if one == label]
        if len({self.cut[i] for i in own}) > 1:
            return True
        return tree is not None and len({tree.leaves[i] for i in own}) > 1

    def parted(self, label: int, tree: Tree | None = None) -> Legend:
        """Part a label into those that were joined by hand, or else into its two unlike halves.

        Parameters
        ----------
        label : int
        tree : Tree, optional
            Of the clusters; without it a label can only be parted into what was joined by hand.

        Raises
        ------
        ValueError
            If it cannot be parted.
        """
        if not self.can_part(label, tree):
            raise ValueError(f"{self.name(label)} is a single cluster: it cannot be parted")
        own = [i for i, one in enumerate(self.label_of) if one == label]
        if len({self.cut[i] for i in own}) > 1:
            parted = [*self.label_of]
            for i in own:
                parted[i] = self.cut[i]
            return replace(self, label_of=tuple(parted))
        assert tree is not None
        new = max(*self.label_of, *self.cut) + 1
        away = set(tree.smaller_half(own))
        label_of, cut = (
            tuple(new if i in away else one for i, one in enumerate(table))
            for table in (self.label_of, self.cut)
        )
        return replace(self, label_of=label_of, cut=cut)

    def recut(self, label_of: Iterable[int] | NDArray[Any], sizes: Sequence[int]) -> Legend:
        """Take another table; names, colours and what is hidden go where most of each label goes.

        Parameters
        ----------
        label_of : (K,) ints
        sizes : (K,) ints
            Pixels of each cluster.
        """
        table = tuple(int(one) for one in label_of)
        weights: dict[tuple[int, int], int] = {}
        for old, new, size in zip(self.label_of, table, sizes, strict=True):
            weights[old, new] = weights.get((old, new), 0) + int(size) + 1
        goes: dict[int, int] = {}
        known = {*self.names, *self.colours, *self.hidden}
        for old, new in sorted(weights, key=lambda one: (-weights[one], one[0] not in known, one)):
            if old not in goes and new not in goes.values():
                goes[old] = new
        return Legend(
            table,
            names={goes[one]: name for one, name in self.names.items() if one in goes},
            colours={goes[one]: value for one, value in self.colours.items() if one in goes},
            hidden=frozenset(goes[one] for one in self.hidden if one in goes),
            palette=self.palette,
        )

    def named(self, label: int, name: str) -> Legend:
        """Call a label something, or nothing."""
        names = {one: known for one, known in self.names.items() if one != label}
        called = " ".join(name.split())[:LONGEST_NAME]
        if called and called != f"Label {label}":
            names[label] = called
        return replace(self, names=dict(sorted(names.items())))

    def coloured(self, label: int, colour: Colour | None) -> Legend:
        """Choose a label's colour, or leave it to the viewer."""
        colours = {one: value for one, value in self.colours.items() if one != label}
        if colour is not None:
            colours[label] = colour
        return replace(self, colours=colours)

    def painted(self, palette: str) -> Legend:
        """Take the colours of another palette; those that were chosen one by one stay.

        Raises
        ------
        ValueError
            If there is none of that name.
        """
        return replace(self, palette=_palette(palette))

    def hiding(self, labels: Collection[int], hide: bool = True) -> Legend:
        """Hide labels, or show them again."""
        hidden = self.hidden | set(labels) if hide else self.hidden - set(labels)
        return replace(self, hidden=frozenset(hidden))

    def only(self, labels: Collection[int]) -> Legend:
        """Show these labels alone; if they are alone already, show all."""
        hidden = frozenset(self.labels) - set(labels)
        return replace(self, hidden=frozenset() if hidden == self.hidden else hidden)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data from which `from_dict` makes an equal legend."""
        return {
            "label_of": [*self.label_of],
            "cut": [*self.cut],
            "names": {str(one): name for one, name in self.names.items()},
            "colours": {str(one): [*value] for one, value in self.colours.items()},
            "hidden": sorted(self.hidden),
            "palette": self.palette,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Legend:
        """Make a legend of the data that `to_dict` gives.

        Raises
        ------
        ValueError
            If they are no such data.
        """
        try:
            colours = {int(one): _colour(value) for one, value in data["colours"].items()}
            made = cls(
                tuple(int(one) for one in data["label_of"]),
                tuple(int(one) for one in data["cut"]),
                checked_names(data["names"]),
                colours,
                frozenset(int(one) for one in data["hidden"]),
                _palette(data.get("palette", "")),  # older ones know none
            )
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(f"This is no legend of labels ({error!r})") from error
        if len(made.label_of) != len(made.cut) or min(made.label_of + made.cut, default=1) < 1:
            raise ValueError("This is no legend of labels: they are numbered from 1")
        return made


@dataclass(frozen=True)
class Tree:
    """In which order clusters merge.

    Attributes
    ----------
    order : sequence of (int, int)
        The merges, the first ones first: the second cluster joins the first.
    leaves : sequence of int
        Clusters with the same number are never apart.
    sizes : sequence of int
        Pixels of each cluster.
    """

    order: Sequence[tuple[int, int]]
    leaves: Sequence[int]
    sizes: Sequence[int]

    def smaller_half(self, clusters: Collection[int]) -> list[int]:
        """Return those of some clusters that join the others last, the smaller side."""
        stands_for: dict[int, int] = {}  # a leaf, the first of its clusters that merges
        for one in (*itertools.chain(*self.order), *clusters):
            stands_for.setdefault(self.leaves[one], one)
        members: dict[int, list[int]] = {}
        for one in clusters:
            members.setdefault(stands_for[self.leaves[one]], []).append(one)
        last = next(reversed(members.values()))
        for into, gone in self.order:
            joining = members.pop(gone, [])
            if joining and into in members:
                last = joining
            if joining:
                members[into] = members.get(into, []) + joining
        sides = [last, [one for one in clusters if one not in set(last)]]
        return min(sides, key=lambda side: sum(self.sizes[i] for i in side))


def checked_labels(label_of: Sequence[int] | NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return the label of each cluster as an array.

    Raises
    ------
    ValueError
        If there is not one from 1 on for each of so many clusters.
    """
    labels = np.asarray(label_of)
    whole = labels.dtype.kind in "iu" and labels.shape == (count,)
    if not whole or not 1 <= labels.min() <= labels.max() <= LARGEST:
        raise ValueError(
            f"Each of the {count} clusters must have a label from 1 to {LARGEST} (label_of), got "
            f"{label_of!r}"
        )
    return labels.astype(np.int64)


def checked_names(names: Mapping[Any, Any]) -> dict[int, str]:
    """Return names of labels with their numbers as ints.

    Raises
    ------
    ValueError
        If a number is below 1, or a name is empty, too long or of several lines.
    """
    made = {}
    for label, name in names.items():
        number = int(label)
        if number < 1 or not isinstance(name, str):
            raise ValueError(f"A label from 1 on has a text for a name, got {label!r}: {name!r}")
        if name != " ".join(name.split()) or not 0 < len(name) <= LONGEST_NAME:
            raise ValueError(
                f"A label's name must be one line of 1 to {LONGEST_NAME} characters, got {name!r}"
            )
        made[number] = name
    return made


def _palette(name: Any) -> str:
    if name and name not in PALETTES:
        raise ValueError(f"the palette must be one of {', '.join(PALETTES)}, got {name!r}")
    return str(name)


def _colour(value: Sequence[float]) -> Colour:
    red, green, blue, opacity = (float(one) for one in value)
    if not all(math.isfinite(one) and 0 <= one <= 1 for one in (red, green, blue, opacity)):
        raise ValueError(f"a colour is four numbers from 0 to 1, got {value!r}")
    return red, green, blue, opacity
