"""What the address of a QIDO-RS query asks (PS3.18 sections 8.3.4 and 10.6.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

from dicom_node.errors import QuestionError
from dicom_node.matching.attributes import Attributes, split
from dicom_node.matching.keys import ABOUT_THE_ANSWER, KEYS, Level, tag_of
from dicom_node.matching.values import Rules
from dicom_node.search.told import CREATOR, GROUP, SIMILAR, TEXT
from dicom_node.uids import is_uid

LIMIT = 100
LARGEST = 1000
"""Results at once; `offset` continues."""
FURTHEST = 10_000_000
LISTED = frozenset({"CS", "UI"})
"""VRs whose values hold no comma: one separates several."""
BLOCK = 0x10
"""Of the private elements where the address names none."""

ALWAYS: Mapping[Level, str] = MappingProxyType(
    {
        Level.STUDY: """
            StudyDate StudyTime AccessionNumber ModalitiesInStudy ReferringPhysicianName
            TimezoneOffsetFromUTC PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyID
            StudyDescription NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
        """,
        Level.SERIES: """
            Modality SeriesDescription SeriesInstanceUID SeriesNumber PerformedProcedureStepStartDate
            PerformedProcedureStepStartTime RequestAttributesSequence NumberOfSeriesRelatedInstances
        """,
        Level.IMAGE: """
            SOPClassUID SOPInstanceUID InstanceNumber Rows Columns BitsAllocated NumberOfFrames
            AvailableTransferSyntaxUID
        """,
    }
)
"""Attributes of every result, asked for or not: PS3.18 tables 10.6.3-3 to 10.6.3-5, and the description."""
UNIQUE: Mapping[Level, str] = MappingProxyType(
    {Level.STUDY: "StudyInstanceUID", Level.SERIES: "SeriesInstanceUID"}
)
TRUTH = MappingProxyType({"true": True, "false": False})


@dataclass(frozen=True, slots=True, eq=False)
class Address:
    """A query, read."""

    level: Level
    keys: Attributes
    """What is matched, and what is only to be told, which is empty."""
    rules: Rules
    limit: int
    offset: int
    fuzzy: bool
    """Whether names were to be matched by more than letters, which is not done."""
    text: str
    """The question in words; empty where there is none."""
    similar_to: str | None
    block: int
    """Of the private elements."""


def read_address(
    fields: Iterable[tuple[str, str]], level: Level, within: Mapping[Level, str | None]
) -> Address:
    """`within`: the study and series that the path names. Raises QuestionError where it cannot be read."""
    asked: Attributes = {}
    told: list[str] = []
    options: dict[str, str] = {}
    for name, value in fields:
        if name == "includefield":
            told += value.split(",")
        elif name in ("limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching"):
            options[name] = value
        else:
            _ask(asked, name.split("."), value)
    text, similar_to, block = _question(asked)
    for upper, uid in within.items():
        if uid is not None:
            asked[tag_of(UNIQUE[upper])] = {"vr": "UI", "Value": [uid]}
    keys = {**_told(told, level, within), **asked}
    if similar_to and not is_uid(similar_to):
        raise _unfit("The example is no UID.")
    return Address(
        level=level,
        keys=keys,
        rules=Rules(
            relational=True,
            combined_datetime=True,
            empty_values=_truth(options, "emptyvaluematching"),
            multiple_values=True,
        ),
        limit=min(_whole(options, "limit", LIMIT), LARGEST),
        offset=_whole(options, "offset", 0),
        fuzzy=_truth(options, "fuzzymatching"),
        text=text,
        similar_to=similar_to or None,
        block=block,
    )


def _ask(asked: Attributes, path: list[str], value: str) -> None:
    """Put one key where it belongs: `OtherPatientIDsSequence.PatientID` into an item."""
    tag = _tag(path[0])
    vr = _vr(tag)
    if len(path) > 1:
        if vr != "SQ" or len(path) > 4:
            raise _unfit(f"{path[0]} is no sequence, or too deep in one.")
        entry = asked.setdefault(tag, {"vr": "SQ", "Value": [{}]})
        _ask(entry["Value"][0], path[1:], value)
        return
    if vr == "SQ":
        asked.setdefault(tag, {"vr": "SQ", "Value": [{}]})
        return
    # Backslashes separate values as in a data set; commas where no value can hold one.
    values = split(value.replace(",", "\\") if vr in LISTED else value, vr)
    asked[tag] = {"vr": vr, **({"Value": values} if values else {})}


def _told(names: Iterable[str], level: Level, within: Mapping[Level, str | None]) -> Attributes:
    """What a result tells besides the keys."""
    wanted: list[str] = []
    for upper, words in ALWAYS.items():
        # Of what the path names the client knows the attributes already (PS3.18 section 10.6.3.3).
        if upper <= level and (upper == level or within.get(upper) is None):
            wanted += map(tag_of, words.split())
    for name in names:
        if name == "all":
            wanted += [tag for tag, key in KEYS.items() if key.level <= level]
        elif name:
            wanted.append(_tag(name))
    return {tag: {"vr": _vr(tag)} for tag in wanted if tag not in ABOUT_THE_ANSWER}


def _question(asked: Attributes) -> tuple[str, str, int]:
    """Text and example of the private block, which are taken out of the keys, and the block."""
    private = [tag for tag in asked if tag.startswith(f"{GROUP:04X}")]
    named = {int(tag[6:], 16) for tag in private if tag[4:6] == "00" and asked[tag].get("Value") == [CREATOR]}
    found: dict[int, str] = {}
    blocks = {int(tag[4:6], 16) for tag in private if tag[4:6] != "00"}
    block = next(iter(sorted(named or blocks or {BLOCK})))
    for tag in private:
        values = asked.pop(tag).get("Value", [])
        if int(tag[4:6], 16) == block and values:
            found[int(tag[6:], 16)] = str(values[0]).strip()
    return found.get(TEXT, ""), found.get(SIMILAR, ""), block


def _tag(name: str) -> str:
    """Eight hexadecimal digits of a keyword, or of themselves. Raises QuestionError."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        return name.upper()
    number = tag_for_keyword(name) if name.isascii() and name.isalnum() else None
    if number is None:
        raise _unfit("An attribute is named by its keyword or by eight hexadecimal digits; one is neither.")
    return f"{number:08X}"


def _vr(tag: str) -> str:
    number = int(tag, 16)
    if number >> 16 == GROUP:
        return "UI" if number & 0xFF == SIMILAR else "LT" if number & 0xFF00 else "LO"
    # US or SS, OB or OW: the first will do, as none of them is compared by its sign here.
    return dictionary_VR(number).split(" or ")[0] if dictionary_has_tag(number) else "LO"


def _whole(options: Mapping[str, str], name: str, default: int) -> int:
    told = options.get(name, str(default))
    if not (told.isascii() and told.isdecimal() and int(told) <= FURTHEST):
        raise _unfit(f"{name} must be a whole number.")
    return int(told)


def _truth(options: Mapping[str, str], name: str) -> bool:
    told: Any = TRUTH.get(options.get(name, "false"))
    if told is None:
        raise _unfit(f"{name} must be true or false.")
    return bool(told)


def _unfit(words: str) -> QuestionError:
    return QuestionError("unfit-query", words)
