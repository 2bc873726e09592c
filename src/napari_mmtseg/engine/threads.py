"""Say how many threads a process computes with."""

from __future__ import annotations

import os
import sys


def use_threads(count: int) -> None:
    """Let PyTorch use so many threads in this process, whenever it is loaded."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)


def thread_count() -> int:
    """Return how many threads PyTorch uses in this process, or will."""
    if "torch" in sys.modules:
        import torch

        return torch.get_num_threads()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() else os.cpu_count() or 1
