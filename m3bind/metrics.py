"""Figures: areas under the ROC curve with their confidence intervals, and retrieval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    n: int
    positives: int


def _wins_and_pairs(scores: Floats, labels: Ints, weights: Floats) -> tuple[float, float]:
    """Weighted pairs (positive, negative) that are ordered right (ties count half), and all such pairs."""
    order = np.argsort(scores, kind="stable")
    sorted_scores, positive = scores[order], labels[order] == 1
    weight = weights[order]
    ends = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))
    per_tie_negative = np.diff(np.concatenate([[0.0], np.cumsum(np.where(positive, 0.0, weight))[ends]]))
    per_tie_positive = np.diff(np.concatenate([[0.0], np.cumsum(np.where(positive, weight, 0.0))[ends]]))
    below = np.cumsum(per_tie_negative) - per_tie_negative
    wins = float((per_tie_positive * (below + per_tie_negative / 2)).sum())
    return wins, float(per_tie_positive.sum() * per_tie_negative.sum())


def auc(scores: Floats, labels: Ints, strata: Ints | None = None, weights: Floats | None = None) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative.

    With `strata` only pairs within one stratum (one data set) count, so that telling data sets apart earns
    nothing. nan where no pair exists.
    """
    weight = np.ones(len(scores)) if weights is None else weights
    groups = np.zeros(len(scores), dtype=np.int64) if strata is None else strata
    wins = pairs = 0.0
    for stratum in np.unique(groups):
        inside = groups == stratum
        w, p = _wins_and_pairs(scores[inside], labels[inside], weight[inside])
        wins, pairs = wins + w, pairs + p
    return wins / pairs if pairs else float("nan")


def resampled_weights(groups: Ints, repeats: int, seed: int) -> Floats:
    """(repeats, n): how often each example is in each bootstrap sample, whole groups being drawn."""
    random = np.random.default_rng(seed)
    _, index = np.unique(groups, return_inverse=True)
    count = int(index.max()) + 1
    drawn = random.integers(0, count, (repeats, count))
    times = np.stack([np.bincount(row, minlength=count) for row in drawn])
    return times[:, index.reshape(-1)].astype(np.float64)


def auc_estimate(
    scores: Floats, labels: Ints, groups: Ints, strata: Ints | None, repeats: int, seed: int = 0
) -> Estimate:
    """AUC with a 95 % percentile bootstrap over groups (patients)."""
    value = auc(scores, labels, strata)
    draws = np.asarray(
        [auc(scores, labels, strata, w) for w in resampled_weights(groups, repeats, seed)], dtype=np.float64
    )
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Estimate(value, float(low), float(high), len(labels), int((labels == 1).sum()))


def precision_at(relevant: NDArray[np.bool_], scores: Floats, k: int) -> float:
    """Part of the best k that is relevant."""
    best = np.argsort(-scores, kind="stable")[:k]
    return float(relevant[best].mean())
