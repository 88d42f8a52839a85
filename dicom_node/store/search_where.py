"""Filters as conditions of SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np

from dicom_node.store.search_facts import Filters, FindingRange

MARKS = 10
"""Steps of probability that the index of findings tells apart: `finding_marks` in schema/0003_search.sql."""


@dataclass(frozen=True, slots=True)
class Where:
    """A condition of SQL, and what it needs."""

    exact: LiteralString
    """On the attributes themselves."""
    indexed: LiteralString
    """With what the index of findings can find: follows from `exact`, and costs time for each row."""
    among: LiteralString
    """The same, within all the spaces."""
    estimated: LiteralString
    """Again, but only what the planner has statistics of: probabilities it knows by their marks alone."""
    values: dict[str, Any]
    filtered: bool
    """Whether anything but spaces and scope is asked for."""


LISTED: tuple[tuple[str, LiteralString], ...] = (
    ("sexes", "sex = ANY(%(sexes)s)"),
    ("body_parts", "body_part = ANY(%(body_parts)s)"),
    ("lateralities", "laterality = ANY(%(lateralities)s)"),
    ("patient_ids", "patient_id = ANY(%(patient_ids)s)"),
    ("study_uids", "study_uid = ANY(%(study_uids)s)"),
    ("series_uids", "series_uid = ANY(%(series_uids)s)"),
    ("not_study_uids", "study_uid <> ALL(%(not_study_uids)s)"),
    ("not_patient_ids", "(patient_id IS NULL OR patient_id <> ALL(%(not_patient_ids)s))"),
)
"""Fields of Filters that list values, and what they ask for."""
BOUNDED: tuple[tuple[str, LiteralString], ...] = (
    ("from_date", "study_date >= %(from_date)s"),
    ("until_date", "study_date <= %(until_date)s"),
    ("least_age", "age >= %(least_age)s"),
    ("most_age", "age <= %(most_age)s"),
    ("born_from", "birth_year >= %(born_from)s"),
    ("born_until", "birth_year <= %(born_until)s"),
)
"""Fields that are one value or None."""


def where_of(filters: Filters, spaces: Sequence[int], places: Mapping[str, int]) -> Where:
    """What `filters` ask for in these spaces; `places` are those of findings among the probabilities."""
    values: dict[str, Any] = {"spaces": list(spaces)}
    exact: list[LiteralString] = []
    for name, condition in LISTED:
        if listed := getattr(filters, name):
            values[name] = list(listed)
            exact.append(condition)
    for name, condition in BOUNDED:
        if (bound := getattr(filters, name)) is not None:
            values[name] = bound
            exact.append(condition)
    scored: list[LiteralString] = []
    marked: list[LiteralString] = []
    for number, asked in enumerate(filters.findings):
        condition, marks, needed = _finding(number, asked, places)
        scored.append(condition)
        marked.extend(marks)
        values.update(needed)
    filtered = bool(exact or scored)
    exact.append("TRUE" if filters.in_scope is None else "in_scope" if filters.in_scope else "NOT in_scope")
    within: LiteralString = "space = ANY(%(spaces)s)"
    return Where(
        exact=" AND ".join([*exact, *scored]),
        indexed=" AND ".join([*exact, *scored, *marked]),
        among=" AND ".join([within, *exact, *scored, *marked]),
        estimated=" AND ".join([within, *exact, *marked]),
        values=values,
        filtered=filtered,
    )


def _finding(
    number: int, asked: FindingRange, places: Mapping[str, int]
) -> tuple[LiteralString, list[LiteralString], dict[str, Any]]:
    """What one range asks of `probabilities`, what of their marks, and the values of both."""
    place = places.get(asked.finding_id)
    if place is None:
        return ("TRUE" if asked.unscored else "FALSE"), [], {}
    names: dict[str, Any] = {
        f"place{number}": place,
        # Probabilities are kept in single precision: a bound of 0.6 must let 0.6 through.
        f"least{number}": float(np.float32(asked.least)),
        f"most{number}": float(np.float32(asked.most)),
    }
    within: LiteralString = (
        f"probabilities[%(place{number})s] BETWEEN %(least{number})s::real AND %(most{number})s::real"
    )
    if asked.unscored:
        return f"(probabilities[%(place{number})s] IS NULL OR {within})", [], names
    lowest, highest = _mark(names[f"least{number}"]), _mark(names[f"most{number}"])
    if lowest == 0 and highest == MARKS - 1:
        return within, [], names
    names[f"marks{number}"] = [place * 16 + mark for mark in range(lowest, highest + 1)]
    return within, [f"finding_marks(probabilities) && %(marks{number})s::integer[]"], names


def _mark(probability: float) -> int:
    return min(max(math.floor(probability * MARKS), 0), MARKS - 1)
