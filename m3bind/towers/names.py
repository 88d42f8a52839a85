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
    (r"attn_pool_contrast\.query$", "head.query_pool.query"),
    (r"attn_pool_contrast\.ln_q\.", "head.query_pool.norm_query."),
    (r"attn_pool_contrast\.ln_k\.", "head.query_pool.norm_tokens."),
    (r"attn_pool_contrast\.attn\.in_proj_", "head.query_pool.attention.packed_"),
    (r"attn_pool_contrast\.attn\.q_proj_", "head.query_pool.attention.query."),
    (r"attn_pool_contrast\.attn\.k_proj_", "head.query_pool.attention.key."),
    (r"attn_pool_contrast\.attn\.v_proj_", "head.query_pool.attention.value."),
    (r"attn_pool_contrast\.attn\.out_proj\.", "head.query_pool.attention.out."),
    (r"ln_contrast\.", "head.query_pool.norm."),
    (r"blocks\.(\d+)\.attn\.qkv\.", r"blocks.\1.attention.packed_"),
    (r"blocks\.(\d+)\.attn\.proj\.", r"blocks.\1.attention.out."),
    (r"(?:fc_)?norm\.", "head.norm."),
)
"""timm's VisionTransformer, whose other names are ours; with the pooler that CONCH puts behind it."""

OPEN_CLIP_VISION: tuple[Rule, ...] = (
    *_OPEN_CLIP_BLOCK,
    (r"class_embedding$", "embed.class_token"),
    (r"positional_embedding$", "embed.positions"),
    (r"conv1\.", "embed.patch."),
    (r"ln_pre\.", "embed.norm."),
    (r"ln_post\.", "head.norm."),
)
"""open_clip's own VisionTransformer, and OpenAI's."""

TORCHVISION: tuple[Rule, ...] = (
    (r"(conv1|bn1)\.", r"stem.\1."),
    (r"(layer\d\.\d+)\.shortcut\.", r"\1.downsample."),
    (r"downconv\.", "head.down."),
    (r"att_pool_head\.cls_token$", "head.class_token"),
    (r"att_pool_head\.positional_embedding$", "head.positions"),
    (r"att_pool_head\.mhsa\.in_proj_", "head.attention.packed_"),
    (r"att_pool_head\.mhsa\.out_proj\.", "head.attention.out."),
)
"""torchvision's ResNet, and all that took its names (3-D and 1-D ones too); with MERL's own names beside."""

_CTVIT_LAYER: tuple[Rule, ...] = (
    (r"0\.dsconv\.", "position."),
    (r"1\.norm\.gamma$", "attention.norm.weight"),
    (r"1\.norm\.beta$", "attention.norm.bias"),
    (r"1\.to_q\.", "attention.query."),
    (r"1\.to_kv\.", "attention.paired_"),
    (r"1\.q_scale$", "attention.query_scale"),
    (r"1\.k_scale$", "attention.key_scale"),
    (r"1\.null_kv$", "attention.null"),
    (r"1\.to_out\.", "attention.out."),
    (r"3\.0\.", "mlp.norm."),
    (r"3\.1\.", "mlp.fc1."),
    (r"3\.4\.", "mlp.fc2."),
)
_CTVIT_PART = r"enc_(spatial|temporal)_transformer\."
CTVIT: tuple[Rule, ...] = (
    *((rf"{_CTVIT_PART}layers\.(\d+)\.{old}", rf"\1.layers.\2.{new}") for old, new in _CTVIT_LAYER),
    (rf"{_CTVIT_PART}norm_out\.gamma$", r"\1.norm.weight"),
    (rf"{_CTVIT_PART}norm_out\.beta$", r"\1.norm.bias"),
    (r"to_patch_emb\.1\.", "embed.norm_in."),
    (r"to_patch_emb\.2\.", "embed.patch."),
    (r"to_patch_emb\.3\.", "embed.norm."),
    (r"spatial_rel_pos_bias\.net\.0\.0\.", "spatial.bias.first."),
    (r"spatial_rel_pos_bias\.net\.1\.0\.", "spatial.bias.second."),
    (r"spatial_rel_pos_bias\.net\.2\.", "spatial.bias.last."),
    (r"vq\._codebook\.embed$", "head.codebook"),
)
"""CT-CLIP's CTViT."""

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
    (r"cls_emb$", "class_token"),
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
    "ctvit": CTVIT,
}
"""Of image encoders, by the name that a tower's TOML gives."""
TEXT_DIALECTS: Mapping[str, tuple[Rule, ...]] = {"clip": CLIP_TEXT, "open-clip": OPEN_CLIP_TEXT}
"""Of text transformers, likewise."""
