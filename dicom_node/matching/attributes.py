"""A data set as text: the DICOM JSON model (PS3.18 annex F), read from the bytes as they lie there.

pydicom's own conversion refuses odd values, and queries are full of values that their VR forbids (`2020-`,
`1*`). So strings stay what they are; DS and IS stay strings too, which the model permits.

Binary values, and values longer than VALUE_LIMIT, are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName

Attributes = dict[str, dict[str, Any]]
"""Tag (eight hexadecimal digits) to {"vr": ..., "Value": [...]}; without "Value" where it is empty."""

VALUE_LIMIT = 1 << 16
"""Bytes. The longest attribute that is asked for, an LT, has at most 10,240 characters."""
DEPTH_LIMIT = 4
"""Sequences within sequences; deeper ones are left out."""
ITEM_LIMIT = 64
"""Items of one sequence that are kept."""

CHARACTER_SET = Tag("SpecificCharacterSet")
TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs that Specific Character Set (0008,0005) governs (PS3.5 section 6.1.2.2)."""
WHOLE = frozenset({"LT", "ST", "UR", "UT"})
"""VRs whose value may hold a backslash: one value, and leading spaces count."""
STRINGS = TEXT | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
BINARY: Mapping[str, str] = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
"""VRs of numbers, and their letter in `struct`."""
DELIMITERS = {0x5C, 0x5E, 0x3D, 0x0D, 0x0A, 0x09, 0x0C}
"""Characters that end a code extension (PS3.5 section 6.1.2.5.3)."""
PN_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def to_json(dataset: Dataset, only: Collection[str] | None = None, *, limit: int = VALUE_LIMIT) -> Attributes:
    """The attributes of a data set, or those of its tags that are in `only`; items of sequences are whole.
    `limit`: bytes of a value that is kept.

    Raises what pydicom raises on broken sequences.
    """
    return _to_json(dataset, ["iso8859"], 0, only, limit)


def _to_json(
    dataset: Dataset, encodings: list[str], depth: int, only: Collection[str] | None, limit: int
) -> Attributes:
    if names := character_sets(dataset):
        encodings = convert_encodings(names)
    found: Attributes = {}
    for tag in dataset.keys():  # noqa: SIM118 - a Dataset yields its elements, converted
        name = f"{tag:08X}"
        if only is not None and name not in only:
            continue
        vr, values = _values(dataset, tag, encodings, depth, limit)
        if vr and values is not None:
            found[name] = {"vr": vr, **({"Value": values} if values else {})}
    return found


def character_sets(dataset: Dataset) -> list[str]:
    """The values of Specific Character Set (0008,0005), as they lie there."""
    text = _raw_text(dataset.get_item(CHARACTER_SET) if CHARACTER_SET in dataset else None)
    return [name.strip() for name in text.split("\\")] if text.strip() else []


def _values(
    dataset: Dataset, tag: BaseTag, encodings: list[str], depth: int, limit: int
) -> tuple[str, list[Any] | None]:
    """VR and values of one attribute; None where they are not kept."""
    element: RawDataElement | DataElement | None = dataset.get_item(tag)
    vr = _vr(tag, element)
    if element is None or (vr not in STRINGS and vr not in BINARY and vr != "SQ"):
        return vr, None
    if vr == "SQ":
        too_long = isinstance(element, RawDataElement) and len(element.value or b"") > limit
        if depth >= DEPTH_LIMIT or too_long:
            return vr, None
        items = dataset[tag].value or []
        return vr, [_to_json(item, encodings, depth + 1, None, limit) for item in list(items)[:ITEM_LIMIT]]
    if not isinstance(element, RawDataElement):
        return vr, _decoded(element, vr)
    data = element.value or b""
    if len(data) > limit:
        return vr, None
    if vr in BINARY:
        form = BINARY[vr]
        count = len(data) // struct.calcsize(form)
        order = "<" if element.is_little_endian else ">"
        return vr, list(struct.unpack(f"{order}{count}{form}", data[: count * struct.calcsize(form)]))
    text = decode_bytes(data, encodings, DELIMITERS) if vr in TEXT else data.decode("latin-1")
    return vr, split(text, vr)


def _vr(tag: BaseTag, element: RawDataElement | DataElement | None) -> str:
    """As the dictionary has it, where it has one: what is sent in Implicit VR, or as UN, is the same."""
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        vr = "" if element is None or element.VR is None else str(element.VR)
    # US or SS, OB or OW: the first will do, as none of them is compared by its sign here.
    return vr.split(" or ")[0]


def _raw_text(element: RawDataElement | DataElement | None) -> str:
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").rstrip("\0 ")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\\".join(map(str, value))
    return str(value or "")


def _decoded(element: DataElement, vr: str) -> list[Any]:
    """The values of an attribute that was set by program, or that pydicom has decoded before."""
    value = element.value
    if value is None or value == "":
        return []
    several = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    if vr in BINARY:
        return list(several)
    return split("\\".join(str(one) for one in several), vr)


def split(text: str, vr: str) -> list[Any]:
    """The values of a string in their JSON form, without padding; NUL, which PostgreSQL cannot keep, is
    dropped. An empty string has none."""
    whole = text.replace("\0", "")
    parts = [whole.rstrip(" ")] if vr in WHOLE else [part.strip(" ") for part in whole.split("\\")]
    if not any(parts):
        return []
    return [person(part) for part in parts] if vr == "PN" else [part or None for part in parts]


def person(text: str) -> dict[str, str]:
    """A PN by component groups (PS3.18 section F.2.2)."""
    groups = dict(zip(PN_GROUPS, text.split("="), strict=False))
    return {name: group for name, group in groups.items() if group}


def texts(entry: Mapping[str, Any] | None) -> list[str]:
    """The values of an attribute as strings, as they lie in a data set. Not for sequences."""
    values = [] if entry is None else entry.get("Value", [])
    return [as_text(value) for value in values]


def as_text(value: Any) -> str:
    """One value of the JSON model as it lies in a data set."""
    if isinstance(value, dict):
        return "=".join(value.get(name, "") for name in PN_GROUPS).rstrip("=")
    return "" if value is None else str(value)


def to_dataset(attributes: Mapping[str, Mapping[str, Any]]) -> Dataset:
    """The attributes as a data set. Values are not checked: what an object says is told on as it is."""
    made = Dataset()
    for name in sorted(attributes):
        entry = attributes[name]
        made.add(_element(int(name, 16), entry["vr"], entry.get("Value", [])))
    return made


def _element(tag: int, vr: str, values: Sequence[Any]) -> DataElement:
    if vr == "SQ":
        return DataElement(tag, vr, [to_dataset(item) for item in values])
    if vr in BINARY:
        return DataElement(tag, vr, list(values) if len(values) > 1 else next(iter(values), None))
    strings = [as_text(value) for value in values]
    if vr == "PN":
        names = [PersonName(text) for text in strings]
        return DataElement(tag, vr, names if len(names) > 1 else next(iter(names), ""))
    # Already converted: pydicom would compute with DS and IS, and refuse odd ones.
    return DataElement(tag, vr, "\\".join(strings), already_converted=True)
