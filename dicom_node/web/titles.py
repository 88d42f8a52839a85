"""What a study is called by people: patient, description, day; and how large its images are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dicom_node.matching.attributes import as_text, texts
from dicom_node.matching.found import Rowed
from dicom_node.matching.keys import tag_of
from dicom_node.store.find_facts import Narrowing, Rows

NAME = tag_of("PatientName")
PATIENT_ID = tag_of("PatientID")
DESCRIPTION = tag_of("StudyDescription")
STUDY_DATE = tag_of("StudyDate")
SIZES = (
    (tag_of("TotalPixelMatrixRows"), tag_of("TotalPixelMatrixColumns")),
    (tag_of("Rows"), tag_of("Columns")),
)
"""Of a slide, whose regions are told in its total matrix; of all others."""


@dataclass(frozen=True, slots=True)
class Title:
    """Each empty where the objects do not tell."""

    patient: str = ""
    """Name as people write it: `Doe, Jane`."""
    patient_id: str = ""
    description: str = ""
    day: str = ""
    """`2026-10-14`, or as the object has it."""

    @property
    def line(self) -> str:
        """Patient and description, as far as they are told."""
        return " · ".join(part for part in (self.patient, self.patient_id, self.description) if part)


UNKNOWN = Title()


def titles(records: Rowed, study_uids: Iterable[str]) -> dict[str, Title]:
    """By study; studies whose headers are not read yet are missing. Raises DatabaseUnavailableError."""
    wanted = tuple(dict.fromkeys(study_uids))
    if not wanted:  # which would be no condition at all
        return {}
    with records.rows(Rows.STUDIES, Narrowing(study_uids=wanted)) as rows:
        return {row.study_uid: _title(row.attributes) for row in rows}


def sizes(
    records: Rowed, study_uids: Iterable[str], instances: Iterable[str]
) -> dict[str, tuple[float, float]]:
    """(rows, columns) of images by SOP Instance UID, as far as they are told."""
    studies, wanted = tuple(dict.fromkeys(study_uids)), tuple(dict.fromkeys(instances))
    if not studies or not wanted:
        return {}
    narrowing = Narrowing(study_uids=studies, sop_instance_uids=wanted)
    with records.rows(Rows.INSTANCES, narrowing) as rows:
        found = {row.sop_instance_uid: _size(row.attributes) for row in rows}
    return {uid: size for uid, size in found.items() if uid is not None and size is not None}


def _title(attributes: Mapping[str, Mapping[str, Any]]) -> Title:
    day = " ".join(texts(attributes.get(STUDY_DATE)))
    return Title(
        patient=person(attributes.get(NAME)),
        patient_id=" ".join(texts(attributes.get(PATIENT_ID))),
        description=" ".join(texts(attributes.get(DESCRIPTION))),
        day=f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdecimal() else day,
    )


def person(entry: Mapping[str, Any] | None) -> str:
    """A name (PN) as people write it: family name first, component groups side by side."""
    return ", ".join(
        " ".join(filter(None, (_written(group) for group in as_text(value).split("="))))
        for value in ([] if entry is None else entry.get("Value", []))
    )


def _written(group: str) -> str:
    """`Doe^Jane^M^Dr` becomes `Doe, Jane M Dr`."""
    family, *others = (part.strip() for part in group.split("^"))
    rest = " ".join(part for part in others if part)
    return ", ".join(part for part in (family, rest) if part)


def _size(attributes: Mapping[str, Mapping[str, Any]]) -> tuple[float, float] | None:
    for names in SIZES:
        told = [texts(attributes.get(name)) for name in names]
        if all(value and value[0].isdecimal() and int(value[0]) > 0 for value in told):
            return float(told[0][0]), float(told[1][0])
    return None
