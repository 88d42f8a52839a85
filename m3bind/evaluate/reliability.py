"""Whether probabilities hold: Platt's sigmoid fitted on `calib`, looked at on `val`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3bind.evaluate.embedded import Data, Embedded, Ints
from m3bind.metrics import calibration_bins, expected_calibration_error, interval

Floats = NDArray[np.float64]

STEPS = 60
RIDGE = 1e-9
REPEATS = 200


def platt(margins: Floats, labels: Ints) -> tuple[float, float]:
    """Slope and intercept of the most likely sigmoid of margins (N,), labels (N,) of 1 and 0, with Platt's
    smoothed targets ("Probabilistic outputs for support vector machines", 1999), by damped Newton steps."""
    positives = int((labels == 1).sum())
    negatives = len(labels) - positives
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack([margins, np.ones_like(margins)], axis=1)
    at = np.asarray([0.0, np.log((positives + 1) / (negatives + 1))])

    def loss(where: Floats) -> float:
        z = design @ where
        return float((np.logaddexp(0.0, z) - target * z).sum())

    for _ in range(STEPS):
        p = sigmoid(design @ at)
        gradient = design.T @ (p - target)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + RIDGE * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while loss(at - size * step) > loss(at) and size > 1e-6:
            size /= 2
        at = at - size * step
        if np.abs(size * step).max() < 1e-9:
            break
    return float(at[0]), float(at[1])


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + exp(-z)), elementwise, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(z / 2.0)))


def _of_finding(data: Data, seen: Embedded, finding: str) -> tuple[Floats, Ints] | None:
    """Probabilities on val and labels of those whose label is known; None where a split lacks a
    class."""
    fit, check = data.calib.label(finding), data.val.label(finding)
    known_fit, known = fit >= 0, check >= 0
    if len(np.unique(fit[known_fit])) < 2 or len(np.unique(check[known])) < 2:
        return None
    slope, intercept = platt(seen.margins(finding, seen.calib)[known_fit], fit[known_fit])
    probabilities = sigmoid(slope * seen.margins(finding, seen.val)[known] + intercept)
    return probabilities, check[known]


def _error(probabilities: Floats, labels: Ints, weights: Floats) -> dict[str, Any]:
    """Expected calibration error; its interval resamples whole groups, which leans upward, as every sample
    brings chance of its own; and what perfect probabilities would show, by chance, on as many."""
    random = np.random.default_rng(0)
    draws, perfect = [], []
    for row in weights[:REPEATS].astype(np.int64):
        rows = np.repeat(np.arange(len(labels)), row)
        if len(rows):
            draws.append(expected_calibration_error(probabilities[rows], labels[rows]))
        lucky = (random.random(len(labels)) < probabilities).astype(np.int64)
        perfect.append(expected_calibration_error(probabilities, lucky))
    low, high = interval(np.asarray(draws))
    value = expected_calibration_error(probabilities, labels)
    return {"value": value, "low": low, "high": high, "perfect": float(np.mean(perfect))}


def calibration(data: Data, seen: Embedded, findings: Sequence[str]) -> dict[str, Any]:
    """Of one modality: the error per finding, and one curve over all of its findings: (bins, 3) of mean
    probability, share of positives, count."""
    told: dict[str, Any] = {"findings": {}, "curve": []}
    said, true = [], []
    for finding in findings:
        each = _of_finding(data, seen, finding)
        if each is None:
            continue
        probabilities, labels = each
        known = data.val.label(finding) >= 0
        told["findings"][finding] = {
            "n": len(labels),
            "positives": int((labels == 1).sum()),
            "expected_calibration_error": _error(probabilities, labels, data.weights[:, known]),
        }
        said.append(probabilities)
        true.append(labels)
    if said:
        told["curve"] = calibration_bins(np.concatenate(said), np.concatenate(true)).tolist()
    return told
