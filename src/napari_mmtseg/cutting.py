"""The label of each cluster when those that look alike are merged, whether it was seen or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.engine.merging import cut


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
