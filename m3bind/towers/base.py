"""What every tower answers to: the stages, the evaluation and the export speak to these classes only.

    inputs -> lower (frozen, may be cached) -> pooled -> features (N, C) -> project -> embedding (N, D)
                                            -> from_lower -> evidence (N, h, w, D), where the tower has any
    texts -> tokenize -> hidden (frozen, may be cached) -> from_lower -> embedding (M, D)

Each text tower keeps its own tokenizer, so a bank of shared texts is tokenised once for each tower.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


def pool(evidence: Tensor) -> Tensor:
    """(N, h, w, D) to (N, D), unit norm: the direction of the mean over places."""
    return nn.functional.normalize(evidence.mean(dim=(1, 2)), dim=-1)


class VisualTower(nn.Module, ABC):
    """An encoder of images (N, C, H, W), volumes (N, C, depth, H, W) or signals (N, leads, T), float32."""

    dimension: int
    """D, of the shared space."""
    features: int
    """C, of what `pooled` gives."""
    lower: nn.Module
    """The frozen part: inputs to what may be cached. `nn.Identity` where nothing is frozen."""
    projection: nn.Module
    """What leads from features to the shared space; every stage may train it."""
    lora_targets: tuple[str, ...] = ()
    """Names of the query and value layers inside `trained()` that stage 1 puts adapters beside; none for a
    convolutional network."""

    @abstractmethod
    def pooled(self, lower: Tensor) -> Tensor:
        """What `lower` gave to features before the projection, (N, C)."""

    @abstractmethod
    def project(self, features: Tensor) -> Tensor:
        """Pooled features (N, C) to embeddings (N, D), unit norm."""

    @abstractmethod
    def from_lower(self, lower: Tensor) -> Tensor | None:
        """What `lower` gave to local vectors (N, h, w, D) whose mean over h and w has the direction of the
        embedding, or None where the embedding is no linear function of its places: evidence is what the
        model really used, or there is none."""

    @abstractmethod
    def trained(self) -> list[nn.Module]:
        """The modules between `lower` and `projection` that pretraining trains."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embedding (N, D), unit norm, and evidence (N, h, w, D) or None."""
        lower = self.lower(inputs)
        evidence = self.from_lower(lower)
        if evidence is None:
            return self.project(self.pooled(lower)), None
        return pool(evidence), evidence


class TextTowerBase(nn.Module, ABC):
    """A text encoder with a tokenizer of its own."""

    dimension: int
    """D, of the shared space."""
    upper: nn.Module
    """What lies between the frozen part and the projection; stage 1 puts adapters in here."""
    projection: nn.Module
    """What leads from the sentence to the shared space; every stage may train it."""
    lora_targets: tuple[str, ...] = ()
    """Names of the query and value layers inside `upper`."""

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, (M, L) int64 each: the keyword arguments of `hidden` and
        `forward`. Tokens stand first, padding last; the mask is 1 wherever the tower may look."""

    @abstractmethod
    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the frozen part makes of texts: (M, L, width)."""

    @abstractmethod
    def from_lower(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """What `hidden` gave, and the attention mask (M, L), to embeddings (M, D), unit norm."""

    @abstractmethod
    def layers(self) -> list[nn.Module]:
        """The transformer layers inside `upper`, lowest first: pretraining trains the topmost of them."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(M, D), unit norm."""
        return self.from_lower(self.hidden(input_ids, attention_mask), attention_mask)
