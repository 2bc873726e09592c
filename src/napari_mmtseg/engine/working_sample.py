"""Bring the sample to the working resolution and draw the crops that each step trains on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_mmtseg.engine.losses import IGNORED
from napari_mmtseg.engine.votes import majority
from napari_mmtseg.images import prominence
from napari_mmtseg.images.frames import Sample
from napari_mmtseg.images.scaling import NOISE_ALONE
from napari_mmtseg.methods import NetworkMethod
from napari_mmtseg.methods.networks import MAX_REDUCTION

_WORKING_VOXELS = 8_000_000
_SURVEYED_PIXELS = 262_144
_GLIMPSED_PIXELS = 65_536
_SURVEYED_SIDES = {2: 64, 3: 16}
_POOL, _UNEVEN = 4, 3.0
"""Pixels a side of a block, and how many times more than noise its means may vary."""


class Batch(NamedTuple):
    """Pixels at the working resolution."""

    pixels: Tensor  # (B, C, *spatial + 2 m) in 0..1, with the network's margin m
    valid: Tensor  # (B, *spatial) bool
    painted: Tensor | None = None  # (B, *spatial): channel of the user's class, or IGNORED
    superpixels: Tensor | None = None  # (B, *spatial) int64
    features: Tensor | None = None  # (B, F, *spatial), where the network is given those

    @property
    def seen(self) -> Tensor:
        """What the network is given."""
        return self.pixels if self.features is None else self.features

    @property
    def margin(self) -> int:
        """Pixels a side that the network sees beyond those it labels."""
        return (self.pixels.shape[-1] - self.valid.shape[-1]) // 2

    @property
    def own_pixels(self) -> Tensor:
        """The pixels without the margin: (B, C, *spatial)."""
        inner = (slice(self.margin, self.margin + n) for n in self.valid.shape[1:])
        return self.pixels[:, :, *inner]

    @property
    def has_strokes(self) -> bool:
        """Whether the user painted here."""
        return self.painted is not None and bool((self.painted != IGNORED).any())

    @property
    def unpainted(self) -> Tensor:
        """Where the networks label the pixels themselves: (B, *spatial) bool."""
        return self.valid if self.painted is None else self.valid & (self.painted == IGNORED)


class WorkingSample(NamedTuple):
    """A sample at the working resolution."""

    planes: list[Batch]
    factor: tuple[int, ...]
    """The working reduction along each axis."""
    classes: NDArray[np.int64]
    """(q,): the user's class of each channel of the responses, 0 for none."""
    spacing: tuple[float, ...]
    """Size of a pixel along each axis, the smallest in the plane 1."""
    axes_of_texture: tuple[Tensor, Tensor] | None = None
    """Where the planes hold features: (D, F) and (D,), what turns them into those that count."""

    @property
    def painted(self) -> Tensor:
        """Channels that stand for a class of the user: (n,) int64."""
        return torch.from_numpy(np.flatnonzero(self.classes)).to(self.planes[0].pixels.device)


def reduction_for(sample: Sample, method: NetworkMethod) -> tuple[int, ...]:
    """Choose the working reduction along each axis, keeping at least 2 pixels a side."""
    shape = sample.frame_shape or sample.valid[0].shape
    if len(shape) == 3:
        factor = _reduction_of_volume(shape, sample.spacing or (1.0,) * 3, method)
    else:
        factor = (method.reduction_of(math.prod(shape)),) * 2
    return tuple(max(1, min(f, n // 2)) for f, n in zip(factor, shape, strict=True))


def _reduction_of_volume(
    shape: tuple[int, ...], spacing: tuple[float, ...], method: NetworkMethod
) -> tuple[int, ...]:
    """Reduce the axes of the finest voxels first, until the working voxels are few enough."""
    if method.reduction:
        return tuple(max(1, round(method.reduction / size)) for size in spacing)
    factor = [1, 1, 1]
    while math.prod(shape) / math.prod(factor) > _WORKING_VOXELS:
        pairs = zip(factor, spacing, strict=True)
        size = [n * s if n < MAX_REDUCTION else math.inf for n, s in pairs]
        if min(size) == math.inf:
            break
        for axis in range(3):
            if size[axis] <= 1.4 * min(size):
                factor[axis] *= 2
    return tuple(factor)


def reduce(pixels: Tensor, factor: Sequence[int]) -> Tensor:
    """Average blocks of pixels: (B, C, *spatial) -> (B, C, *spatial / factor), rounded up."""
    factor = tuple(factor)
    if max(factor) == 1:
        return pixels
    pool = functional.avg_pool2d if len(factor) == 2 else functional.avg_pool3d
    small: Tensor = pool(pixels, factor, ceil_mode=True, count_include_pad=False)
    return small


def with_margin(pixels: Tensor, margin: int) -> Tensor:
    """Repeat the border's pixels as far as the network sees beyond them: (B, C, *spatial)."""
    if margin == 0:
        return pixels
    return functional.pad(pixels, (margin,) * (2 * (pixels.ndim - 2)), mode="replicate")


def working_sample(sample: Sample, method: NetworkMethod, device: torch.device) -> WorkingSample:
    """Bring each plane of the sample to the working resolution on the device."""
    factor = reduction_for(sample, method)
    margin = 0 if method.padding == "zero" else method.n_blocks
    classes = _channel_classes(sample, method.width)
    dtype = getattr(torch, method.precision)
    planes = []
    for number, (pixels, valid) in enumerate(zip(sample.pixels, sample.valid, strict=True)):
        small = reduce(torch.from_numpy(pixels).to(device, dtype)[None], factor)
        missing = reduce(torch.from_numpy(~valid).to(device, dtype)[None, None], factor)
        there = missing[:, 0] < 0.5
        if not there.any():
            there = missing[:, 0] < 1
        painted = None
        if sample.scribbles is not None:
            painted = _painted(sample.scribbles[number], classes, factor, tuple(there.shape[1:]))
            painted = painted.to(device)[None].masked_fill(~there, IGNORED)
        planes.append(Batch(with_margin(small, margin), there, painted))
    spacing = sample.spacing or (1.0,) * sample.n_axes
    return WorkingSample(planes, factor, classes, spacing)


def _channel_classes(sample: Sample, width: int) -> NDArray[np.int64]:
    """Give each class that the user painted a channel of the responses.

    Returns
    -------
    (q,) int64 array
        The class of each channel, 0 for none. Class c has channel c - 1, unless some class is
        larger than q: then the first channels, in order.

    Raises
    ------
    ValueError
        If there are more classes than channels.
    """
    classes = np.zeros(width, np.int64)
    strokes = sample.scribbles or []
    found = np.unique(np.concatenate([np.zeros(1, np.int64), *map(np.unique, strokes)]))[1:]
    if len(found) > width:
        raise ValueError(
            f"The scribbles hold {len(found)} classes, more than the network's width (width), "
            f"{width}: paint fewer, or raise the width"
        )
    classes[found - 1 if found.max(initial=0) <= width else np.arange(len(found))] = found
    return classes


def _painted(
    strokes: NDArray[np.int64],
    classes: NDArray[np.int64],
    factor: tuple[int, ...],
    shape: tuple[int, ...],
) -> Tensor:
    """Give each working pixel the channel of the class painted most in its block."""
    places = np.nonzero(strokes)
    blocks = np.ravel_multi_index([at // f for at, f in zip(places, factor, strict=True)], shape)
    squares, place = np.unique(blocks, return_inverse=True)
    channels = np.flatnonzero(classes)
    which = np.searchsorted(classes[channels], strokes[places])
    most = majority(torch.from_numpy(place), torch.from_numpy(which), len(squares), len(channels))
    painted = torch.full(shape, IGNORED)
    painted.view(-1)[torch.from_numpy(squares)] = torch.from_numpy(channels)[most]
    return painted


def batches(
    planes: list[Batch], method: NetworkMethod, generator: torch.Generator
) -> Iterator[Batch]:
    """Give each step what it trains on, without end; a single whole plane comes as it is.

    Planes and crops are drawn at random; every other plane, on average, is one that the user has
    painted on, if there are any. Where training starts from the image, crops lie on an even grid
    and are the same in each step, so that nothing is left to chance, with further ones at strokes.
    """
    with_strokes = [one for one in planes if one.has_strokes]
    sides = [min(size) for size in zip(*(one.valid.shape[1:] for one in planes), strict=True)]
    # As many voxels in a cube as pixels in a square.
    wanted = method.crop_px if len(sides) == 2 else round(method.crop_px ** (2 / 3))
    sides = [min(max(2, wanted or side), side) for side in sides]

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    def anywhere() -> Batch:
        pool = with_strokes if with_strokes and draw(2) else planes
        one = pool[draw(len(pool))]
        corner = [draw(n - side + 1) for n, side in zip(one.valid.shape[1:], sides, strict=True)]
        return _crop(one, corner, sides)

    def at_stroke() -> Batch:
        one = with_strokes[draw(len(with_strokes))]
        assert one.painted is not None
        strokes = (one.painted[0] != IGNORED).nonzero()
        place = strokes[draw(len(strokes))].tolist()
        most = [n - side for n, side in zip(one.valid.shape[1:], sides, strict=True)]
        corner = [
            min(max(at - side // 2, 0), n) for at, side, n in zip(place, sides, most, strict=True)
        ]
        return _crop(one, corner, sides)

    if method.start == "image":
        even = even_crops(planes, sides, method.n_crops)
        even += rare_crops(planes, even, sides, -(-len(even) // 4))
        n_strokes = -(-len(even) // 4) if with_strokes else 0
        while True:
            yield _joined([*even, *(at_stroke() for _ in range(n_strokes))])
    whole = len(planes) == 1 and sides == list(planes[0].valid.shape[1:])
    while True:
        yield _joined([anywhere() for _ in range(1 if whole else method.n_crops)])


def survey(planes: list[Batch], method: NetworkMethod) -> list[Batch]:
    """Return what training starts from, and is judged by when it ends.

    Where training sees crops of large planes, these are an even grid of crops as well, joined by
    size. Planes with strokes stay whole, so that no stroke is missed.
    """
    return _spread(planes, _SURVEYED_PIXELS) if method.crop_px else planes


def glimpse(planes: list[Batch]) -> list[Batch]:
    """Return less than a survey, which suffices for a passing look."""
    return _spread(planes, _GLIMPSED_PIXELS)


def _spread(planes: list[Batch], n_pixels: int) -> list[Batch]:
    """Take an even grid of crops where there are more pixels; planes with strokes stay whole."""
    if sum(one.valid.numel() for one in planes) <= n_pixels:
        return planes
    whole = [one for one in planes if one.has_strokes]
    others = [one for one in planes if not one.has_strokes]
    axes = planes[0].valid.ndim - 1
    side = _SURVEYED_SIDES[axes]
    most = n_pixels // side**axes
    crops = even_crops(others, [side] * axes, most)
    crops += rare_crops(others, crops, [side] * axes, -(-most // 4))
    sizes = dict.fromkeys(one.valid.shape[1:] for one in crops)
    joined = [_joined([one for one in crops if one.valid.shape[1:] == size]) for size in sizes]
    return whole + joined


def even_crops(planes: list[Batch], sides: list[int], most: int) -> list[Batch]:
    """Spread crops evenly over the planes, at least one on each plane taken."""
    if not planes:
        return []
    chosen = planes[:: -(-len(planes) // most)]
    axes = len(sides)
    n = max(1, int((most // len(chosen)) ** (1 / axes) + 1e-9))  # along each axis
    crops = []
    for one in chosen:
        lengths = [min(side, have) for side, have in zip(sides, one.valid.shape[1:], strict=True)]
        room = [have - length for have, length in zip(one.valid.shape[1:], lengths, strict=True)]
        corners = [_even_places(r, n) for r in room]
        crops += [_crop(one, list(corner), lengths) for corner in itertools.product(*corners)]
    return crops


def rare_crops(planes: list[Batch], even: list[Batch], sides: list[int], most: int) -> list[Batch]:
    """Cut crops around what stands out, where even crops hold nothing but noise."""
    if not even or not all(
        _hold_noise(even, channel) for channel in range(even[0].pixels.shape[1])
    ):
        return []
    axes = len(sides)
    shares = []
    for one in planes:
        pixels, valid = one.own_pixels[0].numpy(force=True), one.valid[0].numpy(force=True)
        cuts = (
            zip(np.moveaxis(pixels, 1, 0), valid, strict=True) if axes == 3 else [(pixels, valid)]
        )
        share = np.stack([prominence.share_of(cut, seen) for cut, seen in cuts])
        shares.append(share if axes == 3 else share[0])
    total = sum(float(share.sum()) for share in shares)
    if not total:
        return []
    scale = [1, prominence.BLOCK_PX, prominence.BLOCK_PX][-axes:]
    lengths = [side // n for side, n in zip(sides, scale, strict=True)]
    crops = []
    for one, share in zip(planes, shares, strict=True):
        count = math.ceil(most * float(share.sum()) / total)
        for centre in prominence.richest(share, lengths, count):
            size = one.valid.shape[1:]
            parts = [
                prominence.around(int((at + 0.5) * n), have, side)
                for at, n, have, side in zip(centre, scale, size, sides, strict=True)
            ]
            corner = [part.start for part in parts]
            crops.append(_crop(one, corner, [part.stop - part.start for part in parts]))
    return crops


def _hold_noise(crops: list[Batch], channel: int) -> bool:
    """Tell whether crops hold noise alone: no far values, and neighbours that know nothing."""
    parts = [one.own_pixels[:, channel][one.valid].numpy(force=True) for one in crops]
    values = np.concatenate(parts)
    if not values.size or not values.std():
        return True
    if min(min(one.valid.shape[-2:]) for one in crops) < _POOL:
        return False  # so small that nothing is missed
    low, before, ground, after, high = np.percentile(values, (0.1, 16, 50, 84, 99.9))
    if high - ground > NOISE_ALONE * (after - ground):
        return False
    if ground - low > NOISE_ALONE * (ground - before):
        return False
    # Means of blocks vary as little as noise lets them; those of an image vary more.
    means = [
        functional.avg_pool2d(one.own_pixels[:, channel].flatten(0, -3), _POOL) for one in crops
    ]
    spread = np.concatenate([one.numpy(force=True).ravel() for one in means]).var()
    return bool(spread < _UNEVEN * values.var() / _POOL**2)


def _even_places(room: int, n: int) -> list[int]:
    """Spread n places evenly over 0..room, so that they lie the same seen from the other end."""
    before = {room * (2 * i + 1) // (2 * n) for i in range(n // 2)}
    middle = {room // 2} if n % 2 else set()
    return sorted(before | middle | {room - one for one in before})


def _crop(plane: Batch, corner: list[int], sides: list[int]) -> Batch:
    """Cut a box out of all that a plane holds."""

    def cut(part: Any, margin: int = 0) -> Any:
        here = (slice(a, a + n + 2 * margin) for a, n in zip(corner, sides, strict=True))
        return None if part is None else part[..., *here]

    return Batch(
        cut(plane.pixels, plane.margin),
        cut(plane.valid),
        cut(plane.painted),
        cut(plane.superpixels),
        cut(plane.features),
    )


def _joined(batches: list[Batch]) -> Batch:
    """Put batches of one size into one."""
    parts: list[Any] = [
        None if part[0] is None else torch.cat(part) for part in zip(*batches, strict=True)
    ]
    return Batch(*parts)
