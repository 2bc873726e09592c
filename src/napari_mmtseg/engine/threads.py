"""Say how many threads a process computes with."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = 2


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


def several() -> ThreadPoolExecutor:
    """Return a pool that does some parts of a work at once.

    One is in what uses all processors while another is not. Where there is one thread, they are
    done one by one.
    """
    return ThreadPoolExecutor(min(AT_ONCE, thread_count()))
