"""What the pipeline asks of a peer that keeps studies and reports.

    deliver      a finished SR goes there; saying it twice is harmless
    fetch_study  a study that the peer announced comes from there, one instance at a time

Every method raises ArchiveUnavailableError where the same request may succeed later (nobody listens, a
time-out, 5xx, an association rejected as transient, Out of Resources) and ArchiveRefusedError where it
will not (4xx other than 408 and 429, a data set that the peer cannot understand).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from dicom_node.errors import ArchiveRefusedError

OWN_MANUFACTURER = "M3Bind PACS"
"""(0008,0070) of every object that a node writes; what carries it is never fetched back as a source."""


class SopClassRefusedError(ArchiveRefusedError):
    """The peer takes no object of this SOP class; the same facts as another class may be taken."""

    def __init__(self, message: str, sop_class_uid: str) -> None:
        super().__init__(message)
        self.sop_class_uid = sop_class_uid


class StudyGoneError(ArchiveRefusedError):
    """The peer answered, and has no such study: unlike a wrong password, nobody will put that right."""


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    """The peer has the report."""

    archive: str
    """The peer's name in the node's settings."""
    sop_instance_uid: str
    already_there: bool
    """The peer said that it had this instance before. Peers that answer a repeat with plain success
    (C-STORE and STOW-RS mostly do) leave it False."""


class ReportArchive(Protocol):
    """Takes reports."""

    @property
    def name(self) -> str:
        """As in the node's settings."""

    def deliver(self, report: bytes, sop_instance_uid: str, sop_class_uid: str) -> DeliveryReceipt:
        """Store one Part 10 file (PS3.10 section 7) under the SOP Instance UID that it carries.

        Raises SopClassRefusedError where the peer takes no object of `sop_class_uid`; the caller may
        then deliver the same facts as Comprehensive or Enhanced SR.
        """

    def close(self) -> None:
        """Let go of connections; nothing may be asked afterwards."""


@runtime_checkable
class StudySource(Protocol):
    """Gives studies. Not every peer can: ask `isinstance(peer, StudySource)`."""

    def fetch_study(self, study: str, folder: Path) -> Iterator[Path]:
        """Write every instance of a study as a Part 10 file of its own into `folder`, and yield its path
        once it is complete; the caller owns the files. What a node wrote itself (OWN_MANUFACTURER) is left
        out. `study` is the peer's own id of it, or its Study Instance UID. Memory is bounded by a chunk,
        not by an instance.

        Raises StudyGoneError for a study that is not there.
        """
