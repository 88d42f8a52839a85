"""The facts that travel through the node, as frozen dataclasses without behaviour.

    Instance --pixels--> View of Samples --engine--> ViewVectors --findings--> Assessment --report--> SR

How a fact becomes DICOM stands in `report/`, how it becomes JSON in `web/api.py` and `facts.py`,
how it becomes SQL in `store/`. Arrays are never written to after they are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

XRAY = "xray"
CT = "ct"
RETINA = "retina"
ECG = "ecg"
PATHOLOGY = "pathology"
"""Modality ids of format v1. A bundle may hold others; nothing may switch on these except a table."""


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3 section 8.8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One SOP instance on disk, as received and never altered."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: Path
    size: int
    """Bytes of the Part 10 file."""
    sha256: str
    """Hex digest of the data set as sent (Part 10 file without preamble and file meta information)."""


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A pointer into a source object: an instance, and the frame within it where there are several."""

    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None = None
    """1-based frame number, None for single-frame objects and waveforms."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in source pixels (column to the right, row down; 0, 0 is the top left corner of the
    top left pixel). For a slide: pixels of the total pixel matrix of the level that was read. May reach
    beyond the image where the encoder's input was padded."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One encoder input without its batch axis, and where it comes from."""

    values: NDArray[np.float32]
    """(C, H, W) for images, (12, T) for ECG; after all operations of the bundle."""
    source: SourceRef
    box: Box | None = None
    """What part of the source `values` covers, for spatial input. Left may be the greater number, and so may
    top: `values` is then mirrored."""
    span: tuple[float, float] | None = None
    """Start and end in seconds from the start of the recording, for waveforms."""
    swapped: bool = False
    """Whether rows of `values` run along columns of the source; `box` is told in those of the source."""
    evidence_source: SourceRef | None = None
    """The object in whose pixels `box` is told, when it is not `source`."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What an object says of patient and study that a question may ask for. None where it does not say."""

    patient_id: str | None = None
    """(0010,0020)."""
    sex: str | None = None
    """`M`, `F` or `O`, as in (0010,0040)."""
    age: float | None = None
    """Years at the study."""
    birth_year: int | None = None
    study_date: date | None = None
    body_part: str | None = None
    """Body Part Examined (0018,0015), upper case."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is judged as one: one radiograph, one CT series, one fundus photograph, one ECG, one slide."""

    modality: str
    series_uid: str
    samples: tuple[Sample, ...]
    """At least one. Several for a CT series (slices) or a slide (tiles)."""
    sources: tuple[SourceRef, ...]
    """Every instance that was read for this view, in order."""
    source_size: tuple[int, int] | None = None
    """(rows, columns) of the source that `Sample.box` refers to."""
    laterality: str | None = None
    """'L', 'R' or 'B' where the object says so."""
    view_position: str | None = None
    """As in (0018,5101): PA or AP, else FRONTAL, where the object says so."""
    notes: tuple[str, ...] = ()
    """What was assumed or left out while reading, for the report. No patient data."""
    duration: float | None = None
    """Seconds that the recording lasts, for waveforms: a `Sample.span` may reach beyond, into padding."""
    traits: Traits = Traits()
    """Of its first source."""
    strange: str | None = None
    """For people: why what was read is not what the encoder was made for, and so out of scope; None where the
    reader saw no reason."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An instance that was not used, and why."""

    sop_instance_uid: str
    reason: str
    """Short slug, as in InputError.reason."""
    message: str


@dataclass(frozen=True, slots=True)
class StudyRead:
    """All that the readers made of one study."""

    views: tuple[View, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ViewVectors:
    """The encoder's answer for one view of N samples, D dimensions."""

    embeddings: NDArray[np.float32]
    """(N, D), unit norm."""
    evidence: NDArray[np.float32] | None
    """(N, h, w, D), not normalised: the mean over h, w points the way of the embedding. (N, 1, w, D)
    for waveforms. None when the encoder gives none."""
    signatures: NDArray[np.float32] | None = None
    """(N, K): what tells the encoder's kind of input from others, see `catalogue.ScopeEntry`. None when the
    encoder gives none."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where in the source the model found what it says. Never invented: the region carries the
    largest share of the finding's margin in the encoder's own feature map."""

    source: SourceRef
    outline: tuple[tuple[float, float], ...] | None = None
    """Closed polygon (first point not repeated), (column, row) in source pixels, for images."""
    span: tuple[float, float] | None = None
    """Start and end in seconds, for waveforms."""
    share: float = 0.0
    """Part of the positive contributions that lies inside, 0 to 1."""
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """(D,), unit norm: the mean of the feature map inside. For search; no part of what is reported."""


class Presence(StrEnum):
    """What is said of a finding."""

    PRESENT = "present"
    ABSENT = "absent"
    UNSURE = "unsure"
    """Between the two thresholds of the bundle: the model abstains."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding, scored."""

    id: str
    """Stable, e.g. `xray.pneumonia`."""
    name: str
    """Usual English term, e.g. `Pneumonia`."""
    code: Code
    modality: str
    probability: float
    """Calibrated, 0 to 1."""
    margin: float
    """Cosine to the prompts for, less cosine to the prompts against; pooled over samples."""
    threshold: float
    presence: Presence
    series_uid: str
    view: int
    """Index into Assessment.views of the view with the highest probability."""
    evidence: tuple[Evidence, ...] = ()
    laterality: str | None = None
    unsure_from: float | None = None
    """The lower threshold: from here up to `threshold` the model abstains. None: it has none."""


class Status(StrEnum):
    """How a study ended."""

    REPORTED = "reported"
    OUT_OF_SCOPE = "out_of_scope"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, eq=False)
class ViewSummary:
    """A view after it was judged; what the store and the report keep of it."""

    modality: str
    series_uid: str
    sources: tuple[SourceRef, ...]
    embedding: NDArray[np.float32]
    """(D,), unit norm: mean over samples, normalised."""
    in_scope: bool
    scope_score: float
    """Distance from the training data; larger is stranger. Compared with scope.json's threshold."""
    reason: str | None = None
    """Why it is out of scope, for people."""
    laterality: str | None = None
    notes: tuple[str, ...] = ()
    traits: Traits = Traits()
    view_position: str | None = None


@dataclass(frozen=True, slots=True)
class BundleIdentity:
    """Which bundle spoke."""

    name: str
    version: str
    digest: str
    """sha256 of bundle.json, hex: it covers every file, whose digests it lists."""


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """All that is known of one study after the bundle has seen it."""

    study_uid: str
    modality: str | None
    """Modality id of the first view in scope, else of the first view; None where nothing was readable."""
    status: Status
    reason: str | None
    """For people: why nothing was reported. None when reported."""
    findings: tuple[Finding, ...]
    views: tuple[ViewSummary, ...]
    skipped: tuple[Skipped, ...]
    bundle: BundleIdentity
    seconds: dict[str, float]
    """Wall time by part: decode, encode, assess."""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A finished SR on disk, before or after its delivery."""

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    path: Path
    """Absolute; a Part 10 file."""
    size: int
    """Bytes of the file."""
    sha256: str
    """Hex digest of the whole file."""
