"""What the web room needs of the node; `node.py` wires it.

Everything here may be called from several threads at once, blocks at most for a database query, and raises
errors of the tree only (`problems.py` tells which HTTP status each becomes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from dicom_node.matching.found import Rowed
from dicom_node.records import Instance, StoredReport
from dicom_node.search.answer import Answer, Request
from dicom_node.search.dates import Days
from dicom_node.search.example import Seen
from dicom_node.store.states import DeliveryRecord, FetchRecord, FetchState, StudyRecord, StudyState


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """The bundle that is loaded."""

    name: str
    version: str
    digest: str
    """sha256 of bundle.json, hex."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What is running here."""

    version: str
    """Of this program."""
    bundle: BundleInfo | None
    """None until it is loaded."""
    providers: tuple[str, ...]
    """ONNX Runtime's execution providers in use, in order."""
    archives: tuple[str, ...]
    """Names of the configured archives that studies can be fetched from: those that may announce."""
    modalities: tuple[str, ...] = ()
    """Ids of those that the bundle has encoders for; empty until it is loaded."""


class Studies(Protocol):
    """The studies of the node; `store.studies.StudyStore` is one."""

    def list_studies(
        self, *, state: StudyState | None = None, limit: int = 50, before: datetime | None = None
    ) -> Sequence[StudyRecord]:
        """Studies by their last arrival, newest first; `before` is the `last_received` to continue from."""

    def counts(self) -> Mapping[StudyState, int]:
        """How many studies are in each state."""

    def study(self, study_uid: str) -> StudyRecord | None:
        """One study; None where it is unknown."""

    def instances(self, study_uid: str) -> Sequence[Instance]:
        """Its objects, ordered by series and SOP Instance UID."""

    def assessment(self, study_uid: str) -> Mapping[str, Any] | None:
        """The latest assessment in the form of `facts.assessment_to_json`; None where there is none."""

    def noticed(self, study_uids: Sequence[str]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Findings of the latest assessments that are present or unsure, in the form of
        `facts.finding_to_json`, by study; a study without any has no entry."""

    def deliveries(self, study_uid: str) -> Sequence[DeliveryRecord]:
        """What was sent where, and what is still owed; oldest report first."""

    def report(self, report_uid: str) -> StoredReport | None:
        """A report by its SOP Instance UID."""

    def retry(self, study_uid: str) -> bool:
        """Queue a failed or refused study again; False where it is neither."""

    def retry_delivery(self, report_uid: str, destination: str) -> bool:
        """Queue a delivery that was given up; False where it was not."""

    def complete_now(self, study_uid: str) -> bool:
        """Stop waiting for more instances; False where the study is not being received."""

    def fetches(self, *, state: FetchState | None = None, limit: int = 50) -> Sequence[FetchRecord]:
        """Studies that archives announced, the latest change first."""

    def troubled_fetches(self, *, limit: int = 50) -> Sequence[FetchRecord]:
        """Those that were given up, or went wrong at their latest try."""

    def fetch(self, archive: str, resource_id: str) -> FetchRecord | None:
        """One of them; None where nothing like it was announced."""

    def retry_fetch(self, archive: str, resource_id: str) -> bool:
        """Try one at once that was given up or waits; False where it is neither."""


class Search(Protocol):
    """The archive, asked; `search.service.AskedArchive` is one."""

    def ask(self, request: Request, *, door: str, asker: str) -> Answer:
        """Raises QuestionError, InferenceError, DatabaseUnavailableError."""

    def days(self, text: str) -> Days:
        """A range of dates as the field `date` tells it. Raises QuestionError."""


class Records(Rowed, Protocol):
    """The register of headers; `store.find_index.FindIndex` is one."""

    def note_asked(self, event: str, **detail: Any) -> None:
        """One line of the audit trail. `detail` is JSON and holds no value of a key."""


@dataclass(frozen=True, slots=True)
class WebPorts:
    """The node, as seen from its web pages."""

    readiness: Callable[[], tuple[bool, str]]
    """Whether studies are taken and worked on now, and if not, why, in words. Never blocks."""
    info: Callable[[], NodeInfo]
    """What is running here. Never blocks."""
    studies: Callable[[], Studies]
    """The studies. Raises DatabaseUnavailableError while the database is not up yet."""
    announce: Callable[[str, str, str, int | None], None]
    """(archive, resource, study UID, instances): an archive of `NodeInfo.archives` holds a study to fetch;
    `resource` is its own identifier there, `instances` how many objects it has, where it tells. Announcing
    twice does no harm."""
    search: Callable[[], Search | None]
    """None until the bundle is loaded: nobody else can read a question. Raises DatabaseUnavailableError."""
    records: Callable[[], Records]
    """What the headers of the objects tell. Raises DatabaseUnavailableError."""
    catch_up: Callable[[Callable[[], bool]], None]
    """Waits until all that has arrived is in the records, or until the function given says to stop. Raises
    DatabaseUnavailableError."""
    retrieve_ae: Callable[[str | None], str | None]
    """Whom to ask by C-MOVE for a study, by the archive that announced it; None: nobody is known."""
    picture: Callable[[Sequence[Instance], Instance, int | None], bytes]
    """A small JPEG of an object, of one of its frames (1-based) where it has several; the first argument is
    all of its series. Raises InputError, DecoderUnavailableError, OSError."""
    look: Callable[[bytes], Sequence[Seen]]
    """What the encoders see in a DICOM file, which is not kept. Raises InputError, OutOfScopeError,
    InferenceError, and DatabaseUnavailableError until the bundle is loaded."""
