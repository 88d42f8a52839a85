"""What the index is asked and what it answers: frozen facts, without SQL.

    Filters  --store.search_index.SearchIndex-->  Candidate

An index row stands for a study, for one view of a series, or for one region that a finding was seen in. Rows
of different bundles lie in different spaces: a vector of one means nothing in the other, and every question
names the bundle whose encoder made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from dicom_node.records import BundleIdentity


class Level(StrEnum):
    """What a row stands for."""

    STUDY = "study"
    """One row per study: the mean of its views in scope (of all views where none is), normalised."""
    SERIES = "series"
    """One row per view, i.e. per series, but for series whose objects are judged apart (both eyes, two
    projections): those have one for each."""
    REGION = "region"
    """One row per region that a finding which is not absent was seen in."""


@dataclass(frozen=True, slots=True)
class FindingRange:
    """The calibrated probability of one finding lies between two bounds, both included."""

    finding_id: str
    """As in the bundle's catalogue, e.g. `xray.pneumonia`."""
    least: float = 0.0
    most: float = 1.0
    unscored: bool = False
    """Whether a study in which nobody looked for it (another modality, say) is let through too."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What an answer must fulfil: all that is said here at once; an empty tuple or None says nothing.

    A row that lacks an attribute (an object without Patient's Age) never fulfils a filter on it.
    """

    bundle: str
    """Digest of the bundle that speaks; only its rows are looked at."""
    level: Level = Level.SERIES
    modalities: tuple[str, ...] = ()
    """Modality ids of the bundle: `xray`, `ct`, ..."""
    from_date: date | None = None
    """Study Date, the day included."""
    until_date: date | None = None
    sexes: tuple[str, ...] = ()
    """`M`, `F`, `O` as in (0010,0040)."""
    least_age: float | None = None
    """Years at the study, inclusive; a patient of 60 and 11 months is 60.9."""
    most_age: float | None = None
    born_from: int | None = None
    """Year of birth, inclusive."""
    born_until: int | None = None
    body_parts: tuple[str, ...] = ()
    """Body Part Examined (0018,0015), upper case, e.g. `CHEST`."""
    lateralities: tuple[str, ...] = ()
    """`L`, `R`, `B`. Who wants the left one wants ("L", "B")."""
    patient_ids: tuple[str, ...] = ()
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    not_patient_ids: tuple[str, ...] = ()
    """Left out of the answer, as are the next: the patient, or the study, that was asked about."""
    not_study_uids: tuple[str, ...] = ()
    findings: tuple[FindingRange, ...] = ()
    in_scope: bool | None = True
    """None: what the encoder was not made for is let through too."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where in the source a finding was seen, as `facts.evidence_to_json` tells it."""

    finding_id: str
    place: Mapping[str, Any]
    """`source`, `outline` ((column, row) in source pixels) or `span` (seconds), `share`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row that fulfils the filters."""

    study_uid: str
    level: Level
    distance: float | None
    """1 - cosine to the question's vector, 0 to 2, in full precision; None where no vector was asked."""
    series_uid: str | None
    """None for a study."""
    view: int | None
    """Index into the assessment's views; None for a study."""
    modality: str | None
    study_date: date | None
    sex: str | None
    age: float | None
    """Years at the study."""
    body_part: str | None
    laterality: str | None
    patient_id: str | None
    findings: Mapping[str, float] = field(default_factory=dict)
    """Calibrated probability by finding id: of the whole study, of the row's own side where findings have one
    (the highest of several)."""
    region: Region | None = None
    """For a region only."""


@dataclass(frozen=True, slots=True)
class BundleCoverage:
    """How much of the archive one bundle answers for. Every study is indexed under one bundle, the one that
    looked at it last: the union over all bundles holds each study once."""

    bundle: BundleIdentity
    dimension: int
    studies: int
    waiting: int
    """Of them, studies that are to be embedded again by the current bundle."""
    stuck: int
    """Of them, studies that could not be: a file is gone, say. They stay answered for by this one."""
