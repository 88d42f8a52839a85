"""What the bundle says of views whose truth is known: sensitivity, specificity, abstention, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.bundle.manifest import Encoder
from dicom_node.findings.assess import Knowledge, assess
from dicom_node.records import (
    Assessment,
    BundleIdentity,
    Finding,
    Presence,
    Sample,
    SourceRef,
    StudyRead,
    View,
    ViewVectors,
)
from export.encode import rows_of
from export.reliability import bins_of, calibration_error
from export.views import CURVE, LabelledView, affected_views, labelled_views, simulated, view_size
from m3bind.data.examples import Example
from m3bind.metrics import resampled_weights

Floats = NDArray[np.float32]
Labels = NDArray[np.int8]

Judge = Callable[[NDArray[np.intp]], Finding | None]
"""What is said of one finding of the view that these rows make; None where it is out of scope."""

BOOTSTRAP = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """A part with its 95 % bootstrap interval over patients or groups; all nan for none of nothing."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Said:
    """Of one finding on the views of one data set."""

    dataset: str
    simulated: bool
    """Put together from single samples (`views.py`)."""
    views: int
    present: int
    out_of_scope: int
    abstained: int
    sensitivity: Rate
    """Of the present, called present; abstention and out of scope count as a miss."""
    sensitivity_decided: float
    """Of the present that were decided."""
    specificity: Rate
    """Of the absent that were decided, called absent."""
    calibration_error: float
    """Expected calibration error over all in scope, see `reliability.py`."""


@dataclass(frozen=True, slots=True)
class Point:
    """Of a view put together."""

    affected: int
    of: int
    called: float
    """Part of the views called present."""


def assessment(modality: str, vectors: ViewVectors, known: Knowledge) -> Assessment:
    """What the node would say of one view, of samples with these vectors."""
    sample = Sample(np.zeros((1, 1, 1), dtype=np.float32), _NOWHERE)
    view = View(modality, "2.25.2", (sample,) * len(vectors.embeddings), (_NOWHERE,))
    return assess("2.25.3", StudyRead((view,), ()), [vectors], {modality: known}, _NOBODY, {})


_NOWHERE = SourceRef("1.2.840.10008.5.1.4.1.1.7", "2.25.1")
_NOBODY = BundleIdentity("in-the-making", "0.0.0", "0" * 64)


def judge(entry: FindingEntry, vectors: ViewVectors, known: Knowledge) -> Finding | None:
    """What is said of one finding of one view; None where out of scope."""
    made = assessment(entry.modality, vectors, known)
    return next((finding for finding in made.findings if finding.id == entry.id), None)


def judge_of(entry: FindingEntry, vectors: ViewVectors, known: Knowledge) -> Judge:
    """Judges views made of some of N samples."""
    return lambda rows: judge(entry, rows_of(vectors, rows), known)


def judges(vectors: ViewVectors, encoder: Encoder, known: Knowledge) -> dict[str, Judge]:
    """One for each finding that is enabled, judged together as the node does, and one for each that is not,
    judged as if it alone were. Where a view is one sample, each sample is judged once and kept."""
    on = [index for index, entry in enumerate(known.findings) if entry.enabled]
    alone = [[index] for index, entry in enumerate(known.findings) if not entry.enabled]
    made: dict[str, Judge] = {}
    for chosen in [on, *alone]:
        entries = tuple(known.findings[index] for index in chosen)
        part = replace(known, findings=entries, anchors=known.anchors.only([e.id for e in entries]))
        if simulated(encoder):
            made |= {entry.id: judge_of(entry, vectors, part) for entry in entries}
        elif entries:
            modality = entries[0].modality
            said = [
                {f.id: f for f in assessment(modality, rows_of(vectors, np.array([row])), part).findings}
                for row in range(len(vectors.embeddings))
            ]
            made |= {entry.id: _looked_up(said, entry.id) for entry in entries}
    return made


def _looked_up(said: Sequence[dict[str, Finding]], identifier: str) -> Judge:
    return lambda rows: said[int(rows[0])].get(identifier)


def measure_said(
    examples: Sequence[Example], labels: Labels, encoder: Encoder, judge_view: Judge
) -> tuple[Said, ...]:
    """One for each data set whose labels tell the finding; `labels` (N,) of `examples`."""
    groups = [example.group for example in examples]
    told = []
    for name in sorted({example.dataset for example in examples}):
        inside = np.array([example.dataset == name for example in examples])
        views = labelled_views(encoder, np.where(inside, labels, -1).astype(np.int8), groups)
        if views:
            judged = [judge_view(view.rows) for view in views]
            told.append(_said(name, simulated(encoder), views, judged))
    return tuple(told)


def curve(
    examples: Sequence[Example], labels: Labels, encoder: Encoder, judge_view: Judge
) -> tuple[Point, ...]:
    """How often the finding is called present, by how many samples of a view have it; likewise."""
    if not simulated(encoder):
        return ()
    size, pooled = view_size(encoder)
    groups = [example.group for example in examples]
    points = []
    for affected in CURVE:
        views = affected_views(encoder, labels, groups, affected) if affected <= pooled else ()
        if views:
            said = [_says(judge_view(view.rows), Presence.PRESENT) for view in views]
            points.append(Point(affected, size, float(np.mean(said))))
    return tuple(points)


def _said(
    dataset: str, put_together: bool, views: Sequence[LabelledView], judged: Sequence[Finding | None]
) -> Said:
    present = np.array([view.present for view in views], dtype=bool)
    groups = np.unique(np.array([view.group for view in views]), return_inverse=True)[1].astype(np.int64)
    in_scope = np.array([each is not None for each in judged], dtype=bool)
    unsure = np.array([_says(each, Presence.UNSURE) for each in judged], dtype=bool)
    positive = np.array([_says(each, Presence.PRESENT) for each in judged], dtype=bool)
    decided = in_scope & ~unsure
    probabilities = np.array([0.0 if each is None else each.probability for each in judged])
    return Said(
        dataset=dataset,
        simulated=put_together,
        views=len(views),
        present=int(present.sum()),
        out_of_scope=int((~in_scope).sum()),
        abstained=int(unsure.sum()),
        sensitivity=rate(positive[present], groups[present]),
        sensitivity_decided=rate(positive[decided & present], groups[decided & present]).value,
        specificity=rate(~positive[decided & ~present], groups[decided & ~present]),
        calibration_error=calibration_error(
            probabilities[in_scope], present[in_scope], bins_of(int(in_scope.sum()))
        ),
    )


def rate(hits: NDArray[np.bool_], groups: NDArray[np.int64]) -> Rate:
    """The part of `hits` (N,), with a percentile bootstrap over `groups` (N,)."""
    if len(hits) == 0:
        return Rate(float("nan"), float("nan"), float("nan"), 0)
    weights = resampled_weights(groups, BOOTSTRAP, seed=0)
    low, high = np.percentile((weights * hits).sum(axis=1) / weights.sum(axis=1), [2.5, 97.5])
    return Rate(float(hits.mean()), float(low), float(high), len(hits))


def _says(finding: Finding | None, presence: Presence) -> bool:
    return finding is not None and finding.presence is presence
