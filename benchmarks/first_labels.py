"""How long does a user wait? Time to the first labels and to the result, with the default preset.

    python benchmarks/first_labels.py [--repeats 3]

On immunohistochemistry (512 x 512, RGB) of scikit-image; the clock starts after importing PyTorch.
"""

import argparse
import statistics
import time

import torch
from skimage.data import immunohistochemistry

from napari_mmtseg import MMT
from napari_mmtseg.segmentation import segment_steps


def once() -> tuple[float, float]:
    """Return seconds to the first labels and to the result."""
    image = immunohistochemistry()
    start = time.perf_counter()
    run = segment_steps(image, MMT(), axes="YXS")
    next(run).snapshot().predict(image, axes="YXS")
    first = time.perf_counter() - start
    for _ in run:
        pass
    return first, time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    times = [once() for _ in range(parser.parse_args().repeats)]
    first, whole = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{torch.get_num_threads()} threads: first labels {first:.2f} s, result {whole:.2f} s")


if __name__ == "__main__":
    main()
