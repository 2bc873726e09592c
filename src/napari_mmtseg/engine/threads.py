"""Say how many threads a process computes with."""

from __future__ import annotations


def use_threads(count: int) -> None:
    """Let PyTorch, if it is there, use so many threads in this process."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(count)
