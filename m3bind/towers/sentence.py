"""Text towers from elsewhere: the transformers of CLIP and SigLIP, and any transformers encoder.

texts -> tokenize (their own) -> hidden: word embeddings, frozen -> upper -> one state -> projection
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from dicom_node.errors import ConfigError
from m3bind.towers.architecture import HuggingFaceTextSpec, TextArchitecture, TransformerTextSpec
from m3bind.towers.base import TextTowerBase
from m3bind.towers.tokens import Tokenize
from m3bind.towers.transformer import LORA_TARGETS, Block
from m3bind.towers.visual import make_projection, still_batch_norms, width_after
from m3bind.towers.weights import load_strictly


class TextBlocks(nn.Module):
    """The blocks of a text transformer and the norm after them."""

    def __init__(self, spec: TransformerTextSpec) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(spec.width, spec.inner, spec.heads, spec.activation, spec.epsilon, causal=spec.causal)
            for _ in range(spec.depth)
        )
        self.norm = nn.LayerNorm(spec.width, eps=spec.epsilon)

    def forward(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """(M, L, W) to (M, L, W); `seen` (M, 1, L, L) says which tokens each one looks at."""
        for block in self.blocks:
            tokens = block(tokens, seen)
        return cast(Tensor, self.norm(tokens))


class _OwnTokenizer(TextTowerBase):
    """What the towers here share: the tokenizer, and a frozen part that is only word embeddings."""

    def __init__(self, architecture: TextArchitecture, tokens: Tokenize) -> None:
        super().__init__()
        self.dimension = width_after(architecture.projection)
        self._tokens = tokens

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, (M, L) int64 each, by the tower's own tokenizer."""
        return self._tokens(texts)

    def train(self, mode: bool = True) -> _OwnTokenizer:
        """Training mode leaves batch norms as they are."""
        super().train(mode)
        still_batch_norms(self)
        return self


class TransformerTextTower(_OwnTokenizer):
    """The text encoder of CLIP, SigLIP and CoCa. The sentence is the state of the last token that the mask
    shows (of CLIP the end token, of SigLIP the last place), or of a class token (CoCa)."""

    lora_targets = LORA_TARGETS

    def __init__(self, architecture: TextArchitecture, spec: TransformerTextSpec, tokens: Tokenize) -> None:
        super().__init__(architecture, tokens)
        self.vocabulary = spec.vocabulary
        self.tokens = nn.Embedding(spec.vocabulary, spec.width)
        self.positions = nn.Parameter(torch.randn(spec.positions, spec.width) * 0.01)
        self.class_token: nn.Parameter | None = None
        if spec.class_token:
            self.class_token = nn.Parameter(torch.randn(spec.width) * 0.01)
        self.upper: TextBlocks = TextBlocks(spec)
        self.projection = make_projection(architecture.projection, spec.width)
        self.tokens.requires_grad_(False)
        self.positions.requires_grad_(False)
        self.eval()

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:  # noqa: ARG002 # the base's signature
        """Words and their positions: (M, L, W)."""
        return cast(Tensor, self.tokens(input_ids)) + self.positions[: input_ids.shape[1]]

    def from_lower(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(M, L, W) and the mask (M, L) to embeddings (M, D), unit norm."""
        if self.class_token is not None:
            states = self._with_class(hidden, mask, self.class_token)
            return nn.functional.normalize(self.projection(states[:, -1]), dim=-1)
        states = self.upper(hidden)
        last = (mask.sum(dim=1) - 1).to(torch.int64)
        sentence = states[torch.arange(states.shape[0], device=states.device), last]
        return nn.functional.normalize(self.projection(sentence), dim=-1)

    def _with_class(self, hidden: Tensor, mask: Tensor, token: Tensor) -> Tensor:
        """States of the tokens and, last, of CoCa's class token (arXiv 2205.01917).

        Which tokens that one sees was trained one place off, and is kept so: always the first, and behind
        each token that the mask shows the next one.
        """
        count, length = mask.shape
        last = (token + self.positions[length]).expand(count, 1, -1)
        size = length + 1
        seen = torch.ones(size, size, dtype=torch.bool, device=mask.device).tril().expand(count, size, size)
        first = torch.ones(count, 1, dtype=torch.bool, device=mask.device)
        row = torch.cat([first, mask.to(torch.bool)], dim=1)
        seen = torch.cat([seen[:, :-1], row[:, None]], dim=1)
        return cast(Tensor, self.upper(torch.cat([hidden, last], dim=1), seen[:, None]))

    def layers(self) -> list[nn.Module]:
        """Its blocks."""
        return list(self.upper.blocks)


_QUERY_VALUE: tuple[tuple[str, str], ...] = (
    ("query", "value"),
    ("q_proj", "v_proj"),
    ("q_lin", "v_lin"),
    ("q", "v"),
)
"""How models of transformers name query and value: BERT and its kin, later ones, DistilBERT, T5."""


class HuggingFaceTextTower(_OwnTokenizer):
    """An encoder of transformers, with one state of a sentence and a projection."""

    def __init__(self, architecture: TextArchitecture, spec: HuggingFaceTextSpec, tokens: Tokenize) -> None:
        super().__init__(architecture, tokens)
        self._pooling, self._layers = spec.pooling, spec.layers
        self.vocabulary = int(spec.config["vocab_size"])
        self.upper, self._config = _transformers_model(spec)
        self.projection = make_projection(architecture.projection, int(self._config.hidden_size))
        names = {name.split(".")[-1] for name, _ in self.upper.named_modules()}
        pair = next((p for p in _QUERY_VALUE if set(p) <= names), None)
        if pair is None:
            raise ConfigError(
                f"The text model {self._config.model_type!r} has no query and value layers by a known name "
                f"({', '.join('/'.join(p) for p in _QUERY_VALUE)}): stage 1 cannot adapt it."
            )
        self.lora_targets = pair
        self._words().requires_grad_(False)
        self.eval()

    def _words(self) -> nn.Module:
        return cast(nn.Module, cast(Any, self.upper).get_input_embeddings())

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:  # noqa: ARG002 # the base's signature
        """Word embeddings: (M, L, W)."""
        return cast(Tensor, self._words()(input_ids))

    def from_lower(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(M, L, W) and the mask (M, L) to embeddings (M, D), unit norm."""
        inner = self._layers != (-1,)
        out = self.upper(inputs_embeds=hidden, attention_mask=mask, output_hidden_states=inner)
        if self._pooling == "pooler":
            return nn.functional.normalize(self.projection(out.pooler_output), dim=-1)
        states = out.last_hidden_state
        if inner:
            states = torch.stack([out.hidden_states[layer] for layer in self._layers]).mean(dim=0)
        sentence = _sentence(states, mask, self._pooling)
        return nn.functional.normalize(self.projection(sentence), dim=-1)

    def layers(self) -> list[nn.Module]:
        """Its transformer layers."""
        count = int(self._config.num_hidden_layers)
        runs = [m for m in self.upper.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
        if not runs:
            raise ConfigError(f"The layers of the text model {self._config.model_type!r} were not found.")
        return list(runs[0])


def _sentence(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """States (M, L, W) to one for each text, (M, W)."""
    if pooling == "class":
        return states[:, 0]
    if pooling == "end":
        last = (mask.sum(dim=1) - 1).to(torch.int64)
        return states[torch.arange(states.shape[0], device=states.device), last]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def _transformers_model(spec: HuggingFaceTextSpec) -> tuple[nn.Module, Any]:
    """The model and its configuration."""
    from transformers import AutoConfig, AutoModel

    settings = dict(spec.config)
    kind = settings.pop("model_type", None)
    if not isinstance(kind, str):
        raise ConfigError("The config.json of a text model must name its `model_type`.")
    try:
        config = AutoConfig.for_model(kind, **settings)
        # eager: the one attention that every model has, and that any exporter can follow
        model: Any = AutoModel.from_config(  # type: ignore[no-untyped-call] # transformers leaves it untyped
            config, attn_implementation="eager"
        )
    except ValueError as error:
        raise ConfigError(f"transformers cannot make the text model {kind!r}: {error}") from error
    if getattr(model, "pooler", None) is not None and spec.pooling != "pooler":
        model.pooler = None  # not used, and a layout may hold no weights for it
    return model, config


def build_text(
    architecture: TextArchitecture,
    tokens: Tokenize,
    state: Mapping[str, Tensor] | None,
    origin: str,
    *,
    new_projection: bool = False,
) -> TransformerTextTower | HuggingFaceTextTower:
    """The text tower that `architecture` describes, with its own tokenizer.

    `state` holds weights by their names here (`tokens.weight`, `positions`, `upper.`, `projection.`); None
    leaves all at random. `new_projection` says that `state` holds nothing of the projection, which starts at
    random. Raises ConfigError, which names `origin`, where something is missing or does not fit.
    """
    spec = architecture.encoder
    tower: TransformerTextTower | HuggingFaceTextTower
    if isinstance(spec, TransformerTextSpec):
        tower = TransformerTextTower(architecture, spec, tokens)
    else:
        tower = HuggingFaceTextTower(architecture, spec, tokens)
    if state is not None:
        started = {f"projection.{k}": v for k, v in tower.projection.state_dict().items()}
        load_strictly(tower, {**state, **(started if new_projection else {})}, origin)
    return tower
