"""What happened in the archive, and what of it the node has still to be told. Pure: no socket, no clock.

Orthanc's change log is the queue. It is durable, it costs nothing while nothing happens, and its size
does not matter: what is kept besides is one number (how far the log is settled) and, per study, the
fingerprint of what was announced.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OWN_MANUFACTURER = "M3Bind PACS"
"""Manufacturer (0008,0070) in every object that the node writes. Orthanc keeps it per series."""

STABLE_STUDY = "StableStudy"
NEW_INSTANCE = "NewInstance"
"""ChangeType values of GET /changes."""


@dataclass(frozen=True)
class Change:
    """One line of Orthanc's change log."""

    seq: int
    kind: str
    resource: str


@dataclass(frozen=True)
class ChangePage:
    """One answer of GET /changes."""

    changes: tuple[Change, ...]
    last: int
    """Sequence number up to which the log has now been read."""
    done: bool
    """Whether nothing came after `last` when it was read."""


def parse_changes(document: Mapping[str, Any]) -> ChangePage:
    """From the JSON of GET /changes."""
    changes = tuple(
        Change(int(entry["Seq"]), str(entry["ChangeType"]), str(entry["ID"])) for entry in document["Changes"]
    )
    return ChangePage(changes, int(document["Last"]), bool(document["Done"]))


@dataclass(frozen=True)
class StudyContent:
    """What a study holds at the moment, without what the node itself wrote into it."""

    study_uid: str
    instances: tuple[str, ...]
    """Orthanc ids, sorted."""


def parse_study(study: Mapping[str, Any], series: Iterable[Mapping[str, Any]]) -> StudyContent:
    """From the JSON of GET /studies/{id} and GET /studies/{id}/series."""
    foreign = (one for one in series if not is_own(one["MainDicomTags"]))
    instances = sorted(str(instance) for one in foreign for instance in one["Instances"])
    return StudyContent(str(study["MainDicomTags"]["StudyInstanceUID"]), tuple(instances))


def is_own(tags: Mapping[str, Any]) -> bool:
    """Whether a series was written by the node. `tags` are the MainDicomTags of the series."""
    return str(tags.get("Manufacturer", "")).strip() == OWN_MANUFACTURER


def fingerprint(instances: Sequence[str]) -> str:
    """A short text that changes when, and only when, the set of instances does."""
    digest = hashlib.sha256("\n".join(sorted(instances)).encode("ascii")).hexdigest()
    return f"1:{len(instances)}:{digest[:32]}"


@dataclass(frozen=True)
class Progress:
    """What must survive a restart."""

    settled: int
    """Everything up to this sequence number has been announced, or never will need to be."""
    refused: tuple[str, ...] = ()
    """Studies that the node would not take; they are offered again from time to time."""

    def to_text(self) -> str:
        """For a global property of Orthanc."""
        return json.dumps({"version": 1, "settled": self.settled, "refused": list(self.refused)})


def parse_progress(text: str) -> Progress | None:
    """The reverse of `Progress.to_text`; None for an empty text (never saved) or one of another version."""
    try:
        document = json.loads(text)
        if document["version"] != 1:
            return None
        return Progress(int(document["settled"]), tuple(str(study) for study in document["refused"]))
    except (ValueError, TypeError, KeyError):
        return None


class Backlog:
    """The studies to announce, oldest first, and how far the change log has been read."""

    def __init__(self, position: int, window: float) -> None:
        """`position` is the sequence number to go on from. `window` is in seconds: an Orthanc that stops
        forgets which studies were about to become stable, so the log counts as settled only up to where
        it had been read this long ago; what came later is looked at again after a restart."""
        self.position = position
        self._window = window
        self._settled = position
        self._marks: deque[tuple[float, int]] = deque()
        self._waiting: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        """How many studies wait."""
        return len(self._waiting)

    def add(self, study: str, seq: int) -> None:
        """A study has to be looked at because of change `seq`. It waits once, however often it is added."""
        self._waiting.setdefault(study, seq)

    def read_up_to(self, position: int, now: float) -> None:
        """The log has been read up to `position` at time `now`, in seconds of a clock that only goes on."""
        if position > self.position:
            self.position = position
            self._marks.append((now, position))

    def first(self) -> str | None:
        """The study that has waited longest; None where none waits."""
        return next(iter(self._waiting), None)

    def remove(self, study: str) -> None:
        """It has been dealt with."""
        del self._waiting[study]

    def settled(self, now: float) -> int:
        """The sequence number to go on from after a restart: before everything that waits, and before
        everything read within the window."""
        while self._marks and self._marks[0][0] <= now - self._window:
            self._settled = self._marks.popleft()[1]
        return min([self._settled, *(seq - 1 for seq in self._waiting.values())])


class Backoff:
    """Seconds to wait after each failure: 1, 2, 4, ... up to `longest`."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._next = min(1.0, longest)

    def failed(self) -> float:
        """How long to wait now."""
        pause = self._next
        self._next = min(2 * pause, self._longest)
        return pause

    def succeeded(self) -> None:
        """Begin anew."""
        self._next = min(1.0, self._longest)
