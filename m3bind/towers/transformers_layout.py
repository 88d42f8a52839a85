"""Models saved by transformers: CLIPModel, SiglipModel, VisionTextDualEncoderModel.

config.json, model.safetensors (or pytorch_model.bin, or either in parts), preprocessor_config.json,
tokenizer.json (or vocab.json + merges.txt, or vocab.txt, beside tokenizer_config.json)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dicom_node.errors import ConfigError
from m3bind.towers.architecture import (
    HuggingFaceTextSpec,
    TextArchitecture,
    TransformerTextSpec,
    VisualArchitecture,
    ViTSpec,
    described,
)
from m3bind.towers.layout import Layout, Weights, linear, read_json
from m3bind.towers.names import CLIP_TEXT, CLIP_VISION, VIT
from m3bind.towers.preprocessing import from_image_processor, read_image_processor
from m3bind.towers.weights import Rule, State, find_weights, read_state, renamed, without_prefix

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_BESIDE = ("logit_scale", "logit_bias")
"""Temperature and bias of the contrastive loss: every stage here has its own."""


def read_transformers(folder: Path, reader: str, frozen: int) -> Layout:
    """The layout in `folder`. Raises ConfigError that names what is missing or not supported."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: give the folder of a model saved by transformers.")
    kind = read_json(folder / "config.json").get("model_type")
    if not isinstance(kind, str) or kind not in _READERS:
        raise ConfigError(
            f"{folder / 'config.json'} has model_type {kind!r}; this layout knows {', '.join(_READERS)}. "
            'Describe other models in a TOML file (kind = "generic").'
        )
    return _READERS[kind](folder, _config(folder), reader, frozen)


def _config(folder: Path) -> Any:
    """config.json with what transformers means by a missing key."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError) as error:
        raise ConfigError(f"transformers cannot read {folder / 'config.json'}: {error}") from error


def _vit(config: Any, origin: str, **more: Any) -> ViTSpec:
    """What CLIP, SigLIP and ViT name alike."""
    size, patch = ((v, v) if isinstance(v, int) else tuple(v) for v in (config.image_size, config.patch_size))
    return described(
        ViTSpec,
        origin,
        channels=config.num_channels,
        size=size,
        patch=patch,
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        inner=config.intermediate_size,
        activation=config.hidden_act,
        epsilon=config.layer_norm_eps,
        **more,
    )


def _text(config: Any, origin: str, *, causal: bool) -> TransformerTextSpec:
    return described(
        TransformerTextSpec,
        origin,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        inner=config.intermediate_size,
        activation=config.hidden_act,
        epsilon=config.layer_norm_eps,
        causal=causal,
    )


def _layout(
    folder: Path,
    reader: str,
    visual: VisualArchitecture,
    text: TextArchitecture,
    weights: Callable[[State], Weights],
    *,
    fixed_length: bool,
) -> Layout:
    spec = visual.encoder
    if not isinstance(spec, ViTSpec):
        raise TypeError("the image encoders of this layout are vision transformers")
    told, origin = read_image_processor(folder)

    def read() -> Weights:
        state = read_state(find_weights(folder, WEIGHTS))
        return weights({k: v for k, v in state.items() if k not in _BESIDE})

    size = (spec.size[0], spec.size[1])
    return Layout(
        origin=str(folder),
        visual=visual,
        text=text,
        tokenizer=folder,
        fixed_length=fixed_length,
        preprocess=from_image_processor(told, size, reader, origin),
        input_shape=(spec.channels, *size),
        weights=read,
    )


def _split(
    state: State, vision_rules: Sequence[Rule], text_rules: Sequence[Rule], folder: Path
) -> tuple[State, State]:
    """The image encoder's and the text encoder's part, projections included."""
    # transformers 4 saved a CLIP inside a dual encoder as vision_model.vision_model
    inner = "vision_model.vision_model."
    vision = without_prefix(state, inner) or without_prefix(state, "vision_model.")
    visual = renamed(vision, vision_rules)
    text = renamed(without_prefix(state, "text_model."), text_rules)
    for part, name in ((visual, "visual_projection."), (text, "text_projection.")):
        part.update({f"projection.0.{k}": v for k, v in without_prefix(state, name).items()})
    known = ("vision_model.", "text_model.", "visual_projection.", "text_projection.")
    left = sorted(name for name in state if not name.startswith(known))
    if left:
        raise ConfigError(f"{folder} holds weights that this layout does not know: {', '.join(left[:6])}.")
    return visual, text


def _clip(folder: Path, config: Any, reader: str, frozen: int) -> Layout:
    origin = str(folder / "config.json")
    vision = _vit(config.vision_config, origin, patch_bias=False, pre_norm=True, pooling="class")
    text = _text(config.text_config, origin, causal=True)

    def weights(state: State) -> Weights:
        return Weights(*_split(state, CLIP_VISION, CLIP_TEXT, folder))

    projection = linear(config.projection_dim)
    return _layout(
        folder,
        reader,
        VisualArchitecture(encoder=vision, projection=projection, frozen=frozen),
        TextArchitecture(encoder=text, projection=projection, max_tokens=text.positions),
        weights,
        fixed_length=False,
    )


def _siglip(folder: Path, config: Any, reader: str, frozen: int) -> Layout:
    origin = str(folder / "config.json")
    if not getattr(config.vision_config, "vision_use_head", True):
        raise ConfigError(f"{origin} has vision_use_head = false: without its head SigLIP has no embedding.")
    vision = _vit(config.vision_config, origin, class_token=False, pooling="attention")
    text = _text(config.text_config, origin, causal=False)
    out = int(getattr(config.text_config, "projection_size", None) or text.width)

    def weights(state: State) -> Weights:
        visual, sentence = _split(state, CLIP_VISION, CLIP_TEXT, folder)
        # SigLIP projects texts only; the image side's projection starts as the identity, and is trained.
        visual["projection.0.weight"] = torch.eye(vision.width)
        head = {k: v for k, v in sentence.items() if k.startswith("head.")}
        sentence = {k: v for k, v in sentence.items() if k not in head}
        sentence.update({f"projection.0.{k.removeprefix('head.')}": v for k, v in head.items()})
        return Weights(visual, sentence)

    if out != vision.width:
        raise ConfigError(f"{origin}: images have {vision.width} dimensions and texts {out}.")
    return _layout(
        folder,
        reader,
        VisualArchitecture(encoder=vision, projection=linear(vision.width), frozen=frozen),
        TextArchitecture(encoder=text, projection=linear(out, bias=True), max_tokens=text.positions),
        weights,
        fixed_length=True,
    )


def _dual(folder: Path, config: Any, reader: str, frozen: int) -> Layout:
    origin = str(folder / "config.json")
    told = config.vision_config
    told = told.vision_config if told.model_type == "clip" else told
    if told.model_type == "vit":
        vision = _vit(told, origin, qkv_bias=told.qkv_bias, pooling="class-tanh")
        rules: Sequence[Rule] = VIT
    elif told.model_type == "clip_vision_model":
        vision = _vit(told, origin, patch_bias=False, pre_norm=True, pooling="class")
        rules = CLIP_VISION
    else:
        raise ConfigError(
            f"{origin}: the vision model {told.model_type!r} is not known; a dual encoder here has `vit` or "
            '`clip_vision_model`. Describe others in a TOML file (kind = "generic").'
        )
    text = config.text_config.to_dict()

    def weights(state: State) -> Weights:
        return Weights(*_split(state, rules, ((r"", "upper."),), folder))

    projection = linear(config.projection_dim)
    return _layout(
        folder,
        reader,
        VisualArchitecture(encoder=vision, projection=projection, frozen=frozen),
        TextArchitecture(
            encoder=HuggingFaceTextSpec(config=text, pooling="pooler"),
            projection=projection,
            max_tokens=longest(text),
        ),
        weights,
        fixed_length=False,
    )


def longest(config: Mapping[str, Any]) -> int:
    """How many tokens a text model takes. RoBERTa's positions begin behind its padding token, so it takes
    fewer than it has."""
    positions = int(config["max_position_embeddings"])
    offset = int(config.get("pad_token_id") or 0) + 1 if config["model_type"] in _OFFSET_POSITIONS else 0
    return positions - offset


_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert")
_READERS: Mapping[str, Callable[[Path, Any, str, int], Layout]] = {
    "clip": _clip,
    "siglip": _siglip,
    "vision-text-dual-encoder": _dual,
}
