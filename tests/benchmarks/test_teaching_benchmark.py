"""The benchmark of teaching."""

import numpy as np
from skimage.io import imsave

from benchmarks.quality import teaching


def test_each_image_of_a_set_is_read_once_even_if_more_are_wanted(tmp_path):
    folder = tmp_path / "dsb2018"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
        for number in range(4):
            flat = np.full((8, 8), number, np.uint8)
            imsave(folder / part / f"colour_{number}.png", flat, check_contrast=False)

    def names(count):
        return [one[0] for one in teaching.pictures(tmp_path, "stained", count)]

    assert names(1000) == names(4) == [f"colour_{number}" for number in range(4)]
    assert names(2) == ["colour_0", "colour_2"]
