"""Margins to probabilities (Platt 1999, with the target smoothing and Newton steps of Lin, Lin and Weng,
"A note on Platt's probabilistic outputs for support vector machines", 2007)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import Calibration

Floats = NDArray[np.float64]

_STEPS = 100
_SMALLEST_STEP = 1e-10
_RIDGE = 1e-12
_GRADIENT = 1e-5
"""The four constants of the algorithm in the paper's appendix."""


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1.0 + grown)


def probability(margin: float, calibration: Calibration) -> float:
    """Calibrated probability, 0 to 1; strictly rising with the margin."""
    z = calibration.slope * margin + calibration.intercept
    return sigmoid(_along(calibration.knots, z) if calibration.knots else z)


def _along(knots: Sequence[tuple[float, float]], x: float) -> float:
    """The broken line through `knots` (both coordinates rising, two or more) at `x`; beyond its ends it goes
    on as its first and its last piece."""
    piece = min(max(bisect_right(knots, x, key=lambda knot: knot[0]), 1), len(knots) - 1)
    (x0, y0), (x1, y1) = knots[piece - 1], knots[piece]
    return y0 + (x - x0) * (y1 - y0) / (x1 - x0)


def log_odds(level: float) -> float:
    """ln(p / (1 - p)), finite: 0 and 1 count as one part in a million million away from them."""
    kept = min(max(level, _EDGE), 1.0 - _EDGE)
    return math.log(kept / (1.0 - kept))


_EDGE = 1e-12


def margin_at(level: float, calibration: Calibration) -> float:
    """The margin whose probability is `level`; infinite for 0 and 1."""
    if level <= 0.0:
        return -math.inf
    if level >= 1.0:
        return math.inf
    z = math.log(level / (1.0 - level))
    if calibration.knots:
        z = _along([(y, x) for x, y in calibration.knots], z)
    return (z - calibration.intercept) / calibration.slope


def fit_platt(
    margins: NDArray[np.floating], labels: NDArray[np.bool_], weights: Floats | None = None
) -> Calibration:
    """Slope and intercept of most likely sigmoid; `margins` (N,), `labels` (N,) True where present, `weights`
    (N,) how much each counts (all 1 unless given).

    Raises ValueError where one of the classes is empty: nothing can be calibrated then. The slope comes
    out at or below 0 where the margins point the wrong way; it is for the caller to refuse such a finding.
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if positives == 0 or negatives == 0:
        raise ValueError(
            f"Calibration needs both classes; there are {positives} positives, {negatives} negatives."
        )
    x = margins.astype(np.float64)
    count = np.ones(len(x)) if weights is None else weights
    present, absent = float(count[labels].sum()), float(count[~labels].sum())
    target = np.where(labels, (present + 1.0) / (present + 2.0), 1.0 / (absent + 2.0))
    slope, intercept = 0.0, math.log((present + 1.0) / (absent + 1.0))
    loss = _loss(slope * x + intercept, target, count)
    for _ in range(_STEPS):
        p = _sigmoids(slope * x + intercept)
        weight, gap = count * p * (1.0 - p), count * (p - target)
        gradient = np.array([np.dot(x, gap), np.sum(gap)])
        if np.abs(gradient).max() < _GRADIENT:
            break
        cross = float(np.dot(x, weight))
        hessian = np.array([[np.dot(x * x, weight) + _RIDGE, cross], [cross, weight.sum() + _RIDGE]])
        direction = -np.linalg.solve(hessian, gradient)
        descent = float(gradient @ direction)
        step = 1.0
        while step >= _SMALLEST_STEP:
            tried = (slope + step * direction[0], intercept + step * direction[1])
            after = _loss(tried[0] * x + tried[1], target, count)
            if after < loss + 1e-4 * step * descent:
                slope, intercept, loss = float(tried[0]), float(tried[1]), after
                break
            step /= 2.0
        else:
            break
    return Calibration(slope=slope, intercept=intercept)


def _loss(z: Floats, target: Floats, weights: Floats) -> float:
    """Cross entropy, stable for large |z|."""
    return float(np.sum(weights * (np.logaddexp(0.0, z) - target * z)))


def _sigmoids(z: Floats) -> Floats:
    positive = 1.0 / (1.0 + np.exp(-np.abs(z)))
    return np.where(z >= 0, positive, 1.0 - positive)
