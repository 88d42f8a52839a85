"""How far probabilities are from what was so.

Expected calibration error: views in order of their probability, cut into bins of equal size; in each the
distance between the mean probability and the part that has the finding; the mean of these, weighted by size
(Guo et al. 2017, arXiv 1706.04599; bins of equal mass: Nguyen and O'Connor 2015, arXiv 1508.05154). With few
views in a bin, chance alone makes a distance. So a bin never has fewer than LEAST_IN_BIN views, and beside
the error stands the one that perfect probabilities would show on as many views (`perfect`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3bind.metrics import resampled_weights

Floats = NDArray[np.float64]
Truth = NDArray[np.bool_]

MOST_BINS = 10
LEAST_IN_BIN = 25
TARGET = 0.05
BOOTSTRAP = 500
SEED = 3141


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    """Of the probabilities of one finding."""

    n: int
    bins: int
    error: float
    low: float
    """95 % bootstrap over patients or groups; it leans upward, as every resample adds chance of its own."""
    high: float
    perfect: float
    """Mean error of labels drawn from the very probabilities: what chance alone makes of as many views."""
    perfect_high: float
    """95 % of such draws lie below."""

    @property
    def met(self) -> bool:
        """Whether the error is at most TARGET."""
        return self.error <= TARGET


def bins_of(n: int) -> int:
    """As many as leave LEAST_IN_BIN in each, one to MOST_BINS."""
    return max(1, min(MOST_BINS, n // LEAST_IN_BIN))


def calibration_error(probabilities: Floats, present: Truth, bins: int) -> float:
    """Expected calibration error of N views; nan for none."""
    if len(probabilities) == 0:
        return float("nan")
    order = np.argsort(probabilities, kind="stable")
    gaps = probabilities[order] - present[order]
    # |sum of gaps| of a bin is its size times the distance of its means.
    edges = np.linspace(0, len(order), min(bins, len(order)) + 1).astype(int)[:-1]
    return float(np.abs(np.add.reduceat(gaps, edges)).sum() / len(order))


def reliability(
    probabilities: Floats, present: Truth, groups: NDArray[np.int64]
) -> CalibrationFigures | None:
    """Figures of N views; None for none."""
    n = len(probabilities)
    if n == 0:
        return None
    bins = bins_of(n)
    random = np.random.default_rng(SEED)
    drawn = [
        calibration_error(probabilities, random.random(n) < probabilities, bins) for _ in range(BOOTSTRAP)
    ]
    resampled = []
    for times in resampled_weights(groups, BOOTSTRAP, seed=0).astype(int):
        rows = np.repeat(np.arange(n), times)
        resampled.append(calibration_error(probabilities[rows], present[rows], bins))
    low, high = np.percentile(resampled, [2.5, 97.5])
    return CalibrationFigures(
        n=n,
        bins=bins,
        error=calibration_error(probabilities, present, bins),
        low=float(low),
        high=float(high),
        perfect=float(np.mean(drawn)),
        perfect_high=float(np.quantile(drawn, 0.95)),
    )
