"""What the header of a stored file tells the register."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_node.matching.attributes import Attributes, texts, to_json
from dicom_node.matching.keys import CHARACTER_SET, KEPT, KEYS, Level, tag_of
from dicom_node.matching.narrow import ACCESSION_NUMBER, MODALITY, PATIENT_ID, PATIENT_NAME, STUDY_DATE
from dicom_node.matching.times import date_of
from dicom_node.matching.values import fold, joined
from dicom_node.part10 import inflated, read_part10_head
from dicom_node.pixels.quiet import parsing
from dicom_node.store.find_facts import Header, Unread

READ: Mapping[int, str] = MappingProxyType(
    {
        int(tag, 16): tag
        for tag in (CHARACTER_SET, *(tag_of(word) for word in " ".join(KEPT.values()).split()))
    }
)
"""Attributes that are read, by number."""
LAST = max(READ)


INDEXED = frozenset({PATIENT_ID, PATIENT_NAME, ACCESSION_NUMBER})
INDEX_LIMIT = 1024
"""Bytes of a value that an index can hold. An LO has 64 characters, a PN three times 64; what is longer is no
identifier and is not kept."""


def read_header(path: Path) -> Attributes:
    """The kept attributes of a Part 10 file; nothing behind the last of them is read.

    Raises NotDicomError, UnreadableObjectError, OSError.
    """
    with parsing("bad-data-set", "Its data set cannot be parsed."):
        return to_json(_read(path), READ.values())


def _read(path: Path) -> Dataset:
    syntax, offset = read_part10_head(path)
    if syntax == DeflatedExplicitVRLittleEndian:
        return _parse(inflated(path, offset), syntax)
    with path.open("rb") as stream:
        stream.seek(offset)
        return _parse(stream, syntax)


def _parse(stream: BinaryIO, syntax: str) -> Dataset:
    return read_dataset(
        stream,
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
        stop_when=_is_past,
        specific_tags=[BaseTag(number) for number in READ],
    )


def _is_past(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > LAST)


def header_of(unread: Unread, attributes: Attributes) -> Header:
    """What the register keeps of an instance. Attributes without a value are not kept: a later object may
    tell them."""

    def of(*levels: Level) -> Attributes:
        return {
            tag: entry
            for tag, entry in attributes.items()
            if "Value" in entry and tag in KEYS and KEYS[tag].level in levels
        }

    attributes = {tag: entry for tag, entry in attributes.items() if tag not in INDEXED or _is_short(entry)}
    day = date_of(" ".join(texts(attributes.get(STUDY_DATE))))
    return Header(
        sop_instance_uid=unread.sop_instance_uid,
        study_uid=unread.study_uid,
        series_uid=unread.series_uid,
        study=of(Level.PATIENT, Level.STUDY),
        series=of(Level.SERIES),
        image=of(Level.IMAGE),
        patient_id=joined(attributes.get(PATIENT_ID)),
        patient_name=fold(joined(attributes.get(PATIENT_NAME))),
        study_date="" if day is None else f"{day.year:04}{day.month:02}{day.day:02}",
        accession_number=joined(attributes.get(ACCESSION_NUMBER)),
        modality=joined(attributes.get(MODALITY)),
    )


def _is_short(entry: Mapping[str, object]) -> bool:
    return len(fold(joined(entry)).encode()) <= INDEX_LIMIT


def identity_alone(unread: Unread) -> Attributes:
    """Of an object whose header cannot be read: the UIDs under which it was taken in."""
    uids = {
        "StudyInstanceUID": unread.study_uid,
        "SeriesInstanceUID": unread.series_uid,
        "SOPInstanceUID": unread.sop_instance_uid,
    }
    return {tag_of(keyword): {"vr": "UI", "Value": [uid]} for keyword, uid in uids.items()}
