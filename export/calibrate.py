"""Margins of the calibration split to a finding's calibration, threshold and band of abstention.

Calibration: the most likely sigmoid, and where cross-validation within the split shows that it fits better, a
strictly rising broken line on top of it (`bend.py`). How frequent a finding is, few examples tell badly:
every view counts so much that in each data set the finding is as frequent as in the whole training part.

Threshold: where the sensitivity that `operating.toml` states is reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import Calibration, FindingEntry
from dicom_node.bundle.manifest import Encoder
from dicom_node.findings.calibrate import fit_platt, probability
from dicom_node.findings.score import pool_margins
from export.bend import bend
from export.operating import Kind, kind_of
from export.views import labelled_views

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Labels = NDArray[np.int8]
"""1 present, 0 absent, -1 not known."""

FEWEST = 4
"""Groups (patients, where the data set tells them) with and without the finding below which nothing is
calibrated: slices of one patient are no independent evidence. Four is few; the card tells the number."""
UNSURE_ODDS = 2.0
"""Odds less than this many times below the threshold's: the model abstains. A weak finding, whose calibration
is flat, thereby abstains over a wider part of its margins than a strong one."""
LEAST_SURE = 0.80
"""Part of the negatives that is always called absent: what abstains on everything says nothing."""
GUESSED_SLOPE = 20.0
"""Of a finding that could not be calibrated: what those that could have on average. Such a finding is off."""


@dataclass(frozen=True, slots=True)
class CalibrationData:
    """What one finding was calibrated on."""

    n: int
    """Examples whose label is known."""
    positives: int
    groups: int
    """Patients or groups, of all of them and of the positives."""
    positive_groups: int
    prevalence: float
    """At which a calibrated probability holds: of the whole training part."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A finding with its calibration."""

    entry: FindingEntry
    data: CalibrationData
    target: float
    """Sensitivity that the threshold was chosen for."""
    kind: Kind
    trouble: str | None
    """Why its numbers are a guess; None where they are not."""


Prevalence = Mapping[str, tuple[int, int]]
"""By data set: examples of the training part with the finding, and all whose label is known."""


def prevalence_of(labels: Labels, datasets: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Of one finding, from the labels and data sets of N examples."""
    told: dict[str, tuple[int, int]] = {}
    for label, dataset in zip(labels.tolist(), datasets, strict=True):
        if label >= 0:
            positives, known = told.get(dataset, (0, 0))
            told[dataset] = (positives + label, known + 1)
    return told


def calibrate(
    draft: FindingEntry,
    encoder: Encoder,
    margins: Floats,
    labels: Labels,
    groups: Sequence[str],
    datasets: Sequence[str],
    prevalence: Prevalence,
) -> Calibrated:
    """The entry with its calibration and threshold; `margins` (N,) of single samples of the calibration
    split, with their `labels`, `groups` and `datasets`."""
    kind, data = kind_of(draft.id), _data(labels, groups, prevalence)
    ill = data.positive_groups
    healthy = len({groups[index] for index in np.flatnonzero(labels == 0).tolist()})
    if min(ill, healthy) < FEWEST:
        trouble = f"only {ill} groups with it and {healthy} without it to calibrate on"
        return _guessed(draft, data, kind, trouble)
    views = labelled_views(encoder, labels, groups)
    x = np.array([float(pool_margins(margins[v.rows, None], encoder.pooling)[0]) for v in views])
    y = np.array([view.present for view in views])
    weights = view_weights(y, [datasets[int(view.rows[-1])] for view in views], prevalence)
    fitted = fit_platt(x, y, weights)
    if fitted.slope <= 0:
        trouble = "its margin does not rise with the finding on the calibration split"
        return _guessed(draft, data, kind, trouble)
    fitted = bend(x, y, weights, [view.group for view in views], fitted)
    target, cut = operating_margin(x, y, weights, kind)
    threshold = round(min(max(probability(cut, fitted), 0.0001), 0.9999), 4)
    odds = threshold / (1 - threshold) / UNSURE_ODDS
    absent_below = probability(weighted_quantile(x[~y], weights[~y], LEAST_SURE), fitted)
    unsure_from = round(min(max(odds / (1 + odds), absent_below), threshold), 4)
    entry = draft.model_copy(
        update={"calibration": fitted, "threshold": threshold, "unsure_from": unsure_from}
    )
    return Calibrated(entry, data, target, kind, None)


def view_weights(present: NDArray[np.bool_], datasets: Sequence[str], prevalence: Prevalence) -> Doubles:
    """(N,) so that in each data set the finding is as frequent as `prevalence` says; they sum to N of it."""
    weights = np.ones(len(present))
    names = np.array(datasets, dtype=np.str_)
    for name in np.unique(names).tolist():
        inside = names == name
        here, (positives, known) = float(present[inside].mean()), prevalence[name]
        if 0.0 < here < 1.0 and 0 < positives < known:
            wanted = positives / known
            weights[inside & present] = wanted / here
            weights[inside & ~present] = (1.0 - wanted) / (1.0 - here)
    return weights


def operating_margin(
    margins: Doubles, present: NDArray[np.bool_], weights: Doubles, kind: Kind
) -> tuple[float, float]:
    """The sensitivity aimed at, and the margin from which it is reached: the highest of the kind's whose
    specificity is still enough for it, else its lowest."""
    cut = 0.0
    target = kind.sensitivities[0]
    for target in kind.sensitivities:
        cut = weighted_quantile(margins[present], weights[present], 1.0 - target)
        absent = weights[~present]
        if float(absent[margins[~present] < cut].sum() / absent.sum()) >= kind.least_specificity:
            break
    return target, cut


def weighted_quantile(values: Doubles, weights: Doubles, part: float) -> float:
    """The value below which `part` of the weight lies, on the line between the middles of neighbours."""
    order = np.argsort(values, kind="stable")
    weight = weights[order]
    middles = (np.cumsum(weight) - weight / 2) / weight.sum()
    return float(np.interp(part, middles, values[order]))


def _guessed(draft: FindingEntry, data: CalibrationData, kind: Kind, trouble: str) -> Calibrated:
    """For whoever turns it on all the same: likelier than not where its margin is above 0."""
    guess = Calibration(slope=GUESSED_SLOPE, intercept=0.0)
    entry = draft.model_copy(update={"calibration": guess, "threshold": 0.5, "unsure_from": None})
    return Calibrated(entry, data, kind.sensitivities[-1], kind, trouble)


def _data(labels: Labels, groups: Sequence[str], prevalence: Prevalence) -> CalibrationData:
    def distinct(chosen: NDArray[np.bool_]) -> int:
        return len({groups[index] for index in np.flatnonzero(chosen).tolist()})

    known, positive = labels >= 0, labels == 1
    positives, all_known = (sum(each[i] for each in prevalence.values()) for i in (0, 1))
    return CalibrationData(
        n=int(known.sum()),
        positives=int(positive.sum()),
        groups=distinct(known),
        positive_groups=distinct(positive),
        prevalence=positives / all_known if all_known else float("nan"),
    )
