"""What the sealed bundle can do, on examples that never entered training: with the graphs it carries and the
very code that judges studies in the node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import FindingEntry, Fraction, Measured, OperatingPoint
from dicom_node.bundle.manifest import Encoder
from dicom_node.findings.assess import Knowledge
from dicom_node.findings.calibrate import probability
from dicom_node.findings.score import pool_margins, sample_margins
from dicom_node.records import Status, ViewVectors
from export.encode import rows_of
from export.reliability import CalibrationFigures, reliability
from export.said import Point, Rate, Said, assessment, curve, judges, measure_said, rate
from export.views import labelled_views
from m3bind.data.catalogue import FindingSpec, illnesses_of
from m3bind.data.examples import Example, Split
from m3bind.evaluate.zero_shot import margins as prompt_margins
from m3bind.metrics import Estimate, auc_estimate

Floats = NDArray[np.float32]
Labels = NDArray[np.int8]
"""1 present, 0 absent, -1 not known."""
EmbedTexts = Callable[[Sequence[str]], NDArray[np.float64]]

BOOTSTRAP = 1000
SPLIT: Split = "val"
CHOSEN_ON: Split = "calib"


@dataclass(frozen=True, slots=True)
class FindingFigures:
    """Of one finding of the catalogue."""

    id: str
    name: str
    positives: int
    """Examples with it."""
    auc: Estimate | None
    """Of single samples; pairs within one data set only, 95 % bootstrap by patient or group. None where val
    lacks one of the classes, and so are the next four."""
    control: Estimate | None
    """The same among those alone who have any finding of the modality; None for a general finding."""
    sensitivity: Rate | None
    """Of views, whatever their scope: part of those with the finding at or above the threshold."""
    specificity: Rate | None
    """Part of those without it below."""
    calibration: CalibrationFigures | None
    """Of the same views."""
    auc_by_dataset: dict[str, Estimate | None]
    """None where a data set lacks one of the classes."""
    said: tuple[Said, ...]
    """What is said of views, one for each data set that knows the finding."""
    curve: tuple[Point, ...]
    """By how many samples of a view are affected; empty where a view is one sample."""


@dataclass(frozen=True, slots=True)
class SilentFigures:
    """Of one concept that has no code: known to captions and search, in no catalogue."""

    id: str
    name: str
    why: str
    auc: Estimate | None
    """None where val lacks one of the classes."""
    control: Estimate | None
    """None for a general finding, and where the ill lack one of the classes."""


@dataclass(frozen=True, slots=True)
class ScopeFigures:
    """Of one modality, by single samples."""

    modality: str
    n: int
    kept: float
    """Part of the held-out examples that is in scope."""
    strangers: int
    refused: float | None
    """Part of images of other body parts that is out of scope; None where there are none."""


def label_vector(examples: Sequence[Example], identifier: str) -> Labels:
    """(N,) of 1, 0, -1 (not known)."""
    labels = [example.labels.get(identifier) for example in examples]
    return np.array([-1 if label is None else label for label in labels], dtype=np.int8)


def ill(examples: Sequence[Example], modality: str) -> NDArray[np.bool_]:
    """(N,) whether an example has any finding of the modality, in the catalogue or not."""
    columns = [label_vector(examples, spec.id) == 1 for spec in illnesses_of(modality)]
    return np.asarray(np.any(columns, axis=0) if columns else np.zeros(len(examples), dtype=bool))


def estimate(
    margins: NDArray[np.float64], labels: Labels, examples: Sequence[Example], among: NDArray[np.bool_]
) -> Estimate | None:
    """AUC of those examples `among` whose label is known; None where they lack a class. All of N."""
    use = np.flatnonzero((labels >= 0) & among)
    if len(np.unique(labels[use])) < 2:
        return None
    groups = numbered([example.group for example in examples])
    datasets = numbered([example.dataset for example in examples])
    return auc_estimate(margins[use], labels[use].astype(np.int64), groups[use], datasets[use], BOOTSTRAP)


def measure_aucs(
    examples: Sequence[Example], embeddings: Floats, known: Knowledge
) -> tuple[tuple[int, Estimate | None], ...]:
    """Of each finding the positives and the AUC; `embeddings` (N, D) of `examples`, one sample each."""
    margins = sample_margins(embeddings, known.anchors).astype(np.float64)
    everyone = np.ones(len(examples), dtype=bool)
    told = []
    for column, entry in enumerate(known.findings):
        labels = label_vector(examples, entry.id)
        told.append((int((labels == 1).sum()), estimate(margins[:, column], labels, examples, everyone)))
    return tuple(told)


def measure_findings(
    examples: Sequence[Example],
    vectors: ViewVectors,
    encoder: Encoder,
    known: Knowledge,
    aucs: Sequence[tuple[int, Estimate | None]],
) -> tuple[FindingFigures, ...]:
    """Figures of every finding of one modality, of whose `aucs` nothing is measured twice; `vectors` of
    `examples`, one sample each."""
    if not known.findings:
        return ()
    margins = sample_margins(vectors.embeddings, known.anchors).astype(np.float64)
    among, by_id = ill(examples, known.findings[0].modality), judges(vectors, encoder, known)
    names = np.array([example.dataset for example in examples])
    figures = []
    for column, (entry, (positives, auc)) in enumerate(zip(known.findings, aucs, strict=True)):
        labels, own = label_vector(examples, entry.id), margins[:, column]
        said = measure_said(examples, labels, encoder, by_id[entry.id])
        views = None if auc is None else _views(entry, own, labels, examples, encoder)
        general = any(spec.general for spec in illnesses_of(entry.modality) if spec.id == entry.id)
        figures.append(
            FindingFigures(
                id=entry.id,
                name=entry.name,
                positives=positives,
                auc=auc,
                control=None if general else estimate(own, labels, examples, among),
                sensitivity=None if views is None else views.sensitivity(entry.threshold),
                specificity=None if views is None else views.specificity(entry.threshold),
                calibration=None if views is None else views.reliability(),
                auc_by_dataset={
                    each.dataset: estimate(own, labels, examples, names == each.dataset) for each in said
                },
                said=said,
                curve=curve(examples, labels, encoder, by_id[entry.id]),
            )
        )
    return tuple(figures)


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """N views of one finding."""

    probabilities: NDArray[np.float64]
    present: NDArray[np.bool_]
    groups: NDArray[np.int64]

    def sensitivity(self, threshold: float) -> Rate:
        chosen = self.present
        return rate(self.probabilities[chosen] >= threshold, self.groups[chosen])

    def specificity(self, threshold: float) -> Rate:
        chosen = ~self.present
        return rate(self.probabilities[chosen] < threshold, self.groups[chosen])

    def reliability(self) -> CalibrationFigures | None:
        return reliability(self.probabilities, self.present, self.groups)


def _views(
    entry: FindingEntry,
    margins: NDArray[np.float64],
    labels: Labels,
    examples: Sequence[Example],
    encoder: Encoder,
) -> _Views:
    views = labelled_views(encoder, labels, [example.group for example in examples])
    single = margins.astype(np.float32)
    pooled = [float(pool_margins(single[view.rows, None], encoder.pooling)[0]) for view in views]
    return _Views(
        np.array([probability(margin, entry.calibration) for margin in pooled]),
        np.array([view.present for view in views], dtype=bool),
        numbered([view.group for view in views]),
    )


def measure_silent(
    specs: Sequence[FindingSpec], examples: Sequence[Example], embeddings: Floats, embed: EmbedTexts
) -> tuple[SilentFigures, ...]:
    """Figures of the findings among `specs` that have no code; `embeddings` (N, D) of `examples`."""
    everyone = np.ones(len(examples), dtype=bool)
    images = embeddings.astype(np.float64)
    figures = []
    for spec in specs:
        if spec.code is not None or not spec.illness:
            continue
        margins, labels = prompt_margins(images, spec, embed), label_vector(examples, spec.id)
        control = None if spec.general else estimate(margins, labels, examples, ill(examples, spec.modality))
        auc = estimate(margins, labels, examples, everyone)
        figures.append(SilentFigures(spec.id, spec.name, spec.why or "", auc, control))
    return tuple(figures)


def measure_scope(
    modality: str, known: Knowledge, held_out: ViewVectors, strangers: ViewVectors
) -> ScopeFigures:
    """How many of each are in scope, one sample each."""

    def kept(vectors: ViewVectors) -> float:
        rows = range(len(vectors.embeddings))
        views = [assessment(modality, rows_of(vectors, np.array([row])), known) for row in rows]
        return float(np.mean([view.status is Status.REPORTED for view in views]))

    strange = len(strangers.embeddings)
    refused = 1.0 - kept(strangers) if strange else None
    return ScopeFigures(modality, len(held_out.embeddings), kept(held_out), strange, refused)


def sealed(entry: FindingEntry, figures: FindingFigures, target: float) -> FindingEntry:
    """The entry with its figures, as findings.json carries them; `target` is the sensitivity aimed at."""
    auc, sensitivity, specificity = figures.auc, figures.sensitivity, figures.specificity
    if auc is None or sensitivity is None or specificity is None:
        return entry
    told = Measured(
        split=SPLIT,
        n=auc.n,
        positives=auc.positives,
        auc=round(auc.value, 4),
        auc_ci=(round(auc.low, 4), round(auc.high, 4)),
    )
    point = OperatingPoint(
        sensitivity_target=target,
        chosen_on=CHOSEN_ON,
        measured_on=SPLIT,
        sensitivity=_fraction(sensitivity),
        specificity=_fraction(specificity),
    )
    return entry.model_copy(update={"measured": told, "operating_point": point})


def _fraction(told: Rate) -> Fraction:
    return Fraction(value=round(told.value, 4), ci=(round(told.low, 4), round(told.high, 4)), n=told.n)


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """(N,) each name as a number of its own."""
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1].astype(np.int64)
