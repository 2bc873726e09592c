"""Do labels mean the same thing in every plane? Neighbouring planes of a stack look alike.

Between neighbouring planes, prints the share of pixels with the same label as they stand, and
under the best renumbering of one plane. Equal shares mean that no plane has numbers of its own.

    python benchmarks/quality/stack_agreement.py STACK.tif --axes ZYX
"""

import argparse
import itertools
import statistics
from pathlib import Path

import tifffile

from napari_mmtseg import MMT, segment
from napari_mmtseg.metrics import hungarian_accuracy


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stack", type=Path)
    parser.add_argument("--axes", default="ZYX")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    image = tifffile.imread(arguments.stack)
    labels = segment(image, MMT(seed=arguments.seed), axes=arguments.axes)
    pairs = list(itertools.pairwise(labels))
    same = [float((one == other).mean()) for one, other in pairs]
    best = [hungarian_accuracy(one, other) for one, other in pairs]
    print(f"{len(labels)} planes, {labels.max()} labels, {(labels == 0).sum()} pixels unlabelled")
    print(f"same label in the next plane: median {statistics.median(same):.4f}")
    print(f"under the best renumbering:   median {statistics.median(best):.4f}")
    print(
        f"largest difference of a pair: {max(b - s for b, s in zip(best, same, strict=True)):.4f}"
    )


if __name__ == "__main__":
    main()
