"""Whether probabilities hold, and what a threshold keeps of its promise: both fitted on `calib`, looked at on
`val`. The bundle's own calibration and thresholds are made by `m3bind-export`, and told in its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3bind.evaluate.embedded import Data, Embedded, Ints
from m3bind.metrics import (
    calibration_bins,
    expected_calibration_error,
    interval,
    mean_draws,
    resampled_weights,
)

Floats = NDArray[np.float64]

STEPS = 60
RIDGE = 1e-9
REPEATS = 200
TARGET = 0.05
"""Expected calibration error that a finding is to stay at or below on `val`."""
SENSITIVITY = 0.8
"""Stated for every threshold of this page, so that findings can be compared."""


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


@dataclass(frozen=True, eq=False)
class Split:
    """Examples of one split whose label of one finding is known."""

    margins: Floats
    """(N,)."""
    labels: Ints
    """(N,) of 1 and 0."""
    weights: Floats
    """(R, N) of bootstrap samples, whole groups being drawn."""


def _of_finding(data: Data, seen: Embedded, finding: str, calib: Floats) -> tuple[Split, Split] | None:
    """What is fitted on and what is looked at; `calib` (R, N) are weights of the former. None where a split
    lacks a class."""
    told = []
    for rows, embeddings, weights in ((data.calib, seen.calib, calib), (data.val, seen.val, data.weights)):
        labels = rows.label(finding)
        known = labels >= 0
        if len(np.unique(labels[known])) < 2:
            return None
        margins = seen.margins(finding, embeddings)[known]
        told.append(Split(margins, labels[known], weights[:REPEATS, known]))
    return told[0], told[1]


def cut_of(margins: Floats, sensitivity: float) -> float:
    """The highest margin at or above which at least this part of the positives lies; margins (N,) of
    positives."""
    ordered = np.sort(margins)
    # The small number keeps 1 - .8 of ten positives at two, whatever the last bit says.
    return float(ordered[int((1.0 - sensitivity) * len(ordered) + 1e-9)])


def _threshold(fit: Split, check: Split, slope: float, intercept: float) -> dict[str, Any]:
    """Where the stated sensitivity is reached on `calib`, as a probability with its interval over groups of
    `calib`; and sensitivity and specificity there on `val`, with theirs over groups of `val`."""
    ill = fit.labels == 1
    drawn = []
    for row in fit.weights[:, ill].astype(np.int64):
        if row.sum():
            drawn.append(cut_of(np.repeat(fit.margins[ill], row), SENSITIVITY))
    cut = cut_of(fit.margins[ill], SENSITIVITY)
    low, high = (float(sigmoid(np.asarray(slope * e + intercept))) for e in interval(np.asarray(drawn)))
    called, positive = check.margins >= cut, check.labels == 1
    told: dict[str, Any] = {
        "sensitivity_aimed_at": SENSITIVITY,
        "positives_in_calib": int(ill.sum()),
        "probability": {
            "value": float(sigmoid(np.asarray(slope * cut + intercept))),
            "low": low,
            "high": high,
        },
    }
    for name, among, right in (("sensitivity", positive, called), ("specificity", ~positive, ~called)):
        values = right[among].astype(np.float64)
        ends = interval(mean_draws(values, check.weights[:, among]))
        told[name] = {"value": float(values.mean()), "low": ends[0], "high": ends[1]}
    return told


def _error(probabilities: Floats, labels: Ints, weights: Floats) -> dict[str, Any]:
    """Expected calibration error; its interval resamples whole groups, which leans upward, as every sample
    brings chance of its own; and what perfect probabilities would show, by chance, on as many: the mean, and
    the 97.5th percentile."""
    random = np.random.default_rng(0)
    draws, perfect = [], []
    for row in weights.astype(np.int64):
        rows = np.repeat(np.arange(len(labels)), row)
        if len(rows):
            draws.append(expected_calibration_error(probabilities[rows], labels[rows]))
        lucky = (random.random(len(labels)) < probabilities).astype(np.int64)
        perfect.append(expected_calibration_error(probabilities, lucky))
    low, high = interval(np.asarray(draws))
    value = expected_calibration_error(probabilities, labels)
    return {
        "value": value,
        "low": low,
        "high": high,
        "perfect": float(np.mean(perfect)),
        "perfect_high": interval(np.asarray(perfect))[1],
    }


def calibration(data: Data, seen: Embedded, findings: Sequence[str]) -> dict[str, Any]:
    """Of one modality: error and threshold per finding (no threshold where the margin does not rise with the
    finding on `calib`), and one curve over all of its findings: (bins, 3) of mean probability, share of
    positives, count."""
    told: dict[str, Any] = {"findings": {}, "curve": []}
    said, true = [], []
    calib = resampled_weights(data.calib.groups, REPEATS, seed=0)
    for finding in findings:
        each = _of_finding(data, seen, finding, calib)
        if each is None:
            continue
        fit, check = each
        slope, intercept = platt(fit.margins, fit.labels)
        probabilities = sigmoid(slope * check.margins + intercept)
        told["findings"][finding] = {
            "n": len(check.labels),
            "positives": int((check.labels == 1).sum()),
            "expected_calibration_error": _error(probabilities, check.labels, check.weights),
            "threshold": _threshold(fit, check, slope, intercept) if slope > 0 else None,
        }
        said.append(probabilities)
        true.append(check.labels)
    if said:
        told["curve"] = calibration_bins(np.concatenate(said), np.concatenate(true)).tolist()
    return told
