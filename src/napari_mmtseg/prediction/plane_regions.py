"""Label with a method that learns no model: its regions are found anew in each plane."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import ArrayLike

from napari_mmtseg import engine
from napari_mmtseg.engine import Run, Step
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.images.training_input import Guides, read_sample
from napari_mmtseg.prediction.label_image import Segmentation
from napari_mmtseg.settings import Method
from napari_mmtseg.system import memory

_BYTES_A_PIXEL = 350
"""What growing regions takes, as measured on 4096 x 4096 RGB."""
_MUCH = 1_500_000_000


def region_steps(
    frames: Frames, method: Method, scribbles: ArrayLike | None, mask: ArrayLike | None
) -> Run[Segmentation]:
    """Find the regions of each plane and number them by size over the whole stack."""
    beside = Guides.check([frames], method, scribbles, mask)
    _check_memory(frames, method)
    _, scaling = read_sample([frames], method, beside)
    regions = np.full(frames.shape, -1, np.int32)
    count, index = 0, -1
    for index in range(len(frames)):
        pixels, valid = scaling.apply(frames.read(index))
        if beside.mask is not None:
            valid &= np.asarray(frames.frame_of(beside.mask, index)) != 0
        found = np.unique(engine.regions(pixels, method)[valid], return_inverse=True)[1]
        frames.frame_of(regions, index)[valid] = found + count
        count += int(found.max(initial=-1)) + 1
        if (yield Step("labelling", index + 1, len(frames), (), (count,), lambda: None)):
            break
    sizes = np.bincount(regions[regions >= 0], minlength=count)
    number = np.full(count + 1, -1, np.int32)  # the last one is for -1
    number[np.argsort(-sizes, kind="stable")] = np.arange(count, dtype=np.int32)
    complete = index + 1 == len(frames)
    return Segmentation(number[regions], None, method, frames.frame_axes, None, complete=complete)


def _check_memory(frames: Frames, method: Method) -> None:
    """Say how much memory a plane takes if it is much, and refuse what cannot fit."""
    need = _BYTES_A_PIXEL * math.prod(frames.frame_shape)
    what = f"{type(method).__name__}, which looks at a whole plane at once,"
    memory.require(need, what)
    if need > _MUCH:
        warnings.warn(f"{what} needs about {need / 1e9:.1f} GB of memory here", stacklevel=4)
