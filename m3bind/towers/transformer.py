"""The pre-norm transformer that vision transformers and CLIP-like text encoders are made of.

One block for all of them (Dosovitskiy et al., arXiv 2010.11929; Radford et al., arXiv 2103.00020): query, key
and value stand apart, so that stage 1 can put adapters beside two of them; layouts that keep them packed are
taken apart when they are loaded (`weights.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

Activation = Literal["gelu", "gelu_pytorch_tanh", "quick_gelu", "relu"]
"""Names as in a transformers config: `gelu` is exact, `quick_gelu` is x * sigmoid(1.702 x)."""

LORA_TARGETS = ("query", "value")


def _quick_gelu(values: Tensor) -> Tensor:
    return values * torch.sigmoid(1.702 * values)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "gelu_pytorch_tanh": partial(nn.functional.gelu, approximate="tanh"),
    "quick_gelu": _quick_gelu,
    "relu": nn.functional.relu,
}


class Attention(nn.Module):
    """Attention of `heads` heads. `queries` (N, Q, W) look at `tokens` (N, L, V); out comes (N, Q, W)."""

    def __init__(self, width: int, heads: int, bias: bool = True, *, tokens: int | None = None) -> None:
        """`tokens`: V, where it is not W."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(tokens or width, width, bias=bias)
        self.value = nn.Linear(tokens or width, width, bias=bias)
        self.out = nn.Linear(width, width)

    def _split(self, values: Tensor) -> Tensor:
        # (N, L, W) to (N, heads, L, W / heads)
        count, length, width = values.shape
        return values.reshape(count, length, self.heads, width // self.heads).transpose(1, 2)

    def forward(
        self, queries: Tensor, tokens: Tensor, causal: bool = False, seen: Tensor | None = None
    ) -> Tensor:
        """`causal`: no token looks at a later one. `seen`: (N, 1, Q, L) bool, which ones each query looks at,
        and then `causal` has no say."""
        mixed = nn.functional.scaled_dot_product_attention(
            self._split(self.query(queries)),
            self._split(self.key(tokens)),
            self._split(self.value(tokens)),
            attn_mask=seen,
            is_causal=causal and seen is None,
        )
        return cast(Tensor, self.out(mixed.transpose(1, 2).flatten(2)))


class Mlp(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, width: int, inner: int, activation: Activation) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self._activation = ACTIVATIONS[activation]

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., W) to (..., W)."""
        return cast(Tensor, self.fc2(self._activation(self.fc1(tokens))))


class Block(nn.Module):
    """Attention and MLP, each normalised before and added to what came in."""

    def __init__(
        self,
        width: int,
        inner: int,
        heads: int,
        activation: Activation,
        epsilon: float,
        *,
        causal: bool = False,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.norm1 = nn.LayerNorm(width, eps=epsilon)
        self.attention = Attention(width, heads, qkv_bias)
        self.norm2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = Mlp(width, inner, activation)

    def forward(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """(N, L, W) to (N, L, W); `seen` as of `Attention`."""
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed, self.causal, seen)
        return cast(Tensor, tokens + self.mlp(self.norm2(tokens)))
