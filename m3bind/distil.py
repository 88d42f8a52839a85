"""Stage 2, distil (M3Bind, arXiv 2506.18072): one text encoder that stands for all bound text towers.

loss = distance to its own tower, on the texts of each modality
     + distance to the mean of all towers, on texts of all modalities
     + a small contrastive term against the images, whose towers no longer change

"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from m3bind.bind import SCALE, Side
from m3bind.config import DistilRecipe
from m3bind.data.batches import Sampler
from m3bind.data.texts import TextBank
from m3bind.held_out import rows_of
from m3bind.loop import Measure, Outcome, Part, Plan, Workplace, train
from m3bind.losses import contrastive, imitation
from m3bind.towers.base import TextTowerBase

Taught = tuple[dict[str, Tensor], Tensor]
"""(M, D) per modality, and (M, D) of all."""


def teach(sides: Mapping[str, Side]) -> Taught:
    """What the bound towers say of every text: (M, D) per modality, and the mean direction of all, (M, D)."""
    told = {modality: side.bank.embed(side.text) for modality, side in sides.items()}
    mean = torch.stack(list(told.values())).mean(dim=0)
    return told, nn.functional.normalize(mean, dim=-1)


def _losses(
    student: TextTowerBase,
    bank: TextBank,
    sides: Mapping[str, Side],
    settings: DistilRecipe,
    where: Workplace,
    taught: Taught,
) -> Callable[[np.random.Generator], dict[str, Tensor]]:
    told, mean = taught
    samplers = {m: Sampler(s.found, s.captions, s.balance, settings.common) for m, s in sides.items()}
    scale = math.exp(SCALE)

    def losses(random: np.random.Generator) -> dict[str, Tensor]:
        batches = {m: sampler.batch(settings.images, random) for m, sampler in samplers.items()}
        texts = {
            m: side.first_text
            + np.concatenate([batches[m].texts, random.integers(0, len(side.captions), settings.batch)])
            for m, side in sides.items()
        }
        views = where.views(random)
        with where.cast():
            # All modalities in one pass: the student is the same for all.
            everything = where.team.rows(
                np.concatenate(list(texts.values())), lambda own: student.from_lower(*bank.take(own)).float()
            )
        own, shared, seen, start = [], [], [], 0
        for modality, side in sides.items():
            batch, chosen = batches[modality], torch.from_numpy(texts[modality])
            embedded = everything[start : start + len(chosen)]
            start += len(chosen)
            own.append(imitation(embedded, told[modality][chosen]))
            shared.append(imitation(embedded, mean[chosen]))

            def shown(rows: NDArray[np.int64], side: Side = side) -> Tensor:
                return side.images(rows, views).float()

            with torch.no_grad():
                images = side.tower.project(where.team.rows(batch.images, shown))
            relation = torch.from_numpy(batch.relation).to(images.device)
            seen.append(contrastive(images, embedded[: len(batch.texts)], relation, scale))
        return {
            "own": torch.stack(own).mean(),
            "shared": torch.stack(shared).mean(),
            "contrastive": settings.contrastive_weight * torch.stack(seen).mean(),
        }

    return losses


def _measure(
    student: TextTowerBase,
    bank: TextBank,
    sides: Mapping[str, Side],
    settings: DistilRecipe,
    where: Workplace,
) -> Measure | None:
    """Over all modalities: the mean of the macro AUC, or the contrastive loss on held-out images."""
    stop = settings.stop
    if stop is None or any(side.watched is None for side in sides.values()):
        return None

    def measure() -> float:
        told = []
        with torch.no_grad():
            for side in sides.values():
                assert side.watched is not None  # noqa: S101 # asked above
                images, held_out, count = side.watched
                with where.cast():
                    features = rows_of(count, images.plain)
                seen = side.tower.project(features)
                if stop.measure == "auc":
                    told.append(held_out.macro_auc(seen, student))
                else:
                    captions = bank.embed(student, side.caption_indices())
                    told.append(held_out.loss(seen, captions, math.exp(SCALE)))
        return float(np.mean(told))

    return measure


def distil_student(
    student: TextTowerBase,
    bank: TextBank,
    sides: Mapping[str, Side],
    settings: DistilRecipe,
    seed: int,
    where: Workplace,
    taught: Taught,
) -> Outcome:
    """Train the student in place on what `teach` told. `bank` holds the texts of all sides, as the student
    reads them; each side's `watched` measure holds prompts that the student's tokenizer read. Dropout stays
    off: the student learns a function of a known set of texts."""
    for side in sides.values():
        side.tower.eval().requires_grad_(False)
        side.text.eval().requires_grad_(False)
    losses = _losses(student, bank, sides, settings, where, taught)
    student.eval().requires_grad_(False)
    student.upper.requires_grad_(True)
    student.projection.requires_grad_(True)
    plan = Plan(
        name="distil",
        steps=settings.steps,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        seed=seed,
        accumulate=settings.accumulate,
        stop=settings.stop,
    )
    parts = [Part("text", student.upper, settings.lr), Part("projection", student.projection, settings.lr)]
    outcome = train(parts, losses, plan, where, _measure(student, bank, sides, settings, where))
    student.requires_grad_(False)
    return outcome


def start_projection(bank: TextBank, student: TextTowerBase, target: Tensor) -> None:
    """Begin with the projection that reproduces the mean of the teachers, (M, D), best in least squares.

    A student whose projection is no linear layer keeps the one it has.
    """
    projection = student.projection
    if not isinstance(projection, nn.Linear):
        return
    seen: list[Tensor] = []
    handle = projection.register_forward_hook(lambda _module, given, _told: seen.append(given[0].detach()))
    try:
        with torch.no_grad():
            for rows in np.array_split(np.arange(len(bank.texts)), -(-len(bank.texts) // 64)):
                student.from_lower(*bank.take(rows))  # in the order of `target`
    finally:
        handle.remove()
    sentences = torch.cat(seen).float()
    design = torch.cat([sentences, torch.ones(len(sentences), 1, device=sentences.device)], dim=1)
    penalty = 1e-2 * torch.eye(design.shape[1], device=sentences.device)
    solution = torch.linalg.solve(design.T @ design + penalty, design.T @ target)
    with torch.no_grad():
        projection.weight.copy_(solution[:-1].T)
        if projection.bias is not None:
            projection.bias.copy_(solution[-1])
