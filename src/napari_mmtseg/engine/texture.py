"""Tell whether texture counts in an image, and which of its features tell textures apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_mmtseg.engine.features import Features, evened
from napari_mmtseg.engine.working_sample import Batch, WorkingSample, even_crops, with_margin
from napari_mmtseg.methods import MMT

_WHOLE_PIXELS = 2**18
"""Planes of more pixels than this are seen in crops."""
_CROP_SIDE = {2: 128, 3: 32}
_AXES = 6
"""Principal axes of the features of texture; further ones are mostly noise."""

_MOST_INTENSITY = 0.25
"""Share of the intensity's variance that may survive; above, texture is not even looked for."""
_LEAST_TEXTURE, _A_SHARE = 0.61, 0.6
"""Share of texture's variance that has to survive, and how much more by the intensity's share."""
_MOST_EXPLAINED = 0.55
"""Share of texture's variance that intensity may explain: sparse bright spots are no texture."""
_SMALLEST_SIDE = 96
"""A smaller image has no room for two windows of texture."""


def looked_at(working: WorkingSample, method: MMT) -> WorkingSample:
    """Let the networks see features of texture, if the settings say so, or if texture counts.

    It counts where areas differ in texture and hardly in intensity. Both are asked for the share
    of their variance that survives smoothing by the window of texture. Of intensity, when noise is
    gone by a smoothing of 1 pixel, that may be 0.25 at most. Of texture, of which half survives
    where there is but one, it has to be 0.61 and 0.6 of the intensity's share, and no more than
    0.55 of that may be a linear function of the intensity's mean in the same window.
    """
    if method.look_at == "intensity":
        return working
    own = working.planes[0].own_pixels
    features = Features(own.shape[1], own.ndim - 2)
    if method.look_at == "automatic":
        if method.start != "image" or method.output == "objects":
            return working
        if min(min(one.valid.shape[-2:]) for one in working.planes) < _SMALLEST_SIDE:
            return working
        plain = _pieces(working.planes, 0)
        intensity = _coherence_of_intensity(plain, features.n_steps)
        if intensity > _MOST_INTENSITY:
            return working
    planes = [
        one._replace(pixels=one.own_pixels, features=features(one.pixels))
        for one in _pieces(working.planes, features.margin)
    ]
    axes, shares = _principal_axes(planes, features)
    if method.look_at == "automatic":
        texture, explained = _coherence_of_texture(planes, axes, shares, features.n_steps)
        if texture < _LEAST_TEXTURE + _A_SHARE * intensity or explained > _MOST_EXPLAINED:
            return working
    return working._replace(planes=planes, axes_of_texture=axes)


def _pieces(planes: Sequence[Batch], margin: int) -> list[Batch]:
    """Give the planes another margin, or take even crops of them if they are large.

    Planes with strokes stay whole, so that no stroke is missed.
    """
    wide = [one._replace(pixels=with_margin(one.own_pixels, margin)) for one in planes]
    if sum(one.valid.numel() for one in wide) <= _WHOLE_PIXELS:
        return wide
    whole = [one for one in wide if one.has_strokes]
    others = [one for one in wide if not one.has_strokes]
    axes = planes[0].valid.ndim - 1
    side = _CROP_SIDE[axes]
    return whole + even_crops(others, [side] * axes, _WHOLE_PIXELS // side**axes)


def _principal_axes(
    planes: Sequence[Batch], features: Features
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Find what the features of texture have in common: their principal axes, of variance 1.

    Returns
    -------
    axes : (D, F) and (D,) tensors
        What features are multiplied by, and what is added then.
    shares : (D,) tensor
        Each axis' share of the variance of the features, which count alike.
    """
    rows = _rows([one.seen for one in planes], planes).double()  # (n, F)
    mean, deviation = rows.mean(0), rows.std(0).clamp_min(1e-6)
    weight = features.of_texture.to(rows) / deviation  # (F,)
    values, vectors = torch.linalg.eigh(((rows - mean) * weight).T.cov())
    values, vectors = values.flip(0)[:_AXES], vectors.T.flip(0)[:_AXES]
    matrix = vectors * weight / values.clamp_min(1e-6).sqrt()[:, None]
    shift = -(matrix @ mean)
    own = planes[0].seen
    return (matrix.to(own), shift.to(own)), (values / values.sum()).to(own)


def described(planes: Sequence[Batch], axes_of_texture: tuple[Tensor, Tensor]) -> Tensor:
    """Return the texture of each valid pixel, half of it from a further window around it.

    Parameters
    ----------
    planes : sequence of Batch
        With features.
    axes_of_texture : (D, F) and (D,) tensors
        As in `WorkingSample`.

    Returns
    -------
    (n, D) tensor
        Along the principal axes.
    """
    own = planes[0].own_pixels
    n_steps = Features(own.shape[1], own.ndim - 2).n_steps
    places = _places(planes, axes_of_texture)
    found = (_rows(places, planes) + _rows(places, planes, n_steps)) / 2
    return found + axes_of_texture[1]


def _coherence_of_intensity(planes: Sequence[Batch], n_steps: int) -> float:
    """Return the share of the intensity's variance that survives smoothing, noise apart."""
    own = [one.own_pixels for one in planes]
    before, after = (_rows(own, planes, count).var(0).sum() for count in (1, n_steps))
    return float(after / before.clamp_min(1e-12))


def _coherence_of_texture(
    planes: Sequence[Batch], axes: tuple[Tensor, Tensor], shares: Tensor, n_steps: int
) -> tuple[float, float]:
    """Return the share of the variance along the principal axes that survives smoothing.

    And the share of that which is a linear function of the smoothed intensity.
    """
    texture = _rows(_places(planes, axes), planes, n_steps).double()  # (n, D)
    intensity = _rows([one.own_pixels for one in planes], planes, n_steps).double()  # (n, C)
    texture, intensity = texture - texture.mean(0), intensity - intensity.mean(0)
    survives = (texture.var(0) * shares).sum()
    # By pseudo-inverse, since grey images may have three equal channels.
    slopes = torch.linalg.pinv(intensity.T @ intensity) @ (intensity.T @ texture)
    rest = ((texture - intensity @ slopes).var(0) * shares).sum()
    return float(survives), float(1 - rest / survives.clamp_min(1e-12))


def _places(planes: Sequence[Batch], axes: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Project the features of each plane on the axes, but for their shift: (B, D, *spatial)."""
    return [torch.einsum("df,bf...->bd...", axes[0], one.seen) for one in planes]


def _rows(maps: Sequence[Tensor], planes: Sequence[Batch], n_steps: int = 0) -> Tensor:
    """Return what maps (B, D, *spatial) of planes are at valid pixels, smoothed before: (n, D)."""
    pairs = zip(maps, planes, strict=True)
    return torch.cat([_evened(one, n_steps).movedim(1, -1)[plane.valid] for one, plane in pairs])


def _evened(values: Tensor, n_steps: int) -> Tensor:
    """Smooth (B, C, *spatial); the shape stays."""
    return evened(values.flatten(0, 1), n_steps).view(values.shape)
