"""Who teaches a network, and what it sees of the image."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_mmtseg import MMT, segment
from napari_mmtseg.engine.mmt import _perturbed

SEEN = torch.rand(3, 2, 12, 14, generator=torch.Generator().manual_seed(0))


def test_a_mirrored_view_is_answered_in_place():
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        found = _perturbed(nn.Identity(), SEEN, 1e-6, generator)
        torch.testing.assert_close(found, SEEN, atol=1e-4, rtol=0)


def test_a_view_is_as_different_as_asked():
    generator = torch.Generator().manual_seed(0)
    spread = (_perturbed(nn.Identity(), SEEN, 0.3, generator) - SEEN).std() / SEEN.std()
    assert 0.2 < spread < 1
    assert torch.equal(_perturbed(nn.Identity(), SEEN, 0.0, generator), SEEN)


@pytest.mark.parametrize("teacher", ["mutual", "own", "none"])
def test_every_teacher_gives_labels_with_and_without_perturbation(teacher):
    image = np.zeros((24, 30), np.float32)
    image[:, 15:] = 1
    for strength in (0.0, 0.3):
        method = MMT(n_iterations=2, width=4, teacher=teacher, perturbation=strength)
        labels = segment(image, method)
        assert len(np.unique(labels[:, :12])) == len(np.unique(labels[:, 18:])) == 1
        assert labels[0, 0] != labels[0, -1]
