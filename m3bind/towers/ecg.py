"""A tower for 12-lead ECG that reads rhythm and shape apart, as a physician does.

    signal (N, 12, 1000) mV, 100 Hz -> beats -> features of the rhythm -> small network  --+
                                             -> the usual beat, 0.96 s -> small network  --+-> (N, C)
      -> projection, linear -> embedding (N, D)

Few recordings teach a network neither to find beats nor to measure intervals; that part is therefore fixed
arithmetic (`beats.py`, `rhythm.py`), and only what it gives is learned from. Several small networks of each
kind, started differently, stand side by side.

Evidence: what the tower reads are sums over beats, so a margin is spread over time by where they come from.
The share of the usual beat lies where the beats lie that entered it, by their weight; the share of the rhythm
lies at the beats, by how far the interval before each departs from the median one (plus 5 %, so that an even
rhythm is spread evenly over its beats). The mean over time is the embedding before its norm, exactly.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from m3bind.towers.base import VisualTower
from m3bind.towers.beats import AFTER, BEFORE, BeatFinder, Beats, full_precision
from m3bind.towers.rhythm import FEATURES, describe

PLACE = 20
"""Samples in one place of the evidence: 0.2 s."""
LIMIT = 5.0
"""mV in the usual beat; more is an artefact."""
RHYTHM_WIDTH = 32
SHAPE_CHANNELS, SHAPE_KERNELS, SHAPE_WIDTH = (32, 48, 64), (9, 7, 5), 64


class Reading(NamedTuple):
    """What the fixed part makes of signals."""

    features: Tensor
    """(N, FEATURES) of the rhythm."""
    usual: Tensor
    """(N, 12, W) mV."""
    shape_share: Tensor
    """(N, w), mean 1 over w: where the usual beat comes from."""
    rhythm_share: Tensor
    """(N, w), mean 1 over w."""


def shares(beats: Beats, weight: Tensor, places: int) -> Tensor:
    """(N, K) weights of beats to (N, places), mean 1; the same everywhere where no beat has a weight."""
    where = (beats.place // PLACE).clamp(max=places - 1)
    at = (where[:, :, None] == torch.arange(places, device=where.device)).to(weight.dtype)  # (N, K, places)
    summed = (at * (weight * beats.valid)[:, :, None]).sum(dim=1)
    total = summed.sum(dim=1, keepdim=True)
    return torch.where(total > 0, summed * places / total.clamp(min=1e-9), 1.0)


class ShapeNetwork(nn.Module):
    """The usual beat (N, 12, 96) to (N, SHAPE_WIDTH). A wave's place matters, so nothing is pooled."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, length = 12, BEFORE + AFTER
        for width, kernel in zip(SHAPE_CHANNELS, SHAPE_KERNELS, strict=True):
            layers.append(nn.Conv1d(channels, width, kernel, stride=2, padding=kernel // 2, bias=False))
            layers += [nn.BatchNorm1d(width), nn.ReLU()]
            channels, length = width, (length + 1) // 2
        layers += [nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels * length, SHAPE_WIDTH)]
        self.layers = nn.Sequential(*layers, nn.BatchNorm1d(SHAPE_WIDTH), nn.ReLU())

    def forward(self, usual: Tensor) -> Tensor:
        """(N, SHAPE_WIDTH)."""
        return cast(Tensor, self.layers(usual.clamp(-LIMIT, LIMIT)))


class RhythmNetwork(nn.Module):
    """Features (N, FEATURES) to (N, RHYTHM_WIDTH). They are brought to one scale by their own mean and
    deviation and held within three of them, so that a strange recording cannot carry an answer far away."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(FEATURES, affine=False),
            nn.Hardtanh(-3.0, 3.0),
            nn.Dropout(dropout / 3),
            nn.Linear(FEATURES, RHYTHM_WIDTH),
            nn.ReLU(),
            nn.Dropout(dropout / 3),
            nn.Linear(RHYTHM_WIDTH, RHYTHM_WIDTH),
            nn.ReLU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, RHYTHM_WIDTH)."""
        return cast(Tensor, self.layers(features))


class EcgTower(VisualTower):
    """(N, 12, T) float32 mV at 100 Hz to embedding (N, D) unit-norm and evidence (N, 1, T / 20, D)."""

    def __init__(self, dimension: int, members: int, dropout: float) -> None:
        super().__init__()
        self.dimension = dimension
        self.features = members * (SHAPE_WIDTH + RHYTHM_WIDTH)
        self.lower = nn.Identity()  # augmentation changes the signal, so there is nothing to keep
        self.finder = BeatFinder()
        self.shape = nn.ModuleList(ShapeNetwork(dropout) for _ in range(members))
        self.rhythm = nn.ModuleList(RhythmNetwork(dropout) for _ in range(members))
        self.drop = nn.Dropout(dropout * 2 / 3)
        self.projection: nn.Linear = nn.Linear(self.features, dimension)

    def read(self, signal: Tensor) -> Reading:
        """The fixed part."""
        with full_precision(signal):
            beats = self.finder(signal.float())
            told = describe(beats)
            places = -(-signal.shape[2] // PLACE)
            shape_share = shares(beats, told.weight, places)
            rhythm_share = shares(beats, 0.05 + told.unevenness, places)
        return Reading(told.features, told.usual, shape_share, rhythm_share)

    def _parts(self, reading: Reading) -> tuple[Tensor, Tensor]:
        """Features of shape and of rhythm, (N, C) each."""
        shape = torch.cat([network(reading.usual) for network in self.shape], dim=1)
        rhythm = torch.cat([network(reading.features) for network in self.rhythm], dim=1)
        return self.drop(shape), self.drop(rhythm)

    def pooled(self, lower: Tensor) -> Tensor:
        """Features before the projection, (N, C)."""
        return torch.cat(self._parts(self.read(lower)), dim=1)

    def project(self, features: Tensor) -> Tensor:
        """Pooled features (N, C) to embeddings (N, D)."""
        return nn.functional.normalize(self.projection(features), dim=-1)

    def from_lower(self, lower: Tensor) -> Tensor:
        """The signal to evidence (N, 1, w, D)."""
        reading = self.read(lower)
        shape, rhythm = self._parts(reading)
        local = torch.cat(
            [
                shape[:, None] * reading.shape_share[:, :, None],
                rhythm[:, None] * reading.rhythm_share[:, :, None],
            ],
            dim=2,
        )  # (N, w, C)
        return cast(Tensor, self.projection(local))[:, None]

    def trained(self) -> list[nn.Module]:
        """The networks; what stands before them is fixed."""
        return [self.shape, self.rhythm]
