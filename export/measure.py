"""What the sealed bundle can do, on examples that never entered training: with the graphs it carries and the
very code that judges studies in the node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import Measured
from dicom_node.bundle.manifest import Encoder
from dicom_node.findings.assess import Knowledge
from dicom_node.findings.score import sample_margins
from dicom_node.records import Status
from export.said import Point, Said, assessment, curve, measure_said
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


@dataclass(frozen=True, slots=True)
class FindingFigures:
    """Of one finding that is reported."""

    id: str
    name: str
    auc: Estimate
    """Of single samples; pairs within one data set only, 95 % bootstrap by patient or group."""
    control: Estimate | None
    """The same among those alone who have any finding of the modality; None for a general finding."""
    auc_by_dataset: dict[str, Estimate | None]
    """None where a data set lacks one of the classes."""
    said: tuple[Said, ...]
    """What is said of views, one for each data set that knows the finding."""
    curve: tuple[Point, ...]
    """By how many samples of a view are affected; empty where a view is one sample."""


@dataclass(frozen=True, slots=True)
class SilentFigures:
    """Of one finding that is known and not reported."""

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
    """(N,) whether an example has any finding of the modality, reported or not."""
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


def measure_findings(
    examples: Sequence[Example], embeddings: Floats, encoder: Encoder, known: Knowledge
) -> tuple[FindingFigures, ...]:
    """Figures of every finding of one modality; `embeddings` (N, D) of `examples`, one sample each.

    Raises ValueError for a finding of which `examples` lack one of the classes.
    """
    margins = sample_margins(embeddings, known.anchors).astype(np.float64)
    everyone = np.ones(len(examples), dtype=bool)
    figures = []
    for column, entry in enumerate(known.findings):
        labels = label_vector(examples, entry.id)
        auc = estimate(margins[:, column], labels, examples, everyone)
        if auc is None:
            raise ValueError(f"{entry.id} cannot be measured: {SPLIT} lacks one of the classes.")
        general = any(spec.general for spec in illnesses_of(entry.modality) if spec.id == entry.id)
        among = ill(examples, entry.modality)
        said = measure_said(entry, examples, labels, embeddings, encoder, known)
        figures.append(
            FindingFigures(
                id=entry.id,
                name=entry.name,
                auc=auc,
                control=None if general else estimate(margins[:, column], labels, examples, among),
                auc_by_dataset={
                    each.dataset: estimate(
                        margins[:, column],
                        labels,
                        examples,
                        np.array([example.dataset == each.dataset for example in examples]),
                    )
                    for each in said
                },
                said=said,
                curve=curve(entry, examples, labels, embeddings, encoder, known),
            )
        )
    return tuple(figures)


def measure_silent(
    specs: Sequence[FindingSpec], examples: Sequence[Example], embeddings: Floats, embed: EmbedTexts
) -> tuple[SilentFigures, ...]:
    """Figures of the findings among `specs` that are not reported; `embeddings` (N, D) of `examples`."""
    everyone = np.ones(len(examples), dtype=bool)
    images = embeddings.astype(np.float64)
    figures = []
    for spec in specs:
        if spec.report or not spec.illness:
            continue
        margins, labels = prompt_margins(images, spec, embed), label_vector(examples, spec.id)
        control = None if spec.general else estimate(margins, labels, examples, ill(examples, spec.modality))
        auc = estimate(margins, labels, examples, everyone)
        figures.append(SilentFigures(spec.id, spec.name, spec.why or "", auc, control))
    return tuple(figures)


def measure_scope(modality: str, known: Knowledge, held_out: Floats, strangers: Floats) -> ScopeFigures:
    """How many of each are in scope; both (N, D), one sample each."""

    def kept(rows: Floats) -> float:
        views = [assessment(modality, row[None], known) for row in rows]
        return float(np.mean([view.status is Status.REPORTED for view in views]))

    refused = 1.0 - kept(strangers) if len(strangers) else None
    return ScopeFigures(modality, len(held_out), kept(held_out), len(strangers), refused)


def measured(figures: FindingFigures) -> Measured:
    """As findings.json carries it."""
    return Measured(
        split=SPLIT,
        n=figures.auc.n,
        positives=figures.auc.positives,
        auc=round(figures.auc.value, 4),
        auc_ci=(round(figures.auc.low, 4), round(figures.auc.high, 4)),
    )


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """(N,) each name as a number of its own."""
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1].astype(np.int64)
