"""Read and scale what a method learns from, and what the user painted on it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg.images.frames import Frames, Region, Sample, grid, several
from napari_mmtseg.images.levels import Coarse
from napari_mmtseg.images.scaling import Scaling, is_noise
from napari_mmtseg.methods import METHODS, Kanezaki
from napari_mmtseg.settings import Method

M = TypeVar("M", bound=Method)

_SAMPLE_VALUES = 8_000_000
_FRAME_VALUES = 16_000_000
"""A frame of more is not read whole, but in windows."""
_WINDOW_PX = 512
_RANGE_VALUES = 1_000_000
"""The range of intensities is measured on so many where the rest is read from a coarser level."""
LARGEST_CLASS = 2**31 - 1
"""Labels are 32-bit numbers, and a class is a label."""


class Window(NamedTuple):
    """A frame of an image, or a region of one."""

    image: int
    frame: int
    region: Region


class Guides(NamedTuple):
    """What the user gives with an image, of the shape of its labels; each may be lazy."""

    scribbles: Any = None
    mask: Any = None
    superpixels: Any = None

    @classmethod
    def check(
        cls,
        images: list[Frames],
        method: Method,
        scribbles: ArrayLike | None,
        mask: ArrayLike | None,
        superpixels: ArrayLike | None = None,
    ) -> Guides:
        """Take what is given, or say what is wrong with it.

        Raises
        ------
        TypeError, ValueError
            If it does not fit the image, or the method can make nothing of it.
        """
        given = (scribbles, mask, superpixels)
        if len(images) > 1 and any(one is not None for one in given):
            raise ValueError(
                "Scribbles, masks and superpixels go with a single image; train on one, or leave "
                "them"
            )
        if scribbles is not None and not method.takes_scribbles:
            able = ", ".join(name for name, one in METHODS.items() if one.takes_scribbles)
            raise ValueError(
                f"{type(method).__name__} takes no scribbles; choose one of {able}, or leave them"
            )
        if superpixels is not None and not isinstance(method, Kanezaki):
            raise ValueError(
                f"{type(method).__name__} uses no superpixels; choose Kanezaki, or leave them"
            )
        names = ("scribbles", "mask", "superpixels")
        found = (
            None if one is None else images[0].side_image(one, name)
            for one, name in zip(given, names, strict=True)
        )
        return cls(*found)

    @property
    def shown(self) -> Any:
        """The scribbles that are not masked."""
        return self.scribbles if self.mask is None else self.scribbles * (self.mask != 0)


def images_of(
    image: ArrayLike | Sequence[ArrayLike],
    axes: str | Sequence[str] | None,
    *,
    volumes: bool = False,
) -> list[Frames]:
    """Take one image or several of one kind as frames.

    Raises
    ------
    TypeError, ValueError
        If there is none, one cannot be read, or they differ in their channels.
    """
    images = [Frames(one, axes, volumes=volumes) for one in several(image)]
    if not images:
        raise ValueError("There is no image to train on; give at least one")
    for number, frames in enumerate(images):
        if (frames.n_channels, frames.is_rgb) != (images[0].n_channels, images[0].is_rgb):
            raise ValueError(
                f"Image {number} has {frames.n_channels} channels where the first has "
                f"{images[0].n_channels}: train on images of one kind"
            )
    return images


def truth_of(images: list[Frames], labels: Any, beside: Guides) -> list[ArrayLike | None] | None:
    """Return the ground truth of each image, None for an image without.

    Raises
    ------
    ValueError
        If there are not as many as images, or strokes are given as well.
    """
    if labels is None:
        return None
    if beside.scribbles is not None:
        raise ValueError("Give scribbles or labels, not both: labels may be of a part of an image")
    found = list(labels) if isinstance(labels, list | tuple) else [labels]
    if len(found) != len(images):
        raise ValueError(
            f"Each image needs its labels, or None: got {len(images)} images and {len(found)} "
            "labels"
        )
    return found


def read_sample(
    images: list[Frames],
    method: Method,
    beside: Guides,
    spacing: tuple[float, ...] = (),
    reduction: tuple[int, ...] = (),
) -> tuple[Sample, Scaling]:
    """Read and scale windows chosen at random, all if they are few, and every painted one.

    With a working reduction, along each axis, an image of several levels is read from the coarsest
    one that serves it, each of its pixels repeated. The range of intensities is that of the image
    all the same, since means vary less than pixels.

    Raises
    ------
    ValueError
        If no pixel of them counts.
    """
    windows = list(_windows(images))
    painted = _painted(images[0], beside.scribbles, windows)
    order = np.random.default_rng(method.seed).permutation(len(windows))
    order = order[np.argsort(~painted[order], kind="stable")]
    room = np.cumsum([images[windows[i].image].n_channels * _size(windows[i]) for i in order])
    count = max(1, int((room <= _SAMPLE_VALUES).sum()), int(painted.sum()))
    chosen = [windows[i] for i in sorted(order[:count])]
    if beside.mask is not None:
        chosen = _uncovered(images[0], beside.mask, chosen, windows)
    raw, scaling = _read(images, chosen, method, reduction)
    scalings = dict.fromkeys(range(len(images)), scaling)
    if getattr(method, "exposure", "shared") == "own":
        scalings = {
            number: _own(
                [part for part, one in zip(raw, chosen, strict=True) if one.image == number],
                method,
                scaling,
                images[number].is_rgb,
            )
            for number in scalings
        }
    scaled = [scalings[one.image].apply(part) for part, one in zip(raw, chosen, strict=True)]
    pixels, valid = [list(part) for part in zip(*scaled, strict=True)]
    if beside.mask is not None:
        shown = (_part(images[0], beside.mask, one) != 0 for one in chosen)
        valid = [there & seen for there, seen in zip(valid, shown, strict=True)]
    if not any(there.any() for there in valid):
        raise ValueError(
            "No pixel that counts is finite in all channels: there is nothing to segment; check "
            "how the image was loaded or computed, and its mask"
        )
    for channel in range(images[0].n_channels):
        seen = np.concatenate([p[channel][v] for p, v in zip(pixels, valid, strict=True)])
        if seen.size and seen.min() == seen.max():
            for part in pixels:
                part[channel] = 0
    if not any(part.any() for part in pixels):
        warnings.warn("All pixels of the image are equal: it gets one label", stacklevel=3)
    strokes, regions = (
        None if side is None else [_part(images[0], side, one).astype(np.int64) for one in chosen]
        for side in (beside.scribbles, beside.superpixels)
    )
    places = [(one.image, *images[one.image].position(one.frame)) for one in chosen]
    sample = Sample(
        pixels,
        valid,
        strokes,
        regions,
        images[0].is_rgb,
        places,
        [tuple(one.start for one in window.region) for window in chosen],
        images[0].frame_shape,
        spacing,
    )
    return sample, scaling


def _read(
    images: list[Frames], chosen: list[Window], method: Method, reduction: tuple[int, ...]
) -> tuple[list[NDArray[Any]], Scaling]:
    """Read windows, and measure the range of their intensities."""
    coarse = [Coarse(frames, reduction or (1,) * len(frames.frame_shape)) for frames in images]
    raw: dict[int, NDArray[Any]] = {}
    shown: set[int] = set()
    room = _RANGE_VALUES
    for number in np.random.default_rng(method.seed).permutation(len(chosen)).tolist():
        one = chosen[number]
        if room > 0 or one.image not in shown or not coarse[one.image].serves(one.region):
            raw[number] = images[one.image].read(one.frame, one.region)
            shown.add(one.image)
            room -= raw[number].size
    scaling = Scaling.fit([raw[i] for i in sorted(raw)], method.intensity, shared=images[0].is_rgb)
    left = [number for number in range(len(chosen)) if number not in raw]
    unlike = set()
    for number in raw if left else ():
        one = chosen[number]
        level = coarse[one.image]
        if level.serves(one.region) and not level.is_mean(
            one.frame, one.region, raw[number], scaling.high - scaling.low
        ):
            unlike.add(one.image)
    for number in left:
        one = chosen[number]
        source = images[one.image] if one.image in unlike else coarse[one.image]
        raw[number] = source.read(one.frame, one.region)
    return [raw[number] for number in range(len(chosen))], scaling


def own_scaling(frames: Frames, method: Method, learned: Scaling) -> Scaling:
    """Measure the range of intensities of an image by itself.

    Parameters
    ----------
    frames : Frames
    method : Method
    learned : Scaling
        Of the images that were learned from: it serves an image that holds noise alone.
    """
    windows = list(_windows([frames]))
    order = np.random.default_rng(method.seed).permutation(len(windows))
    sizes = np.cumsum([frames.n_channels * _size(windows[i]) for i in order])
    count = max(1, int((sizes <= _SAMPLE_VALUES).sum()))
    raw, _ = _read([frames], [windows[i] for i in sorted(order[:count])], method, ())
    return _own(raw, method, learned, frames.is_rgb)


def fit_exposure(method: M, images: list[Frames]) -> M:
    """Decide whether several images are scaled each by its own range, if that is automatic.

    Returns
    -------
    Method
        With the exposure that was decided on.
    """
    if getattr(method, "exposure", "") != "automatic" or len(images) < 2:
        return method
    scalings = []
    for frames in images:
        raw, found = _read([frames], _few(frames), method, ())
        if not is_noise(raw, found):
            scalings.append(found)
    lows = np.median([one.low for one in scalings], axis=0) if scalings else None
    if lows is None:
        return method
    typical = Scaling(lows, lows + np.median([one.span for one in scalings], axis=0))
    differ = [one.differs(typical) for one in scalings]
    if not any(differ):
        return method
    warnings.warn(
        f"{sum(differ)} of the {len(images)} images differ from the others in exposure: each is "
        "scaled by its own range (exposure='own'; 'shared' scales all alike)",
        stacklevel=4,
    )
    own: dict[str, Any] = {"exposure": "own"}
    return replace(method, **own)


def _few(frames: Frames) -> list[Window]:
    """Return the windows in the middle of the list, of about as many values as pin a range down."""
    windows = list(_windows([frames]))
    count = max(1, _RANGE_VALUES // max(1, frames.n_channels * _size(windows[0])))
    return windows[:: -(-len(windows) // count)]


def _own(raw: list[NDArray[Any]], method: Method, learned: Scaling, is_rgb: bool) -> Scaling:
    if not raw or not any(np.isfinite(part).any() for part in raw):
        return learned
    found = Scaling.fit(raw, method.intensity, shared=is_rgb)
    return learned if is_noise(raw, found) else found


def check_classes(painted: NDArray[Any]) -> NDArray[Any]:
    """Return scribbles, or say which of them is no class.

    Raises
    ------
    ValueError
        If one is negative, or larger than a label can be.
    """
    low, high = int(painted.min()), int(painted.max())
    if low < 0 or high > LARGEST_CLASS:
        raise ValueError(
            f"The scribbles must be 0 (unpainted) or a class from 1 to {LARGEST_CLASS}, "
            f"got {low if low < 0 else high}: paint that class with another number"
        )
    return painted


def _windows(images: list[Frames]) -> Iterator[Window]:
    """List the frames of all images; a large one is cut into windows."""
    for number, frames in enumerate(images):
        whole = frames.n_channels * np.prod(frames.frame_shape, dtype=float) <= _FRAME_VALUES
        side = max(frames.frame_shape) if whole else _WINDOW_PX
        depth = side if len(frames.frame_shape) == 2 else max(1, side // 8)
        sides = (depth, side, side)[-len(frames.frame_shape) :]
        regions = list(grid(frames.frame_shape, frames.frame_shape if whole else sides))
        if not whole:
            regions = [one for one in regions if all(s.stop - s.start >= 2 for s in one[-2:])]
        for index in range(len(frames)):
            for region in regions:
                yield Window(number, index, region)


def _size(window: Window) -> int:
    return int(np.prod([one.stop - one.start for one in window.region], dtype=float))


def _part(frames: Frames, side: Any, window: Window) -> NDArray[Any]:
    return np.asarray(frames.frame_of(side, window.frame)[window.region])


def _painted(frames: Frames, scribbles: Any, windows: list[Window]) -> NDArray[np.bool_]:
    """Return which windows have strokes, and check the strokes."""
    if scribbles is None:
        return np.zeros(len(windows), bool)
    classes: set[int] = set()
    painted = np.zeros(len(windows), bool)
    for number, window in enumerate(windows):
        strokes = check_classes(_part(frames, scribbles, window))
        if strokes.any():
            painted[number] = True
            classes |= set(np.unique(strokes[strokes != 0]).tolist())
    if len(classes) < 2:
        raise ValueError("The scribbles must hold at least two classes: paint a second one")
    return painted


def _uncovered(
    frames: Frames, mask: Any, chosen: list[Window], windows: list[Window]
) -> list[Window]:
    """Return the windows chosen, or the first that the mask leaves something of.

    Raises
    ------
    ValueError
        If the mask hides every pixel.
    """
    if any(_part(frames, mask, one).any() for one in chosen):
        return chosen
    for one in windows:
        if _part(frames, mask, one).any():
            return [one]
    raise ValueError("The mask hides every pixel: paint where the image is to be used")
