"""What the sealed bundle can do, on examples that never entered training: with the graphs it carries and the
very code that judges studies in the node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import FindingEntry, Measured
from dicom_node.bundle.manifest import Encoder
from dicom_node.findings.assess import Knowledge, assess
from dicom_node.findings.score import sample_margins
from dicom_node.records import (
    Assessment,
    BundleIdentity,
    Finding,
    Presence,
    Sample,
    SourceRef,
    Status,
    StudyRead,
    View,
    ViewVectors,
)
from export.views import labelled_views
from m3bind.data.examples import Example, Split
from m3bind.metrics import Estimate, auc_estimate

Floats = NDArray[np.float32]

BOOTSTRAP = 1000
BINS = 10
SPLIT: Split = "val"


@dataclass(frozen=True, slots=True)
class FindingFigures:
    """Of one finding."""

    id: str
    name: str
    auc: Estimate
    """Zero-shot; pairs within one data set only, 95 % bootstrap by patient or group."""
    decided: int
    """In scope, and the model did not abstain."""
    abstained: int
    accuracy: float
    sensitivity: float
    specificity: float
    calibration_error: float
    """Expected calibration error, 10 bins of equal width, over all in scope."""


@dataclass(frozen=True, slots=True)
class ScopeFigures:
    """Of one modality."""

    modality: str
    n: int
    kept: float
    """Part of the held-out examples that is in scope."""
    strangers: int
    refused: float | None
    """Part of images of other body parts that is out of scope; None where there are none."""


def label_vector(examples: Sequence[Example], identifier: str) -> NDArray[np.int8]:
    """(N,) of 1, 0, -1 (not known)."""
    labels = [example.labels.get(identifier) for example in examples]
    return np.array([-1 if label is None else label for label in labels], dtype=np.int8)


def measure_findings(
    examples: Sequence[Example], embeddings: Floats, encoder: Encoder, known: Knowledge
) -> tuple[FindingFigures, ...]:
    """Figures of every finding of one modality; `embeddings` (N, D) of `examples`, one sample each.

    AUC is of single samples; what is said is judged on views (`views.py`).
    """
    margins = sample_margins(embeddings, known.anchors)
    names = [example.group for example in examples]
    groups = _numbered(names)
    datasets = _numbered([example.dataset for example in examples])
    figures = []
    for column, entry in enumerate(known.findings):
        labels = label_vector(examples, entry.id)
        use = np.flatnonzero(labels >= 0)
        estimate = auc_estimate(
            margins[use, column].astype(np.float64),
            labels[use].astype(np.int64),
            groups[use],
            datasets[use],
            BOOTSTRAP,
        )
        views = labelled_views(encoder, labels, names)
        judged = [_judge(entry, embeddings[view.rows], known) for view in views]
        present = np.array([view.present for view in views], dtype=bool)
        figures.append(_figures(entry, estimate, judged, present))
    return tuple(figures)


def measure_scope(modality: str, known: Knowledge, held_out: Floats, strangers: Floats) -> ScopeFigures:
    """How many of each are in scope; both (N, D), one sample each."""

    def kept(rows: Floats) -> float:
        views = [_assessment(modality, row[None], known) for row in rows]
        return float(np.mean([view.status is Status.REPORTED for view in views]))

    refused = 1.0 - kept(strangers) if len(strangers) else None
    return ScopeFigures(modality, len(held_out), kept(held_out), len(strangers), refused)


def measured(figures: FindingFigures) -> Measured | None:
    """As findings.json carries it; None where one class is missing."""
    estimate = figures.auc
    if not np.isfinite([estimate.value, estimate.low, estimate.high]).all():
        return None
    return Measured(
        split=SPLIT,
        n=estimate.n,
        positives=estimate.positives,
        auc=round(estimate.value, 4),
        auc_ci=(round(estimate.low, 4), round(estimate.high, 4)),
    )


def _judge(entry: FindingEntry, embeddings: Floats, known: Knowledge) -> Finding | None:
    """What is said of one finding of one view; None where out of scope."""
    made = _assessment(entry.modality, embeddings, known)
    return next((finding for finding in made.findings if finding.id == entry.id), None)


_NOWHERE = SourceRef("1.2.840.10008.5.1.4.1.1.7", "2.25.1")
_NOBODY = BundleIdentity("in-the-making", "0.0.0", "0" * 64)


def _assessment(modality: str, embeddings: Floats, known: Knowledge) -> Assessment:
    sample = Sample(np.zeros((1, 1, 1), dtype=np.float32), _NOWHERE)
    view = View(modality, "2.25.2", (sample,) * len(embeddings), (_NOWHERE,))
    vectors = ViewVectors(embeddings, None)
    return assess("2.25.3", StudyRead((view,), ()), [vectors], {modality: known}, _NOBODY, {})


def _figures(
    entry: FindingEntry,
    estimate: Estimate,
    judged: Sequence[Finding | None],
    present: NDArray[np.bool_],
) -> FindingFigures:
    in_scope = np.array([each is not None for each in judged], dtype=bool)
    unsure = np.array([_says(each, Presence.UNSURE) for each in judged], dtype=bool)
    positive = np.array([_says(each, Presence.PRESENT) for each in judged], dtype=bool)
    decided = in_scope & ~unsure
    probabilities = np.array([0.0 if each is None else each.probability for each in judged])
    return FindingFigures(
        id=entry.id,
        name=entry.name,
        auc=estimate,
        decided=int(decided.sum()),
        abstained=int((in_scope & unsure).sum()),
        accuracy=_part((positive == present)[decided]),
        sensitivity=_part(positive[decided & present]),
        specificity=_part(~positive[decided & ~present]),
        calibration_error=calibration_error(probabilities[in_scope], present[in_scope]),
    )


def calibration_error(probabilities: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    """Mean distance between what was said and what was so, over bins, weighted by their size (Guo et al.
    2017, arXiv 1706.04599). Both (N,); nan for N = 0."""
    if len(probabilities) == 0:
        return float("nan")
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gaps = [
        abs(probabilities[bins == b].mean() - present[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def _says(finding: Finding | None, presence: Presence) -> bool:
    return finding is not None and finding.presence is presence


def _part(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1].astype(np.int64)
