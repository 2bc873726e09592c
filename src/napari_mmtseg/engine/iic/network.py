"""The trunk and the heads of IIC's segmentation network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mmtseg.engine import Weights
from napari_mmtseg.engine.networks.convolution import LAYERS, Convolution, drawn, set_weights
from napari_mmtseg.methods import IIC

_POOLS = {2: nn.MaxPool2d, 3: nn.MaxPool3d}

MAIN, OVER = 0, 1
"""The head whose clusters are the labels, and the overclustering one."""


class SegmentationNetwork(nn.Module):
    """The authors' trunk at a chosen width, a main head and an overclustering head.

    3x3 convolution, batch norm and ReLU with w, 2w, (max-pool p) 4w, 4w, 8w, 8w channels, the last
    two dilated by 2; each head is a 1x1 convolution without bias and softmax. The authors pad all
    layers by 1, which leaves a constant border after the dilated ones; here padding = dilation.
    In a volume the convolutions are 3x3x3.

    Source: Ji, Henriques and Vedaldi, ICCV 2019, and their published code ("net10a").

    Parameters
    ----------
    n_channels : int
        Channels of the image.
    n_clusters : (int, int)
        Clusters of the main head and of the overclustering head.
    n_heads : int
        Sub-heads of each head.
    factor : tuple of int
        The pooling p along each axis; says how many axes there are.
    method : IIC
        Says the width w, and whether the slopes of the mean channel are added to the input.
    """

    def __init__(
        self,
        n_channels: int,
        n_clusters: tuple[int, int],
        n_heads: int,
        factor: tuple[int, ...],
        method: IIC,
    ) -> None:
        super().__init__()
        self.sobel, self.factor = method.sobel, factor
        n_axes = len(factor)
        n_inputs = n_channels + n_axes * method.sobel
        widths = [n_inputs, *(method.width * n for n in (1, 2, 4, 4, 8, 8))]
        conv, norm = LAYERS[n_axes]
        conv3x3 = partial(conv, kernel_size=3, bias=False)
        layers: list[nn.Module] = []
        for number, dilation in enumerate((1, 1, 1, 1, 2, 2)):
            before, after = widths[number : number + 2]
            seen = conv3x3(before, after, padding=dilation, dilation=dilation)
            # Momentum 0 leaves the running statistics alone until `freeze` sets them.
            layers += [seen, norm(after, momentum=0.0), nn.ReLU(inplace=True)]
            if number == 1:
                layers.append(_POOLS[n_axes](factor, ceil_mode=True))
        self.trunk = nn.Sequential(*layers)
        conv1x1 = partial(conv, kernel_size=1, bias=False)
        heads = [conv1x1(widths[-1], n_heads * count) for count in n_clusters]
        self.heads: Sequence[Convolution] = cast(Sequence[Convolution], nn.ModuleList(heads))
        self.n_heads = n_heads

    @property
    def reach(self) -> int:
        """Outputs to each side that an output depends on."""
        return 6 + -(-(2 + self.sobel) // min(self.factor))

    @property
    def n_clusters(self) -> tuple[int, int]:
        """Clusters of the main and of the overclustering head."""
        main, over = (head.weight.shape[0] // self.n_heads for head in self.heads)
        return main, over

    def features(self, pixels: Tensor) -> Tensor:
        """Map pixels (B, C, *spatial) in 0..1 to features (B, 8w, *spatial/p), rounded up."""
        if pixels.ndim == 5:
            # With the channels side by side, convolutions on a processor take three quarters of
            # the time. A single channel must be copied to get there.
            beside = torch.channels_last_3d
            pixels = torch.empty_like(pixels, memory_format=beside).copy_(pixels)
        if self.sobel:
            pixels = torch.cat([pixels, _slopes(pixels.mean(1, keepdim=True))], 1)
        features: Tensor = self.trunk(pixels)
        return features

    def assign(self, features: Tensor, head: int) -> list[Tensor]:
        """Return each sub-head's probabilities (B, K, *votes); head is MAIN or OVER."""
        logits: Tensor = self.heads[head](features)  # (B, H K, *votes)
        return [part.softmax(1) for part in logits.chunk(self.n_heads, dim=1)]

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities of the first sub-head of both heads."""
        features = self.features(pixels)
        return self.assign(features, MAIN)[0], self.assign(features, OVER)[0]

    def with_heads(self, chosen: Sequence[int]) -> SegmentationNetwork:
        """Return a copy that has the chosen sub-head of each head alone."""
        kept = copy.deepcopy(self)
        for head, number in zip(kept.heads, chosen, strict=True):
            part = head.weight.chunk(self.n_heads)[number]
            head.weight = nn.Parameter(part.detach().clone())
        kept.n_heads = 1
        return kept


def factor_of(method: IIC, spacing: Sequence[float]) -> tuple[int, ...]:
    """Return the pooling along each axis: less where pixels are larger."""
    return tuple(max(1, round(method.pooling / max(1, size))) for size in spacing)


def build(
    n_channels: int,
    spacing: Sequence[float],
    method: IIC,
    generator: torch.Generator,
    initial: Weights | None,
) -> SegmentationNetwork:
    """Build a network with random weights, or with the given ones.

    Raises
    ------
    ValueError
        If the initial weights do not fit the network.
    """
    n_clusters = (method.n_labels, method.n_overclusters or min(5 * method.n_labels, 64))
    own = torch.Generator().manual_seed(int(torch.randint(2**31 - 1, (1,), generator=generator)))
    known = (n_channels, n_clusters, method.n_heads, factor_of(method, spacing), method)
    make = partial(SegmentationNetwork, *known)
    network = drawn(make, own)  # PyTorch's weights come first, so that a seed keeps its network
    for module in network.modules():
        if isinstance(module, Convolution):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=own)
    if initial is not None:
        set_weights(network, initial)
    return network


def _slopes(grey: Tensor) -> Tensor:
    """Sobel's derivatives along x, y and, in a volume, z: (B, 1, *spatial) -> (B, A, *spatial)."""
    n_axes = grey.ndim - 2
    slope, smooth = torch.tensor([-1.0, 0, 1]) / 2, torch.tensor([1.0, 2, 1]) / 4
    kernels = []
    for along in reversed(range(n_axes)):
        kernel = torch.ones(())
        for axis in range(n_axes):
            kernel = kernel[..., None] * (slope if axis == along else smooth)
        kernels.append(kernel)
    filters = torch.stack(kernels)[:, None].to(grey)  # (A, 1, 3, ...)
    convolve = functional.conv2d if n_axes == 2 else functional.conv3d
    return convolve(functional.pad(grey, (1,) * (2 * n_axes), mode="replicate"), filters)
