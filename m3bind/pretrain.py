"""Before binding: one CLIP per modality, with an image tower and a text tower of its own.

Each modality is trained alone, on its own images and captions, with a projection that starts at random: the
spaces that come out have nothing to do with each other. No pair of images across modalities exists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from m3bind.checkpoint import Tower, make_text_tower, make_tower
from m3bind.config import PretrainRecipe, Recipe
from m3bind.data.batches import Sampler
from m3bind.data.captions import Caption, training_captions
from m3bind.data.features import seed_of
from m3bind.data.sides import ImageSide, image_side
from m3bind.data.texts import TextBank
from m3bind.held_out import HeldOut, rows_of
from m3bind.loop import Measure, Outcome, Part, Plan, Progress, Workplace, train
from m3bind.losses import contrastive
from m3bind.towers.base import TextTowerBase, VisualTower

START_SCALE = math.log(1 / 0.07)
MAX_SCALE = math.log(100.0)
"""Bounds of the learned temperature, as in CLIP."""


def trainable_text(tower: TextTowerBase, layers: int) -> list[nn.Module]:
    """The topmost layers of a text tower, now requiring gradients; the rest is frozen."""
    tower.requires_grad_(False)
    tower.projection.requires_grad_(True)
    chosen = tower.layers()[len(tower.layers()) - layers :]
    for layer in chosen:
        layer.requires_grad_(True)
    return chosen


def trained_parts(
    tower: VisualTower, text: TextTowerBase, scale: nn.Parameter, settings: PretrainRecipe, image_lr: float
) -> list[Part]:
    """What pretraining moves, and how fast."""
    layers = trainable_text(text, settings.text_layers)
    return [
        *(Part(f"image{i}", module, image_lr) for i, module in enumerate(tower.trained())),
        Part("image_projection", tower.projection, settings.projection_lr),
        *(Part(f"text{i}", layer, settings.text_lr) for i, layer in enumerate(layers)),
        Part("text_projection", text.projection, settings.projection_lr),
        Part("scale", scale, settings.projection_lr),
    ]


def measure_of(
    side: ImageSide,
    held_out: HeldOut,
    count: int,
    tower: VisualTower,
    text: TextTowerBase,
    bank: TextBank,
    by_loss: bool,
    where: Workplace,
) -> Measure:
    """What early stop asks now and then; towers come back in training mode."""

    def measure() -> float:
        tower.eval()
        text.eval()
        with torch.no_grad():
            with where.cast():
                features = rows_of(count, side.plain)
            images = tower.project(features)
            told = (
                held_out.loss(images, bank.embed(text), 1 / 0.07)
                if by_loss
                else held_out.macro_auc(images, text)
            )
        tower.train()
        text.train()
        return told

    return measure


def train_pair(
    tower: VisualTower,
    text: TextTowerBase,
    images: ImageSide,
    sampler: Sampler,
    bank: TextBank,
    parts: Sequence[Part],
    scale: nn.Parameter,
    batch_size: int,
    plan: Plan,
    where: Workplace,
    measure: Measure | None,
) -> Outcome:
    """Train an image tower and a text tower together, in place, by the contrastive loss alone."""

    def losses(random: np.random.Generator) -> dict[str, Tensor]:
        batch = sampler.batch(batch_size, random)
        views = where.views(random)
        with where.cast():
            seen = where.team.rows(batch.images, lambda own: images(own, views).float())
            texts = where.team.rows(batch.texts, lambda own: text.from_lower(*bank.take(own)).float())
        relation = torch.from_numpy(batch.relation).to(seen.device)
        temperature = scale.clamp(max=MAX_SCALE).exp()
        return {"contrastive": contrastive(tower.project(seen), texts, relation, temperature)}

    tower.train()
    text.train()
    outcome = train(parts, losses, plan, where, measure)
    tower.eval()
    text.eval()
    return outcome


def pretrain_modality(
    recipe: Recipe, modality: str, cache: Path, progress: Progress, where: Workplace | None = None
) -> tuple[Tower, TextTowerBase]:
    """An image tower and a text tower that agree with each other, for one modality."""
    tower, text, _ = pretrain_pair(recipe, modality, cache, where or Workplace(progress))
    return tower, text


def pretrain_pair(
    recipe: Recipe, modality: str, cache: Path, where: Workplace
) -> tuple[Tower, TextTowerBase, Outcome]:
    """The same, with how it went. Early stop reads the split that the recipe names."""
    settings, part, seed = (
        recipe.pretrain_of(modality),
        recipe.modalities[modality],
        seed_of(recipe, modality),
    )
    torch.manual_seed(seed)
    tower = make_tower(part, recipe.dimension, pretrained=True).to(where.team.device)
    text = make_text_tower(recipe, modality).to(where.team.device)
    captions: Sequence[Caption] = training_captions(modality)
    bank = TextBank([c.text for c in captions], text)
    with where.team.first_then_others():
        images, found = image_side(recipe, modality, tower, "train", cache, where.progress)
        measure = None
        if (stop := settings.stop) is not None:
            side, held = image_side(recipe, modality, tower, stop.split, cache, where.progress)
            out, by_loss = HeldOut(held, captions, text), stop.measure == "loss"
            measure = measure_of(side, out, len(held), tower, text, bank, by_loss, where)
    scale = nn.Parameter(torch.tensor(START_SCALE, device=where.team.device))
    rate = settings.waveform_lr if part.reader == "ecg" else settings.image_lr
    plan = Plan(
        name=f"pretrain {modality}",
        steps=part.steps,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        seed=seed,
        accumulate=settings.accumulate,
        stop=settings.stop,
    )
    parts, sampler = trained_parts(tower, text, scale, settings, rate), Sampler(found, captions, part.balance)
    outcome = train_pair(
        tower, text, images, sampler, bank, parts, scale, settings.batch, plan, where, measure
    )
    return tower, text, outcome
