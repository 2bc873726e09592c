"""How much memory large images take: the long form alone measures it."""

import subprocess
import sys

import pytest

from napari_mmtseg.methods import METHODS

LIMIT_GB = 1.5
SEGMENT = """
import sys
from pathlib import Path
import numpy as np
from napari_mmtseg import segment
from napari_mmtseg.methods import METHODS
import napari_mmtseg.engine.mmt, skimage.color, dask.array

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

imported = peak()
random = np.random.default_rng(0)
image = np.empty((4096, 4096, 3), np.uint8)
for row in range(0, 4096, 256):
    for column in range(0, 4096, 256):
        image[row : row + 256, column : column + 256] = random.integers(0, 200, 3)
        image[row + 60 : row + 160, column + 60 : column + 160] = random.integers(50, 255, 3)
    image[row : row + 256] += random.integers(0, 40, (256, 4096, 3), dtype=np.uint8)
labels = segment(image, METHODS[sys.argv[1]](), axes="YXS")
assert labels.shape == (4096, 4096) and labels.min() >= 1
print(peak() - imported)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("name", [name for name, cls in METHODS.items() if cls.trains])
def test_16_million_pixels_take_little_memory(name, long_form):
    done = subprocess.run(
        [sys.executable, "-c", SEGMENT, name], capture_output=True, text=True, timeout=3600
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout) / 1e9
    print(f"{name}: {peak:.2f} GB")
    assert peak <= LIMIT_GB, f"{name} took {peak:.2f} GB"
