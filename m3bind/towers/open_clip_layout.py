"""Models saved by open_clip for the Hub (BiomedCLIP and its like), read without open_clip or timm.

    open_clip_config.json, open_clip_model.safetensors (or open_clip_pytorch_model.bin), the tokenizer's
    files; where the text tower is a transformers model: its config.json, in a folder that the recipe names

Image towers: open_clip's own vision transformer, and timm's `vit_*_patch*_*` with the class token or the
mean. Text towers: open_clip's own transformer, and transformers models with a linear or MLP projection. A
setting that asks for more is told as an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dicom_node.errors import ConfigError
from m3bind.towers.architecture import (
    HuggingFaceTextSpec,
    ProjectionLayer,
    TextArchitecture,
    TransformerTextSpec,
    VisualArchitecture,
    ViTSpec,
    described,
)
from m3bind.towers.layout import Layout, Weights, linear, read_json
from m3bind.towers.names import OPEN_CLIP_TEXT, OPEN_CLIP_VISION, TIMM
from m3bind.towers.preprocessing import Mode, operations
from m3bind.towers.transformers_layout import longest
from m3bind.towers.weights import Rule, State, find_weights, read_state, renamed, without_prefix

WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_BESIDE = ("logit_scale", "logit_bias")
_TIMM_VIT = re.compile(r"vit_(tiny|small|base|large|huge)_patch(\d+)_(\d+)(?:\..*)?")
_TIMM_SIZES: Mapping[str, tuple[int, int, int]] = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
"""Width, depth, heads (Steiner et al., arXiv 2106.10270)."""
_VISION = {
    "layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "pool_type", "no_ln_pre",
    "timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias",
}  # fmt: skip
_TEXT = {
    "context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "no_causal_mask", "proj_bias",
    "hf_model_name", "hf_tokenizer_name", "hf_proj_type", "hf_pooler_type", "pool_type",
}  # fmt: skip
_WITHOUT_EFFECT = {
    "timm_model_pretrained", "timm_drop", "timm_drop_path", "patch_dropout", "output_tokens", "pad_id",
    "hf_model_pretrained", "tokenizer_kwargs", "tokenizer_mode", "attn_pooler_queries", "attn_pooler_heads",
}  # fmt: skip
"""Of training, or of parts that are not there."""
_NEUTRAL: Mapping[str, Any] = {"pos_embed_type": "learnable", "proj_type": "linear", "eos_id": 2}
_MODES: Mapping[str, Mode] = {"shortest": "crop", "squash": "stretch", "longest": "pad"}
_POOLERS: Mapping[str, Literal["class", "mean", "pooler"]] = {
    "cls_last_hidden_state_pooler": "class",
    "mean_pooler": "mean",
    "cls_pooler": "pooler",
}


def read_open_clip(folder: Path, reader: str, frozen: int, text_model: Path | None) -> Layout:
    """The layout in `folder`; `text_model` is the folder with the config.json of a transformers text tower.

    Raises ConfigError that names what is missing or not supported.
    """
    origin = folder / "open_clip_config.json"
    told = read_json(origin)
    model = told.get("model_cfg")
    if not isinstance(model, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(model):
        raise ConfigError(f"{origin} must have model_cfg with embed_dim, vision_cfg and text_cfg.")
    vision_told, text_told = dict(model["vision_cfg"]), dict(model["text_cfg"])
    _only(vision_told, _VISION, f"{origin}, vision_cfg")
    _only(text_told, _TEXT, f"{origin}, text_cfg")
    quick, dimension = bool(model.get("quick_gelu", False)), int(model["embed_dim"])
    timm = "timm_model_name" in vision_told
    read_vision = _timm_vision if timm else _own_vision
    visual, vision_rules = read_vision(vision_told, dimension, quick, str(origin), frozen)
    text, text_rules = _text(text_told, dimension, quick, str(origin), text_model)

    def weights() -> Weights:
        state = read_state(find_weights(folder, WEIGHTS))
        state = {k: v for k, v in state.items() if k not in _BESIDE}
        vision = renamed(without_prefix(state, "visual."), vision_rules)
        rest = {k: v for k, v in state.items() if not k.startswith("visual.")}
        return Weights(vision, renamed(_text_part(rest), text_rules))

    spec = visual.encoder
    if not isinstance(spec, ViTSpec):
        raise TypeError("the image encoders of this layout are vision transformers")
    size = (spec.size[0], spec.size[1])
    return Layout(
        origin=str(folder),
        visual=visual,
        text=text,
        tokenizer=folder,
        fixed_length=False,
        preprocess=_preprocess(told.get("preprocess_cfg", {}), size, reader, str(origin)),
        input_shape=(3, *size),
        weights=weights,
    )


def _only(told: Mapping[str, Any], known: set[str], origin: str) -> None:
    """Raise ConfigError for a setting that is neither known nor off."""
    strange = sorted(
        f"{key} = {value!r}"
        for key, value in told.items()
        if key not in known | _WITHOUT_EFFECT and value not in (None, False, _NEUTRAL.get(key))
    )
    if strange:
        raise ConfigError(f"{origin}: this package has no {', '.join(strange)}.")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _own_vision(
    told: Mapping[str, Any], dimension: int, quick: bool, origin: str, frozen: int
) -> tuple[VisualArchitecture, Sequence[Rule]]:
    """open_clip's own vision transformer."""
    width, pooling = int(told.get("width", 768)), told.get("pool_type", "tok")
    if pooling not in ("tok", "avg") or not isinstance(told.get("layers", 12), int):
        raise ConfigError(
            f"{origin}: vision_cfg must be a vision transformer (`layers` one number), pool_type tok or avg."
        )
    spec = described(
        ViTSpec,
        origin,
        size=_pair(told.get("image_size", 224)),
        patch=_pair(told.get("patch_size", 16)),
        width=width,
        depth=told.get("layers", 12),
        heads=width // int(told.get("head_width", 64)),
        inner=int(width * float(told.get("mlp_ratio", 4.0))),
        activation="quick_gelu" if quick else "gelu",
        epsilon=1e-5,
        patch_bias=False,
        pre_norm=not told.get("no_ln_pre", False),
        pooling="class" if pooling == "tok" else "mean",
    )
    rules = (*OPEN_CLIP_VISION, (r"proj$", "projection.0.weight.T"))
    return VisualArchitecture(encoder=spec, projection=linear(dimension), frozen=frozen), rules


def _timm_vision(
    told: Mapping[str, Any],
    dimension: int,
    quick: bool,  # noqa: ARG001 # open_clip does not hand it to timm either
    origin: str,
    frozen: int,
) -> tuple[VisualArchitecture, Sequence[Rule]]:
    """timm's vision transformer behind open_clip's adapter."""
    name, pooling = str(told["timm_model_name"]), told.get("timm_pool", "avg")
    match = _TIMM_VIT.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"{origin}: the timm model {name!r} is not known; this package has vit_"
            f"{{{','.join(_TIMM_SIZES)}}}_patch<P>_<size>."
        )
    if pooling not in ("", "token", "avg"):
        raise ConfigError(f"{origin}: timm_pool = {pooling!r}; this package has '', token and avg.")
    width, depth, heads = _TIMM_SIZES[match[1]]
    size = _pair(told.get("image_size", int(match[3])))
    if size != (int(match[3]), int(match[3])):
        raise ConfigError(f"{origin}: image_size {size} differs from the {match[3]} of {name}.")
    spec = described(
        ViTSpec,
        origin,
        size=size,
        patch=_pair(int(match[2])),
        width=width,
        depth=depth,
        heads=heads,
        inner=4 * width,
        pooling="mean" if pooling == "avg" else "class",
    )
    bias = bool(told.get("timm_proj_bias", False))
    projections: Mapping[str, tuple[ProjectionLayer, ...]] = {
        "linear": linear(dimension, bias=bias),
        "mlp": (
            *linear(2 * dimension, bias=True),
            ProjectionLayer(layer="gelu"),
            *linear(dimension, bias=bias),
        ),
    }
    kind = told.get("timm_proj", "linear")
    if kind not in projections:
        raise ConfigError(f"{origin}: timm_proj = {kind!r}; this package has {', '.join(projections)}.")
    rules = (
        *((f"trunk\\.{old}", new) for old, new in TIMM),
        (r"trunk\.", ""),
        (r"head\.proj\.", "projection.0."),
        (r"head\.mlp\.fc1\.", "projection.0."),
        (r"head\.mlp\.fc2\.", "projection.2."),
    )
    return VisualArchitecture(encoder=spec, projection=projections[kind], frozen=frozen), rules


def _text_part(state: State) -> State:
    """The text tower's weights: under `text.` in models with a tower class of their own."""
    return without_prefix(state, "text.") if any(k.startswith("text.") for k in state) else state


def _text(
    told: Mapping[str, Any], dimension: int, quick: bool, origin: str, text_model: Path | None
) -> tuple[TextArchitecture, Sequence[Rule]]:
    if told.get("hf_model_name"):
        return _transformers_text(told, dimension, origin, text_model)
    width = int(told.get("width", 512))
    if told.get("pool_type", "argmax") not in ("argmax", "eos"):
        raise ConfigError(
            f"{origin}: text_cfg pool_type = {told['pool_type']!r}; only the end token is known."
        )
    spec = described(
        TransformerTextSpec,
        origin,
        vocabulary=told.get("vocab_size", 49408),
        positions=told.get("context_length", 77),
        width=width,
        depth=told.get("layers", 12),
        heads=told.get("heads", 8),
        inner=int(width * float(told.get("mlp_ratio", 4.0))),
        activation="quick_gelu" if quick else "gelu",
        epsilon=1e-5,
        causal=True,
    )
    if told.get("no_causal_mask") or told.get("proj_bias"):
        raise ConfigError(f"{origin}: text_cfg no_causal_mask and proj_bias are not known.")
    rules = (*OPEN_CLIP_TEXT, (r"text_projection$", "projection.0.weight.T"))
    return TextArchitecture(encoder=spec, projection=linear(dimension), max_tokens=spec.positions), rules


def _transformers_text(
    told: Mapping[str, Any], dimension: int, origin: str, text_model: Path | None
) -> tuple[TextArchitecture, Sequence[Rule]]:
    """A transformers model behind open_clip's adapter; its config.json is not part of open_clip's layout."""
    if text_model is None:
        raise ConfigError(
            f"{origin}: the text tower is {told['hf_model_name']!r}, and the layout does not hold its "
            "config.json. Put that file into a folder and name the folder as `text_model` of the tower."
        )
    config = read_json(text_model / "config.json")
    pooler = told.get("hf_pooler_type", "mean_pooler")
    if pooler not in _POOLERS:
        raise ConfigError(f"{origin}: hf_pooler_type = {pooler!r}; this package has {', '.join(_POOLERS)}.")
    width = int(config["hidden_size"])
    projections: Mapping[str, tuple[ProjectionLayer, ...]] = {
        "linear": linear(dimension),
        "mlp": (*linear((width + dimension) // 2), ProjectionLayer(layer="gelu"), *linear(dimension)),
    }
    kind = told.get("hf_proj_type", "mlp")
    if kind not in projections:
        raise ConfigError(f"{origin}: hf_proj_type = {kind!r}; this package has {', '.join(projections)}.")
    rules: tuple[Rule, ...] = (
        (r"transformer\.", "upper."),
        (r"proj\.weight", "projection.0.weight"),
        (r"proj\.", "projection."),
    )
    architecture = TextArchitecture(
        encoder=HuggingFaceTextSpec(config=config, pooling=_POOLERS[pooler]),
        projection=projections[kind],
        max_tokens=min(int(told.get("context_length", 77)), longest(config)),
    )
    return architecture, rules


def _preprocess(told: Mapping[str, Any], size: tuple[int, int], reader: str, origin: str) -> Any:
    """open_clip's preprocess_cfg as operations."""
    missing = [key for key in ("mean", "std") if told.get(key) is None]
    if missing:
        raise ConfigError(f"{origin}: preprocess_cfg does not say {' and '.join(missing)}.")
    mode, kind = told.get("resize_mode", "shortest"), told.get("interpolation", "bicubic")
    if mode not in _MODES or kind not in ("bilinear", "bicubic") or told.get("fill_color", 0) != 0:
        raise ConfigError(
            f"{origin}: preprocess_cfg asks for resize_mode {mode!r}, interpolation {kind!r}, fill_color "
            f"{told.get('fill_color', 0)!r}; the node has {', '.join(_MODES)}, bilinear and bicubic, and 0."
        )
    return operations(size, told["mean"], told["std"], reader, mode=_MODES[mode], interpolation=kind)
