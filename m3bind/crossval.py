"""Cross-validation of one modality's own CLIP: the tower is trained anew for each fold, and each example is
scored by a tower that has seen nothing of its group.

For data sets that have no official split (LUDB), and for choosing settings without a look at `val`.
Zero-shot as everywhere: a score is the cosine to a finding's prompts for less that to those against.

Margins of towers trained apart have no common zero, so an AUC counts pairs (positive, negative) within one
fold only, of all folds together, as elsewhere it counts pairs within one data set: it is the mean of the
folds' areas, each weighted by its number of pairs. A fold without a positive or a negative gives no pair. Its
interval draws patients of all folds, and leaves out the chance of training anew and of the deal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dicom_node.errors import ConfigError
from m3bind.checkpoint import make_text_tower, make_tower
from m3bind.config import Recipe
from m3bind.data.batches import Sampler
from m3bind.data.captions import label_matrix, prompts, training_captions
from m3bind.data.catalogue import findings_of
from m3bind.data.examples import Example, examples
from m3bind.data.features import inputs, seed_of
from m3bind.data.sides import Waveforms
from m3bind.data.texts import TextBank
from m3bind.digest import pretrain_digest
from m3bind.evaluate.systems import anchor
from m3bind.loop import Plan, Workplace
from m3bind.metrics import Estimate, auc_estimate
from m3bind.pretrain import START_SCALE, train_pair, trained_parts
from m3bind.towers.base import TextTowerBase, VisualTower

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fold:
    """Examples to train on, and those to score."""

    train: list[Example]
    held: list[Example]


def folds(found: Sequence[Example], dataset: str, count: int, seed: int) -> list[Fold]:
    """`count` folds over the groups of `dataset`, all of its splits together except an official `val`; the
    other data sets give their `train` part to every fold.

    Raises ConfigError where the modality has no such data set, or it has fewer groups than folds.
    """
    own = [e for e in found if e.dataset == dataset and (e.split != "val" or dataset in UNSPLIT)]
    others = [e for e in found if e.dataset != dataset and e.split == "train"]
    groups = sorted({e.group for e in own})
    if len(groups) < max(count, 2):
        raise ConfigError(f"{len(groups)} groups of {dataset!r} cannot be dealt to {count} folds.")
    dealt = np.random.default_rng(seed).permutation(len(groups)) % count
    fold = dict(zip(groups, dealt.tolist(), strict=True))
    return [
        Fold([*others, *(e for e in own if fold[e.group] != k)], [e for e in own if fold[e.group] == k])
        for k in range(count)
    ]


UNSPLIT = frozenset({"ludb"})
"""Data sets whose val part was dealt here, not by their authors: a cross-validation may use all of them."""


def train_on(
    recipe: Recipe, modality: str, found: Sequence[Example], bank: TextBank, where: Workplace
) -> tuple[VisualTower, TextTowerBase]:
    """What `pretrain` makes of a waveform modality, from these examples only; `bank` is `caption_bank`'s."""
    settings, part = recipe.pretrain_of(modality), recipe.modalities[modality]
    seed = seed_of(recipe, modality)
    torch.manual_seed(seed)
    tower = make_tower(part, recipe.dimension, pretrained=True)
    text = make_text_tower(recipe, modality)
    scale = nn.Parameter(torch.tensor(START_SCALE))
    signals = inputs(part, found)
    rate = signals.shape[2] / float(part.sampling["seconds"])
    plan = Plan(f"fold of {modality}", part.steps, settings.warmup, settings.weight_decay, seed)
    train_pair(
        tower,
        text,
        Waveforms(tower, signals, rate, part.augment),
        Sampler(found, training_captions(modality)),
        bank,
        trained_parts(tower, text, scale, settings, settings.waveform_lr),
        scale,
        settings.batch,
        plan,
        where,
        None,
    )
    return tower, text


def caption_bank(recipe: Recipe, modality: str) -> TextBank:
    """The captions after the frozen layers, which are the same in every fold."""
    return TextBank([c.text for c in training_captions(modality)], make_text_tower(recipe, modality))


def embeddings(tower: VisualTower, signals: NDArray[np.float32]) -> Floats:
    """(N, D) unit norm."""
    with torch.no_grad():
        parts = [tower(torch.from_numpy(signals[i : i + 64]))[0] for i in range(0, len(signals), 64)]
    return torch.cat(parts).double().numpy()


def margins(images: Floats, modality: str, text: TextTowerBase) -> Floats:
    """(N, F) zero-shot margins of all findings of a modality."""
    columns = []
    with torch.no_grad():
        for spec in findings_of(modality):
            sides = [text(**text.tokenize(side)).double().numpy() for side in prompts(spec)]
            columns.append(images @ (anchor(sides[0]) - anchor(sides[1])))
    return np.stack(columns, axis=1)


def cross_validate(
    recipe: Recipe, modality: str, dataset: str, count: int, where: Workplace, seed: int = 0
) -> Mapping[str, Estimate]:
    """By finding: out-of-fold AUC (see the head) with its 95 % interval over groups, for each finding with
    `evaluate.min_positives` cases, and as many without, in `dataset`.

    Raises ConfigError for a modality that is no waveform: the others have official or grouped splits.
    """
    part = recipe.modalities.get(modality)
    if part is None or part.reader != "ecg":
        raise ConfigError("Cross-validation is for waveforms (ecg): the other modalities have splits.")
    bank = caption_bank(recipe, modality)
    held: list[Example] = []
    scores: list[Floats] = []
    numbers: list[int] = []
    for number, fold in enumerate(folds(examples(recipe, modality), dataset, count, seed)):
        where.progress(
            f"fold {number + 1} of {count}: {len(fold.train)} to train on, {len(fold.held)} held out"
        )
        tower, text = train_on(recipe, modality, fold.train, bank, where)
        held += fold.held
        numbers += [number] * len(fold.held)
        scores.append(margins(embeddings(tower, inputs(part, fold.held)), modality, text))
    return pooled(recipe, modality, held, np.concatenate(scores), np.asarray(numbers, dtype=np.int64))


def pooled(
    recipe: Recipe, modality: str, held: Sequence[Example], scores: Floats, folds_of: Ints
) -> Mapping[str, Estimate]:
    """The figures of examples that were all scored out of fold: scores (N, F), the number of the fold of each
    (N,). A finding that no fold has both of is left out."""
    ids = [s.id for s in findings_of(modality)]
    labels = label_matrix([e.labels for e in held], ids).astype(np.int64)
    groups = np.unique([e.group for e in held], return_inverse=True)[1].astype(np.int64)
    least = recipe.evaluate.min_positives
    told = {}
    for column, name in enumerate(ids):
        own = labels[:, column]
        if min((own == 1).sum(), (own == 0).sum()) >= least:
            known = own >= 0
            told[name] = auc_estimate(
                scores[known, column], own[known], groups[known], folds_of[known], recipe.evaluate.bootstrap
            )
    return {k: v for k, v in told.items() if not math.isnan(v.value)}


PAIRS = "within a fold"


def facts(recipe: Recipe, modality: str, dataset: str, count: int, seed: int) -> dict[str, Any]:
    """What a file of figures tells beside them: what they are of, so that no other checkpoint is given them.

    `settings` is the digest of all that decides the modality's first stage, data and captions among it.
    """
    return {
        "recipe": recipe.name,
        "version": recipe.version,
        "modality": modality,
        "settings": pretrain_digest(recipe, modality),
        "dataset": dataset,
        "folds": count,
        "seed": seed,
        "pairs": PAIRS,
    }
