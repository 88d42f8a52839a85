"""The recipe: everything that decides what a training run makes, read from TOML, stored in the checkpoint.

A recipe names data sets, towers, preprocessing (the very operations of a bundle), and the settings of
each stage. Unknown keys are errors. Two runs of one recipe on one machine differ only by the rounding
of parallel sums.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from dicom_node.bundle.manifest import Frozen, ModalityId, Operation, Pooling
from dicom_node.errors import ConfigError


class ImageTowerRecipe(Frozen):
    """EfficientNet-Lite0 whose first blocks stay as they came from ImageNet."""

    kind: Literal["efficientnet-lite0"]
    trainable_from: int = Field(ge=1, le=15)
    """First of the 16 blocks that is trained; what lies before is computed once and kept on disk."""
    variants: int = Field(ge=1)
    """Copies of each training image: the first as it is, the others augmented."""


class WaveformTowerRecipe(Frozen):
    """A one-dimensional residual network, trained from nothing."""

    kind: Literal["conv1d"]
    widths: tuple[int, ...]
    """Channels of each stage; every stage halves the time axis."""
    kernel: int = Field(gt=2)
    dropout: float = Field(ge=0, lt=1)


class ModalityRecipe(Frozen):
    """One modality: its data, its reader and preprocessing as the bundle will state them, its tower."""

    datasets: tuple[str, ...]
    reader: Literal["radiograph", "ct", "retina", "ecg", "slide"]
    sampling: dict[str, float | int | str] = Field(default_factory=dict)
    pooling: Pooling = Pooling()
    input_shape: tuple[int, ...]
    preprocess: tuple[Operation, ...]
    augment: dict[str, float] = Field(default_factory=dict)
    """Strength of each augmentation, see `m3bind/data/augment.py`."""
    steps: int = Field(gt=0)
    """Of pretraining."""
    tower: ImageTowerRecipe | WaveformTowerRecipe = Field(discriminator="kind")


class TextRecipe(Frozen):
    """MiniLM as text start."""

    max_tokens: int = Field(gt=2, le=512)
    frozen_layers: int = Field(ge=0, le=5)
    """Lowest transformer layers (of 6) that stay as they came; all towers share them."""
    student_layers: tuple[int, ...]
    """Which of MiniLM's six layers the student starts from; the first `student_frozen` stay frozen."""
    student_frozen: int = Field(ge=0)


class PretrainRecipe(Frozen):
    """One CLIP per modality."""

    batch: int = Field(gt=1)
    image_lr: float
    waveform_lr: float
    text_lr: float
    projection_lr: float
    text_layers: int = Field(ge=0)
    """How many of the topmost transformer layers are trained beside the projection."""
    weight_decay: float
    warmup: int


class BindRecipe(Frozen):
    """Stage 1. The paper's settings are rank 8, alpha 8, dropout 0.1, AdamW 2e-5, 3,000 steps, batch 48."""

    steps: int
    batch: int
    shared_texts: int
    """Texts per step, drawn from all modalities, that every tower embeds."""
    weight: float
    """Lambda, before the alignment loss."""
    rank: int
    alpha: int
    dropout: float
    lora_lr: float
    projection_lr: float
    weight_decay: float
    warmup: int


class DistilRecipe(Frozen):
    """Stage 2."""

    steps: int
    batch: int
    """Texts per step and modality."""
    images: int
    """Images per step and modality for the contrastive term."""
    contrastive_weight: float
    lr: float
    weight_decay: float
    warmup: int


class EvaluateRecipe(Frozen):
    """How the figures are made."""

    bootstrap: int
    min_positives: int


class Recipe(Frozen):
    """The whole."""

    name: str
    version: str
    seed: int
    threads: int
    dimension: int
    text: TextRecipe
    modalities: dict[ModalityId, ModalityRecipe]
    pretrain: PretrainRecipe
    bind: BindRecipe
    distil: DistilRecipe
    evaluate: EvaluateRecipe


def parse_recipe(raw: dict[str, Any], origin: str) -> Recipe:
    """A checked recipe. Raises ConfigError that names each wrong key of `origin`."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"Recipe {origin}: {wrong}.") from error


def load_recipe(name_or_path: str) -> Recipe:
    """A recipe by the name of one that ships (`mini`), or by path to a TOML file: from here, else from this
    package (`recipes/mini.toml`).

    Raises ConfigError where there is none or it is wrong.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        shipped = resources.files("m3bind") / "recipes" / f"{name_or_path}.toml"
        if not shipped.is_file():
            raise ConfigError(f"No recipe named {name_or_path!r}: `m3bind recipes` lists those that ship.")
        return parse_recipe(tomllib.loads(shipped.read_text("utf-8")), name_or_path)
    package = Path(__file__).parent
    for found in (path, package / path, package.parent / path):
        if found.is_file():
            return parse_recipe(tomllib.loads(found.read_text("utf-8")), name_or_path)
    raise ConfigError(f"No recipe at {path}: give a path to a TOML file or the name of a recipe.")


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes inside this package."""
    folder = resources.files("m3bind") / "recipes"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))
