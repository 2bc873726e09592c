"""Whether borders are to be sharpened."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_mmtseg.sharpness import suits_labels

LABELS = np.repeat([5, 9, 0], 100)
"""Of classes 5 and 9, and without."""
NAMES = np.array([5, 9])
BEFORE = (LABELS == 9).astype(np.int16)


@pytest.mark.parametrize(("lost", "suits"), [(5, True), (20, False)])
def test_sharpening_may_lose_a_little_of_what_is_labelled(lost, suits):
    after = BEFORE.copy()
    after[100 : 100 + lost] = 0
    after[200:] = 1  # nobody says what is right there

    def find(frames, index, tile, draft):
        draft(BEFORE)
        return SimpleNamespace(clusters=after)

    labeller = SimpleNamespace(find=find)
    assert suits_labels(labeller, [(None, 0, (), LABELS)], NAMES) is suits
