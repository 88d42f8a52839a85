"""What the register's SQL can tell of a query beforehand: a superset of its matches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from dicom_node.matching.attributes import texts
from dicom_node.matching.keys import KEYS, Level, tag_of
from dicom_node.matching.query import Query
from dicom_node.matching.times import range_of
from dicom_node.matching.values import fold, name_keys
from dicom_node.store.find_facts import Narrowing, Rows

PATIENT_ID = tag_of("PatientID")
PATIENT_NAME = tag_of("PatientName")
ACCESSION_NUMBER = tag_of("AccessionNumber")
STUDY_DATE = tag_of("StudyDate")
MODALITY = tag_of("Modality")
MODALITIES_IN_STUDY = tag_of("ModalitiesInStudy")

ROWS = {
    Level.PATIENT: Rows.STUDIES_BY_PATIENT,
    Level.STUDY: Rows.STUDIES,
    Level.SERIES: Rows.SERIES,
    Level.IMAGE: Rows.INSTANCES,
}
UIDS = {
    tag_of("StudyInstanceUID"): "study_uids",
    tag_of("SeriesInstanceUID"): "series_uids",
    tag_of("SOPInstanceUID"): "sop_instance_uids",
    tag_of("SOPClassUID"): "sop_class_uids",
    tag_of("SOPClassesInStudy"): "sop_class_uids",
}
TEXTS = {
    PATIENT_ID: ("patient_ids", "patient_id_like"),
    ACCESSION_NUMBER: ("accession_numbers", "accession_number_like"),
}


def like_of(key: str) -> str:
    """The LIKE pattern of a key with wildcards."""
    pieces = re.split(r"(\*+|\?)", key)
    return "".join(
        "%" if piece.startswith("*") else "_" if piece == "?" else re.sub(r"([\\%_])", r"\\\1", piece)
        for piece in pieces
    )


def narrowing_of(query: Query) -> Narrowing:
    """What SQL shall look at."""
    given: dict[str, Any] = {}
    for tag in query.matchers:
        values = [value for value in texts(query.keys[tag]) if value]
        if not values or '""' in values:
            continue
        if tag in UIDS:
            given[UIDS[tag]] = tuple(values)
        elif tag in TEXTS and len(values) == 1:
            exact, like = TEXTS[tag]
            wild = set(values[0]) & set("*?")
            given |= {like: like_of(values[0])} if wild else {exact: (values[0],)}
        elif tag == PATIENT_NAME and len(values) == 1 and (group := fold(values[0])) and "=" not in group:
            given["names_like"] = tuple(like_of(key) for key in name_keys(group))
        elif tag == MODALITY:
            given["modality_like"] = tuple(map(like_of, values))
        elif tag == MODALITIES_IN_STUDY:
            given["modalities_in_study_like"] = tuple(map(like_of, values))
    return Narrowing(**given, **_dates(query))


def _dates(query: Query) -> dict[str, Any]:
    joined = {date: wanted for date, _, wanted in query.together}
    if STUDY_DATE in joined:
        wanted = joined[STUDY_DATE]
    elif STUDY_DATE in query.matchers and len(texts(query.keys[STUDY_DATE])) == 1:
        told = range_of(texts(query.keys[STUDY_DATE])[0], "DA")
        if told is None:
            return {}
        wanted = told
    else:
        return {}
    # In another zone it may be the day before or after.
    apart = timedelta(days=0 if query.zone is None else 1)
    found: dict[str, Any] = {}
    if wanted.first is not None:
        found["from_date"] = _day(wanted.first, -apart)
    if wanted.last is not None:
        found["until_date"] = _day(wanted.last, apart)
    return found


def _day(when: datetime, apart: timedelta) -> str:
    with suppress(OverflowError):  # the first or the last day of all calendars
        when += apart
    return f"{when.year:04}{when.month:02}{when.day:02}"


def computed_of(query: Query) -> tuple[str, ...]:
    """Tags that must be counted or gathered for an answer."""
    return tuple(sorted(tag for tag in query.keys if KEYS[tag].computed))


def as_entries(computed: Iterable[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
    """What was counted or gathered, as attributes."""
    entries = {}
    for tag, value in computed:
        values = value if isinstance(value, list) else [] if value is None else [str(value)]
        entries[tag] = {"vr": KEYS[tag].vr, **({"Value": values} if values else {})}
    return entries
