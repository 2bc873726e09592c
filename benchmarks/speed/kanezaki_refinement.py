"""Time Kanezaki's superpixel refinement beside a whole training step.

Run: python benchmarks/speed/kanezaki_refinement.py [--width 32] [--side 512] [--superpixels 10000]
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from skimage.data import immunohistochemistry
from skimage.transform import resize

from napari_mmtseg import Kanezaki
from napari_mmtseg.engine import kanezaki
from napari_mmtseg.images.frames import Sample


def main() -> None:
    """Print the median times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=Kanezaki().width)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--superpixels", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()

    image = resize(immunohistochemistry(), (args.side, args.side)).astype(np.float32)
    sample = Sample(
        [np.ascontiguousarray(image.transpose(2, 0, 1))],
        [np.ones(image.shape[:2], bool)],
        is_rgb=True,
    )
    method = Kanezaki(
        n_superpixels=args.superpixels,
        width=args.width,
        n_iterations=args.repeats + 1,
        min_labels=1,
        reduction=1,
    )

    # Every refinement that the training itself makes is timed, with its real labels.
    refinements: list[float] = []
    counts: list[int] = []
    refine = kanezaki.refine

    def timed(own: Any, batch: Any, width: int) -> Any:
        start = perf_counter()
        target = refine(own, batch, width)
        refinements.append(perf_counter() - start)
        counts.append(int(batch.superpixels.max()) + 1)
        return target

    kanezaki.refine = timed
    steps: list[float] = []
    training = kanezaki.train(sample, method)
    next(training)  # superpixels and first-use costs
    for _ in range(args.repeats):
        start = perf_counter()
        next(training)
        steps.append(perf_counter() - start)
    training.close()

    step, refinement = median(steps), median(refinements[1:])
    print(f"{args.side} x {args.side}, {counts[0]} superpixels, width {args.width}")
    print(f"one training step   {1000 * step:8.1f} ms (median of {args.repeats})")
    print(f"its refinement      {1000 * refinement:8.1f} ms")
    print(f"refinement / step   {refinement / step:8.3f}")


if __name__ == "__main__":
    main()
