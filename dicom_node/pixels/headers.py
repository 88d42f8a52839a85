"""What a file is, without its pixels: `read_instance` for one file, `walk` for files and folders."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from dicom_node.errors import InputError, NotDicomError, UnreadableObjectError, UnsupportedObjectError
from dicom_node.part10 import inflated_head, read_head
from dicom_node.pixels.quiet import parsing
from dicom_node.records import Instance
from dicom_node.uids import check_uid

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

    Raises NotDicomError for a file of another kind and (`not-a-file`) for a pipe, socket or device, which is
    never opened as that could wait for ever; UnsupportedObjectError (`dicomdir`) for the index of a
    medium, UnreadableObjectError where an identifier is missing or broken, OSError where the file
    cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotDicomError("not-a-file", "It is a pipe, a socket, a device or a folder, not a file.")
    with path.open("rb") as file:
        transfer_syntax, start = read_head(file)
        file.seek(0 if transfer_syntax != DeflatedExplicitVRLittleEndian else start)
        uids = _read_uids(file, deflated=transfer_syntax == DeflatedExplicitVRLittleEndian)
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


def walk(paths: Sequence[Path], without: Path | None = None) -> tuple[list[Instance], list[NotDicom]]:
    """All instances under these files and folders, in order of their paths, and the files that are none.

    Links to folders are not followed. A path that does not exist, and a folder that cannot be listed, is told
    as not being DICOM. What lies in the folder `without` below one of the paths is passed over.
    """
    instances: list[Instance] = []
    others: list[NotDicom] = []
    unlisted: list[OSError] = []
    for path in _files(paths, without, unlisted.append):
        try:
            instances.append(read_instance(path))
        except InputError as error:
            others.append(NotDicom(path, error.reason, str(error)))
        except OSError as error:
            others.append(NotDicom(path, "cannot-open", f"It cannot be opened: {error.strerror}."))
    for trouble in unlisted:
        others.append(
            NotDicom(Path(trouble.filename), "cannot-open", f"It cannot be listed: {trouble.strerror}.")
        )
    return instances, others


def _files(paths: Sequence[Path], without: Path | None, tell: Callable[[OSError], None]) -> Iterator[Path]:
    left_out = None if without is None else without.resolve()
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path, onerror=tell):
            folders[:] = sorted(name for name in folders if Path(folder, name).resolve() != left_out)
            for name in sorted(names):
                yield Path(folder, name)


def _read_uids(file: BinaryIO, *, deflated: bool) -> dict[str, str]:
    """The four identifiers; reading stops behind the last of them."""

    def past_the_last(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return int(tag) > int(_LAST_TAG)

    with parsing(
        "broken-header", "Its data set cannot be parsed: the file is cut short or was written wrongly."
    ):
        tags: list[BaseTag | int] = [Tag(name) for name in _TAGS]
        if deflated:  # pydicom would inflate all of it, whatever its size
            ds: Dataset = read_dataset(
                inflated_head(file),
                is_implicit_VR=False,
                is_little_endian=True,
                stop_when=past_the_last,
                specific_tags=tags,
            )
        else:
            ds = read_partial(file, stop_when=past_the_last, force=True, specific_tags=tags)
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
