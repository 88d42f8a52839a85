"""Zero-shot classification: a finding's score is the cosine to its prompts for less that to those against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3bind.config import EvaluateRecipe
from m3bind.data.captions import prompts
from m3bind.data.catalogue import FindingSpec
from m3bind.data.examples import Example
from m3bind.metrics import auc, auc_estimate, resampled_weights

Floats = NDArray[np.float64]
EmbedTexts = Callable[[Sequence[str]], Floats]


def anchor(embedded: Floats) -> Floats:
    """(M, D) to (D,): the direction of the mean."""
    mean: Floats = embedded.mean(axis=0)
    return mean / float(np.linalg.norm(mean))


def margins(images: Floats, spec: FindingSpec, embed: EmbedTexts) -> Floats:
    """(N,): what `dicom_node/findings` will compute for each image."""
    affirmed, negated = prompts(spec)
    return images @ (anchor(embed(affirmed)) - anchor(embed(negated)))


def _index(names: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(np.asarray(names), return_inverse=True)[1].reshape(-1).astype(np.int64)


def score_modality(
    images: Floats,
    found: Sequence[Example],
    specs: Sequence[FindingSpec],
    embed: EmbedTexts,
    settings: EvaluateRecipe,
) -> dict[str, Any]:
    """Per finding the AUC (pairs within a data set only) with its interval over patients, by data set, and
    the macro mean over findings with an interval over the same bootstrap samples."""
    told: dict[str, Any] = {}
    groups, sets = _index([e.group for e in found]), _index([e.dataset for e in found])
    weights = resampled_weights(groups, settings.bootstrap, seed=0)
    draws: list[Floats] = []
    for spec in specs:
        labels = np.asarray([-1 if (v := e.labels[spec.id]) is None else v for e in found], dtype=np.int64)
        known = labels >= 0
        if (labels == 1).sum() < settings.min_positives:
            continue
        score = margins(images, spec, embed)
        estimate = auc_estimate(score[known], labels[known], groups[known], sets[known], settings.bootstrap)
        by_set = {}
        for name in sorted({e.dataset for e in found}):
            inside = known & np.asarray([e.dataset == name for e in found])
            if 0 < (labels[inside] == 1).sum() < inside.sum():
                by_set[name] = {
                    "auc": auc(score[inside], labels[inside]),
                    "n": int(inside.sum()),
                    "positives": int((labels[inside] == 1).sum()),
                }
        told[spec.id] = {**asdict(estimate), "by_dataset": by_set}
        draws.append(np.asarray([auc(score[known], labels[known], sets[known], w[known]) for w in weights]))
    macro = np.nanmean(np.stack(draws), axis=0)
    low, high = np.nanpercentile(macro, [2.5, 97.5])
    value = float(np.mean([told[i]["value"] for i in told]))
    return {"findings": told, "macro": {"value": value, "low": float(low), "high": float(high)}}
