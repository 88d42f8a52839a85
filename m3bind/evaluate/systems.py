"""What is compared: the checkpoint, the towers before and after binding, and two random encoders.

    random    random projections over the weights that training starts from: what ImageNet and MiniLM know
    noise     random weights throughout: what the shape of the networks and the preprocessing give

A system answers two questions: where an image lies, and where a text lies as seen by one modality. The
student answers the second alike for all modalities; separate towers do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from m3bind.checkpoint import BoundModel, load_side_towers, make_student, make_tower, random_model
from m3bind.config import Recipe
from m3bind.towers.base import TextTowerBase, VisualTower

Floats = NDArray[np.float64]

DISTILLED, BOUND, UNBOUND, RANDOM, NOISE = "m3bind", "bound", "unbound", "random", "noise"
TITLES: Mapping[str, str] = {
    DISTILLED: "M3Bind",
    BOUND: "bound, not distilled",
    UNBOUND: "unbound towers",
    RANDOM: "random projections",
    NOISE: "random weights",
}


@dataclass(frozen=True, eq=False)
class System:
    """`texts[modality]` is the text encoder that goes with `images[modality]`."""

    name: str
    images: Mapping[str, VisualTower]
    texts: Mapping[str, TextTowerBase]


def stage_system(recipe: Recipe, name: str, stage: Path) -> System:
    """The towers that a stage left in its folder."""
    pairs = {m: load_side_towers(recipe, m, stage) for m in recipe.modalities}
    return System(name, {m: p[0] for m, p in pairs.items()}, {m: p[1] for m, p in pairs.items()})


def systems(model: BoundModel, work: Path) -> list[System]:
    """The checkpoint, then whichever stages lie beside it, then the random ones."""
    recipe = model.recipe
    found = [System(DISTILLED, model.images, dict.fromkeys(recipe.modalities, model.text))]
    for name, stage in ((BOUND, "bind"), (UNBOUND, "pretrain")):
        folder = work / "stages" / stage
        if folder.is_dir():
            found.append(stage_system(recipe, name, folder))
    chance = random_model(recipe, seed=recipe.seed)
    found.append(System(RANDOM, chance.images, dict.fromkeys(recipe.modalities, chance.text)))
    found.append(noise_system(recipe))
    return found


def noise_system(recipe: Recipe) -> System:
    """Towers of the recipe's shapes whose weights are all drawn at random, by the recipe's seed."""
    torch.manual_seed(recipe.seed)
    images = {
        m: make_tower(part, recipe.dimension, pretrained=False) for m, part in recipe.modalities.items()
    }
    text = make_student(recipe, pretrained=False)
    for module in (*images.values(), text):
        module.eval().requires_grad_(False)
    return System(NOISE, images, dict.fromkeys(recipe.modalities, text))


def embed_texts(tower: TextTowerBase, texts: Sequence[str]) -> Floats:
    """(M, D) float64, unit norm."""
    parts = []
    with torch.inference_mode():
        for i in range(0, len(texts), 64):
            parts.append(tower(**tower.tokenize(texts[i : i + 64])))
    return torch.cat(parts).numpy().astype(np.float64)


def project(tower: VisualTower, features: NDArray[np.float32]) -> Floats:
    """(N, C) features of the tower's trunk to embeddings (N, D), unit norm."""
    with torch.inference_mode():
        return tower.project(torch.from_numpy(features)).numpy().astype(np.float64)


def anchor(embedded: Floats) -> Floats:
    """(M, D) to (D,): the direction of the mean."""
    mean: Floats = embedded.mean(axis=0)
    return mean / float(np.linalg.norm(mean))
