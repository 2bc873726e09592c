"""Felzenszwalb: regions whose inner differences are small beside those at their borders."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
from numpy.typing import NDArray
from skimage import segmentation

from napari_mmtseg.methods import Felzenszwalb

_ALONE = threading.Lock()


def regions(pixels: NDArray[np.float32], method: Felzenszwalb) -> NDArray[np.int64]:
    """Find the regions of a plane.

    Parameters
    ----------
    pixels : (C, Y, X) array
        In 0..1; any number of channels.
    method : Felzenszwalb
        The settings.

    Returns
    -------
    (Y, X) int64 array
        Numbered from 0; they mean nothing in another plane.
    """
    with _unwarned() if len(pixels) > 3 else nullcontext():
        found: NDArray[np.int64] = segmentation.felzenszwalb(
            pixels.transpose(1, 2, 0),
            scale=method.scale,
            sigma=method.sigma,
            min_size=method.min_size,
            channel_axis=-1,
        )
    return found


@contextmanager
def _unwarned() -> Iterator[None]:
    """Keep scikit-image from warning of many channels: differences are taken over all of them.

    What is ignored is a setting of the whole process, so that threads take turns.
    """
    with _ALONE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Got image with third dimension")
        yield
