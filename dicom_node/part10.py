"""The head of a Part 10 file (PS3.10 section 7), for whoever must know where its data set begins."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from dicom_node.errors import NotDicomError, UnreadableObjectError
from dicom_node.uids import UID_LENGTH, is_uid

_PREAMBLE = 128
_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""Explicit VRs with a 32-bit length after two reserved bytes (PS3.5 table 7.1-1)."""
_META_LIMIT = 1 << 20
"""Bytes; real file meta information takes a few hundred."""


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
