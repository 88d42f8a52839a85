"""Before binding: one CLIP per modality, with an image tower and a text tower of its own.

Each modality is trained alone, on its own images and captions, with a projection that starts at random: the
spaces that come out have nothing to do with each other. No pair of images across modalities exists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from m3bind.checkpoint import Tower, make_text_tower, make_tower, save_weights
from m3bind.config import ModalityRecipe, Recipe
from m3bind.data.augment import augment_waveforms
from m3bind.data.batches import Sampler
from m3bind.data.captions import caption_pool
from m3bind.data.examples import Example, examples
from m3bind.data.features import inputs, lower_maps, seed_of, variants_of
from m3bind.data.texts import TextBank
from m3bind.loop import Progress, half_precision, train
from m3bind.losses import contrastive
from m3bind.towers.image import ImageTower
from m3bind.towers.text import TextTower, minilm_tokenizer
from m3bind.towers.waveform import WaveformTower

START_SCALE = math.log(1 / 0.07)
MAX_SCALE = math.log(100.0)
"""Bounds of the learned temperature, as in CLIP."""


class ImageSide(Protocol):
    """What a stage needs of the images: embeddings of the examples at these indices, (n, D), augmented."""

    def __call__(self, indices: NDArray[np.int64]) -> Tensor:
        """(n, D), unit norm, with gradient."""
        ...  # pragma: no cover


class CachedMaps:
    """Images whose lower blocks are frozen: a random variant of each, through the trained blocks."""

    def __init__(self, tower: ImageTower, maps: Tensor, seed: int) -> None:
        self._tower, self._maps = tower, maps
        self._random = np.random.default_rng(seed)

    def __call__(self, indices: NDArray[np.int64]) -> Tensor:
        """(n, D), unit norm."""
        variants = torch.from_numpy(self._random.integers(0, len(self._maps), len(indices)))
        with half_precision():
            features = self._tower.pooled(self._maps[variants, torch.from_numpy(indices)].float())
        return self._tower.project(features.float())


class Waveforms:
    """ECGs after preprocessing, augmented anew each time."""

    def __init__(self, tower: WaveformTower, part: ModalityRecipe, found: list[Example], seed: int) -> None:
        self._tower, self._strength = tower, part.augment
        self._signals = inputs(part, found)
        self._rate = self._signals.shape[2] / float(part.sampling["seconds"])
        self._random = np.random.default_rng(seed)

    def __call__(self, indices: NDArray[np.int64]) -> Tensor:
        """(n, D), unit norm."""
        shown = augment_waveforms(self._signals[indices], self._rate, self._strength, self._random)
        with half_precision():
            features = self._tower.pooled(torch.from_numpy(shown))
        return self._tower.project(features.float())


def image_side(
    recipe: Recipe, modality: str, tower: Tower, cache: Path, progress: Progress
) -> tuple[ImageSide, list[Example]]:
    """The training images of one modality, ready to be embedded, and their labels."""
    part, seed = recipe.modalities[modality], seed_of(recipe, modality)
    found = list(examples(recipe, modality, "train"))
    if isinstance(tower, WaveformTower):
        return Waveforms(tower, part, found, seed), found
    maps = lower_maps(
        part,
        found,
        tower,
        variants=variants_of(part),
        seed=seed,
        cache=cache,
        name=f"{modality}-train",
        progress=progress,
    )
    return CachedMaps(tower, maps, seed), found


def trainable_text(tower: TextTower, layers: int) -> list[nn.Module]:
    """The topmost layers of a text tower, now requiring gradients; the rest is frozen."""
    tower.upper.requires_grad_(False)
    chosen = list(tower.upper.layer)[len(tower.upper.layer) - layers :]
    for layer in chosen:
        layer.requires_grad_(True)
    return chosen


def pretrain_modality(
    recipe: Recipe, modality: str, cache: Path, progress: Progress
) -> tuple[Tower, TextTower]:
    """An image tower and a text tower that agree with each other, for one modality."""
    settings, part = recipe.pretrain, recipe.modalities[modality]
    torch.manual_seed(seed_of(recipe, modality))
    tower = make_tower(part, recipe.dimension, pretrained=True)
    text = make_text_tower(recipe)
    images, found = image_side(recipe, modality, tower, cache, progress)
    captions = caption_pool(modality)
    bank = TextBank([c.text for c in captions], text, minilm_tokenizer(recipe.text.max_tokens))
    sampler = Sampler(found, captions, seed_of(recipe, modality))
    scale = nn.Parameter(torch.tensor(START_SCALE))
    layers = trainable_text(text, settings.text_layers)

    def losses(_: int) -> dict[str, Tensor]:
        batch = sampler.batch(settings.batch)
        with half_precision():
            texts = text.from_lower(*bank.take(batch.texts)).float()
        relation = torch.from_numpy(batch.relation)
        return {
            "contrastive": contrastive(
                images(batch.images), texts, relation, scale.clamp(max=MAX_SCALE).exp()
            )
        }

    tower.train()
    text.train()
    body: list[tuple[nn.Module | nn.Parameter, float]]
    if isinstance(tower, WaveformTower):
        body = [(tower.stages, settings.waveform_lr)]
    else:
        body = [(tower.upper, settings.image_lr)]
    train(
        [
            *body,
            (tower.projection, settings.projection_lr),
            *((layer, settings.text_lr) for layer in layers),
            (text.projection, settings.projection_lr),
            (scale, settings.projection_lr),
        ],
        losses,
        steps=part.steps,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        name=f"pretrain {modality}",
        progress=progress,
    )
    return tower.eval(), text.eval()


def pretrain(
    recipe: Recipe, work: Path, cache: Path, progress: Progress, modalities: Sequence[str] = ()
) -> None:
    """The named modalities (all where none is named); weights go to `work`/stages/pretrain. They do not
    depend on each other: several processes may train one each."""
    for modality in modalities or tuple(recipe.modalities):
        tower, text = pretrain_modality(recipe, modality, cache, progress)
        save_weights(tower, work / "stages" / "pretrain" / f"image-{modality}.safetensors")
        save_weights(text, work / "stages" / "pretrain" / f"text-{modality}.safetensors")
