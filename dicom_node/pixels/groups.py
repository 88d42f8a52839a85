"""What the functional groups of a multi-frame CT (PS3.3 C.7.6.16) tell of each frame.

Read from their bytes where these are plain: as data sets, the groups of some hundred frames take longer than
all the rest of reading one of them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.pixels.ground import Loaded, first_item, inflate, items, number, numbers, text, texts

_GROUPS = "PerFrameFunctionalGroupsSequence"
_ITEM = b"\xfe\xff\x00\xe0"
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Explicit VRs with a 32-bit length (PS3.5 table 7.1-1)."""
_SHORT_LENGTH, _LENGTH = struct.Struct("<H").unpack_from, struct.Struct("<I").unpack_from
Values = Mapping[bytes, bytes]
"""The elements of a data set: value by tag, both as they lie in the file."""


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """Of one frame, or of an object that is one; None and empty where nothing is told."""

    axes: tuple[float, ...] | None
    """Image Orientation (Patient), six cosines."""
    corner: tuple[float, ...] | None
    """Image Position (Patient), three coordinates in mm."""
    slope: float | None
    intercept: float | None
    scale_type: str
    """Rescale Type."""
    kinds: tuple[str, ...]
    """Frame Type."""
    passes: tuple[float, ...]
    """Frame Acquisition Number and Temporal Position Index; nothing where there is no Frame Content."""


@dataclass(frozen=True, slots=True)
class _Macro:
    """A functional group: its sequence, and what it tells, from a data set or from the elements of one."""

    keyword: str
    by_dataset: Callable[[Dataset], Any]
    by_values: Callable[[Values], Any]

    @property
    def tag(self) -> bytes:
        """As it lies in a file."""
        return _tag(self.keyword)


def _tag(keyword: str) -> bytes:
    tag = Tag(keyword)
    return struct.pack("<HH", tag.group, tag.element)


_AXES, _CORNER = _tag("ImageOrientationPatient"), _tag("ImagePositionPatient")
_SLOPE, _INTERCEPT, _TYPE = _tag("RescaleSlope"), _tag("RescaleIntercept"), _tag("RescaleType")
_KIND = _tag("FrameType")
_PASSES = (_tag("FrameAcquisitionNumber"), _tag("TemporalPositionIndex"))


def _scale_of(ds: Dataset) -> tuple[float | None, float | None, str]:
    return number(ds, "RescaleSlope"), number(ds, "RescaleIntercept"), text(ds, "RescaleType")


def _passes_of(ds: Dataset) -> tuple[float, ...]:
    return tuple(number(ds, name) or 0.0 for name in ("FrameAcquisitionNumber", "TemporalPositionIndex"))


def _scale_in(values: Values) -> tuple[float | None, float | None, str]:
    slope, intercept = ((_floats(values.get(tag)) or (None,))[0] for tag in (_SLOPE, _INTERCEPT))
    kind = _strings(values.get(_TYPE))
    return slope, intercept, kind[0] if len(kind) == 1 else ""


_MACROS = (
    _Macro(
        "PlaneOrientationSequence",
        lambda ds: numbers(ds, "ImageOrientationPatient", 6),
        lambda values: _floats(values.get(_AXES), 6),
    ),
    _Macro(
        "PlanePositionSequence",
        lambda ds: numbers(ds, "ImagePositionPatient", 3),
        lambda values: _floats(values.get(_CORNER), 3),
    ),
    _Macro("PixelValueTransformationSequence", _scale_of, _scale_in),
    _Macro(
        "CTImageFrameTypeSequence",
        lambda ds: texts(ds, "FrameType"),
        lambda values: _strings(values.get(_KIND)),
    ),
    _Macro(
        "FrameContentSequence",
        _passes_of,
        lambda values: tuple(float(_unsigned(values.get(tag))) for tag in _PASSES),
    ),
)


def single_facts(header: Dataset) -> FrameFacts:
    """Of an object of one frame without functional groups. Raises UnreadableObjectError."""
    axes, corner = numbers(header, "ImageOrientationPatient", 6), numbers(header, "ImagePositionPatient", 3)
    return FrameFacts(axes, corner, *_scale_of(header), (), ())


def frame_facts(loaded: Loaded) -> Sequence[FrameFacts]:
    """Of each frame that has functional groups, in order; what a frame does not tell itself is told for all
    (Shared Functional Groups). Empty where there are none. Raises UnreadableObjectError."""
    shared = first_item(loaded.header, "SharedFunctionalGroupsSequence") or Dataset()
    common = [macro.by_dataset(first_item(shared, macro.keyword) or Dataset()) for macro in _MACROS[:-1]]
    common.append(())  # Frame Content is never shared
    try:
        told = _by_bytes(loaded, common)
    except (ValueError, struct.error):
        told = None
    if told is None:
        told = [_by_datasets(own, common) for own in items(loaded.header, _GROUPS)]
    return [
        FrameFacts(axes, corner, scale[0], scale[1], scale[2], kinds, passes)
        for axes, corner, scale, kinds, passes in told
    ]


def _by_datasets(own: Dataset, common: Sequence[Any]) -> list[Any]:
    found = [first_item(own, macro.keyword) for macro in _MACROS]
    return [
        macro.by_dataset(item) if item else shared
        for macro, item, shared in zip(_MACROS, found, common, strict=True)
    ]


def _by_bytes(loaded: Loaded, common: Sequence[Any]) -> list[list[Any]] | None:
    """What `_by_datasets` tells of each frame; None where there are no groups that can be read so. Raises
    ValueError and struct.error where their bytes are of another form: lengths undefined, numbers odd."""
    found = raw_value(loaded, _GROUPS)
    if found is None:
        return None
    data, implicit = found
    wanted: list[tuple[bytes, Callable[[Values], Any], Any, dict[bytes, Any]]] = [
        (macro.tag, macro.by_values, shared, {}) for macro, shared in zip(_MACROS, common, strict=True)
    ]
    frames: list[list[Any]] = []
    at = 0
    while at < len(data):
        begin, end = _item(data, at, len(data))
        groups = _elements(data, begin, end, implicit=implicit)
        told = []
        for tag, read, shared, known in wanted:
            value = groups.get(tag)
            if value is not None and value not in known:  # most frames say the same
                inner = _elements(value, *_item(value, 0, len(value)), implicit=implicit) if value else {}
                known[value] = read(inner) if inner else shared
            told.append(shared if value is None else known[value])
        frames.append(told)
        at = end
    return frames


def raw_value(loaded: Loaded, keyword: str) -> tuple[bytes, bool] | None:
    """The bytes of a sequence of known length in little endian, and whether its VRs are implicit; None where
    there is no such sequence, or it has been parsed already."""
    element: object = loaded.header.get_item(Tag(keyword), keep_deferred=True)
    if not isinstance(element, RawDataElement) or not element.is_little_endian:
        return None
    data = element.value
    if data is None and loaded.instance.transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        if element.value_tell + element.length > loaded.instance.path.stat().st_size:
            return None  # memory is taken for what is asked for, whatever is there
        with loaded.instance.path.open("rb") as file:
            file.seek(element.value_tell)
            data = file.read(element.length)
    elif data is None:
        data = inflate(loaded.instance).getvalue()[element.value_tell : element.value_tell + element.length]
    if not isinstance(data, bytes) or len(data) != element.length or element.VR not in ("SQ", None):
        return None
    return data, element.is_implicit_VR


def _item(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the value of the item at `at` begins and ends."""
    stop = at + 8 + int(_LENGTH(data, at + 4)[0])
    if data[at : at + 4] != _ITEM or stop > end:
        raise ValueError("no item of known length")
    return at + 8, stop


def _elements(data: bytes, at: int, end: int, *, implicit: bool) -> dict[bytes, bytes]:
    """The elements between two offsets, whose lengths are known."""
    found: dict[bytes, bytes] = {}
    while at < end:
        vr = data[at + 4 : at + 6]
        if implicit:
            begin, length = at + 8, _LENGTH(data, at + 4)[0]
        elif vr in _LONG:
            begin, length = at + 12, _LENGTH(data, at + 8)[0]
        elif vr.isalpha():
            begin, length = at + 8, _SHORT_LENGTH(data, at + 6)[0]
        else:
            raise ValueError("no value representation")
        stop = begin + length
        if stop > end:
            raise ValueError("no element of known length")
        found[data[at : at + 4]] = data[begin:stop]
        at = stop
    return found


def _floats(value: bytes | None, count: int | None = None) -> tuple[float, ...] | None:
    """As `numbers` tells them; None for no value."""
    trimmed = (value or b"").strip(b" \0")
    if not trimmed:
        return None
    told = tuple(map(float, trimmed.split(b"\\")))
    if not all(map(math.isfinite, told)) or (count is not None and len(told) != count):
        raise ValueError("no such numbers")
    return told


def _strings(value: bytes | None) -> tuple[str, ...]:
    """As `texts` tells them; ASCII only."""
    trimmed = (value or b"").decode("ascii").strip(" \0")
    return tuple(part.strip() for part in trimmed.split("\\")) if trimmed else ()


def _unsigned(value: bytes | None) -> int:
    """A US or UL, 0 for no value."""
    if value and len(value) not in (2, 4):
        raise ValueError("no single number")
    return int.from_bytes(value or b"", "little")
