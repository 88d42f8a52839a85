"""Stage 2, distil (M3Bind, arXiv 2506.18072): one text encoder that stands for all bound text towers.

loss = distance to its own tower, on the texts of each modality
     + distance to the mean of all towers, on texts of all modalities
     + a small contrastive term against the images, whose towers no longer change

"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from m3bind.bind import SCALE, Side, load_sides
from m3bind.checkpoint import BoundModel, make_student, save_checkpoint
from m3bind.config import DistilRecipe, Recipe
from m3bind.data.batches import Sampler
from m3bind.data.sources import LICENCES
from m3bind.data.texts import TextBank
from m3bind.loop import Progress, half_precision, train
from m3bind.losses import contrastive, imitation
from m3bind.towers.text import TextTower, minilm_tokenizer


def teach(sides: Mapping[str, Side], bank: TextBank) -> tuple[dict[str, Tensor], Tensor]:
    """What the bound towers say of every text: (M, D) per modality, and the mean direction of all, (M, D)."""
    told = {modality: bank.embed(side.text) for modality, side in sides.items()}
    mean = torch.stack(list(told.values())).mean(dim=0)
    return told, nn.functional.normalize(mean, dim=-1)


def distil_student(
    student: TextTower,
    sides: Mapping[str, Side],
    bank: TextBank,
    student_bank: TextBank,
    settings: DistilRecipe,
    seed: int,
    progress: Progress,
) -> None:
    """Train the student in place. `student_bank` holds the same texts as `bank`, in the student's layers."""
    told, mean = teach(sides, bank)
    random = np.random.default_rng(seed)
    samplers = {m: Sampler(s.found, s.captions, seed + i) for i, (m, s) in enumerate(sides.items())}
    images = {
        m: s.tower.project(s.features.flatten(0, 1)).view(*s.features.shape[:2], -1) for m, s in sides.items()
    }
    scale = math.exp(SCALE)
    student.upper.requires_grad_(True)
    student.train()

    def losses(_: int) -> dict[str, Tensor]:
        own, shared, seen = [], [], []
        for modality, side in sides.items():
            batch = samplers[modality].batch(settings.images)
            extra = random.integers(0, len(side.captions), settings.batch)
            texts = side.first_text + np.concatenate([batch.texts, extra])
            with half_precision():
                embedded = student.from_lower(*student_bank.take(texts)).float()
            where = torch.from_numpy(texts)
            own.append(imitation(embedded, told[modality][where]))
            shared.append(imitation(embedded, mean[where]))
            variants = random.integers(0, len(side.features), len(batch.images))
            split = len(batch.texts)
            relation = torch.from_numpy(batch.relation)
            seen.append(
                contrastive(images[modality][variants, batch.images], embedded[:split], relation, scale)
            )
        return {
            "own": torch.stack(own).mean(),
            "shared": torch.stack(shared).mean(),
            "contrastive": settings.contrastive_weight * torch.stack(seen).mean(),
        }

    train(
        [(student.upper, settings.lr), (student.projection, settings.lr)],
        losses,
        steps=settings.steps,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        name="distil",
        progress=progress,
    )
    student.eval().requires_grad_(False)


def start_projection(student_bank: TextBank, student: TextTower, target: Tensor) -> None:
    """Begin with the projection that reproduces the mean of the teachers best in least squares."""
    with torch.no_grad():
        rows = []
        for i in range(0, len(student_bank.texts), 64):
            hidden, mask = student_bank.take(np.arange(i, min(i + 64, len(student_bank.texts))))
            states, weights = student.upper(hidden, mask), mask.unsqueeze(-1).float()
            rows.append((states * weights).sum(1) / weights.sum(1))
        sentences = torch.cat(rows)
        ones = torch.ones(len(sentences), 1)
        design = torch.cat([sentences, ones], dim=1)
        penalty = 1e-2 * torch.eye(design.shape[1])
        solution = torch.linalg.solve(design.T @ design + penalty, design.T @ target)
        student.projection.weight.copy_(solution[:-1].T)
        student.projection.bias.copy_(solution[-1])


def distil(recipe: Recipe, work: Path, cache: Path, commit: str, progress: Progress) -> None:
    """From `work`/stages/bind to the checkpoint in `work`."""
    torch.manual_seed(recipe.seed)
    sides, bank = load_sides(recipe, work / "stages" / "bind", cache, progress)
    student = make_student(recipe)
    tokenizer = minilm_tokenizer(recipe.text.max_tokens)
    student_bank = TextBank(bank.texts, student, tokenizer)
    start_projection(student_bank, student, teach(sides, bank)[1])
    for side in sides.values():
        side.tower.requires_grad_(False)
    distil_student(student, sides, bank, student_bank, recipe.distil, recipe.seed, progress)
    sets = [name for part in recipe.modalities.values() for name in part.datasets]
    images = {modality: side.tower for modality, side in sides.items()}
    data = tuple(LICENCES[name] for name in sets)
    save_checkpoint(BoundModel(recipe, images, student, tokenizer, commit, data), work)
