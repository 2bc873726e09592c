"""How long the attacks last: MMTSEG_ATTACK=4 makes four times as many as by default."""

import os

import hypothesis
import pytest

FACTOR = float(os.environ.get("MMTSEG_ATTACK", "1"))

hypothesis.settings.register_profile(
    "attack",
    max_examples=max(1, round(50 * FACTOR)),  # of each test
    deadline=None,
    database=None,
    derandomize=FACTOR <= 1,  # what is always run always runs alike
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("attack")


@pytest.fixture(scope="session")
def attacks():
    """Say how many attacks to make where the short form makes so many."""
    return lambda count: max(1, round(count * FACTOR))
