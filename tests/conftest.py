"""What all tests share."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.spots import BRIGHT, DARK

DATA = Path(os.environ.get("MMTSEG_DATA", Path(__file__).parents[2] / "shared" / "data"))

# Small tensors gain nothing from a second thread, and the tests run beside other work.
_THREADS = torch.get_num_threads()
torch.set_num_threads(1)


@pytest.fixture
def all_threads():
    """As many threads as the training process has, for what must be equal to the last bit."""
    torch.set_num_threads(_THREADS)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def spots():
    """Four bright discs and three dark ones on a grey ground: (80, 96) uint8."""
    image = np.random.default_rng(0).normal(110, 4, (80, 96))
    rows, columns = np.ogrid[:80, :96]
    for kind, value in ((BRIGHT, 220), (DARK, 20)):
        for row, column in kind:
            image[(rows - row) ** 2 + (columns - column) ** 2 < 49] = value
    return image.astype(np.uint8)


@pytest.fixture
def gray():
    """Two bright discs on a dark, noisy ground: (24, 32) uint8."""
    return _discs()


@pytest.fixture
def rgb():
    """The same with one disc red and one blue: (24, 32, 3) uint8."""
    image = np.repeat(_discs()[..., None], 3, axis=-1)
    image[:, :16, 1:] //= 3
    image[:, 16:, :2] //= 3
    return image


@pytest.fixture
def real():
    """Find a file or folder of the real images, which are too large for the repository."""

    def find(*parts):
        path = DATA.joinpath(*parts)
        if not path.exists():
            pytest.skip(f"there is no {path}; set MMTSEG_DATA to the folder that holds the data")
        return path

    return find


def _discs():
    rows, columns = np.ogrid[:24, :32]
    discs = ((rows - 9) ** 2 + (columns - 9) ** 2 < 36) | (
        (rows - 14) ** 2 + (columns - 23) ** 2 < 30
    )
    noise = np.random.default_rng(0).normal(0, 6, discs.shape)
    return np.clip(40 + 150 * discs + noise, 0, 255).astype(np.uint8)
