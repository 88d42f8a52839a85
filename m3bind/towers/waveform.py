"""A one-dimensional residual network for 12-lead ECG (after Ribeiro et al., doi 10.1038/s41467-020-15432-4).

(N, 12, T) mV -> stem -> stages, each halving time -> (N, C, w) -> projection, linear
  -> evidence (N, 1, w, D) -> mean over time, normalised -> embedding (N, D)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from m3bind.towers.base import VisualTower, pool


class ResidualStage(nn.Module):
    """Two convolutions around a shortcut; time is halved, channels change."""

    def __init__(self, channels: int, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, width, kernel, stride=2, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(width),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool1d(2, ceil_mode=True), nn.Conv1d(channels, width, 1, bias=False), nn.BatchNorm1d(width)
        )
        self.out = nn.ReLU()

    def forward(self, signal: Tensor) -> Tensor:
        """(N, C, T) to (N, width, ceil(T / 2))."""
        return cast(Tensor, self.out(self.body(signal) + self.shortcut(signal)))


class WaveformTower(VisualTower):
    """(N, 12, T) float32 mV to embedding (N, D) unit-norm and evidence (N, 1, w, D)."""

    def __init__(self, dimension: int, widths: Sequence[int], kernel: int, dropout: float) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        channels = 12
        for width in widths:
            stages.append(ResidualStage(channels, width, kernel, dropout))
            channels = width
        self.dimension, self.features = dimension, channels
        self.lower = nn.Identity()  # nothing is frozen: there is no pretrained ECG network at hand
        self.stages = nn.Sequential(*stages, nn.Dropout(dropout))
        self.projection: nn.Conv1d = nn.Conv1d(channels, dimension, kernel_size=1)

    def pooled(self, lower: Tensor) -> Tensor:
        """Features before the projection, mean over time: (N, C)."""
        return cast(Tensor, self.stages(lower)).mean(dim=2)

    def project(self, features: Tensor) -> Tensor:
        """Pooled features (N, C) to embeddings (N, D)."""
        weight = self.projection.weight[:, :, 0]
        return nn.functional.normalize(nn.functional.linear(features, weight, self.projection.bias), dim=-1)

    def from_lower(self, lower: Tensor) -> Tensor:
        """The signal to evidence (N, 1, w, D)."""
        local = cast(Tensor, self.projection(self.stages(lower)))  # (N, D, w)
        return local.transpose(1, 2).unsqueeze(1)

    def trained(self) -> list[nn.Module]:
        """All stages."""
        return [self.stages]

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding and evidence."""
        evidence = self.from_lower(self.lower(signal))
        return pool(evidence), evidence
