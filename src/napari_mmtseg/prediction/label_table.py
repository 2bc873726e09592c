"""The label of each cluster when those that look alike are merged, whether it was seen or not."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.engine.cluster_merges import cut, fewest
from napari_mmtseg.labels.legend import Tree
from napari_mmtseg.settings import Method


class ClusterModel(Protocol):
    """What is asked of a model here; see `Model`."""

    @property
    def method(self) -> Method: ...
    @property
    def order(self) -> NDArray[np.int64]: ...
    @property
    def colours(self) -> NDArray[np.float32]: ...
    @property
    def traits(self) -> NDArray[np.floating]: ...
    @property
    def sizes(self) -> NDArray[np.int64]: ...
    @property
    def classes(self) -> NDArray[np.int64]: ...
    @property
    def groups(self) -> NDArray[np.int64]: ...


def in_use(sizes: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which clusters were seen, or named by the user."""
    return (sizes > 0) | (classes > 0)


def merged(
    order: NDArray[np.int64],
    traits: NDArray[np.floating],
    sizes: NDArray[np.int64],
    classes: NDArray[np.int64],
    groups: NDArray[np.int64],
    n_labels: int,
) -> NDArray[np.int64]:
    """Return the label of each cluster, (K,), numbered from 1 by size; see `Model`."""
    used = np.flatnonzero(in_use(sizes, classes))
    labels = cut(order, sizes[used], classes[used], n_labels)
    # A cluster that was not seen stands with the one that is most like it, of its own group.
    wide = traits.astype(np.float64)
    apart = ((wide[:, None] - wide[used]) ** 2).sum(-1)  # (K, used)
    apart[groups[:, None] != groups[used]] += 2 * apart.max() + 1
    nearest = apart.argmin(axis=1)
    nearest[used] = np.arange(len(used))
    found: NDArray[np.int64] = labels[nearest]
    return found


def automatic(model: ClusterModel) -> int:
    """Return the number of labels that a model's settings ask for."""
    used = in_use(model.sizes, model.classes)
    if not np.ptp(model.colours[used], axis=0).any():
        return 1  # learned on a constant image, where only the border differs
    share = getattr(model.method, "explained", 1.0)
    seen = (model.traits[used], model.sizes[used], model.classes[used])
    return getattr(model.method, "n_labels", 0) or fewest(model.order, *seen, share)


def tree_of(model: ClusterModel) -> Tree:
    """Return in which order a model's clusters merge."""
    used = np.flatnonzero(in_use(model.sizes, model.classes))
    order = [(int(used[into]), int(used[gone])) for into, gone in model.order.tolist()]
    known = (model.order, model.traits, model.sizes, model.classes, model.groups)
    return Tree(order, merged(*known, len(used)).tolist(), model.sizes.tolist())
