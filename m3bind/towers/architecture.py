"""What a tower is made of, as data: enough to build it without its weights, and small enough to be stored."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from dicom_node.bundle.manifest import Frozen
from dicom_node.errors import ConfigError
from m3bind.towers.transformer import Activation

Positive = Annotated[int, Field(gt=0)]


class ProjectionLayer(Frozen):
    """One layer of a projection; weights are named after its place: `0.weight`, `0.bias`, ..."""

    layer: Literal["linear", "relu", "gelu", "tanh", "batch-norm", "layer-norm"]
    out: int | None = Field(default=None, gt=0)
    """Width after a linear layer."""
    bias: bool = True
    """Of a linear layer."""
    affine: bool = True
    """Of a batch norm: False where the layout keeps no weight and bias for it, which are then 1 and 0."""

    @model_validator(mode="after")
    def _width(self) -> ProjectionLayer:
        if not self.affine and self.layer != "batch-norm":
            raise ValueError("`affine = false` is for a batch norm")
        if (self.layer == "linear") != (self.out is not None):
            raise ValueError("`out` is the width of a linear layer: give it there, and nowhere else")
        return self


def _pooler(wanted: bool, width: int | None, heads: int | None) -> None:
    """Whether width and heads of an attention pool are given where one is wanted, fit, and only there."""
    if not wanted and (width or heads):
        raise ValueError("`pool_width` and `pool_heads` are of another pooling")
    if wanted and (width is None or heads is None or width % heads):
        raise ValueError(
            "this pooling needs `pool_width` and `pool_heads`, the first a multiple of the second"
        )


class ViTSpec(Frozen):
    """A vision transformer over 1, 2 or 3 axes."""

    kind: Literal["vit"] = "vit"
    channels: Positive = 3
    size: tuple[Positive, ...] = Field(min_length=1, max_length=3)
    """Of the input: (T,), (H, W) or (depth, H, W)."""
    patch: tuple[Positive, ...] = Field(min_length=1, max_length=3)
    width: Positive
    depth: Positive
    heads: Positive
    inner: Positive
    """Width inside the MLP."""
    activation: Activation = "gelu"
    epsilon: float = Field(default=1e-6, gt=0)
    class_token: bool = True
    patch_bias: bool = True
    qkv_bias: bool = True
    pre_norm: bool = False
    """A layer norm before the first block, as CLIP has it."""
    pooling: Literal["class", "class-tanh", "mean", "mean-then-norm", "attention", "query"] = "class"
    """class: the class token. class-tanh: then a dense layer and tanh (transformers' ViTModel). mean: of all
    places after the last norm, which makes evidence possible. mean-then-norm: timm's `fc_norm`.
    attention: SigLIP's probe. query: CoCa's attentional pooler of one query, and a norm (CONCH)."""
    pool_width: Positive | None = None
    """Of `query`: width of the pooler, and so of the features."""
    pool_heads: Positive | None = None
    """Of `query`."""

    @model_validator(mode="after")
    def _fits(self) -> ViTSpec:
        if len(self.size) != len(self.patch) or any(
            s % p for s, p in zip(self.size, self.patch, strict=False)
        ):
            raise ValueError(
                "`size` and `patch` must have as many axes, and each size be a multiple of its patch"
            )
        if self.width % self.heads:
            raise ValueError("`width` must be a multiple of `heads`")
        if self.pooling.startswith("class") and not self.class_token:
            raise ValueError("this pooling needs `class_token`")
        _pooler(self.pooling == "query", self.pool_width, self.pool_heads)
        return self


class ResNetSpec(Frozen):
    """A residual network over 1, 2 or 3 axes, with the names of torchvision."""

    kind: Literal["resnet"] = "resnet"
    axes: Literal[1, 2, 3]
    channels: Positive = 3
    repeat: Positive = 1
    """How often the input's channels are repeated before the first convolution: 3 for grey inputs to a
    network made of a colour one."""
    blocks: tuple[Positive, Positive, Positive, Positive]
    bottleneck: bool
    stem_kernel: tuple[Positive, ...]
    stem_stride: tuple[Positive, ...]
    stem_pool: bool = True
    """Maximum over 3 with stride 2 along every axis after the stem."""
    width: Positive = 64
    pooling: Literal["mean", "class-attention"] = "mean"
    """mean: of all places, which makes evidence possible. class-attention: places are brought to
    `pool_width`, and a class token beside them looks at all (MERL)."""
    pool_width: Positive | None = None
    pool_heads: Positive | None = None
    pool_places: Positive | None = None
    """How many places the last stage gives, each of which has a position."""

    @model_validator(mode="after")
    def _axes(self) -> ResNetSpec:
        if len(self.stem_kernel) != self.axes or len(self.stem_stride) != self.axes:
            raise ValueError("`stem_kernel` and `stem_stride` need one number per axis")
        _pooler(self.pooling != "mean", self.pool_width, self.pool_heads)
        if (self.pooling != "mean") != (self.pool_places is not None):
            raise ValueError("`pool_places` belongs to the pooling class-attention, and it needs one")
        return self


class FactorisedViTSpec(Frozen):
    """CT-CLIP's CTViT: attention within each slab of a volume, then along its depth, then a codebook."""

    kind: Literal["factorised-vit"] = "factorised-vit"
    channels: Positive = 1
    size: tuple[Positive, Positive, Positive]
    """(depth, H, W)."""
    patch: tuple[Positive, Positive, Positive]
    width: Positive
    heads: Positive
    head_width: Positive
    spatial_depth: Positive
    temporal_depth: Positive
    codebook: Positive
    """How many vectors it holds."""

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patches along (depth, H, W)."""
        depth, rows, columns = (s // p for s, p in zip(self.size, self.patch, strict=True))
        return depth, rows, columns

    @model_validator(mode="after")
    def _fits(self) -> FactorisedViTSpec:
        if any(s % p for s, p in zip(self.size, self.patch, strict=True)):
            raise ValueError("each of `size` must be a multiple of its `patch`")
        return self


Encoder = Annotated[ViTSpec | ResNetSpec | FactorisedViTSpec, Field(discriminator="kind")]


class VisualArchitecture(Frozen):
    """An image, volume or signal tower: encoder, then projection."""

    encoder: Encoder
    projection: tuple[ProjectionLayer, ...] = Field(min_length=1)
    frozen: int = Field(default=0, ge=0)
    """How many of the encoder's stages stay as they came: for a ViT the embedding and then the blocks, for a
    ResNet the stem and then its four stages."""


class TransformerTextSpec(Frozen):
    """The text encoder of CLIP and SigLIP."""

    kind: Literal["transformer"] = "transformer"
    vocabulary: Positive
    positions: Positive
    width: Positive
    depth: Positive
    heads: Positive
    inner: Positive
    activation: Activation
    epsilon: float = Field(gt=0)
    causal: bool
    """CLIP's tokens look back only; SigLIP's look everywhere, at padding too, and always at `positions`
    tokens."""
    class_token: bool = False
    """CoCa's: stands behind the tokens, and the sentence is its state. Texts then have one length."""

    @model_validator(mode="after")
    def _fits(self) -> TransformerTextSpec:
        if self.width % self.heads:
            raise ValueError("`width` must be a multiple of `heads`")
        if self.class_token and not self.causal:
            raise ValueError("`class_token` is known of causal text encoders only")
        return self


class HuggingFaceTextSpec(Frozen):
    """A transformers encoder (BERT, RoBERTa, ...)."""

    kind: Literal["hugging-face"] = "hugging-face"
    config: dict[str, Any]
    """Its config.json; `model_type` says which."""
    pooling: Literal["class", "mean", "end", "pooler"]
    """class: state of the first token. mean: of all tokens. end: of the last token. pooler: the model's own
    dense layer and tanh."""
    layers: tuple[int, ...] = Field(default=(-1,), min_length=1)
    """After which layers states are taken and averaged: 0 is the word embeddings, -1 the last."""

    @model_validator(mode="after")
    def _layers(self) -> HuggingFaceTextSpec:
        if self.pooling == "pooler" and self.layers != (-1,):
            raise ValueError(
                "the pooler looks at the last layer: leave `layers` out, or take another pooling"
            )
        return self


class TextArchitecture(Frozen):
    """A text tower: encoder, then projection."""

    encoder: Annotated[TransformerTextSpec | HuggingFaceTextSpec, Field(discriminator="kind")]
    projection: tuple[ProjectionLayer, ...] = Field(min_length=1)
    max_tokens: Positive


Spec = TypeVar("Spec", bound=Frozen)


def described(kind: type[Spec], origin: str, /, **fields: Any) -> Spec:
    """A specification from what a file says. Raises ConfigError that names the file and each wrong field."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{origin} describes a tower that this package cannot make: {wrong}.") from error
