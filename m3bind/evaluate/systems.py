"""What is compared: the checkpoint, the towers before and after binding, and a random encoder.

A system answers two questions: where an image lies, and where a text lies as seen by one modality. The
student answers the second alike for all modalities; separate towers do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from m3bind.bind import load_side_towers
from m3bind.checkpoint import BoundModel, Tower, random_model
from m3bind.config import ModalityRecipe, Recipe
from m3bind.data.examples import Example, examples
from m3bind.data.features import inputs, lower_maps
from m3bind.loop import Progress
from m3bind.towers.image import ImageTower, pool
from m3bind.towers.text import TextTower, minilm_tokenizer, tokenize

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class System:
    """`texts[modality]` is the text encoder that goes with `images[modality]`."""

    name: str
    images: Mapping[str, Tower]
    texts: Mapping[str, TextTower]


def systems(model: BoundModel, work: Path) -> list[System]:
    """The checkpoint, then whichever stages lie beside it, then the random encoder."""
    recipe = model.recipe
    found = [System("m3bind", model.images, dict.fromkeys(recipe.modalities, model.text))]
    for name, stage in (("bound towers", "bind"), ("unbound towers", "pretrain")):
        folder = work / "stages" / stage
        if folder.is_dir():
            pairs = {m: load_side_towers(recipe, m, folder) for m in recipe.modalities}
            images = {m: p[0] for m, p in pairs.items()}
            found.append(System(name, images, {m: p[1] for m, p in pairs.items()}))
    chance = random_model(recipe, seed=recipe.seed)
    found.append(System("random", chance.images, dict.fromkeys(recipe.modalities, chance.text)))
    return found


Measured = Callable[[str, Tower], Floats]
"""Embeddings (N, D) of the val examples of a modality by a tower."""


def val_images(recipe: Recipe, cache: Path, progress: Progress) -> tuple[dict[str, list[Example]], Measured]:
    """The val examples by modality, and how a tower embeds them. What is frozen is computed once."""
    found = {m: list(examples(recipe, m, "val")) for m in recipe.modalities}

    def embed(modality: str, tower: Tower) -> Floats:
        part = recipe.modalities[modality]
        return embed_examples(part, found[modality], tower, cache, f"{modality}-val", progress)

    return found, embed


def embed_examples(
    part: ModalityRecipe, found: Sequence[Example], tower: Tower, cache: Path, name: str, progress: Progress
) -> Floats:
    """(N, D) float64, unit norm."""
    parts: list[Tensor] = []
    with torch.inference_mode():
        if isinstance(tower, ImageTower):
            maps = lower_maps(
                part, found, tower, variants=1, seed=0, cache=cache, name=name, progress=progress
            )[0]
            for i in range(0, len(maps), 64):
                parts.append(pool(tower.from_lower(maps[i : i + 64].float())))
        else:
            signals = torch.from_numpy(inputs(part, found))
            for i in range(0, len(signals), 64):
                parts.append(tower(signals[i : i + 64])[0])
    return torch.cat(parts).numpy().astype(np.float64)


def embed_texts(tower: TextTower, texts: Sequence[str], tokenizer: Tokenizer) -> Floats:
    """(M, D) float64, unit norm."""
    parts = []
    with torch.inference_mode():
        for i in range(0, len(texts), 64):
            parts.append(tower(*tokenize(tokenizer, texts[i : i + 64])))
    return torch.cat(parts).numpy().astype(np.float64)


def tokenizer_of(recipe: Recipe) -> Tokenizer:
    """All systems read texts alike."""
    return minilm_tokenizer(recipe.text.max_tokens)
