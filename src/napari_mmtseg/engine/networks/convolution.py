"""The network that MMT, Kim and Kanezaki share, and freezing its normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mmtseg.engine.features import Features
from napari_mmtseg.engine.refine.window_means import pooled_grid
from napari_mmtseg.engine.threads import several
from napari_mmtseg.methods import NetworkMethod

N = TypeVar("N", bound=nn.Module)

_STRIP_PIXELS = 65_536
_STRIP_MARGINS = 16
"""At least so many margins wide, as those of neighbouring strips are computed twice."""
_STRIP_ROWS = 256
"""But with a wide margin no more rows than this, because of the memory."""

Convolution = nn.Conv2d | nn.Conv3d
Norm = nn.BatchNorm2d | nn.BatchNorm3d
LAYERS: dict[int, tuple[Any, Any]] = {
    2: (nn.Conv2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.BatchNorm3d),
}
"""Convolution and batch norm by the number of spatial axes."""


class _Responding(nn.Module):
    """What ends in 1x1 convolution and batch norm."""

    conv3: Any
    bn3: Any

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply all responses by a factor."""
        for value in self.bn3.parameters():
            value.mul_(factor)

    @torch.no_grad()
    def reorder(self, channels: Tensor) -> None:
        """Let response k be what response channels[k] was."""
        for layer in (self.conv3, self.bn3):
            for value in layer.state_dict().values():
                if value.ndim:
                    value.copy_(value[channels].clone())


class Network(_Responding):
    """Blocks of 3x3 convolution, ReLU and batch norm, then 1x1 convolution and batch norm.

    Source: Kim, Kanezaki and Tanaka, IEEE TIP 29, 2020, section III. In a volume the convolutions
    are 3x3x3.

    Parameters
    ----------
    n_channels : int
        Channels of the image.
    n_axes : int
        Spatial axes, 2 or 3.
    width : int
        Channels q of each layer and of the responses.
    n_blocks : int
        Number M of 3x3 blocks; the view reaches M pixels to each side.
    padded : bool
        Whether zeros stand for what lies beyond the border, as in the paper. Otherwise responses
        are M pixels smaller a side than the pixels.

    Attributes
    ----------
    width : int
        Channels of the responses.
    margin : int
        Pixels a side by which the responses are smaller than the pixels.
    """

    def __init__(
        self, n_channels: int, n_axes: int, width: int, n_blocks: int, padded: bool = True
    ) -> None:
        super().__init__()
        self.width, self.margin = width, 0 if padded else n_blocks
        conv, norm = LAYERS[n_axes]
        conv3x3 = partial(conv, kernel_size=3, padding=int(padded))
        # Momentum 0 leaves the running statistics alone until `freeze` sets them.
        self.conv1, self.bn1 = conv3x3(n_channels, width), norm(width, momentum=0.0)
        inner = range(n_blocks - 1)
        self.conv2 = nn.ModuleList(conv3x3(width, width) for _ in inner)
        self.bn2 = nn.ModuleList(norm(width, momentum=0.0) for _ in inner)
        self.conv3, self.bn3 = conv(width, width, 1), norm(width, momentum=0.0)
        self._memory = torch.channels_last if n_axes == 2 else torch.channels_last_3d

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels (B, C, *spatial) in 0..1 to responses (B, q, *spatial)."""
        # With the channels side by side, convolutions on a processor take two thirds of the time.
        # A single channel must be copied to get there.
        features = torch.empty_like(pixels, memory_format=self._memory).copy_(pixels)
        for conv, norm in self.blocks():
            features = norm(torch.relu_(conv(features)))
        responses: Tensor = self.bn3(self.conv3(features))
        return responses

    def blocks(self) -> Iterator[tuple[Convolution, Norm]]:
        """List the 3x3 convolutions with their batch norms, in the order of the pixels' way."""
        yield self.conv1, self.bn1
        yield from zip(self.conv2, self.bn2, strict=True)

    @torch.no_grad()
    def fuse(self) -> None:
        """Put the frozen norms into the convolutions, which then do their work for nothing.

        Where the border is padded with zeros they stay: there a shift would not reach the zeros.
        """
        if not self.margin:
            return
        each = [*self.blocks(), (self.conv3, self.bn3)]
        ones = (1,) * (self.conv3.weight.ndim - 2)
        factor, shift = self.conv1.weight.new_ones(()), self.conv1.weight.new_zeros(())
        for conv, norm in each:
            assert conv.bias is not None
            conv.bias += (conv.weight * shift.view(-1, *ones)).flatten(1).sum(1)
            conv.weight *= factor.view(-1, *ones)
            mean, variance = (dict(norm.named_buffers())[f"running_{n}"] for n in ("mean", "var"))
            factor = norm.weight / (variance + norm.eps).sqrt()
            shift = norm.bias - mean * factor
        self.conv3.weight *= factor.view(-1, 1, *ones)
        self.conv3.bias.mul_(factor).add_(shift)
        self.bn1, self.bn3 = nn.Identity(), nn.Identity()
        self.bn2 = nn.ModuleList(nn.Identity() for _ in self.bn2)


class TextureNetwork(_Responding):
    """The features of a pixel's surroundings, 1x1 convolution and batch norm.

    Parameters
    ----------
    n_channels : int
        Channels of the image.
    n_axes : int
        Spatial axes, 2 or 3.
    width : int
        Number q of responses.

    Attributes
    ----------
    features : Features
        How pixels are described.
    described : bool
        Whether it is given features instead of pixels. They never change, so that training finds
        them once.
    width : int
        Channels of the responses.
    margin : int
        Pixels a side by which the responses are smaller than the pixels.
    """

    def __init__(self, n_channels: int, n_axes: int, width: int) -> None:
        super().__init__()
        self.features = Features(n_channels, n_axes)
        self.described = False
        self.width, self.margin = width, self.features.margin
        conv, norm = LAYERS[n_axes]
        self.conv3 = conv(self.features.width, width, 1)
        self.bn3 = norm(width, momentum=0.0)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels (B, C, *spatial + 2 m), or features, to responses (B, q, *spatial)."""
        features = pixels if self.described else self.features(pixels)
        responses: Tensor = self.bn3(self.conv3(features))
        return responses

    @torch.no_grad()
    def fuse(self) -> None:
        """Leave the frozen norm where it is: after the features it costs next to nothing."""


AnyNetwork = Network | TextureNetwork


def winners(responses: Tensor) -> Tensor:
    """Return the channel with the largest response: (B, q, *spatial) -> (B, *spatial) int64."""
    # The same as argmax(1), and three times as fast on a processor.
    return responses.max(1).indices


def shares(
    networks: Sequence[AnyNetwork], pixels: Tensor, channels: Tensor, grid: tuple[int, ...]
) -> Iterator[Tensor]:
    """Give the probabilities of some channels by each network, a strip at a time.

    A strip stays in the cache, and each processor takes the next one when it is free.

    Parameters
    ----------
    networks : sequence of Network
        Of one margin m.
    pixels : (1, C, *spatial + 2 m) tensor
    channels : (K,) tensor of int64
    grid : tuple of int
        By what the probabilities are reduced along each axis.

    Yields
    ------
    (K, *spatial / grid) tensor
    """
    margin = networks[0].margin
    shape = [n - 2 * margin for n in pixels.shape[2:]]
    rows = shape[0]
    if margin:  # otherwise a strip's border would be padded as the tile's is
        rows = max(_STRIP_PIXELS // math.prod(shape[1:]), min(_STRIP_MARGINS * margin, _STRIP_ROWS))
        rows = -(-rows // grid[0]) * grid[0]

    @torch.no_grad()
    def fill(network: AnyNetwork, found: Tensor, top: int) -> None:
        strip = pixels[:, :, top : top + rows + 2 * margin]
        small = pooled_grid(network(strip).softmax(1)[0], grid)[channels]
        found[:, top // grid[0] : top // grid[0] + small.shape[1]] = small

    with several() as pool:
        filled = []
        for network in networks:
            found = pixels.new_empty(
                len(channels), *(-(-n // by) for n, by in zip(shape, grid, strict=True))
            )
            strips = [pool.submit(fill, network, found, top) for top in range(0, shape[0], rows)]
            filled.append((found, strips))
        try:
            for found, strips in filled:
                for strip in strips:
                    strip.result()
                yield found
        finally:
            pool.shutdown(cancel_futures=True)


def build(
    n_channels: int, n_axes: int, method: NetworkMethod, *, texture: bool = False
) -> AnyNetwork:
    """Build a network; see `drawn` and `with_weights` for its weights."""
    if texture:
        return TextureNetwork(n_channels, n_axes, method.width)
    padded = method.padding == "zero"
    return Network(n_channels, n_axes, method.width, method.n_blocks, padded)


@torch.no_grad()
def drawn(make: Callable[[], N], generator: torch.Generator) -> N:
    """Build a network with random weights, in PyTorch's default way.

    PyTorch's layers draw their first weights from its global generator, which belongs to the user
    and is shared by all threads; here they draw from a generator of their own. Weights and biases
    are uniform within ``1 / sqrt(n)``, n the inputs of each output.
    """
    network = _empty(make, torch.get_default_dtype())
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                bound = 1 / math.sqrt(layer.weight[0].numel())
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, Norm):
            layer.reset_parameters()
    return network


def set_weights(
    network: nn.Module, weights: Mapping[str, NDArray[np.generic]], *, frozen: bool = False
) -> None:
    """Fill a network's parameters; a frozen network needs its running statistics as well.

    Raises
    ------
    ValueError
        If a parameter is missing, unknown, or of another shape.
    """
    _check_fit(network, weights, frozen)
    state = _state(network)
    for name, value in weights.items():
        state[name].copy_(torch.from_numpy(np.ascontiguousarray(value)))


def with_weights(
    make: Callable[[], N], weights: Mapping[str, NDArray[np.generic]], dtype: torch.dtype
) -> N:
    """Build a network around frozen weights; it takes memory only once they fit.

    Parameters
    ----------
    make : callable
        Builds the network; its random weights are never made.
    weights : mapping of str to array
        As `get_weights` gives them.
    dtype : torch.dtype
        Arithmetic of the network.

    Raises
    ------
    ValueError
        If a parameter is missing, unknown, or of another shape.
    """
    network = _empty(make, dtype, partial(_check_fit, weights=weights, frozen=True))
    set_weights(network, weights, frozen=True)
    network.eval()
    return network


def _empty(
    make: Callable[[], N], dtype: torch.dtype, check: Callable[[nn.Module], None] | None = None
) -> N:
    """Build a network without values; it takes memory only once it is checked."""
    with torch.device("meta"):
        network = make()
    if check is not None:
        check(network)
    # As `to_empty` does, which would load half of PyTorch's compiler, a second's work.
    network.to(dtype)._apply(  # type: ignore[no-untyped-call]
        lambda one: torch.empty(one.shape, dtype=one.dtype)
    )
    return network


def get_weights(network: nn.Module) -> dict[str, NDArray[np.generic]]:
    """Return a copy of all parameters and running statistics."""
    return {name: value.cpu().numpy().copy() for name, value in _state(network).items()}


@torch.no_grad()
def freeze(network: nn.Module, planes: Sequence[Tensor]) -> None:
    """Set the running statistics to those over the planes, and switch to using them.

    In training, batch norm takes its statistics from the batch at hand; frozen, a pixel's label
    depends on nothing but its neighbourhood. For a single image both are the same.

    Parameters
    ----------
    network : nn.Module
        Its batch norms registered in the order in which the pixels meet them.
    planes : sequence of (B, C, *spatial) tensors
        One pass a norm: each norm's statistics build on the frozen ones before it.
    """
    network.eval()
    norms = [m for m in network.modules() if isinstance(m, Norm)]
    seen: dict[nn.Module, list[Tensor]] = {norm: [] for norm in norms}

    def collect(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        x = inputs[0].double()
        x = x.movedim(1, 0).flatten(1)  # (q, n)
        count = x.new_full((len(x),), x.shape[1])
        seen[norm].append(torch.stack([count, x.sum(1), (x * x).sum(1)]))
        if len(seen[norm]) == len(planes):
            count, total, squares = torch.stack(seen[norm]).sum(0)
            mean = total / count
            statistics = dict(norm.named_buffers())
            statistics["running_mean"].copy_(mean)
            statistics["running_var"].copy_((squares / count - mean * mean).clamp_min(0))

    # A single batch freezes each norm before it passes on; several need a pass for each norm.
    for norm in norms if len(planes) > 1 else [network]:
        inner = [m for m in norm.modules() if isinstance(m, Norm)]
        handles = [one.register_forward_pre_hook(collect) for one in inner]
        for plane in planes:
            network(plane)
        for handle in handles:
            handle.remove()


def _state(network: nn.Module) -> dict[str, Tensor]:
    # The count of batches is no use to batch norms that are frozen by one pass.
    state = network.state_dict()
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def _check_fit(
    network: nn.Module, weights: Mapping[str, NDArray[np.generic]], frozen: bool
) -> None:
    state = _state(network)
    needed = set(state) if frozen else {name for name, _ in network.named_parameters()}
    odd = sorted((needed - set(weights)) | (set(weights) - set(state)))
    odd += [n for n in weights if n in state and tuple(state[n].shape) != weights[n].shape]
    if odd:
        raise ValueError(f"The weights do not fit the network: {', '.join(odd)}")
