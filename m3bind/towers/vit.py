"""A vision transformer over signals, images or volumes (Dosovitskiy et al., arXiv 2010.11929).

inputs (N, C, *size) -> embed (N, 1 + places, W) -> blocks -> norm -> pooling -> features (N, W)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn

from m3bind.towers.architecture import FactorisedViTSpec, ViTSpec
from m3bind.towers.transformer import Attention, Block, Mlp

_CONVOLUTIONS: Mapping[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Embed(nn.Module):
    """(N, C, *size) to tokens (N, L, W): patches, maybe a class token first, and their positions."""

    def __init__(self, spec: ViTSpec) -> None:
        super().__init__()
        places = prod(s // p for s, p in zip(spec.size, spec.patch, strict=True))
        self.patch = _CONVOLUTIONS[len(spec.size)](
            spec.channels, spec.width, spec.patch, stride=spec.patch, bias=spec.patch_bias
        )
        self.class_token = nn.Parameter(torch.zeros(spec.width)) if spec.class_token else None
        self.positions = nn.Parameter(torch.randn(places + int(spec.class_token), spec.width) * 0.02)
        self.norm = nn.LayerNorm(spec.width, eps=spec.epsilon) if spec.pre_norm else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """Tokens (N, L, W)."""
        tokens = self.patch(inputs).flatten(2).transpose(1, 2)
        if self.class_token is not None:
            first = self.class_token.expand(tokens.shape[0], 1, -1)
            tokens = torch.cat([first, tokens], dim=1)
        return cast(Tensor, self.norm(tokens + self.positions))


class AttentionPool(nn.Module):
    """SigLIP's head: a learned probe looks at all tokens, and an MLP is added to what it saw."""

    def __init__(self, spec: ViTSpec) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(spec.width) * 0.02)
        self.attention = Attention(spec.width, spec.heads)
        self.norm = nn.LayerNorm(spec.width, eps=spec.epsilon)
        self.mlp = Mlp(spec.width, spec.inner, spec.activation)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, W) to (N, W)."""
        seen = self.attention(self.probe.expand(tokens.shape[0], 1, -1), tokens)
        return cast(Tensor, seen + self.mlp(self.norm(seen)))[:, 0]


class QueryPool(nn.Module):
    """CoCa's attentional pooler (arXiv 2205.01917) with one query, and the norm after it."""

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, width) * 0.02)
        self.norm_query = nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(tokens)
        self.attention = Attention(width, heads, tokens=tokens)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, V) to (N, P)."""
        query = self.norm_query(self.query).expand(tokens.shape[0], 1, -1)
        return cast(Tensor, self.norm(self.attention(query, self.norm_tokens(tokens))[:, 0]))


class ViTHead(nn.Module):
    """Tokens after the last block to features (N, W), or (N, `pool_width`), by the pooling of `spec`."""

    def __init__(self, spec: ViTSpec) -> None:
        super().__init__()
        self._pooling, self._prefix = spec.pooling, int(spec.class_token)
        self._grid = tuple(s // p for s, p in zip(spec.size, spec.patch, strict=True))
        self.norm = nn.LayerNorm(spec.width, eps=spec.epsilon)
        self.dense = nn.Linear(spec.width, spec.width) if spec.pooling == "class-tanh" else None
        self.attention_pool = AttentionPool(spec) if spec.pooling == "attention" else None
        self.query_pool: QueryPool | None = None
        if spec.pool_width is not None and spec.pool_heads is not None:
            self.query_pool = QueryPool(spec.width, spec.pool_width, spec.pool_heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, W) to features."""
        if self._pooling == "mean-then-norm":
            return cast(Tensor, self.norm(tokens[:, self._prefix :].mean(dim=1)))
        if self.attention_pool is not None:
            return cast(Tensor, self.attention_pool(self.norm(tokens)))
        if self.query_pool is not None:
            return cast(Tensor, self.query_pool(self.norm(tokens)))
        if self._pooling == "mean":
            return cast(Tensor, self.norm(tokens[:, self._prefix :])).mean(dim=1)
        first = cast(Tensor, self.norm(tokens[:, 0]))
        return first if self.dense is None else torch.tanh(self.dense(first))

    def places(self, tokens: Tensor) -> Tensor | None:
        """(N, h, w, W) whose mean is the features; None where these are no mean of places."""
        if self._pooling != "mean":
            return None
        local: Tensor = self.norm(tokens[:, self._prefix :])
        local = local.reshape(tokens.shape[0], *self._grid, local.shape[2])
        if len(self._grid) == 3:
            return local.mean(dim=1)  # over depth
        return local if len(self._grid) == 2 else local.unsqueeze(1)


class ViT(nn.Module):
    """`embed`, `blocks` and `head`; a tower takes them apart into what is frozen and what is trained."""

    def __init__(self, spec: ViTSpec | FactorisedViTSpec) -> None:
        if not isinstance(spec, ViTSpec):
            raise TypeError(f"a {spec.kind} is made by `assemble`")
        super().__init__()
        self.embed = Embed(spec)
        self.blocks = nn.ModuleList(
            Block(spec.width, spec.inner, spec.heads, spec.activation, spec.epsilon, qkv_bias=spec.qkv_bias)
            for _ in range(spec.depth)
        )
        self.head = ViTHead(spec)
        self.features = spec.pool_width or spec.width

    def stages(self) -> list[nn.Module]:
        """In order: what leads from inputs to what `head` takes."""
        return [self.embed, *self.blocks]
