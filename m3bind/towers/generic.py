"""A tower that a TOML file describes: image encoder, maybe a transformers text model, projections, names.

    weights = "model.pt"                      # or a list; safetensors, or torch files of tensors alone
    key = "state_dict"                        # where a torch file holds them; "" if at its top
    ignore = ["logit_scale", "decoder."]      # beginnings of names that are not wanted; with * whole names

    [names]                                   # beginning of a name in the file -> beginning here
    "img_encoder.model." = "image."           # here: image. image_projection. text. text_projection.
    "text_encoder.bert." = "text."

    [image]
    architecture = "resnet50"                 # a name of `resnet.NAMED`, "vit", "factorised-vit"
    dialect = "torchvision"                   # who named the weights below image.: see names.DIALECTS
    input_shape = [3, 224, 224]
    preprocess = [{ op = "resize", size = [224, 224] }, ...]     # operations of a bundle
    projection = [{ layer = "linear", out = 512, bias = false }] # or "new": at random, in the recipe's space

    [image.options]                           # any field of the architecture's specification

    [text]                                    # left out: the tower has no text encoder
    model = "text"                            # folder: config.json and the tokenizer's files
    pooling = "class"                         # class, mean, end, pooler
    max_tokens = 128
    projection = [{ layer = "linear", out = 512 }]

    [text]                                    # or: CLIP's, SigLIP's or CoCa's own transformer
    architecture = "transformer"
    dialect = "open-clip"                     # or "clip": who named the weights below text.
    tokenizer = "text"                        # folder: the tokenizer's files
    max_tokens = 127
    padding = "hidden"                        # to max_tokens, "hidden" or "seen"; left out: to the longest
    projection = [{ layer = "linear", out = 512 }]

    [text.options]                            # fields of `architecture.TransformerTextSpec`

Paths are relative to the TOML file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Discriminator, Field, Tag

from dicom_node.bundle.manifest import Frozen, Operation
from dicom_node.errors import ConfigError
from m3bind.towers.architecture import (
    FactorisedViTSpec,
    HuggingFaceTextSpec,
    ProjectionLayer,
    ResNetSpec,
    TextArchitecture,
    TransformerTextSpec,
    VisualArchitecture,
    ViTSpec,
    described,
)
from m3bind.towers.layout import Layout, Weights, linear, read_json
from m3bind.towers.names import DIALECTS, TEXT_DIALECTS
from m3bind.towers.resnet import NAMED
from m3bind.towers.transformers_layout import longest
from m3bind.towers.weights import State, read_state, renamed, without_prefix

_PLACES = ("image.", "image_projection.", "text.", "text_projection.")


class ImagePart(Frozen):
    """`[image]`."""

    architecture: str
    dialect: Literal["own", "clip", "transformers-vit", "timm", "open-clip", "torchvision", "ctvit"] = "own"
    options: dict[str, Any] = Field(default_factory=dict)
    input_shape: tuple[int, ...] = Field(min_length=2, max_length=4)
    preprocess: tuple[Operation, ...]
    projection: tuple[ProjectionLayer, ...] | Literal["new"]


class TextPart(Frozen):
    """`[text]` of a transformers model."""

    model: str
    pooling: Literal["class", "mean", "end", "pooler"]
    layers: tuple[int, ...] = (-1,)
    max_tokens: int = Field(gt=2)
    projection: tuple[ProjectionLayer, ...] = Field(min_length=1)


class TransformerPart(Frozen):
    """`[text]` of a text transformer that is built here."""

    architecture: Literal["transformer"]
    dialect: Literal["clip", "open-clip"]
    options: dict[str, Any]
    tokenizer: str
    max_tokens: int = Field(gt=2)
    padding: Literal["seen", "hidden"] | None = None
    projection: tuple[ProjectionLayer, ...] = Field(min_length=1)


def _kind(told: Any) -> str:
    given = told.get("architecture") if isinstance(told, Mapping) else getattr(told, "architecture", None)
    return "hugging-face" if given is None else "transformer"


class Description(Frozen):
    """The whole file."""

    weights: str | tuple[str, ...]
    key: str = ""
    ignore: tuple[str, ...] = ()
    names: dict[str, str] = Field(default_factory=dict)
    image: ImagePart
    text: (
        Annotated[
            Annotated[TextPart, Tag("hugging-face")] | Annotated[TransformerPart, Tag("transformer")],
            Discriminator(_kind),
        ]
        | None
    ) = None


def read_generic(path: Path, frozen: int) -> Layout:
    """The tower that the TOML file at `path` describes. Raises ConfigError that names what is wrong in it."""
    if not path.is_file():
        raise ConfigError(f"{path} is missing: give the TOML file that describes the tower.")
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    told = described(Description, str(path), **raw)
    strange = sorted(new for new in told.names.values() if not new.startswith(_PLACES))
    if strange:
        raise ConfigError(
            f"{path}: names lead to {', '.join(strange)}; they must begin with {', '.join(_PLACES)}."
        )
    spec = _encoder(told.image, str(path))
    new = told.image.projection == "new"
    projection = linear(1, bias=True) if isinstance(told.image.projection, str) else told.image.projection
    visual = described(VisualArchitecture, str(path), encoder=spec, projection=projection, frozen=frozen)
    text = None if told.text is None else _text(told.text, path)

    def weights() -> Weights:
        return _weights(told, path)

    return Layout(
        origin=str(path),
        visual=visual,
        text=text,
        tokenizer=None if told.text is None else path.parent / _tokenizer(told.text),
        fixed_length=isinstance(told.text, TransformerPart) and told.text.padding is not None,
        hidden_padding=isinstance(told.text, TransformerPart) and told.text.padding == "hidden",
        preprocess=told.image.preprocess,
        input_shape=told.image.input_shape,
        weights=weights,
        new_projection=new,
    )


_VITS: Mapping[str, type[ViTSpec | FactorisedViTSpec]] = {
    "vit": ViTSpec,
    "factorised-vit": FactorisedViTSpec,
}
"""Architectures whose specification holds the input's size."""


def _tokenizer(part: TextPart | TransformerPart) -> str:
    return part.model if isinstance(part, TextPart) else part.tokenizer


def _encoder(part: ImagePart, origin: str) -> ViTSpec | ResNetSpec | FactorisedViTSpec:
    """The specification, and a check that the input shape is one for it."""
    channels, *size = part.input_shape
    spec: ViTSpec | ResNetSpec | FactorisedViTSpec
    if part.architecture in _VITS:
        kind = _VITS[part.architecture]
        spec = described(kind, origin, **{"channels": channels, "size": tuple(size), **part.options})
        fits = spec.channels == channels and list(spec.size) == size
    elif part.architecture in NAMED:
        named = NAMED[part.architecture].model_dump()
        spec = described(ResNetSpec, origin, **{**named, **part.options})
        fits = spec.channels == channels and spec.axes == len(size)
    else:
        raise ConfigError(
            f"{origin}: architecture {part.architecture!r} is not known; there are "
            f"{', '.join([*_VITS, *NAMED])}."
        )
    if not fits or prod(part.input_shape) <= 0:
        raise ConfigError(
            f"{origin}: input_shape {list(part.input_shape)} is not one for {part.architecture} "
            f"with {spec.channels} channels."
        )
    return spec


def _text(part: TextPart | TransformerPart, path: Path) -> TextArchitecture:
    if isinstance(part, TransformerPart):
        spec = described(TransformerTextSpec, str(path), **part.options)
        places = spec.positions - int(spec.class_token)
        if part.max_tokens > places or (spec.class_token and part.max_tokens != places):
            raise ConfigError(
                f"{path}: max_tokens = {part.max_tokens}, but the text transformer has positions for {places}"
                f"{' beside its class token, and they must be filled' if spec.class_token else ''}."
            )
        if spec.class_token and part.padding != "hidden":
            raise ConfigError(
                f'{path}: with `class_token` write padding = "hidden" under [text]: that token stands behind '
                "max_tokens places, and does not look at empty ones."
            )
        return TextArchitecture(encoder=spec, projection=part.projection, max_tokens=part.max_tokens)
    config = read_json(path.parent / part.model / "config.json")
    if part.max_tokens > longest(config):
        raise ConfigError(
            f"{path}: max_tokens = {part.max_tokens}, but the text model takes {longest(config)} at most."
        )
    spec_of_model = described(
        HuggingFaceTextSpec, str(path), config=config, pooling=part.pooling, layers=part.layers
    )
    return TextArchitecture(encoder=spec_of_model, projection=part.projection, max_tokens=part.max_tokens)


def _ignored(name: str, ignore: Sequence[str]) -> bool:
    return any(fnmatchcase(name, one) if "*" in one else name.startswith(one) for one in ignore)


def _named(told: Description, path: Path) -> State:
    """All files together, under `image.`, `image_projection.`, `text.` and `text_projection.`."""
    files = (told.weights,) if isinstance(told.weights, str) else told.weights
    state: State = {}
    for name in files:
        found = read_state(path.parent / name, told.key)
        twice = sorted(set(found) & set(state))
        if twice:
            raise ConfigError(f"{path}: {name} holds weights that another file has too: {twice[0]}, ...")
        state.update(found)
    named: State = {}
    for name, value in state.items():
        if _ignored(name, told.ignore):
            continue
        old = max((p for p in told.names if name.startswith(p)), key=len, default=None)
        named[name if old is None else told.names[old] + name[len(old) :]] = value
    nowhere = sorted(k for k in named if not k.startswith(_PLACES))
    if nowhere:
        raise ConfigError(
            f"{path}: {len(nowhere)} weights have no place, as {', '.join(nowhere[:6])}: map them under "
            "[names], or list their beginnings under `ignore`."
        )
    return named


def _projection(named: State, place: str, layers: Sequence[ProjectionLayer] | str) -> State:
    """What is named under `place`; batch norms without weight and bias get those that change nothing."""
    found = {f"projection.{k}": v for k, v in renamed(without_prefix(named, place), ()).items()}
    for number, layer in enumerate(layers):
        means = found.get(f"projection.{number}.running_mean")
        if isinstance(layer, ProjectionLayer) and not layer.affine and means is not None:
            found |= {
                f"projection.{number}.weight": torch.ones_like(means),
                f"projection.{number}.bias": torch.zeros_like(means),
            }
    return found


def _weights(told: Description, path: Path) -> Weights:
    """By the names of this package."""
    named = _named(told, path)
    if told.text is None and any(k.startswith("text") for k in named):
        raise ConfigError(f"{path}: there are text weights, but no [text]: describe it, or `ignore` them.")
    visual = renamed(without_prefix(named, "image."), DIALECTS[told.image.dialect])
    visual |= _projection(named, "image_projection.", told.image.projection)
    if told.text is None:
        return Weights(visual, None)
    text = without_prefix(named, "text.")
    if isinstance(told.text, TransformerPart):
        text = renamed(text, TEXT_DIALECTS[told.text.dialect])
    else:
        text = {f"upper.{k}": v for k, v in text.items()}
    return Weights(visual, text | _projection(named, "text_projection.", told.text.projection))
