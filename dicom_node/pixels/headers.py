"""What a file is, without its pixels: `read_instance` for one file, `walk` for files and folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import MediaStorageDirectoryStorage

from dicom_node.errors import InputError, NotDicomError, UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.quiet import parsing
from dicom_node.records import Instance
from dicom_node.uids import check_uid, is_uid

_PREAMBLE = 128
_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""Explicit VRs with a 32-bit length after two reserved bytes (PS3.5 table 7.1-1)."""
_META_LIMIT = 1 << 20
"""Bytes; real file meta information takes a few hundred."""
_LAST_TAG = Tag("SeriesInstanceUID")
_TAGS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True)
class NotDicom:
    """A file that is no SOP instance that could be read, and why."""

    path: Path
    reason: str
    """Short slug, as in InputError.reason."""
    message: str


def read_instance(path: Path) -> Instance:
    """The identifying facts of one Part 10 file (PS3.10 section 7).

    A missing preamble is forgiven where valid file meta information opens the file. Objects without pixels
    are instances like all others.

    Raises NotDicomError for a file of another kind, UnsupportedObjectError (`dicomdir`) for the index of a
    medium, UnreadableObjectError where an identifier is missing or broken, OSError where the file
    cannot be opened.
    """
    with path.open("rb") as file:
        transfer_syntax, start = _read_meta(file)
        file.seek(0)
        uids = _read_uids(file)
        file.seek(start)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
    return Instance(
        study_uid=uids["StudyInstanceUID"],
        series_uid=uids["SeriesInstanceUID"],
        sop_instance_uid=uids["SOPInstanceUID"],
        sop_class_uid=uids["SOPClassUID"],
        transfer_syntax_uid=transfer_syntax,
        path=path,
        size=size,
        sha256=digest,
    )


def walk(paths: Sequence[Path]) -> tuple[list[Instance], list[NotDicom]]:
    """All instances under these files and folders, in order of their paths, and the files that are none.

    Links to folders are not followed. A path that does not exist is listed as not being DICOM.
    """
    instances: list[Instance] = []
    others: list[NotDicom] = []
    for path in _files(paths):
        try:
            instances.append(read_instance(path))
        except InputError as error:
            others.append(NotDicom(path, error.reason, str(error)))
        except OSError as error:
            others.append(NotDicom(path, "cannot-open", f"It cannot be opened: {error.strerror}."))
    return instances, others


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                yield Path(folder, name)


def _read_meta(file: BinaryIO) -> tuple[str, int]:
    """Transfer Syntax UID, and the offset of the data set, of a file at its beginning.

    Always Explicit VR Little Endian (PS3.10 section 7.1). The group length is not trusted: some writers
    get it wrong. The elements themselves tell where the group ends.
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
            transfer_syntax = file.read(min(length, 64)).decode("ascii", "replace").rstrip("\0 ")
        offset = value + length
    if not is_uid(transfer_syntax):
        raise UnreadableObjectError(
            "no-transfer-syntax", "Its file meta information holds no Transfer Syntax UID (0002,0010)."
        )
    return transfer_syntax, offset


def _read_uids(file: BinaryIO) -> dict[str, str]:
    """The four identifiers; reading stops behind the last of them."""

    def past_the_last(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return int(tag) > int(_LAST_TAG)

    with parsing(
        "broken-header", "Its data set cannot be parsed: the file is cut short or was written wrongly."
    ):
        ds = read_partial(
            file, stop_when=past_the_last, force=True, specific_tags=[Tag(name) for name in _TAGS]
        )
        uids = {name: str(ds.get(name) or "") for name in _TAGS}
        directory = _media_storage(ds) == MediaStorageDirectoryStorage
    if directory:
        raise UnsupportedObjectError(
            "dicomdir",
            "It is a DICOMDIR, the index of a medium: give the folder that holds the images as well.",
        )
    for name, value in uids.items():
        if not value:
            raise UnreadableObjectError("missing-uid", f"It has no {name}.")
        check_uid(value, name)
    return uids


def _media_storage(ds: Dataset) -> str:
    meta = getattr(ds, "file_meta", None)
    return str(meta.get("MediaStorageSOPClassUID") or "") if meta is not None else ""
