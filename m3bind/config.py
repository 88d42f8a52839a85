"""The recipe: everything that decides what a training run makes, read from TOML, stored in the checkpoint.

A recipe names data sets, towers, preprocessing (the very operations of a bundle), and the settings of
each stage. Unknown keys are errors. Two runs of one recipe on one machine differ only by the rounding
of parallel sums.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from dicom_node.bundle.manifest import Frozen, ModalityId, Operation, Pooling
from dicom_node.errors import ConfigError
from m3bind.towers.tables import GenericTowerRecipe, OpenClipTowerRecipe, TransformersTowerRecipe


class ImageTowerRecipe(Frozen):
    """EfficientNet-Lite0 whose first blocks stay as they came from ImageNet."""

    kind: Literal["efficientnet-lite0"]
    trainable_from: int = Field(ge=1, le=15)
    """First of the 16 blocks that is trained; what lies before is computed once and kept on disk."""
    variants: int = Field(ge=1)
    """Copies of each training image: the first as it is, the others augmented."""
    taps: tuple[int, ...] = ()
    """Blocks (from 0) whose maps reach the projection beside the last one; the last frozen block or later."""


class WaveformTowerRecipe(Frozen):
    """A one-dimensional residual network, trained from nothing."""

    kind: Literal["conv1d"]
    widths: tuple[int, ...]
    """Channels of each stage; every stage halves the time axis."""
    kernel: int = Field(gt=2)
    dropout: float = Field(ge=0, lt=1)


class EcgTowerRecipe(Frozen):
    """Beats found by fixed arithmetic, small networks for their rhythm and their shape (`towers/ecg.py`)."""

    kind: Literal["ecg-beats"]
    members: int = Field(default=2, ge=1)
    """Networks of each kind side by side."""
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
    balance: float = Field(default=0.0, ge=0, le=1)
    """Findings are drawn in proportion to their number of positives to this power: 0 shows the rarest as
    often as the commonest, which is much too often where it has three images."""
    steps: int = Field(gt=0)
    """Of pretraining."""
    pretrain: dict[str, Any] = Field(default_factory=dict)
    """What this modality does otherwise than [pretrain] says; the same keys."""
    tower: (
        ImageTowerRecipe
        | WaveformTowerRecipe
        | EcgTowerRecipe
        | TransformersTowerRecipe
        | OpenClipTowerRecipe
        | GenericTowerRecipe
    ) = Field(discriminator="kind")


class TextRecipe(Frozen):
    """MiniLM as text start."""

    max_tokens: int = Field(gt=2, le=512)
    frozen_layers: int = Field(ge=0, le=5)
    """Lowest transformer layers (of 6) that stay as they came; all towers share them."""
    student_layers: tuple[int, ...]
    """Which of MiniLM's six layers the student starts from; the first `student_frozen` stay frozen."""
    student_frozen: int = Field(ge=0)
    student_width: int = Field(default=384, ge=32, multiple_of=32)
    """Of the student's hidden states. At 384, MiniLM's own, it starts from MiniLM's layers; at another width
    its word vectors start from MiniLM's and its layers at random, which takes more steps."""


class StopRecipe(Frozen):
    """Early stop: measure now and then on examples that are not trained on, keep the best weights."""

    split: Literal["calib", "val"] = "calib"
    """`calib` is held out of the training part and leaves `val` clean for measuring."""
    measure: Literal["auc", "loss"] = "auc"
    """Macro zero-shot AUC (more is better), or the stage's own loss (less is better)."""
    every: int = Field(default=25, gt=0)
    """Steps from one measurement to the next."""
    patience: int = Field(default=4, gt=0)
    """Measurements without a gain after which the stage ends."""


class MachineRecipe(Frozen):
    """How the sums are done. It is part of the recipe because it decides the last digits."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: a CUDA device where there is one."""
    precision: Literal["bf16", "fp16", "no"] = "bf16"
    """Of convolutions and matrix products; weights, losses and the optimiser stay float32. fp16 (with a
    scaled gradient) needs CUDA."""
    snapshot: int = Field(default=25, gt=0)
    """Steps from one snapshot, from which a stage goes on after it was killed, to the next."""
    tensorboard: bool = True
    """Write the curves for TensorBoard beside the CSV."""


class StageRecipe(Frozen):
    """What all training stages have."""

    batch: int = Field(gt=1)
    """Images, or texts, of each modality in one batch."""
    accumulate: int = Field(default=1, gt=0)
    """Batches whose gradients are averaged before the optimiser takes one step."""
    weight_decay: float = Field(ge=0)
    warmup: int = Field(ge=0)
    """Steps over which the learning rate rises to its full value."""
    stop: StopRecipe | None = None
    """None: all steps, and the last weights are kept."""


class PretrainRecipe(StageRecipe):
    """One CLIP per modality."""

    image_lr: float
    waveform_lr: float
    text_lr: float
    projection_lr: float
    text_layers: int = Field(ge=0)
    """How many of the topmost transformer layers are trained beside the projection."""


class BindRecipe(StageRecipe):
    """Stage 1. The paper's settings are rank 8, alpha 8, dropout 0.1, AdamW 2e-5, 3,000 steps, batch 48."""

    steps: int = Field(gt=0)
    views: int = Field(default=2, ge=0)
    """Augmented views of each training image beside the plain one, where the image tower does not change
    and its features are computed once."""
    shared_texts: int
    """Texts per step, drawn from all modalities, that every tower embeds."""
    common: float = Field(default=0.0, ge=0, lt=1)
    """Part of the images whose sentence is one that every modality shares ("no abnormality")."""
    weight: float
    """Lambda, before the alignment loss."""
    rank: int = Field(ge=0)
    """Of the adapters; 0 leaves the towers as they are and binds by the projections alone."""
    alpha: int
    dropout: float
    lora_lr: float
    projection_lr: float


class DistilRecipe(StageRecipe):
    """Stage 2. `batch` counts texts of each modality."""

    steps: int = Field(gt=0)
    images: int
    """Images per step and modality for the contrastive term."""
    common: float = Field(default=0.0, ge=0, lt=1)
    """As in stage 1."""
    contrastive_weight: float
    lr: float


class EvaluateRecipe(Frozen):
    """How the figures are made."""

    bootstrap: int
    min_positives: int


class BundleRecipe(Frozen):
    """The bundle that `m3bind run` seals at its end."""

    out: str
    """Its folder, from where the command is run."""
    threads: int = Field(default=2, gt=0)
    max_mb: float = 40.0
    """A larger bundle is refused."""


class Recipe(Frozen):
    """The whole."""

    name: str
    version: str
    seed: int
    threads: int = Field(gt=0)
    """Of every process that trains."""
    dimension: int = Field(gt=0)
    machine: MachineRecipe = MachineRecipe()
    text: TextRecipe
    modalities: dict[ModalityId, ModalityRecipe]
    pretrain: PretrainRecipe
    bind: BindRecipe
    distil: DistilRecipe
    evaluate: EvaluateRecipe
    bundle: BundleRecipe | None = None

    def pretrain_of(self, modality: str) -> PretrainRecipe:
        """[pretrain] with what the modality changes. Raises ConfigError for a key that is none."""
        own = self.modalities[modality].pretrain
        try:
            return PretrainRecipe.model_validate({**self.pretrain.model_dump(), **own})
        except ValidationError as error:
            raise ConfigError(f"modalities.{modality}.pretrain: {_told(error)}.") from error


def _told(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())


def parse_recipe(raw: dict[str, Any], origin: str) -> Recipe:
    """A checked recipe. Raises ConfigError that names each wrong key of `origin`."""
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"Recipe {origin}: {_told(error)}.") from error
    for modality in recipe.modalities:
        recipe.pretrain_of(modality)
    return recipe


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
        return _read(shipped, name_or_path)
    package = Path(__file__).parent
    for found in (path, package / path, package.parent / path):
        if found.is_file():
            return _read(found, name_or_path)
    raise ConfigError(f"No recipe at {path}: give a path to a TOML file or the name of a recipe.")


def _read(file: Traversable, origin: str) -> Recipe:
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"Recipe {origin} is no TOML: {error}.") from error
    return parse_recipe(raw, origin)


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes inside this package."""
    folder = resources.files("m3bind") / "recipes"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))
