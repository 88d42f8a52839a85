"""Margins of the calibration split to a finding's calibration, threshold and band of abstention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.bundle.manifest import Encoder
from dicom_node.findings.calibrate import fit_platt, probability
from dicom_node.findings.score import pool_margins
from export.catalogue import LeftOut
from export.views import labelled_views

Floats = NDArray[np.float32]
Labels = NDArray[np.int8]
"""1 present, 0 absent, -1 not known."""

FEWEST = 4
"""Groups (patients, where the data set tells them) with and without the finding below which nothing is
calibrated: slices of one patient are no independent evidence. Four is few; the card tells the number."""
LEAST_SPECIFICITY, MOST_SPECIFICITY = 0.90, 0.99
"""The threshold is Youden's (Youden 1950) kept between these: with few positives to calibrate on, the best
point is mostly luck, and a report full of false alarms is read by nobody."""
UNSURE_ODDS = 2.0
"""Odds less than this many times below the threshold's: the model abstains. A weak finding, whose calibration
is flat, thereby abstains over a wider part of its margins than a strong one."""
LEAST_SURE = 0.80
"""Part of the negatives that is always called absent: what abstains on everything says nothing."""


@dataclass(frozen=True, slots=True)
class CalibrationData:
    """What one finding was calibrated on."""

    n: int
    """Examples whose label is known."""
    positives: int
    groups: int
    """Patients or groups, of all of them and of the positives."""
    positive_groups: int

    @property
    def prevalence(self) -> float:
        """At which a calibrated probability holds."""
        return self.positives / self.n if self.n else float("nan")


def calibration_data(labels: Labels, groups: Sequence[str]) -> CalibrationData:
    """Both of N examples."""

    def distinct(chosen: NDArray[np.bool_]) -> int:
        return len({groups[index] for index in np.flatnonzero(chosen).tolist()})

    known, positive = labels >= 0, labels == 1
    return CalibrationData(int(known.sum()), int(positive.sum()), distinct(known), distinct(positive))


def calibrate(
    draft: FindingEntry, encoder: Encoder, margins: Floats, labels: Labels, groups: Sequence[str]
) -> FindingEntry | LeftOut:
    """The entry with its calibration; or why it cannot be offered.

    `margins` (N,) of single samples, their `labels` and `groups`.
    """
    ill = calibration_data(labels, groups).positive_groups
    healthy = len({groups[index] for index in np.flatnonzero(labels == 0).tolist()})
    if min(ill, healthy) < FEWEST:
        return LeftOut(draft.id, f"only {ill} groups with it and {healthy} without it to calibrate on")
    views = labelled_views(encoder, labels, groups)
    pooled = [float(pool_margins(margins[view.rows, None], encoder.pooling)[0]) for view in views]
    x, y = np.array(pooled), np.array([view.present for view in views])
    fitted = fit_platt(x, y)
    if fitted.slope <= 0:
        return LeftOut(draft.id, "its margin does not rise with the finding on the calibration split")
    level = probability(threshold_margin(x, y), fitted)
    threshold = round(min(max(level, 0.0001), 0.9999), 4)
    odds = threshold / (1 - threshold) / UNSURE_ODDS
    absent_below = probability(float(np.quantile(x[~y], LEAST_SURE)), fitted)
    unsure_from = round(min(max(odds / (1 + odds), absent_below), threshold), 4)
    return draft.model_copy(
        update={"calibration": fitted, "threshold": threshold, "unsure_from": unsure_from}
    )


def threshold_margin(margins: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    """The margin, halfway between two neighbouring ones, with the highest sensitivity + specificity among
    those whose specificity lies between LEAST_SPECIFICITY and MOST_SPECIFICITY (above, where none does)."""
    ordered = np.unique(margins)
    cuts = np.concatenate([(ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1e-6]])
    sensitivity = np.array([(margins[present] >= cut).mean() for cut in cuts])
    specificity = np.array([(margins[~present] < cut).mean() for cut in cuts])
    allowed = (specificity >= LEAST_SPECIFICITY) & (specificity <= MOST_SPECIFICITY)
    if not allowed.any():
        allowed = specificity >= LEAST_SPECIFICITY
    gain = np.where(allowed, sensitivity + specificity, -1.0)
    return float(cuts[int(np.argmax(gain))])
