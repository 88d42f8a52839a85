"""What the store tells of a study: its state, and the frozen records that are read back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dicom_node.records import Instance, StoredReport
from dicom_node.store.documents import without_documents


class StudyState(StrEnum):
    """Where a study stands.

    receiving --quiet--> queued --begin--> processing --finish--> reported | out_of_scope | refused
        ^                                       |--fail--> failed
        |                                                            (refused, failed: retry --> queued)
        +-- a new instance, from any state, unless it is a document
    """

    RECEIVING = "receiving"
    """Instances arrive; nothing has come long enough for it to count as complete."""
    QUEUED = "queued"
    """Complete, and its job waits for a worker."""
    PROCESSING = "processing"
    """A worker has taken it. When that worker dies, another one takes it up at the same revision."""
    REPORTED = "reported"
    """Its SR is on disk; how far it got stands in its deliveries."""
    OUT_OF_SCOPE = "out_of_scope"
    """Read, but not what the encoders were made for; `reason` says why. No report."""
    REFUSED = "refused"
    """No reader can use it; `reason` says why. No report; can be retried (with a newer node, say)."""
    FAILED = "failed"
    """Something broke, repeatedly; `reason` says what. Can be retried."""


TRANSITIONS: dict[StudyState, frozenset[StudyState]] = {
    StudyState.RECEIVING: frozenset({StudyState.RECEIVING, StudyState.QUEUED}),
    StudyState.QUEUED: frozenset({StudyState.PROCESSING, StudyState.FAILED, StudyState.RECEIVING}),
    StudyState.PROCESSING: frozenset(
        {
            StudyState.PROCESSING,
            StudyState.REPORTED,
            StudyState.OUT_OF_SCOPE,
            StudyState.REFUSED,
            StudyState.FAILED,
            StudyState.RECEIVING,
        }
    ),
    StudyState.REPORTED: frozenset({StudyState.RECEIVING}),
    StudyState.OUT_OF_SCOPE: frozenset({StudyState.RECEIVING}),
    StudyState.REFUSED: frozenset({StudyState.RECEIVING, StudyState.QUEUED}),
    StudyState.FAILED: frozenset({StudyState.RECEIVING, StudyState.QUEUED}),
}
"""All legal changes of state; the statements in `study_sql.py` make no other."""


def sources_of(target: StudyState) -> list[str]:
    """The states from which `target` may be reached, for the WHERE of a statement."""
    return [state.value for state, targets in TRANSITIONS.items() if target in targets]


class Added(StrEnum):
    """What became of an instance that was handed in."""

    NEW = "new"
    ALREADY_THERE = "already_there"
    """The same UID with the same content: nothing changed."""


class Finished(StrEnum):
    """What became of a result that was handed in."""

    STORED = "stored"
    REPEATED = "repeated"
    """This revision was finished before: nothing changed."""
    SUPERSEDED = "superseded"
    """The study has grown since the job began: the result is dropped, the next revision will tell."""


class DeliveryState(StrEnum):
    """Where a report stands on its way to one archive."""

    PENDING = "pending"
    """Not there yet; `last_error` says why, where it was tried."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Refused, or given up after days; can be retried."""
    SUPERSEDED = "superseded"
    """A later report of the same study goes there instead."""


class FetchState(StrEnum):
    """Where an announced study stands on its way in.

    waiting --begin--> fetching --end--> fetched | failed | waiting (tried again later)
    A new announcement leads back to waiting from anywhere.
    """

    WAITING = "waiting"
    """Not begun, or to be tried again: `last_error` says why."""
    FETCHING = "fetching"
    FETCHED = "fetched"
    """All of it was taken in."""
    FAILED = "failed"
    """Gone from the archive, or given up after days; can be retried."""


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """One study as the store knows it. Times are aware, UTC."""

    study_uid: str
    state: StudyState
    reason: str | None
    modality: str | None
    origin: str | None
    """Name of the archive that announced it; None: it was sent here."""
    revision: int
    first_received: datetime
    last_received: datetime
    completed_at: datetime | None
    job_created_at: datetime | None
    finished_at: datetime | None
    bundle_name: str | None
    bundle_version: str | None
    bundle_digest: str | None
    report_uid: str | None
    instances: int


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One report and one archive."""

    report_uid: str
    destination: str
    state: DeliveryState
    attempts: int
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class FetchRecord:
    """One announced study. Times are aware, UTC."""

    archive: str
    resource_id: str
    """The archive's own identifier."""
    study_uid: str | None
    """As announced."""
    instances: int | None
    """As announced: how many objects the archive holds."""
    state: FetchState
    attempts: int
    last_error: str | None
    announced_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class DeliveredAs:
    """What an archive was given: the report itself, or another form of it under a UID of its own."""

    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True, slots=True)
class Job:
    """One complete study at one revision, ready to be assessed. A repeat of the same revision has the
    same `revision` and `created_at`, so that UIDs derived from them are the same."""

    study_uid: str
    revision: int
    created_at: datetime
    instances: tuple[Instance, ...]
    """Ordered by series and SOP Instance UID."""
    predecessors: tuple[StoredReport, ...]
    """Earlier reports of this study that reached an archive, oldest first."""
    origin: str | None

    @property
    def instance_set(self) -> str:
        """Hex sha256 over the sorted instances, but for documents: the same ones with the same content give
        the same."""
        return instance_set_digest(self.instances)


def instance_set_digest(instances: Iterable[Instance]) -> str:
    """Hex sha256 over `UID content-digest` lines, sorted; documents are left out."""
    told = without_documents(instances)
    lines = sorted(f"{instance.sop_instance_uid} {instance.sha256}\n" for instance in told)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()
