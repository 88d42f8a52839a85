"""CT-CLIP's image encoder, CTViT (Hamamci et al., arXiv 2403.17834), from its published architecture.

volumes (N, C, depth, H, W) -> embed (N, t, h, w, W) -> spatial: attention within each slab -> temporal:
attention along depth -> nearest vectors of a codebook -> mean over depth: features (N, h * w * W)

Each layer: a depth-wise convolution that tells where a token is, attention by cosine, a gated MLP. What looks
odd is kept, as the weights were trained with it: keys and values see tokens that were not normalised, and the
convolution of the temporal part sees tokens in the order (place, depth) as if it were (depth, place).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, pad, scaled_dot_product_attention

from m3bind.towers.architecture import FactorisedViTSpec

SCALE = 8.0
"""Of the cosines between queries and keys."""
SLOPE = 0.1
"""Of the leaky rectifiers between the layers of `PositionBias`."""


class VolumeEmbed(nn.Module):
    """(N, C, depth, H, W) to tokens (N, t, h, w, W): each patch normalised, mapped, and normalised."""

    def __init__(self, spec: FactorisedViTSpec) -> None:
        super().__init__()
        self._patch, self._grid = spec.patch, spec.grid
        values = spec.channels * spec.patch[0] * spec.patch[1] * spec.patch[2]
        self.norm_in = nn.LayerNorm(values)
        self.patch = nn.Linear(values, spec.width)
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Tokens (N, t, h, w, W)."""
        count, channels = inputs.shape[:2]
        (t, h, w), (pt, ph, pw) = self._grid, self._patch
        patches = inputs.reshape(count, channels, t, pt, h, ph, w, pw).permute(0, 2, 4, 6, 1, 3, 5, 7)
        return cast(Tensor, self.norm(self.patch(self.norm_in(patches.flatten(4)))))


class PositionBias(nn.Module):
    """What a token at one place adds to looking at another, by their distance (arXiv 2111.09883)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first = nn.Linear(2, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, heads)

    def forward(self, h: int, w: int) -> Tensor:
        """(heads, h * w, h * w)."""
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        places = torch.stack([rows.flatten(), columns.flatten()], dim=-1).to(self.first.weight)  # (L, 2)
        apart = places[:, None] - places[None]
        values = apart.sign() * torch.log(apart.abs() + 1)
        for layer in (self.first, self.second):
            values = nn.functional.leaky_relu(layer(values), SLOPE)
        return cast(Tensor, self.last(values)).permute(2, 0, 1)


class CosineAttention(nn.Module):
    """Attention whose queries and keys have length 1; (N, L, W) to (N, L, W)."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self._heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, heads * head_width, bias=False)
        self.key = nn.Linear(width, heads * head_width, bias=False)
        self.value = nn.Linear(width, heads * head_width, bias=False)
        self.query_scale = nn.Parameter(torch.ones(head_width))
        self.key_scale = nn.Parameter(torch.ones(head_width))
        self.out = nn.Linear(heads * head_width, width, bias=False)
        self.null = nn.Parameter(torch.zeros(heads, 0, head_width))
        """Keys and values that stand for nothing: the layout keeps none, and others would not fit here."""

    def _split(self, values: Tensor) -> Tensor:
        return values.reshape(*values.shape[:2], self._heads, -1).transpose(1, 2)  # (N, heads, L, head_width)

    def forward(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """`bias`: (heads, L, L)."""
        queries = normalize(self._split(self.query(self.norm(tokens))), dim=-1) * self.query_scale
        keys = normalize(self._split(self.key(tokens)), dim=-1) * self.key_scale
        values = self._split(self.value(tokens))
        mixed = scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=SCALE)
        return cast(Tensor, self.out(mixed.transpose(1, 2).flatten(2)))


class GatedMlp(nn.Module):
    """Norm, then half of a linear layer gated by the gelu of its other half, then a second one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = int(4 * (2 / 3) * width)
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * inner, bias=False)
        self.fc2 = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., W) to (..., W)."""
        values, gate = self.fc1(self.norm(tokens)).chunk(2, dim=-1)
        return cast(Tensor, self.fc2(gelu(gate) * values))


class VolumeLayer(nn.Module):
    """One layer over runs of tokens (R, L, W) of a volume (N, t, h, w)."""

    def __init__(self, spec: FactorisedViTSpec) -> None:
        super().__init__()
        self.position = nn.Conv3d(spec.width, spec.width, 3, groups=spec.width)
        self.attention = CosineAttention(spec.width, spec.heads, spec.head_width)
        self.mlp = GatedMlp(spec.width)

    def forward(self, tokens: Tensor, grid: tuple[int, int, int], bias: Tensor | None) -> Tensor:
        """(R, L, W) to (R, L, W)."""
        volume = tokens.reshape(-1, *grid, tokens.shape[-1]).permute(0, 4, 1, 2, 3)
        # Along depth it looks back only.
        told = self.position(pad(volume, (1, 1, 1, 1, 2, 0))).permute(0, 2, 3, 4, 1)
        tokens = tokens + told.reshape(tokens.shape)
        tokens = tokens + self.attention(tokens, bias)
        return cast(Tensor, tokens + self.mlp(tokens))


class Spatial(nn.Module):
    """Attention among the places of each slab; (N, t, h, w, W) to the same."""

    def __init__(self, spec: FactorisedViTSpec) -> None:
        super().__init__()
        self._grid = spec.grid
        self.bias = PositionBias(spec.width, spec.heads)
        self.layers = nn.ModuleList(VolumeLayer(spec) for _ in range(spec.spatial_depth))
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, t, h, w, W)."""
        runs = tokens.flatten(0, 1).flatten(1, 2)  # (N * t, h * w, W)
        bias = self.bias(*self._grid[1:])
        for layer in self.layers:
            runs = layer(runs, self._grid, bias)
        return cast(Tensor, self.norm(runs)).reshape(tokens.shape)


class Temporal(nn.Module):
    """Attention along the depth of each place; (N, t, h, w, W) to the same."""

    def __init__(self, spec: FactorisedViTSpec) -> None:
        super().__init__()
        self._grid = spec.grid
        self.layers = nn.ModuleList(VolumeLayer(spec) for _ in range(spec.temporal_depth))
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, t, h, w, W)."""
        t, h, w = self._grid
        runs = tokens.permute(0, 2, 3, 1, 4).reshape(-1, t, tokens.shape[-1])  # (N * h * w, t, W)
        for layer in self.layers:
            runs = layer(runs, self._grid, None)
        placed = cast(Tensor, self.norm(runs)).reshape(-1, h, w, t, tokens.shape[-1])
        return placed.permute(0, 3, 1, 2, 4)


class CodebookHead(nn.Module):
    """Each token becomes the vector of a codebook whose direction is nearest; these are averaged over depth
    and stand side by side. No mean of places: each place has its own weights in the projection."""

    def __init__(self, spec: FactorisedViTSpec) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(spec.codebook, spec.width), requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, t, h, w, W) to (N, h * w * W)."""
        nearest = (normalize(tokens, dim=-1) @ normalize(self.codebook, dim=-1).T).argmax(dim=-1)
        chosen = self.codebook[nearest]
        if self.training:  # the choice has no gradient; the token passes its own on
            chosen = tokens + (chosen - tokens).detach()
        return chosen.mean(dim=1).flatten(1)

    def places(self, tokens: Tensor) -> None:
        """None."""


class FactorisedViT(nn.Module):
    """`embed`, `spatial`, `temporal` and `head`."""

    def __init__(self, spec: FactorisedViTSpec) -> None:
        super().__init__()
        self.embed = VolumeEmbed(spec)
        self.spatial = Spatial(spec)
        self.temporal = Temporal(spec)
        self.head = CodebookHead(spec)
        self.features = spec.grid[1] * spec.grid[2] * spec.width

    def stages(self) -> list[nn.Module]:
        """In order: what leads from inputs to what `head` takes."""
        return [self.embed, self.spatial, self.temporal]
