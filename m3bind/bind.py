"""Stage 1, bind (M3Bind, arXiv 2506.18072): the text towers of all modalities are drawn into one space.

    loss = sum over modalities of its own contrastive loss  +  lambda * mean over pairs of towers of the
           squared distance between their embeddings of the same texts

The texts that all towers embed are drawn from the captions of all modalities; each tower reads them with its
own tokenizer. The towers change by LoRA (rank 8 on query and value), text and image alike, and by their
projections. An image tower without query and value (a convolutional network) changes by its projection only,
so that its features are computed once.
The alignment needs no image, and no pair of images of two modalities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from m3bind.config import BindRecipe
from m3bind.data.batches import Sampler
from m3bind.data.captions import Caption
from m3bind.data.examples import Example
from m3bind.data.groups import SHARED
from m3bind.data.sides import ImageSide
from m3bind.data.texts import TextBank
from m3bind.held_out import HeldOut, rows_of
from m3bind.loop import Measure, Outcome, Part, Plan, Workplace, train
from m3bind.losses import alignment, contrastive
from m3bind.towers.base import TextTowerBase, VisualTower

SCALE = math.log(1 / 0.05)
"""Inverse temperature of the contrastive terms of both stages, in logarithm; fixed, so that the two kinds of
loss keep their proportion."""


@dataclass(frozen=True, eq=False)
class Side:
    """One modality while it is bound: its towers, its training images, its captions."""

    tower: VisualTower
    text: TextTowerBase
    images: ImageSide
    found: Sequence[Example]
    captions: Sequence[Caption]
    first_text: int
    """Where this modality's captions begin in the bank of all texts."""
    bank: TextBank
    """The texts of all modalities, as this side's text tower reads them."""
    watched: tuple[ImageSide, HeldOut, int] | None = None
    """Held-out images, their measure and their number, where the stage stops early."""
    balance: float = 0.0
    """How often rare findings are drawn, see `Sampler`."""

    @cached_property
    def of_groups(self) -> NDArray[np.int64]:
        """Which of its captions every modality shares."""
        shared = [any(i.startswith(SHARED) for i in c.states) for c in self.captions]
        return np.flatnonzero(shared)

    def caption_indices(self) -> NDArray[np.int64]:
        """Its own captions in the bank."""
        return np.arange(self.first_text, self.first_text + len(self.captions))


def add_lora(module: nn.Module, targets: Sequence[str], settings: BindRecipe) -> None:
    """Put low-rank adapters beside the named layers; nothing else of `module` requires a gradient."""
    module.requires_grad_(False)
    if settings.rank and targets:
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=list(targets),
            bias="none",
        )
        inject_adapter_in_model(config, module)


def merge_lora(module: nn.Module) -> None:
    """Fold the adapters into the weights; the module has its old shape again and answers the same."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())


def open_side(name: str, side: Side, settings: BindRecipe) -> list[Part]:
    """Freeze a side but for adapters and projections: what stage 1 moves of it."""
    side.text.requires_grad_(False)
    side.tower.eval().requires_grad_(False)
    add_lora(side.text.upper, side.text.lora_targets, settings)
    bodies = side.tower.trained() if side.tower.lora_targets else []
    for body in bodies:
        add_lora(body, side.tower.lora_targets, settings)
    for projection in (side.text.projection, side.tower.projection):
        projection.requires_grad_(True)
    return [
        Part(f"{name}.text", side.text.upper, settings.lora_lr),
        Part(f"{name}.text_projection", side.text.projection, settings.projection_lr),
        *(Part(f"{name}.image{i}", body, settings.lora_lr) for i, body in enumerate(bodies)),
        Part(f"{name}.image_projection", side.tower.projection, settings.projection_lr),
    ]


def adapters_only(module: nn.Module) -> None:
    """Training mode for the adapters and their dropout, evaluation mode for all else: the texts are few, and
    the towers' own dropout would cost a fifth of the time."""
    module.eval()
    for child in module.modules():
        if isinstance(child, LoraLayer):
            cast(nn.Module, child).train()


def close_side(side: Side) -> None:
    """Merge the adapters; the towers are as any others again, and frozen."""
    merge_lora(side.text.upper)
    for body in side.tower.trained():
        merge_lora(body)
    for tower in (side.text, side.tower):
        tower.eval().requires_grad_(False)


def shared_texts(sides: Mapping[str, Side], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Indices of at least `count` texts, as many of every modality, and one of each that all may use."""
    per = math.ceil(count / len(sides))
    drawn = [s.first_text + random.integers(0, len(s.captions), per) for s in sides.values()]
    drawn += [s.first_text + random.choice(s.of_groups, 1) for s in sides.values() if len(s.of_groups)]
    return np.concatenate(drawn).astype(np.int64)


def _measure(sides: Mapping[str, Side], settings: BindRecipe, where: Workplace) -> Measure | None:
    """Over all modalities: the mean of the macro AUC, or the stage's own loss on held-out images."""
    stop = settings.stop
    if stop is None or any(side.watched is None for side in sides.values()):
        return None

    def measure() -> float:
        told, agreed = [], []
        some = np.arange(0, len(next(iter(sides.values())).bank.texts), 8)
        for side in sides.values():
            assert side.watched is not None  # noqa: S101 # asked above
            images, held_out, count = side.watched
            side.text.eval()
            with torch.no_grad():
                with where.cast():
                    features = rows_of(count, images.plain)
                seen = side.tower.project(features)
                if stop.measure == "auc":
                    told.append(held_out.macro_auc(seen, side.text))
                else:
                    captions = side.bank.embed(side.text, side.caption_indices())
                    told.append(held_out.loss(seen, captions, math.exp(SCALE)))
                    agreed.append(side.bank.embed(side.text, some).float())
            adapters_only(side.text)
        if stop.measure == "auc":
            return float(np.mean(told))
        return float(np.sum(told)) + settings.weight * float(alignment(agreed))

    return measure


def _losses(
    sides: Mapping[str, Side], settings: BindRecipe, where: Workplace
) -> Callable[[np.random.Generator], dict[str, Tensor]]:
    samplers = {m: Sampler(s.found, s.captions, s.balance, settings.common) for m, s in sides.items()}
    scale = math.exp(SCALE)

    def losses(random: np.random.Generator) -> dict[str, Tensor]:
        common, agreed, own = shared_texts(sides, settings.shared_texts, random), [], []
        for modality, side in sides.items():
            batch, views = samplers[modality].batch(settings.batch, random), where.views(random)
            with where.cast():
                embedded, seen = _embed(
                    side, np.concatenate([side.first_text + batch.texts, common]), batch.images, views, where
                )
            split, relation = len(batch.texts), torch.from_numpy(batch.relation).to(seen.device)
            own.append(contrastive(seen, embedded[:split], relation, scale))
            agreed.append(embedded[split:])
        return {"contrastive": torch.stack(own).sum(), "alignment": settings.weight * alignment(agreed)}

    return losses


def _embed(
    side: Side,
    texts: NDArray[np.int64],
    images: NDArray[np.int64],
    views: np.random.Generator,
    where: Workplace,
) -> tuple[Tensor, Tensor]:
    """Texts (M, D) and images (N, D) of one side, over all processes."""
    embedded = where.team.rows(texts, lambda own: side.text.from_lower(*side.bank.take(own)).float())
    features = where.team.rows(images, lambda own: side.images(own, views).float())
    with torch.autocast(features.device.type, enabled=False):
        return embedded, side.tower.project(features)


def bind_towers(sides: Mapping[str, Side], settings: BindRecipe, seed: int, where: Workplace) -> Outcome:
    """Train the towers of all sides together, in place; adapters are merged when it ends."""
    torch.manual_seed(seed)
    parts = [part for name, side in sides.items() for part in open_side(name, side, settings)]
    for side in sides.values():
        adapters_only(side.text)
        adapters_only(side.tower)
    plan = Plan(
        name="bind",
        steps=settings.steps,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        seed=seed,
        accumulate=settings.accumulate,
        stop=settings.stop,
    )
    outcome = train(parts, _losses(sides, settings, where), plan, where, _measure(sides, settings, where))
    for side in sides.values():
        close_side(side)
    return outcome
