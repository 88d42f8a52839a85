"""Zero-shot classification: a finding's score is the cosine to its prompts for less that to those against.

Called present where the score is above 0, that is nearer to the prompts for: no threshold is fitted here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3bind.data.captions import prompts
from m3bind.data.catalogue import FindingSpec
from m3bind.evaluate.embedded import Data, Embedded, Ints, Rows
from m3bind.evaluate.systems import anchor
from m3bind.metrics import Estimate, auc, auc_draws, balanced_accuracy_draws, interval, mean_draws

Floats = NDArray[np.float64]
EmbedTexts = Callable[[Sequence[str]], Floats]


def margins(images: Floats, spec: FindingSpec, embed: EmbedTexts) -> Floats:
    """(N,): what `dicom_node/findings` will compute for each image."""
    affirmed, negated = prompts(spec)
    return images @ (anchor(embed(affirmed)) - anchor(embed(negated)))


@dataclass(frozen=True, eq=False)
class Scored:
    """One finding: its AUC, and the same under every bootstrap sample."""

    estimate: Estimate
    draws: Floats
    """(R,)."""


def has_both(labels: Ints, strata: Ints, fewest: int) -> bool:
    """Whether there are `fewest` positives, and a negative to compare one with in some data set."""
    comparable = any({0, 1} <= set(labels[strata == stratum].tolist()) for stratum in np.unique(strata))
    return comparable and int((labels == 1).sum()) >= fewest


def score(scores: Floats, labels: Ints, strata: Ints, weights: Floats) -> Scored:
    """AUC of those of N examples whose label is known; pairs within a data set only; weights (R, N)."""
    known = labels >= 0
    scores, labels, strata = scores[known], labels[known], strata[known]
    draws = auc_draws(scores, labels, strata, weights[:, known])
    value = auc(scores, labels, strata)
    return Scored(Estimate(value, *interval(draws), len(labels), int((labels == 1).sum())), draws)


def macro(parts: Sequence[Scored]) -> dict[str, Any]:
    """Mean over findings, and its interval over the same bootstrap samples."""
    if not parts:
        return {"value": None, "low": None, "high": None, "findings": 0}
    low, high = interval(macro_draws(parts))
    value = float(np.mean([p.estimate.value for p in parts]))
    return {"value": value, "low": low, "high": high, "findings": len(parts)}


def macro_draws(parts: Sequence[Scored]) -> Floats:
    """(R,) mean over findings under every bootstrap sample; findings that lack a class in one are left out
    of it, and a sample in which all do has no mean (nan)."""
    draws = np.stack([p.draws for p in parts])
    kept = ~np.isnan(draws)
    count = kept.sum(axis=0)
    total = np.where(kept, draws, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0))


def _by_dataset(scores: Floats, labels: Ints, rows: Rows, weights: Floats) -> dict[str, Scored]:
    """The figure of each data set that has both classes."""
    told = {}
    for name in sorted({e.dataset for e in rows.found}):
        inside = (labels >= 0) & np.asarray([e.dataset == name for e in rows.found])
        if 0 < (labels[inside] == 1).sum() < inside.sum():
            own = np.where(inside, labels, -1)
            told[name] = score(scores, own, rows.sets, weights)
    return told


def _called(scores: Floats, labels: Ints, weights: Floats) -> dict[str, Any]:
    """Accuracy and balanced accuracy with their intervals, of what lies nearer to the prompts for."""
    known = labels >= 0
    called, truth, weight = scores[known] > 0, labels[known], weights[:, known]
    right = (called == (truth == 1)).astype(np.float64)
    ones = np.ones((1, len(truth)))
    told = {}
    for name, value, draws in (
        ("accuracy", right.mean(), mean_draws(right, weight)),
        (
            "balanced_accuracy",
            balanced_accuracy_draws(called, truth, ones)[0],
            balanced_accuracy_draws(called, truth, weight),
        ),
    ):
        low, high = interval(draws)
        told[name] = {"value": float(value), "low": low, "high": high}
    return told


def score_modality(
    data: Data, scores: Mapping[str, Floats], fewest: int, called: bool = True
) -> tuple[dict[str, Any], dict[str, Scored]]:
    """Per finding of `scores` (id to (N,) scores of val) with `fewest` positives: AUC with its interval over
    patients, by data set, and accuracies if the sign of a score `called` it; the macro mean over findings,
    and over those with `fewest` positives in one data set. And the draws, to compare with other systems."""
    told: dict[str, Any] = {}
    kept: dict[str, Scored] = {}
    within: dict[str, list[Scored]] = {}
    for spec in data.illnesses:
        labels = data.val.label(spec.id)
        if spec.id not in scores or not has_both(labels, data.val.sets, fewest):
            continue
        kept[spec.id] = score(scores[spec.id], labels, data.val.sets, data.weights)
        each = _by_dataset(scores[spec.id], labels, data.val, data.weights)
        for name, part in each.items():
            within.setdefault(name, []).extend([part] if part.estimate.positives >= fewest else [])
        told[spec.id] = {
            "name": spec.name,
            **asdict(kept[spec.id].estimate),
            "by_dataset": {name: asdict(part.estimate) for name, part in each.items()},
            **(_called(scores[spec.id], labels, data.weights) if called else {}),
        }
    summary: dict[str, Any] = {
        "findings": told,
        "macro": macro(list(kept.values())),
        "by_dataset": {name: macro(parts) for name, parts in within.items()},
    }
    if called and told:
        summary["accuracy"] = {
            name: float(np.mean([t[name]["value"] for t in told.values()]))
            for name in ("accuracy", "balanced_accuracy")
        }
    return summary, kept


def zero_shot(data: Data, seen: Embedded, fewest: int) -> tuple[dict[str, Any], dict[str, Scored]]:
    """`score_modality` with the margins of one system."""
    return score_modality(data, {s.id: seen.margins(s.id, seen.val) for s in data.illnesses}, fewest)


def difference(ours: Mapping[str, Scored], theirs: Mapping[str, Scored]) -> dict[str, Any] | None:
    """Macro AUC of one system less another's, with its interval over common bootstrap samples, and whether
    the first is not below the lower end of the second's own interval; None without findings."""
    shared = [i for i in ours if i in theirs]
    if not shared:
        return None
    a, b = [ours[i] for i in shared], [theirs[i] for i in shared]
    low, high = interval(macro_draws(a) - macro_draws(b))
    first, second = macro(a), macro(b)
    return {
        "value": first["value"] - second["value"],
        "low": low,
        "high": high,
        "findings": len(shared),
        "kept": bool(first["value"] >= second["low"]),
    }
