"""The head of a Part 10 file (PS3.10 section 7): where its data set begins, and who the object says it is."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_node.errors import NotDicomError, UnreadableObjectError
from dicom_node.uids import UID_LENGTH, is_uid

_PREAMBLE = 128
_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""Explicit VRs with a 32-bit length after two reserved bytes (PS3.5 table 7.1-1)."""
_PIECE = 1 << 22
"""Bytes that are inflated at once."""
_META_LIMIT = 1 << 20
"""Bytes; real file meta information takes a few hundred."""

LAST_NEEDED = Tag(0x0020000E)  # Series Instance UID: the last attribute that identifies an instance
INFLATE_LIMIT = 1 << 22
"""Bytes of a deflated data set that are inflated to look for its UIDs."""
WHOLE_LIMIT = 1 << 28
"""Bytes of a deflated data set that are inflated at all: a file of 3 MB may hold 3 GB of zeros."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an object says it is; the data set decides, not the message that carried it."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str


def read_part10_head(path: Path) -> tuple[str, int]:
    """`read_head` of the file at `path`. Raises OSError too, where it cannot be opened."""
    with path.open("rb") as file:
        return read_head(file)


def read_head(file: BinaryIO) -> tuple[str, int]:
    """Transfer Syntax UID, and the offset of the data set in bytes, of a file at its beginning.

    File meta information is always Explicit VR Little Endian (PS3.10 section 7.1). Its group length is not
    trusted: some writers get it wrong. The elements themselves tell where the group ends. A missing preamble
    is forgiven where valid file meta information opens the file.

    Raises NotDicomError for a file of another kind, UnreadableObjectError (`no-transfer-syntax`).
    """
    opening = file.read(_PREAMBLE + 4)
    offset = _PREAMBLE + 4 if opening[_PREAMBLE:] == b"DICM" else 0
    if offset == 0 and opening[:2] != b"\x02\x00":
        raise NotDicomError(
            "not-dicom", "It is not a DICOM Part 10 file: neither `DICM` nor file meta information."
        )
    transfer_syntax = ""
    while offset < _META_LIMIT:
        file.seek(offset)
        head = file.read(12)
        if head[:2] != b"\x02\x00" or len(head) < 8:
            break
        long = head[4:6] in _LONG_VRS
        length = int.from_bytes(head[8:12] if long else head[6:8], "little")
        value = offset + (12 if long else 8)
        if head[2:4] == b"\x10\x00":  # (0002,0010)
            file.seek(value)
            transfer_syntax = file.read(min(length, UID_LENGTH)).decode("ascii", "replace").rstrip("\0 ")
        offset = value + length
    if not is_uid(transfer_syntax):
        raise UnreadableObjectError(
            "no-transfer-syntax", "Its file meta information holds no Transfer Syntax UID (0002,0010)."
        )
    return transfer_syntax, offset


def identify(path: Path, transfer_syntax_uid: str, offset: int) -> Identity:
    """Read the UIDs from the head of the data set that starts at `offset`; pixels are not touched.

    Raises UnreadableObjectError where one is missing or the data set cannot be parsed.
    """
    with path.open("rb") as stream:
        stream.seek(offset)
        source: BinaryIO = stream
        if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            source = inflated_head(stream)
        try:
            found = read_dataset(
                source,
                is_implicit_VR=transfer_syntax_uid == ImplicitVRLittleEndian,
                is_little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
                stop_when=_is_past_uids,
                specific_tags=[
                    Tag("SOPClassUID"),
                    Tag("SOPInstanceUID"),
                    Tag("StudyInstanceUID"),
                    Tag("SeriesInstanceUID"),
                ],
            )
            return Identity(
                study_uid=_uid(found, "StudyInstanceUID"),
                series_uid=_uid(found, "SeriesInstanceUID"),
                sop_instance_uid=_uid(found, "SOPInstanceUID"),
                sop_class_uid=_uid(found, "SOPClassUID"),
            )
        except UnreadableObjectError:
            raise
        except Exception as error:  # pydicom raises anything on a broken data set
            raise UnreadableObjectError("bad-data-set", "its data set cannot be parsed") from error


def _is_past_uids(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > LAST_NEEDED)


def _uid(found: Dataset, keyword: str) -> str:
    """The value as it lies in the file: what pydicom makes of an odd one is of no use in a path."""
    element = found.get_item(keyword)
    value = b"" if element is None else element.value
    if not isinstance(value, bytes) or not value.strip(b"\x00 "):
        raise UnreadableObjectError("missing-uid", f"its data set has no {keyword}")
    return value.rstrip(b"\x00 ").decode("ascii", errors="replace")


def inflated_head(stream: BinaryIO) -> BinaryIO:
    """As much of a deflated data set, which begins where the stream stands, as holds its UIDs.

    PS3.5 section A.5: the data set is deflated as a whole, without a header. Raises UnreadableObjectError.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    head = bytearray()
    try:
        while len(head) < INFLATE_LIMIT and (data := stream.read(65536)):
            head += inflater.decompress(data, INFLATE_LIMIT)
            if _holds_uids(head):
                break
    except zlib.error as error:
        raise UnreadableObjectError("bad-data-set", "its deflated data set is broken") from error
    return BytesIO(bytes(head))


def inflated(path: Path, offset: int, limit: int = WHOLE_LIMIT) -> BytesIO:
    """The whole deflated data set that starts at `offset`.

    Raises UnreadableObjectError (`absurd-size`) beyond `limit` bytes, (`bad-data-set`) where it is broken.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    whole = BytesIO()
    with path.open("rb") as stream:
        stream.seek(offset)
        try:
            while not inflater.eof and (data := inflater.unconsumed_tail or stream.read(65536)):
                whole.write(inflater.decompress(data, _PIECE))
                if whole.tell() > limit:
                    raise UnreadableObjectError(
                        "absurd-size",
                        f"Its deflated data set holds more than {limit >> 20} MB: send it in another syntax.",
                    )
        except zlib.error as error:
            raise UnreadableObjectError("bad-data-set", "its deflated data set is broken") from error
    whole.seek(0)
    return whole


def _holds_uids(head: bytearray) -> bool:
    """Whether Series Instance UID (0020,000E, little endian, explicit UI) and some more is there."""
    at = head.find(b"\x20\x00\x0e\x00UI")
    return 0 <= at < len(head) - 80
