"""SOP Class Extended Negotiation for C-FIND (PS3.4 section C.5.1.1): what goes beyond the plain rules.

| byte | field                           | answered                               |
|------|---------------------------------|----------------------------------------|
| 1    | relational queries              | as asked                               |
| 2    | combined date-time matching     | as asked                               |
| 3    | fuzzy semantic matching of names| 0: names match literally, see values.py|
| 4    | timezone query adjustment       | as asked                               |
| 5    | enhanced multi-frame conversion | 0                                      |
| 6    | empty value matching            | as asked                               |
| 7    | multiple value matching         | as asked                               |
"""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.events import Event

from dicom_node.dimse.contexts import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from dicom_node.matching.values import Rules

GRANTED = bytes([1, 1, 0, 1, 0, 1, 1])


def handle_extended(event: Event) -> dict[UID, bytes]:
    """Handler of evt.EVT_SOP_EXTENDED: of what is asked for FIND, what will be done."""
    asked: Mapping[UID, bytes] = event.app_info  # type: ignore[attr-defined] # set by the kind of event
    return {uid: _granted(asked[uid]) for uid in asked if uid in (PATIENT_ROOT_FIND, STUDY_ROOT_FIND)}


def _granted(asked: bytes) -> bytes:
    """As many bytes as were asked for."""
    return bytes(want & can for want, can in zip(asked, GRANTED, strict=False))


def rules_of(association: Association, sop_class: str) -> Rules:
    """What holds for the questions of an association."""
    asked: Mapping[UID, bytes] = association.requestor.sop_class_extended
    told = _granted(asked.get(UID(sop_class), b"")).ljust(len(GRANTED), b"\0")
    return Rules(
        relational=bool(told[0]),
        combined_datetime=bool(told[1]),
        timezone_adjusted=bool(told[3]),
        empty_values=bool(told[5]),
        multiple_values=bool(told[6]),
    )
