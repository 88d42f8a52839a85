"""What a header says of patient and study that a question may ask for, and that no encoder needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import TypeVar

from pydicom import Dataset

from dicom_node.errors import UnreadableObjectError
from dicom_node.pixels.ground import text
from dicom_node.records import Traits

T = TypeVar("T")

YEARS_PER = {"D": 1 / 365.2425, "W": 7 / 365.2425, "M": 1 / 12, "Y": 1.0}
"""Units of Age String (PS3.5 section 6.2, AS)."""
OLDEST = 150.0
"""Years. What claims to be older is a mistake."""


def read_traits(header: Dataset) -> Traits:
    """The traits of one object. What cannot be understood counts as not said: it keeps no image from being
    read."""
    born = _said(header, "PatientBirthDate", as_date)
    taken = _said(header, "StudyDate", as_date)
    age = _said(header, "PatientAge", as_age)
    return Traits(
        patient_id=_said(header, "PatientID", _as_is),
        sex=_said(header, "PatientSex", as_sex),
        age=_years_between(born, taken) if age is None else age,
        birth_year=None if born is None else born.year,
        study_date=taken,
        body_part=_said(header, "BodyPartExamined", _in_capitals),
    )


def as_date(value: str) -> date | None:
    """A DA (PS3.5 section 6.2), also with the dots of ACR-NEMA; None where it is none."""
    found = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", value)
    if found is None:
        return None
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None


def as_age(value: str) -> float | None:
    """Years of an AS: `060Y`, `018M`, `003W`, `010D`; None where it is none."""
    found = re.fullmatch(r"(\d{1,3})([DWMY])", value)
    years = None if found is None else int(found[1]) * YEARS_PER[found[2]]
    return None if years is None or years > OLDEST else years


def as_sex(value: str) -> str | None:
    """`M`, `F` or `O` (PS3.3 C.7.1.1); None for all else."""
    return value.upper() if value.upper() in ("M", "F", "O") else None


def _as_is(value: str) -> str | None:
    return value


def _in_capitals(value: str) -> str | None:
    return value.upper()


def _years_between(born: date | None, taken: date | None) -> float | None:
    if born is None or taken is None:
        return None
    years = (taken - born).days / 365.2425
    return years if 0 <= years <= OLDEST else None


def _said(header: Dataset, keyword: str, understand: Callable[[str], T | None]) -> T | None:
    try:
        value = text(header, keyword)
    except UnreadableObjectError:
        return None
    # A NUL cannot be kept in a database, and ends a padded string.
    value = value.split("\0")[0].strip()
    return understand(value) if value else None
