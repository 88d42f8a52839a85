"""C-FIND (PS3.4 section C.4.1): studies by their attributes, and by what is asked in words.

    event --> keys --> Query --> register, a row at a time --> identifier --> pending
                   `-> Semantic --> search, best first ---'

Statuses of the responses, from the table in `status.py`:

    0xFF00  a match
    0xFF01  a match; some keys are not supported, and were neither matched nor are they told
    0x0000  all matches were told
    0xFE00  cancelled, as was asked
    0xA700  the limit of matches is reached, too many ask at once, the database or a model server does not
            answer, or the bundle that reads questions is not loaded: the comment tells which
    0xA900  the level is missing or none of this model's, or a unique key above it is missing
    0xC000  a key cannot be read, a question cannot be understood, or anything else
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from pydicom.dataset import Dataset
from pynetdicom.events import Event
from structlog.typing import FilteringBoundLogger

from dicom_node.dimse.contexts import PATIENT_ROOT_FIND
from dicom_node.dimse.find_answers import Frame, identifier
from dicom_node.dimse.find_semantic import (
    Asker,
    Semantic,
    add_block,
    hits_that_match,
    request_of,
    semantic_of,
    unread_keys,
    without_question,
)
from dicom_node.dimse.negotiation import rules_of
from dicom_node.dimse.reception import IDENTIFIER_LIMIT
from dicom_node.dimse.status import (
    CANCELLED,
    PENDING,
    PENDING_WITHOUT_SOME_KEYS,
    SUCCESS,
    Answer,
    BusyError,
    find_answer_for,
    limit_reached,
    still_reading,
)
from dicom_node.errors import DatabaseUnavailableError, InputError, M3BindError, describe, where
from dicom_node.matching.attributes import character_sets, to_json
from dicom_node.matching.found import Match, Rowed, matches
from dicom_node.matching.keys import INSTANCE_AVAILABILITY, KEYS, RETRIEVE_AE_TITLE
from dicom_node.matching.query import Query, Root, level_of, read_query
from dicom_node.matching.values import Rules
from dicom_node.pixels.quiet import parsing

AT_ONCE = 4
"""Questions that are answered at once: each holds a connection to the database as long as its peer reads."""
WAIT_SECONDS = 20.0
"""For one of them to end."""
READ_SECONDS = 10.0
"""For what has arrived to be read first. It takes longer where a large archive has just got its register."""
QUEUED = 64
"""Messages that may wait to be sent. pynetdicom queues without end and reads nothing, no cancel either, while
anything waits."""
NAP = 0.0005
"""Seconds between two looks at that queue."""


class Records(Rowed, Protocol):
    """The register of headers; `store.find_index.FindIndex` is one."""

    def note_asked(self, event: str, **detail: Any) -> None:
        """One line of the audit trail."""


@dataclass(frozen=True, slots=True)
class FindSettings:
    """How questions are answered."""

    question_ae_title: str = "M3BIND_FIND"
    """Called by this name, the question stands in Study Description."""
    limit: int = 1000
    """Matches at most."""
    retrieve_ae_title: str | None = None
    """Whom to ask for the objects."""
    retrieve_ae_titles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Likewise for studies that an archive announced, by its name."""
    stalled_seconds: float = 60.0
    """A peer that takes no answer for this long is cut off."""


@dataclass(frozen=True, slots=True)
class FindPorts:
    """What answers questions."""

    records: Records
    catch_up: Callable[[Callable[[], bool]], None]
    """Waits until all that has arrived can be found, or until the function given says to stop."""
    search: Callable[[], Asker | None]
    """None while no bundle is loaded."""
    bundle: Callable[[], str]
    """Name and version of the bundle, for people."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One question, read."""

    root: Root
    query: Query
    frame: Frame
    semantic: Semantic | None


class Cancel:
    """Whether the one who asked has cancelled. pynetdicom tells it once, this remembers."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._seen = False
        self._deadline = time.monotonic() + READ_SECONDS
        self.late = False

    def __call__(self) -> bool:
        """Whether it came by now."""
        self._seen = self._seen or bool(self._event.is_cancelled)
        return self._seen

    def or_late(self) -> bool:
        """Whether it came, or the time is over that anyone waits for headers to be read."""
        self.late = self.late or time.monotonic() > self._deadline
        return self.late or self()


class FindDesk:
    """Answers the C-FINDs of all associations."""

    def __init__(self, ports: FindPorts, settings: FindSettings, log: FilteringBoundLogger) -> None:
        self._ports = ports
        self._settings = settings
        self._log = log
        self._seats = threading.BoundedSemaphore(AT_ONCE)

    def handle(self, event: Event) -> Iterator[tuple[int | Dataset, Dataset | None]]:
        """Handler of evt.EVT_C_FIND; the rim where every error becomes a status."""
        calling = str(event.assoc.requestor.ae_title).strip()
        detail: dict[str, Any] = {"calling_ae": calling}
        told, final = 0, Answer(SUCCESS, "")
        cancel, gone = Cancel(event), False
        try:
            asked = self._read(event)
            detail |= _in_short(asked)
            status = PENDING_WITHOUT_SOME_KEYS if asked.query.unsupported else PENDING
            with self._seat(), closing(self._answers(asked, cancel, calling)) as answers:
                for answer in answers:
                    if cancel():
                        break
                    if told == self._settings.limit:
                        final = limit_reached(told)
                        break
                    yield status, answer
                    told += 1
                    if gone := not self._sent(event):
                        break
                else:
                    final = still_reading() if cancel.late else final
            final = Answer(CANCELLED, "") if cancel() else final
        except M3BindError as error:
            final = find_answer_for(error)
            self._log.warning("find.refused", status=f"{final.status:#06x}", reason=_reason(error), **detail)
        except Exception as error:  # noqa: BLE001 - the rim: the association must live
            final = find_answer_for(error)
            self._log.error("find.broke", error=describe(error), where=where(error), **detail)
        finally:  # also where the peer has gone away meanwhile
            self._note(detail, told, final)
        if final.status != SUCCESS and not gone:  # Success is sent by pynetdicom itself
            yield final.to_dataset(), None

    def _read(self, event: Event) -> Asked:
        """Raises QuestionError, UnreadableObjectError."""
        sop_class = str(event.request.AffectedSOPClassUID)
        root = Root.PATIENT if sop_class == PATIENT_ROOT_FIND else Root.STUDY
        with parsing("bad-identifier", "the identifier cannot be parsed"):
            dataset = event.identifier
            keys = to_json(dataset, limit=IDENTIFIER_LIMIT)
            unread = {f"{tag:08X}" for tag in dataset.keys()} - keys.keys()  # noqa: SIM118 - keys, not elements
        called = _called(event) == self._settings.question_ae_title
        semantic = semantic_of(dataset, keys, called)
        own = without_question(keys, semantic, called)
        rules = Rules(relational=True) if semantic else rules_of(event.assoc, sop_class)
        query = read_query(own, level_of(keys, root), root, rules, unread_keys(unread, semantic))
        frame = Frame(
            level=query.level,
            character_sets=tuple(character_sets(dataset)),
            asks_availability=INSTANCE_AVAILABILITY in keys,
            asks_retrieve_ae=RETRIEVE_AE_TITLE in keys,
        )
        return Asked(root, query, frame, semantic)

    def _answers(self, asked: Asked, cancel: Cancel, calling: str) -> Generator[Dataset, None, None]:
        """Identifiers, made as they are taken. Raises M3BindError."""
        self._ports.catch_up(cancel.or_late)
        if asked.semantic is not None:
            yield from self._found_by_words(asked, asked.semantic, calling)
            return
        with matches(self._ports.records, asked.query) as found:
            for match in found:
                yield self._identifier(asked, match)

    def _found_by_words(self, asked: Asked, semantic: Semantic, calling: str) -> Iterator[Dataset]:
        request = request_of(semantic, asked.query, self._settings.limit)
        asker = self._ports.search()
        if asker is None:
            raise BusyError("the bundle that reads questions is not loaded yet")
        answer = asker.ask(request, door="dimse", asker=calling)
        for match, hit in hits_that_match(self._ports.records, asked.query, answer):
            made = self._identifier(asked, match)
            add_block(made, semantic, hit, self._ports.bundle())
            yield made

    def _identifier(self, asked: Asked, match: Match) -> Dataset:
        default = self._settings.retrieve_ae_title
        origin = match.row.origin
        titles = self._settings.retrieve_ae_titles
        return identifier(match.told, asked.frame, default if origin is None else titles.get(origin, default))

    @contextmanager
    def _seat(self) -> Iterator[None]:
        if not self._seats.acquire(timeout=WAIT_SECONDS):
            raise BusyError("too many queries at once; try again")
        try:
            yield
        finally:
            self._seats.release()

    def _sent(self, event: Event) -> bool:
        """Wait until the peer has taken what was told, where much of it waits; False where it is gone."""
        association = event.assoc
        queue = association.dul.to_provider_queue
        if queue.qsize() < QUEUED:
            return bool(association.is_established)
        deadline = time.monotonic() + self._settings.stalled_seconds
        while queue.qsize() and association.is_established:
            if time.monotonic() > deadline:
                self._log.warning("find.stalled", calling_ae=str(association.requestor.ae_title).strip())
                if association.dul.socket is not None:
                    association.dul.socket.close()
                return False
            time.sleep(NAP)
        time.sleep(2 * NAP)  # the turn of what came in
        return bool(association.is_established)

    def _note(self, detail: Mapping[str, Any], told: int, final: Answer) -> None:
        """The audit trail: who asked for which attributes, and how much was told; no value of any."""
        if "words" in detail and final.status in (SUCCESS, CANCELLED):
            return  # noted by whoever answered it
        try:
            status = f"{final.status:04X}"
            self._ports.records.note_asked("query.answered", **detail, answers=told, status=status)
        except DatabaseUnavailableError as error:
            self._log.error("find.not_noted", error=str(error), **detail)


def _called(event: Event) -> str:
    request = event.assoc.requestor.primitive
    return str(request.called_ae_title or "").strip() if request is not None else ""


def _in_short(asked: Asked) -> dict[str, Any]:
    keywords = sorted(KEYS[tag].keyword for tag in asked.query.matchers)
    words = {} if asked.semantic is None else {"words": True}
    return {"root": asked.root.value, "level": asked.query.level.name, "keys": keywords, **words}


def _reason(error: M3BindError) -> str:
    """For the log. A question that is not understood may be quoted in the message."""
    return error.reason if isinstance(error, InputError) else str(error)
