"""Time the IIC loss against the convolution form: ``python benchmarks/speed/iic_loss.py``."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from napari_mmtseg.engine.iic import loss as iic_loss


def convolution_form(first: Tensor, second: Tensor, displacement: int) -> Tensor:
    """Compute the joint as the published code does, the second view being the filter bank."""
    joint = functional.conv2d(
        first.transpose(0, 1), weight=second.transpose(0, 1), padding=displacement
    )  # (K, K, 2d + 1, 2d + 1)
    return joint.permute(2, 3, 0, 1)


def main() -> None:
    """Print the medians of forward and backward together, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=15)
    parser.add_argument("--displacement", type=int, default=10)
    parser.add_argument("--crops", type=int, default=8)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    torch.manual_seed(0)
    shape = (args.crops, args.clusters, args.side, args.side)
    views = [torch.randn(shape).mul(2).softmax(1).requires_grad_() for _ in range(2)]
    forms = {"convolution": convolution_form, "this package": iic_loss.displaced_joint}
    times: dict[str, list[float]] = {name: [] for name in forms}
    losses: dict[str, float] = {}
    # The forms take turns, so that a change in the machine's load meets both alike.
    for _ in range(args.repeats):
        for name, joint in forms.items():
            seconds, losses[name] = _timed(joint, views, args.displacement)
            times[name].append(seconds)

    print(f"k = {args.clusters}, d = {args.displacement}, {args.crops} crops of {args.side} px, ")
    print(f"forward and backward, median of {args.repeats}, {torch.get_num_threads()} threads")
    for name in forms:
        print(f"{name:14} {statistics.median(times[name]):8.3f} s   loss {losses[name]:.8f}")
    slow, fast = (statistics.median(times[name]) for name in forms)
    print(f"ratio {slow / fast:.1f}")


def _timed(
    joint: Callable[[Tensor, Tensor, int], Tensor], views: list[Tensor], displacement: int
) -> tuple[float, float]:
    with patch.object(iic_loss, "displaced_joint", joint):
        start = time.perf_counter()
        loss = iic_loss.information_loss(*views, displacement=displacement)
        loss.backward()
        return time.perf_counter() - start, loss.item()


if __name__ == "__main__":
    main()
