"""Identifiers of C-FIND responses (PS3.4 section C.4.1.1.3.2), in a character set that can hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset

from dicom_node.matching.attributes import TEXT, as_text, to_dataset
from dicom_node.matching.keys import INSTANCE_AVAILABILITY, RETRIEVE_AE_TITLE, Level

UTF8 = "ISO_IR 192"


@dataclass(frozen=True, slots=True)
class Frame:
    """What all answers to one question have in common."""

    level: Level
    character_sets: tuple[str, ...]
    """Specific Character Set (0008,0005) of the question."""
    asks_availability: bool
    asks_retrieve_ae: bool


def identifier(told: Mapping[str, Mapping[str, Any]], frame: Frame, retrieve_ae: str | None) -> Dataset:
    """The identifier of one match. `retrieve_ae`: whom to ask for the objects; None: nobody is known."""
    made = to_dataset(told)
    made.QueryRetrieveLevel = frame.level.name
    if retrieve_ae is not None or frame.asks_retrieve_ae:
        made.add_new(int(RETRIEVE_AE_TITLE, 16), "AE", retrieve_ae or "")
    if frame.asks_availability:  # PS3.3 section C.4.23.1.1: UNAVAILABLE is what cannot be retrieved
        made.add_new(int(INSTANCE_AVAILABILITY, 16), "CS", "ONLINE" if retrieve_ae else "UNAVAILABLE")
    if sets := character_sets_for(list(_texts(told)), frame.character_sets):
        made.SpecificCharacterSet = list(sets) if len(sets) > 1 else sets[0]
    return made


def character_sets_for(values: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Specific Character Set of an answer: that of the question where it can hold all of the answer, else
    UTF-8, and none where ASCII will do and nothing was asked."""
    if asked and _can_hold(asked, values):
        return tuple(asked)
    return () if all(value.isascii() for value in values) else (UTF8,)


def _can_hold(sets: Sequence[str], values: Sequence[str]) -> bool:
    if all(value.isascii() for value in values):
        return True
    encodings = convert_encodings(list(sets))
    if not any(sets) or (sets[0] == "ISO_IR 6" and len(sets) == 1):  # pydicom reads ASCII as Latin-1
        return False
    return all(any(_encodes(letter, name) for name in encodings) for letter in set("".join(values)))


def _encodes(letter: str, encoding: str) -> bool:
    try:
        letter.encode(encoding)
    except UnicodeError:
        return False
    return True


def _texts(told: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Every value that Specific Character Set governs."""
    for entry in told.values():
        for value in entry.get("Value", []):
            if entry["vr"] == "SQ":
                yield from _texts(value)
            elif entry["vr"] in TEXT:
                yield as_text(value)
