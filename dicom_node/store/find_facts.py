"""What the register of headers is told and asked, and what it answers: frozen facts, without SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

Attributes = Mapping[str, Mapping[str, Any]]
"""The DICOM JSON model (PS3.18 annex F): tag to {"vr": ..., "Value": [...]}."""


class Rows(StrEnum):
    """What an answer's rows stand for."""

    STUDIES_BY_PATIENT = "patient"
    """Studies, those of one patient behind one another."""
    STUDIES = "study"
    """The newest first."""
    SERIES = "series"
    INSTANCES = "image"


@dataclass(frozen=True, slots=True)
class Unread:
    """An instance whose header is not in the register yet."""

    sop_instance_uid: str
    study_uid: str
    series_uid: str
    path: Path
    """Absolute."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of one instance tells, by level."""

    sop_instance_uid: str
    study_uid: str
    series_uid: str
    study: Attributes
    """Of patient and study."""
    series: Attributes
    image: Attributes
    patient_id: str
    patient_name: str
    """Folded: no case, no accents (`matching.values.fold`)."""
    study_date: str
    """YYYYMMDD, or empty."""
    accession_number: str
    modality: str


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What SQL can tell beforehand. Every row that fulfils a query passes; rows that do not may pass too.
    An empty tuple or None says nothing. LIKE patterns have a backslash as their escape."""

    patient_ids: tuple[str, ...] = ()
    patient_id_like: str | None = None
    names_like: tuple[str, ...] = ()
    """Of one component group of the folded name, any of which will do."""
    accession_numbers: tuple[str, ...] = ()
    accession_number_like: str | None = None
    from_date: str | None = None
    """YYYYMMDD, included."""
    until_date: str | None = None
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    sop_class_uids: tuple[str, ...] = ()
    modality_like: tuple[str, ...] = ()
    """Of a series, any of which will do."""
    modalities_in_study_like: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundRow:
    """One study, series or instance."""

    study_uid: str
    series_uid: str | None
    sop_instance_uid: str | None
    origin: str | None
    """Name of the archive that announced the study."""
    attributes: Attributes
    """Of the row's level and of those above it."""
    computed: Mapping[str, Any]
    """By tag: what was asked to be counted or gathered. A number, or a list of strings."""
