"""Stage 1, bind (M3Bind, arXiv 2506.18072): the text towers of all modalities are drawn into one space.

    loss = sum over modalities of its own contrastive loss  +  lambda * mean over pairs of towers of the
           squared distance between their embeddings of the same texts

The texts that all towers embed are drawn from the captions of all modalities. The text towers change by LoRA
(rank 8 on query and value) and by their projections; the image towers by their projections only. Their upper
blocks, which `pretrain` trained, are frozen here, so that pooled features are computed once: a convolutional
network has no query and value to adapt.
The alignment needs no image, and no pair of images of two modalities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from m3bind.checkpoint import Tower, load_weights, make_text_tower, make_tower, save_weights
from m3bind.config import BindRecipe, Recipe
from m3bind.data.batches import Sampler
from m3bind.data.captions import Caption, caption_pool
from m3bind.data.examples import Example, examples
from m3bind.data.features import inputs, lower_maps, pooled_features, seed_of, variants_of
from m3bind.data.texts import TextBank
from m3bind.loop import Progress, half_precision, train
from m3bind.losses import alignment, contrastive
from m3bind.towers.text import TextTower, minilm_tokenizer
from m3bind.towers.waveform import WaveformTower

SCALE = math.log(1 / 0.05)
"""Inverse temperature of the contrastive terms of both stages, in logarithm; fixed, so that the two kinds of
loss keep their proportion."""


@dataclass(frozen=True, eq=False)
class Side:
    """One modality while it is bound: its towers, and its training images as pooled features."""

    tower: Tower
    text: TextTower
    features: Tensor
    """(V, N, C): features before the projection, of V variants of N images."""
    found: list[Example]
    captions: tuple[Caption, ...]
    first_text: int
    """Where this modality's captions begin in the bank of all texts."""


def add_lora(tower: TextTower, settings: BindRecipe) -> None:
    """Freeze the layers of a text tower and put low-rank adapters beside query and value of each open one."""
    tower.requires_grad_(False)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=["query", "value"],
        bias="none",
    )
    inject_adapter_in_model(config, tower.upper)
    tower.projection.requires_grad_(True)


def merge_lora(tower: TextTower) -> None:
    """Fold the adapters into the weights; the tower has its old shape again and answers the same."""
    for parent in list(tower.upper.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())


def training_features(
    recipe: Recipe, modality: str, tower: Tower, kept: Path, cache: Path, progress: Progress
) -> tuple[Tensor, list[Example]]:
    """(V, N, C) pooled features of the training images by a trained tower, and the examples.

    Read from `kept` where the stage before left them there: binding moves only what comes after them.
    """
    part = recipe.modalities[modality]
    found = list(examples(recipe, modality, "train"))
    if kept.is_file():
        return load_file(kept)["features"], found
    if isinstance(tower, WaveformTower):
        with torch.inference_mode():
            return tower.pooled(torch.from_numpy(inputs(part, found)))[None], found
    maps = lower_maps(
        part,
        found,
        tower,
        variants=variants_of(part),
        seed=seed_of(recipe, modality),
        cache=cache,
        name=f"{modality}-train",
        progress=progress,
    )
    return torch.stack([pooled_features(tower, variant) for variant in maps]), found


def bind_towers(
    sides: Mapping[str, Side], bank: TextBank, settings: BindRecipe, seed: int, progress: Progress
) -> None:
    """Train the towers of all sides together, in place; adapters are merged when it ends."""
    random = np.random.default_rng(seed)
    samplers = {m: Sampler(s.found, s.captions, seed + i) for i, (m, s) in enumerate(sides.items())}
    scale = math.exp(SCALE)
    for side in sides.values():
        add_lora(side.text, settings)
        side.tower.eval().requires_grad_(False)
        side.tower.projection.requires_grad_(True)
        side.text.train()

    def shared() -> NDArray[np.int64]:
        per = math.ceil(settings.shared_texts / len(sides))
        drawn = [s.first_text + random.integers(0, len(s.captions), per) for s in sides.values()]
        return np.concatenate(drawn).astype(np.int64)

    def losses(_: int) -> dict[str, Tensor]:
        common, agreed, own = shared(), [], []
        for modality, side in sides.items():
            batch = samplers[modality].batch(settings.batch)
            texts = np.concatenate([side.first_text + batch.texts, common])
            with half_precision():
                embedded = side.text.from_lower(*bank.take(texts)).float()
            variants = random.integers(0, len(side.features), len(batch.images))
            images = side.tower.project(side.features[variants, batch.images])
            split = len(batch.texts)
            own.append(contrastive(images, embedded[:split], torch.from_numpy(batch.relation), scale))
            agreed.append(embedded[split:])
        return {"contrastive": torch.stack(own).sum(), "alignment": settings.weight * alignment(agreed)}

    parts: list[tuple[nn.Module | nn.Parameter, float]] = []
    for side in sides.values():
        parts += [(side.text.upper, settings.lora_lr), (side.text.projection, settings.projection_lr)]
        parts.append((side.tower.projection, settings.projection_lr))
    train(
        parts,
        losses,
        steps=settings.steps,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        name="bind",
        progress=progress,
    )
    for side in sides.values():
        merge_lora(side.text)
        side.text.eval().requires_grad_(False)
        side.tower.requires_grad_(False)


def load_side_towers(recipe: Recipe, modality: str, stage: Path) -> tuple[Tower, TextTower]:
    """The two towers of one modality as a stage left them."""
    tower = make_tower(recipe.modalities[modality], recipe.dimension, pretrained=False)
    load_weights(tower, stage / f"image-{modality}.safetensors")
    text = make_text_tower(recipe, pretrained=False)
    load_weights(text, stage / f"text-{modality}.safetensors")
    return tower.eval(), text.eval()


def load_sides(
    recipe: Recipe, stage: Path, cache: Path, progress: Progress
) -> tuple[dict[str, Side], TextBank]:
    """All modalities as a stage left them, and the bank of all their captions."""
    sides: dict[str, Side] = {}
    texts: list[str] = []
    for modality in recipe.modalities:
        tower, text = load_side_towers(recipe, modality, stage)
        kept = stage / f"features-{modality}.safetensors"
        features, found = training_features(recipe, modality, tower, kept, cache, progress)
        captions = caption_pool(modality)
        sides[modality] = Side(tower, text, features.clone(), found, captions, len(texts))
        texts += [c.text for c in captions]
    some_tower = next(iter(sides.values())).text
    return sides, TextBank(texts, some_tower, minilm_tokenizer(recipe.text.max_tokens))


def bind(recipe: Recipe, work: Path, cache: Path, progress: Progress) -> None:
    """From `work`/stages/pretrain to `work`/stages/bind."""
    torch.manual_seed(recipe.seed)
    sides, bank = load_sides(recipe, work / "stages" / "pretrain", cache, progress)
    bind_towers(sides, bank, recipe.bind, recipe.seed, progress)
    for modality, side in sides.items():
        save_weights(side.tower, work / "stages" / "bind" / f"image-{modality}.safetensors")
        save_weights(side.text, work / "stages" / "bind" / f"text-{modality}.safetensors")
        features = {"features": side.features.contiguous()}
        save_file(features, work / "stages" / "bind" / f"features-{modality}.safetensors")
