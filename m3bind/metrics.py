"""Figures as plain functions of arrays, each with a bootstrap that is one pass over a matrix of weights.

A bootstrap sample draws whole groups (patients), so it is told as how often each example was drawn: weights
(R, N). The functions below take such weights and give R figures at once; the tests hold their naive forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    n: int
    positives: int


def interval(draws: Floats) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of bootstrap figures (R,); nan where all are."""
    kept = draws[~np.isnan(draws)]
    if len(kept) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(kept, [2.5, 97.5])
    return float(low), float(high)


def resampled_weights(groups: Ints, repeats: int, seed: int) -> Floats:
    """(repeats, n): how often each example is in each bootstrap sample, whole groups being drawn."""
    random = np.random.default_rng(seed)
    _, index = np.unique(groups, return_inverse=True)
    count = int(index.max()) + 1
    drawn = random.integers(0, count, (repeats, count))
    times = np.stack([np.bincount(row, minlength=count) for row in drawn])
    return times[:, index.reshape(-1)].astype(np.float64)


def _wins_and_pairs(scores: Floats, labels: Ints, weights: Floats) -> tuple[Floats, Floats]:
    """(R,) weighted pairs (positive, negative) ordered right (ties count half), and (R,) all such pairs."""
    order = np.argsort(scores, kind="stable")
    sorted_scores, positive = scores[order], labels[order] == 1
    weight = weights[:, order]
    ends = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))

    def by_tie(kept: Bools) -> Floats:
        sums = np.cumsum(weight * kept, axis=1)[:, ends]
        return np.asarray(np.diff(sums, axis=1, prepend=0.0))

    negative_ties, positive_ties = by_tie(~positive), by_tie(positive)
    below = np.cumsum(negative_ties, axis=1) - negative_ties
    wins = (positive_ties * (below + negative_ties / 2)).sum(axis=1)
    return wins, positive_ties.sum(axis=1) * negative_ties.sum(axis=1)


def auc_draws(scores: Floats, labels: Ints, strata: Ints | None, weights: Floats) -> Floats:
    """(R,) areas under the ROC curve under weights (R, N); as `auc`, for every row of weights at once."""
    groups = np.zeros(len(scores), dtype=np.int64) if strata is None else strata
    wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for stratum in np.unique(groups):
        inside = groups == stratum
        positives = int((labels[inside] == 1).sum())
        if 0 < positives < int(inside.sum()):
            won, all_pairs = _wins_and_pairs(scores[inside], labels[inside], weights[:, inside])
            wins, pairs = wins + won, pairs + all_pairs
    return np.asarray(np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0))


def auc(scores: Floats, labels: Ints, strata: Ints | None = None, weights: Floats | None = None) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative.

    With `strata` only pairs within one stratum (one data set) count, so that telling data sets apart earns
    nothing. `weights` (N,) count examples. nan where no pair exists.
    """
    weight = np.ones(len(scores)) if weights is None else weights
    return float(auc_draws(scores, labels, strata, weight[None])[0])


def auc_estimate(
    scores: Floats, labels: Ints, groups: Ints, strata: Ints | None, repeats: int, seed: int = 0
) -> Estimate:
    """AUC with a 95 % percentile bootstrap over groups (patients)."""
    draws = auc_draws(scores, labels, strata, resampled_weights(groups, repeats, seed))
    low, high = interval(draws)
    return Estimate(auc(scores, labels, strata), low, high, len(labels), int((labels == 1).sum()))


def mean_draws(values: Floats, weights: Floats) -> Floats:
    """(R,) weighted means of values (N,) under weights (R, N); nan where a sample is empty."""
    total = weights.sum(axis=1)
    return np.asarray(np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0))


def balanced_accuracy_draws(called: Bools, labels: Ints, weights: Floats) -> Floats:
    """(R,) mean of sensitivity and specificity; `called` (N,), `labels` (N,) of 1 and 0, weights (R, N)."""
    positive = labels == 1
    sensitivity = mean_draws(called[positive].astype(np.float64), weights[:, positive])
    specificity = mean_draws((~called[~positive]).astype(np.float64), weights[:, ~positive])
    return np.asarray((sensitivity + specificity) / 2)


def hits_at(similarity: Floats, relation: NDArray[np.int8], k: int) -> NDArray[np.float64]:
    """(Q,) 1 where one of the best k candidates of a query is true of it, else 0.

    similarity (Q, M); relation (Q, M) is 1 (true), 0 (false) or negative (no candidate of this query).
    """
    ranked = np.where(relation >= 0, similarity, -np.inf)
    best = np.argsort(-ranked, axis=1, kind="stable")[:, :k]
    return np.asarray((np.take_along_axis(relation, best, axis=1) == 1).any(axis=1), dtype=np.float64)


def expected_hits_at(relation: NDArray[np.int8], k: int) -> Floats:
    """(Q,) what `hits_at` gives on average where the order is random: 1 - C(n - t, k) / C(n, k) for t true
    ones among n candidates."""
    n = (relation >= 0).sum(axis=1).astype(np.float64)
    true = (relation == 1).sum(axis=1)
    miss = np.ones(len(relation))
    for drawn in range(k):
        left = n - drawn
        miss *= np.clip(np.divide(left - true, left, out=np.zeros_like(n), where=left > 0), 0.0, 1.0)
    return np.asarray(1.0 - miss)


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Q queries against G items, best first: whether the item there is relevant, and which item it is."""

    relevant: Bools
    """(Q, G)."""
    item: NDArray[np.intp]
    """(Q, G)."""

    @classmethod
    def of(cls, similarity: Floats, relevant: Bools) -> Ranked:
        """From similarity (Q, G) and what is relevant, (G,), to every query alike."""
        item = np.argsort(-similarity, axis=1, kind="stable")
        return cls(relevant[item], item)

    def measures(self, k: int, weights: Floats | None = None) -> tuple[Floats, Floats]:
        """(Q,) average precision: mean over relevant items of the precision at their rank; and (Q,) recall at
        k: relevant items among the best k as part of the most that could be there, min(k, all relevant).

        `weights` (G,) count items as if each stood there that often; the copies of one item share its mean
        rank. nan where nothing relevant is left.
        """
        weight = np.ones(self.item.shape[1]) if weights is None else weights
        there = weight.astype(np.float32)[self.item]
        found = there * self.relevant
        before = np.cumsum(there, axis=1) - there
        middle = (there + 1.0) / 2.0  # of the copies' ranks, counted from the first of them
        good = np.cumsum(found, axis=1) - found + middle
        total = found.sum(axis=1, dtype=np.float64)
        gained = (found * good / (before + middle)).sum(axis=1, dtype=np.float64)
        kept = (np.clip(k - before, 0.0, there) * self.relevant).sum(axis=1, dtype=np.float64)
        nothing = np.full(len(total), np.nan)
        precision = np.divide(gained, total, out=nothing.copy(), where=total > 0)
        recall = np.divide(kept, np.minimum(float(k), total), out=nothing, where=total > 0)
        return precision, recall


def expected_average_precision(relevant: Floats, n: Floats) -> Floats:
    """Mean average precision of a random order of n items of which `relevant` are relevant (Bestgen,
    "Exact expected average precision of the random baseline for system evaluation", 2015); elementwise."""
    harmonic = np.log(n) + np.euler_gamma + 1.0 / (2.0 * n) - 1.0 / (12.0 * n**2)  # H_n, to 1e-3 at n = 1
    return np.asarray((harmonic + (relevant - 1.0) / np.maximum(n - 1.0, 1.0) * (n - harmonic)) / n)


MOST_BINS, LEAST_IN_BIN = 10, 25
"""Of a calibration curve: with fewer examples in a bin, chance alone makes a distance."""


def calibration_bins(probabilities: Floats, labels: Ints) -> Floats:
    """(bins, 3): of each bin, by rising probability, the mean probability, the share of positives and the
    count. Bins hold equally many (Nguyen and O'Connor, arXiv 1508.05154), LEAST_IN_BIN at least where there
    are as many, and are at most MOST_BINS."""
    bins = max(1, min(MOST_BINS, len(probabilities) // LEAST_IN_BIN))
    order = np.argsort(probabilities, kind="stable")
    edges = np.linspace(0, len(order), bins + 1).astype(np.int64)
    parts = [order[a:b] for a, b in pairwise(edges)]
    return np.asarray(
        [[probabilities[p].mean(), (labels[p] == 1).mean(), len(p)] for p in parts if len(p)],
        dtype=np.float64,
    ).reshape(-1, 3)


def expected_calibration_error(probabilities: Floats, labels: Ints) -> float:
    """Mean distance between what is said and what is so over the bins above, weighted by their count (Guo et
    al., arXiv 1706.04599). With few examples it lies above 0 even for perfect probabilities."""
    said, true, count = calibration_bins(probabilities, labels).T
    return float((np.abs(said - true) * count).sum() / count.sum())
