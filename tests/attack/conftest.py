"""How long the attacks last: as long as CI has time for, or so much of the long form.

The long form is 20,000 generated inputs, 10,000 model files, and the memory that large images take.
`make attack` runs it whole; MMTSEG_ATTACK=0.1 runs a tenth of it.
"""

import os

import hypothesis
import pytest

SHARE = float(os.environ.get("MMTSEG_ATTACK", "0"))
"""Of the long form; 0 stands for the short one."""


def count(short, long):
    """Say how many attacks to make, where the two forms make so many."""
    return max(1, round(long * SHARE)) if SHARE else short


hypothesis.settings.register_profile(
    "attack",
    max_examples=count(50, 2223),  # of each of the nine tests of generated inputs
    deadline=None,
    database=None,
    derandomize=not SHARE,  # what is always run always runs alike
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("attack")


@pytest.fixture(scope="session")
def attacks():
    """Say how many attacks to make, where the short form and the long one make so many."""
    return count


@pytest.fixture
def long_form():
    """Skip what takes too long for the short form."""
    if not SHARE:
        pytest.skip("a part of the long form: make attack")
