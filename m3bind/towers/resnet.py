"""Residual networks over signals, images or volumes (He et al., arXiv 1512.03385), named as in torchvision.

Over volumes: 3 x 3 x 3 convolutions that stride along depth too (Hara et al., arXiv 1711.09577; the inflated
ResNet-152 of Merlin, arXiv 2406.06512, has a stem of 3 x 7 x 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from m3bind.towers.architecture import ResNetSpec
from m3bind.towers.transformer import Attention

_CONVOLUTIONS: Mapping[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: Mapping[int, Any] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOLS: Mapping[int, Any] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}

NAMED: Mapping[str, ResNetSpec] = {
    "resnet18": ResNetSpec(
        axes=2, blocks=(2, 2, 2, 2), bottleneck=False, stem_kernel=(7, 7), stem_stride=(2, 2)
    ),
    "resnet50": ResNetSpec(
        axes=2, blocks=(3, 4, 6, 3), bottleneck=True, stem_kernel=(7, 7), stem_stride=(2, 2)
    ),
    "resnet18-1d": ResNetSpec(
        axes=1, channels=12, blocks=(2, 2, 2, 2), bottleneck=False, stem_kernel=(7,), stem_stride=(2,)
    ),
    "resnet50-1d": ResNetSpec(
        axes=1, channels=12, blocks=(3, 4, 6, 3), bottleneck=True, stem_kernel=(7,), stem_stride=(2,)
    ),
    "resnet18-3d": ResNetSpec(
        axes=3,
        channels=1,
        blocks=(2, 2, 2, 2),
        bottleneck=False,
        stem_kernel=(7, 7, 7),
        stem_stride=(1, 2, 2),
    ),
    "resnet50-3d": ResNetSpec(
        axes=3,
        channels=1,
        blocks=(3, 4, 6, 3),
        bottleneck=True,
        stem_kernel=(7, 7, 7),
        stem_stride=(1, 2, 2),
    ),
    "i3resnet152": ResNetSpec(
        axes=3,
        channels=1,
        repeat=3,
        blocks=(3, 8, 36, 3),
        bottleneck=True,
        stem_kernel=(3, 7, 7),
        stem_stride=(1, 2, 2),
    ),
}
"""Architectures that a tower's TOML may name; any field of the specification may be given beside the name."""


class Residual(nn.Module):
    """A basic or bottleneck block; the stride sits on the (first) convolution of kernel 3."""

    def __init__(self, axes: int, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        convolution, norm = _CONVOLUTIONS[axes], _NORMS[axes]
        out = width * (4 if bottleneck else 1)
        kernels = ((1, 1), (3, stride), (1, 1)) if bottleneck else ((3, stride), (3, 1))
        widths = (width,) * (len(kernels) - 1) + (out,)
        self._count = len(kernels)
        before = channels
        for index, ((kernel, step), after) in enumerate(zip(kernels, widths, strict=True), start=1):
            layer = convolution(before, after, kernel, stride=step, padding=kernel // 2, bias=False)
            self.add_module(f"conv{index}", layer)
            self.add_module(f"bn{index}", norm(after))
            before = after
        self.relu = nn.ReLU()
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                convolution(channels, out, 1, stride=stride, bias=False), norm(out)
            )

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, ...) to (N, out, ...)."""
        out = values
        for index in range(1, self._count + 1):
            out = self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(out))
            if index < self._count:
                out = self.relu(out)
        shortcut = values if self.downsample is None else self.downsample(values)
        return cast(Tensor, self.relu(out + shortcut))


class Stem(nn.Module):
    """Repeats channels where the network wants more than there are, then convolution, norm and pooling."""

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__()
        self._repeat = spec.repeat
        self.conv1 = _CONVOLUTIONS[spec.axes](
            spec.channels * spec.repeat,
            spec.width,
            spec.stem_kernel,
            stride=spec.stem_stride,
            padding=tuple(k // 2 for k in spec.stem_kernel),
            bias=False,
        )
        self.bn1 = _NORMS[spec.axes](spec.width)
        self.relu = nn.ReLU()
        self.maxpool = _POOLS[spec.axes](3, stride=2, padding=1) if spec.stem_pool else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, channels, ...) to (N, width, ...)."""
        repeated = inputs.repeat(1, self._repeat, *([1] * (inputs.ndim - 2))) if self._repeat > 1 else inputs
        return cast(Tensor, self.maxpool(self.relu(self.bn1(self.conv1(repeated)))))


class MeanHead(nn.Module):
    """The mean over all places of a map (N, C, ...)."""

    def forward(self, local: Tensor) -> Tensor:
        """(N, C, ...) to (N, C)."""
        return local.flatten(2).mean(dim=2)

    def places(self, local: Tensor) -> Tensor:
        """(N, h, w, C) whose mean is the features: over depth they are averaged, a signal has h = 1."""
        if local.ndim == 5:
            local = local.mean(dim=2)
        elif local.ndim == 3:
            local = local.unsqueeze(2)
        return local.permute(0, 2, 3, 1)


class ClassAttentionHead(nn.Module):
    """Places brought to another width, a class token beside them that looks at all (MERL, arXiv 2403.06659);
    the layer after it is the projection."""

    def __init__(self, channels: int, width: int, heads: int, places: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, width)
        self.class_token = nn.Parameter(torch.randn(width) * 0.02)
        self.positions = nn.Parameter(torch.randn(places + 1, width) * 0.02)
        self.attention = Attention(width, heads)

    def forward(self, local: Tensor) -> Tensor:
        """(N, C, ...) to (N, width)."""
        places = self.down(local.flatten(2).transpose(1, 2))  # (N, L, width)
        first = self.class_token.expand(places.shape[0], 1, -1)
        tokens = torch.cat([first, places], dim=1) + self.positions
        return cast(Tensor, self.attention(tokens[:, :1], tokens))[:, 0]

    def places(self, local: Tensor) -> None:
        """None: the features are no mean of places."""


class ResNet(nn.Module):
    """`stem`, `layer1` to `layer4` and `head`."""

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__()
        self.stem = Stem(spec)
        channels = spec.width
        for index, count in enumerate(spec.blocks):
            width, blocks = spec.width * 2**index, []
            for place in range(count):
                stride = 2 if index > 0 and place == 0 else 1
                blocks.append(Residual(spec.axes, channels, width, stride, spec.bottleneck))
                channels = width * (4 if spec.bottleneck else 1)
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
        self.head: MeanHead | ClassAttentionHead = MeanHead()
        self.features = channels
        if spec.pool_width is not None and spec.pool_heads is not None and spec.pool_places is not None:
            self.head = ClassAttentionHead(channels, spec.pool_width, spec.pool_heads, spec.pool_places)
            self.features = spec.pool_width

    def stages(self) -> list[nn.Module]:
        """In order: what leads from inputs to what `head` takes."""
        return [self.stem, *(self.get_submodule(f"layer{index}") for index in range(1, 5))]
