"""A tower made of any encoder of this package and a projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dicom_node.errors import ConfigError
from m3bind.towers.architecture import ProjectionLayer
from m3bind.towers.base import VisualTower, pool
from m3bind.towers.resnet import ResNet
from m3bind.towers.transformer import LORA_TARGETS
from m3bind.towers.vit import ViT


class Head(Protocol):
    """What turns the map of an encoder's last stage into features."""

    def __call__(self, local: Tensor) -> Tensor:
        """(N, ...) to (N, C)."""
        ...  # pragma: no cover

    def places(self, local: Tensor) -> Tensor | None:
        """(N, h, w, C) whose mean is the features, or None."""
        ...  # pragma: no cover


def make_projection(layers: Sequence[ProjectionLayer], features: int) -> nn.Sequential:
    """The layers in order; `features` is the width of what comes in."""
    made: list[nn.Module] = []
    width = features
    for layer in layers:
        if layer.out is not None:
            made.append(nn.Linear(width, layer.out, bias=layer.bias))
            width = layer.out
            continue
        kinds: Mapping[str, nn.Module] = {
            "relu": nn.ReLU(),
            "gelu": nn.GELU(),
            "tanh": nn.Tanh(),
            "batch-norm": nn.BatchNorm1d(width),
            "layer-norm": nn.LayerNorm(width),
        }
        made.append(kinds[layer.layer])
    return nn.Sequential(*made)


def width_after(layers: Sequence[ProjectionLayer]) -> int:
    """Width of what a projection gives. Raises ConfigError where it has no linear layer."""
    widths = [layer.out for layer in layers if layer.out is not None]
    if not widths:
        raise ConfigError("A projection needs a linear layer: it decides the dimension of the shared space.")
    return widths[-1]


def still_batch_norms(module: nn.Module) -> None:
    """Batch norms keep the statistics that they came with: one image's embedding never depends on its
    neighbours in a batch."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()


class Upper(nn.Module):
    """The open stages of an encoder and its head: what lies between the frozen part and the projection."""

    def __init__(self, stages: Sequence[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stages = nn.Sequential(*stages)
        self.head = head

    def forward(self, lower: Tensor) -> Tensor:
        """The map that the head takes, (N, ...)."""
        return cast(Tensor, self.stages(lower))


class EncoderTower(VisualTower):
    """Encoder, head, projection. The first `frozen` stages of the encoder are `lower`, the others `upper`.

    There is evidence where the features are a mean over places and the projection is one linear layer; a
    class token, an attention pool or an MLP leaves none.
    """

    def __init__(self, encoder: ViT | ResNet, projection: nn.Sequential, frozen: int) -> None:
        super().__init__()
        stages = encoder.stages()
        if frozen > len(stages):
            raise ConfigError(f"frozen = {frozen}, but the encoder has {len(stages)} stages: name fewer.")
        self.features = encoder.features
        self.dimension = int([m for m in projection if isinstance(m, nn.Linear)][-1].out_features)
        self.lower = nn.Sequential(*stages[:frozen]) if frozen else nn.Identity()
        self.upper: Upper = Upper(stages[frozen:], encoder.head)
        self.projection = projection
        self._linear = len(projection) == 1
        names = {name.split(".")[-1] for name, _ in self.upper.named_modules()}
        self.lora_targets = LORA_TARGETS if set(LORA_TARGETS) <= names else ()
        self.lower.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> EncoderTower:
        """Training mode leaves the frozen part and every batch norm as they are."""
        super().train(mode)
        self.lower.eval()
        still_batch_norms(self)
        return self

    def _head(self) -> Head:
        return cast(Head, self.upper.head)

    def pooled(self, lower: Tensor) -> Tensor:
        """What `lower` gave to features (N, C)."""
        return self._head()(self.upper(lower))

    def project(self, features: Tensor) -> Tensor:
        """Features (N, C) to embeddings (N, D), unit norm."""
        return nn.functional.normalize(self.projection(features), dim=-1)

    def _evidence(self, local: Tensor) -> Tensor | None:
        places = self._head().places(local) if self._linear else None
        return None if places is None else cast(Tensor, self.projection(places))

    def from_lower(self, lower: Tensor) -> Tensor | None:
        """What `lower` gave to evidence (N, h, w, D), or None where there is none."""
        return self._evidence(self.upper(lower))

    def trained(self) -> list[nn.Module]:
        """The open stages with the head."""
        return [self.upper]

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embedding (N, D), unit norm, and evidence (N, h, w, D) or None."""
        local = self.upper(self.lower(inputs))
        evidence = self._evidence(local)
        if evidence is None:
            return self.project(self._head()(local)), None
        return pool(evidence), evidence
