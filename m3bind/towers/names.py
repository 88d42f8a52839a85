"""How the layouts of others name the weights that this package calls `embed`, `blocks`, `head`, `upper`, ...

One table per layout; `weights.renamed` applies them. What no rule knows is told as an error by the loader.
"""

from __future__ import annotations

from collections.abc import Mapping

from m3bind.towers.weights import Rule

_TRANSFORMERS_BLOCK: tuple[Rule, ...] = (
    (r"encoder\.layers\.(\d+)\.layer_norm(\d)\.", r"blocks.\1.norm\2."),
    (r"encoder\.layers\.(\d+)\.self_attn\.q_proj\.", r"blocks.\1.attention.query."),
    (r"encoder\.layers\.(\d+)\.self_attn\.k_proj\.", r"blocks.\1.attention.key."),
    (r"encoder\.layers\.(\d+)\.self_attn\.v_proj\.", r"blocks.\1.attention.value."),
    (r"encoder\.layers\.(\d+)\.self_attn\.out_proj\.", r"blocks.\1.attention.out."),
    (r"encoder\.layers\.(\d+)\.mlp\.", r"blocks.\1.mlp."),
)
_OPEN_CLIP_BLOCK: tuple[Rule, ...] = (
    (r"transformer\.resblocks\.(\d+)\.ln_(\d)\.", r"blocks.\1.norm\2."),
    (r"transformer\.resblocks\.(\d+)\.attn\.in_proj_", r"blocks.\1.attention.packed_"),
    (r"transformer\.resblocks\.(\d+)\.attn\.out_proj\.", r"blocks.\1.attention.out."),
    (r"transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r"blocks.\1.mlp.fc1."),
    (r"transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r"blocks.\1.mlp.fc2."),
)

CLIP_VISION: tuple[Rule, ...] = (
    *_TRANSFORMERS_BLOCK,
    (r"embeddings\.class_embedding$", "embed.class_token"),
    (r"embeddings\.patch_embedding\.", "embed.patch."),
    (r"embeddings\.position_embedding\.weight$", "embed.positions"),
    (r"pre_layrnorm\.", "embed.norm."),  # so misspelt in the layout
    (r"post_layernorm\.", "head.norm."),
    (r"head\.probe$", "head.attention_pool.probe"),
    (r"head\.attention\.in_proj_", "head.attention_pool.attention.packed_"),
    (r"head\.attention\.out_proj\.", "head.attention_pool.attention.out."),
    (r"head\.layernorm\.", "head.attention_pool.norm."),
    (r"head\.mlp\.", "head.attention_pool.mlp."),
)
"""transformers' CLIPVisionModel and SiglipVisionModel."""

VIT: tuple[Rule, ...] = (
    (r"embeddings\.cls_token$", "embed.class_token"),
    (r"embeddings\.position_embeddings$", "embed.positions"),
    (r"embeddings\.patch_embeddings\.projection\.", "embed.patch."),
    (r"encoder\.layer\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"encoder\.layer\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"encoder\.layer\.(\d+)\.attention\.attention\.", r"blocks.\1.attention."),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attention.out."),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.", r"blocks.\1.mlp.fc1."),
    (r"encoder\.layer\.(\d+)\.output\.dense\.", r"blocks.\1.mlp.fc2."),
    (r"layernorm\.", "head.norm."),
    (r"pooler\.dense\.", "head.dense."),
)
"""transformers' ViTModel."""

TIMM: tuple[Rule, ...] = (
    (r"cls_token$", "embed.class_token"),
    (r"pos_embed$", "embed.positions"),
    (r"patch_embed\.proj\.", "embed.patch."),
    (r"norm_pre\.", "embed.norm."),
    (r"blocks\.(\d+)\.attn\.qkv\.", r"blocks.\1.attention.packed_"),
    (r"blocks\.(\d+)\.attn\.proj\.", r"blocks.\1.attention.out."),
    (r"(?:fc_)?norm\.", "head.norm."),
)
"""timm's VisionTransformer; its other names are ours."""

OPEN_CLIP_VISION: tuple[Rule, ...] = (
    *_OPEN_CLIP_BLOCK,
    (r"class_embedding$", "embed.class_token"),
    (r"positional_embedding$", "embed.positions"),
    (r"conv1\.", "embed.patch."),
    (r"ln_pre\.", "embed.norm."),
    (r"ln_post\.", "head.norm."),
)
"""open_clip's own VisionTransformer, and OpenAI's."""

TORCHVISION: tuple[Rule, ...] = ((r"(conv1|bn1)\.", r"stem.\1."),)
"""torchvision's ResNet, and all that took its names (3-D and 1-D ones too)."""

CLIP_TEXT: tuple[Rule, ...] = (
    *((old, f"upper.{new}") for old, new in _TRANSFORMERS_BLOCK),
    (r"embeddings\.token_embedding\.", "tokens."),
    (r"embeddings\.position_embedding\.weight$", "positions"),
    (r"final_layer_norm\.", "upper.norm."),
)
"""transformers' CLIPTextModel and SiglipTextModel."""

OPEN_CLIP_TEXT: tuple[Rule, ...] = (
    *((old, f"upper.{new}") for old, new in _OPEN_CLIP_BLOCK),
    (r"token_embedding\.", "tokens."),
    (r"positional_embedding$", "positions"),
    (r"ln_final\.", "upper.norm."),
)
"""open_clip's own TextTransformer, and OpenAI's."""

DIALECTS: Mapping[str, tuple[Rule, ...]] = {
    "own": (),
    "clip": CLIP_VISION,
    "transformers-vit": VIT,
    "timm": TIMM,
    "open-clip": OPEN_CLIP_VISION,
    "torchvision": TORCHVISION,
}
"""Of image encoders, by the name that a tower's TOML gives."""
