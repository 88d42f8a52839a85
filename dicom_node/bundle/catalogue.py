"""findings.json and scope.json: what a bundle can say, and when it must keep silent."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dicom_node.bundle.manifest import Frozen, ModalityId


class CodeEntry(Frozen):
    """A coded concept: SNOMED CT (`SCT`), DICOM (`DCM`) or another registered scheme."""

    value: Annotated[str, Field(min_length=1, max_length=64)]
    scheme: Annotated[str, Field(min_length=1, max_length=16)]
    meaning: Annotated[str, Field(min_length=1, max_length=64)]


class Prompts(Frozen):
    """Texts that a finding is scored against; the mean of each side, normalised, is its anchor."""

    affirmed: Annotated[tuple[str, ...], Field(min_length=1)]
    negated: Annotated[tuple[str, ...], Field(min_length=1)]


class Calibration(Frozen):
    """From a margin (cos(x, affirmed) - cos(x, negated)) to a probability, strictly rising:

        z = slope * margin + intercept
        platt      probability = sigmoid(z)         (Platt 1999)
        monotone   probability = sigmoid(w(z)); w is the broken line through `knots`, continued beyond its
                   ends along its first and its last piece

    Fitted on a held-out part of the training data, never on val or test. Format 1 knows `platt` alone.
    """

    method: Literal["platt", "monotone"] = "platt"
    slope: float
    intercept: float
    knots: tuple[tuple[float, float], ...] = ()
    """(z, log odds), both strictly rising, at least two; for `monotone` only."""


class Measured(Frozen):
    """What was measured, and on what."""

    split: str
    n: int
    positives: int
    auc: float
    auc_ci: tuple[float, float]
    """95 % bootstrap, by patient or group."""


class Fraction(Frozen):
    """A part of a whole."""

    value: float = Field(ge=0, le=1)
    ci: tuple[float, float]
    """95 % bootstrap, by patient or group."""
    n: int = Field(gt=0)
    """Views that it is a part of."""


class OperatingPoint(Frozen):
    """What `threshold` was chosen for, and what it gives on examples that had no part in it (format 2)."""

    sensitivity_target: float = Field(gt=0, le=1)
    """The threshold is where this part of the views with the finding lies above it, on `chosen_on`."""
    chosen_on: str
    """Split."""
    measured_on: str
    """Split of the two figures."""
    sensitivity: Fraction
    """Of the views with the finding, those at or above the threshold, in scope or not."""
    specificity: Fraction
    """Of the views without it, those below."""


class FindingEntry(Frozen):
    """One finding of the catalogue."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$")]
    modality: ModalityId
    name: Annotated[str, Field(min_length=1, max_length=64)]
    code: CodeEntry
    prompts: Prompts
    group: str | None = None
    """Findings of one group exclude each other: only the one furthest above its threshold (in log odds) may
    be present."""
    calibration: Calibration
    threshold: float = Field(ge=0, le=1)
    """At or above: present."""
    unsure_from: float | None = Field(default=None, ge=0, le=1)
    """From here up to `threshold` the model abstains; None: it never does."""
    measured: Measured | None = None
    enabled: bool = True
    """Whether a node scores and reports it unless its configuration says otherwise. Format 1 has no such key:
    all that it holds is reported."""
    disabled_because: str | None = None
    """For people; there is one exactly where `enabled` is false."""
    operating_point: OperatingPoint | None = None
    """None where val holds no view with it, or none without, and in format 1."""


class FindingsFile(Frozen):
    """The whole of findings.json."""

    findings: tuple[FindingEntry, ...]


class Likeness(Frozen):
    """What the last numbers of a signature mean (format 2): the natural logarithm of the odds of each kind of
    stranger against what the encoder was made for; `kinds` names them in their order."""

    kinds: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(min_length=1)]
    """Each completes the sentence "it looks like ...", e.g. `a page of text or a chart`."""
    distance_limit: float = Field(gt=0)
    limit: float
    scale: float = Field(gt=0)
    """`limit`: log odds that are still in scope; `scale`: how far above the median of the calibration split
    that lies. `distance_limit` is wider than that split: an input may lie further out while it looks like no
    stranger."""


class ScopeEntry(Frozen):
    """Mahalanobis distance of a vector to the training vectors of its modality, in the space of their first
    K principal components plus the residual (D dimensions):

        distance = sqrt(sum_k ((x - mean) . component_k)^2 / variance_k + |residual|^2 / residual_variance)

    The vector x is the embedding, or (format 2) the first numbers, as many as `mean` has, of the encoder's
    output `signature`. Without `likeness` the distance is the score. With it the score is the greater of

        distance / distance_limit    and    1 + (likeness - limit) / scale,

    likeness being the logarithm of the sum of the odds of all kinds. A view's score is the quantile
    `view_quantile` of its samples' scores; above `threshold` the view is out of scope.
    """

    method: Literal["mahalanobis"] = "mahalanobis"
    on: Literal["embedding", "signature"] = "embedding"
    mean: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    variances: tuple[float, ...]
    residual_variance: float = Field(gt=0)
    likeness: Likeness | None = None
    """Only with `on` the signature."""
    view_quantile: float = Field(default=0.5, ge=0, le=1)
    """1/2 is the median. Below it, so large a part of the samples suffices to be in scope."""
    threshold: float = Field(gt=0)


class ScopeFile(Frozen):
    """The whole of scope.json: by modality id. A modality without an entry is never refused."""

    modalities: dict[ModalityId, ScopeEntry]
