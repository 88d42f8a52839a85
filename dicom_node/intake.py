"""The one corridor behind all doors: a received object becomes a durable file, then a row in the store.

    C-STORE        --> draft (data set as sent) --\\
    a path         --> draft (copy)              +--> identify --> place --> store --> Success
    HTTP, archive  --> draft (copy)             --/

`QuietWatch` then tells when a study is complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol
from weakref import WeakKeyDictionary

import structlog

from dicom_node.errors import (
    InputError,
    InstanceConflictError,
    UnreadableObjectError,
    describe,
    where,
)
from dicom_node.part10 import Identity, identify, read_part10_head
from dicom_node.records import Instance
from dicom_node.spool import CHUNK, Draft, Spool
from dicom_node.store.states import Added

POLL_SECONDS = 0.25
SHORTEST_PAUSE = 0.005
"""Seconds; clocks of two processes may disagree by as much."""


class InstanceLedger(Protocol):
    """What the corridor asks of the store."""

    def add_instance(self, instance: Instance, *, origin: str | None, calling_ae: str | None) -> Added:
        """Make a durable file known."""

    def knows(self, sop_instance_uid: str) -> bool:
        """Whether an instance of that UID was made known."""


class QuietLedger(Protocol):
    """What the watch asks of the store."""

    def close_quiet(self, quiet_seconds: float) -> list[str]:
        """Queue every study that has been quiet for so long."""

    def next_quiet(self, quiet_seconds: float) -> float | None:
        """Seconds until the next one will have been, if nothing comes; None where none is received."""

    def touch(self, study_uids: Collection[str], older_than: float) -> None:
        """Something of these studies is on the wire: those silent for `older_than` seconds are not silent."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What a C-STORE request says of its data set, and how the draft was laid out."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int
    """Bytes before the data set."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An object that is durable and known."""

    instance: Instance
    added: Added


class Intake:
    """Takes objects in. Safe to use from many threads, and from several processes on one spool."""

    def __init__(self, spool: Spool, ledger: InstanceLedger) -> None:
        self._spool = spool
        self._ledger = ledger
        self._begun: WeakKeyDictionary[Draft, float] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def draft(self) -> Draft:
        """A file to write a data set into as it arrives. Raises StorageFullError."""
        draft = self._spool.draft()
        with self._lock:
            self._begun[draft] = time.monotonic()
        return draft

    def arriving(self, longer_than: float) -> set[str]:
        """Studies of which one object has been on the wire for more than `longer_than` seconds.

        Which study it is stands near the head of the data set; an object that has not told yet is left out.
        """
        before = time.monotonic() - longer_than
        with self._lock:
            slow = [draft for draft, begun in self._begun.items() if begun < before]
        return {study for study in map(_study_of, slow) if study is not None}

    def accept_file(
        self, path: Path, *, origin: str | None = None, calling_ae: str | None = None
    ) -> Accepted:
        """Copy a Part 10 file in. Raises NotDicomError, UnreadableObjectError, StorageError."""
        with path.open("rb") as stream:
            return self.accept_stream(stream, origin=origin, calling_ae=calling_ae)

    def accept_stream(
        self, stream: BinaryIO, *, origin: str | None = None, calling_ae: str | None = None
    ) -> Accepted:
        """Copy a Part 10 file in from an open stream, which need not be seekable."""
        with self._spool.draft() as draft:
            while data := stream.read(CHUNK):
                draft.write_unhashed(data)
            transfer_syntax, offset = read_part10_head(draft.path)
            digest = _digest_from(draft.path, offset)
            identity = identify(draft.path, transfer_syntax, offset)
            return self._accept(draft, identity, digest, transfer_syntax, origin, calling_ae)

    def accept_draft(self, draft: Draft, announced: Announced, *, calling_ae: str | None) -> Accepted:
        """Take in a Part 10 file that was written into a draft, with its data set by `Draft.write`.

        Raises UnreadableObjectError (`class-mismatch`, `instance-mismatch`) where the data set is not what
        was announced, and what `accept_file` raises.
        """
        identity = identify(draft.path, announced.transfer_syntax_uid, announced.offset)
        if identity.sop_class_uid != announced.sop_class_uid:
            raise UnreadableObjectError("class-mismatch", "SOP Class UIDs of message and data set differ")
        if identity.sop_instance_uid != announced.sop_instance_uid:
            raise UnreadableObjectError(
                "instance-mismatch", "SOP Instance UIDs of message and data set differ"
            )
        return self._accept(draft, identity, draft.sha256, announced.transfer_syntax_uid, None, calling_ae)

    def adopt(self, path: Path) -> None:
        """A complete file that a killed process had not made known yet: make it known where it is missing.

        Its sender was never told Success and will send it again, which then changes nothing. What cannot be
        adopted (known with other content, or damaged) is left out: it was never acknowledged.
        """
        log = structlog.get_logger()
        try:
            transfer_syntax, offset = read_part10_head(path)
            identity = identify(path, transfer_syntax, offset)
        except InputError as error:
            log.warning("spool.leftover_unreadable", reason=error.reason)
            return
        digest = _digest_from(path, offset)
        target = self._spool.instance_path(identity.study_uid, identity.series_uid, identity.sop_instance_uid)
        instance = _instance(identity, transfer_syntax, target, path.stat().st_size, digest)
        try:
            self._ledger.add_instance(instance, origin=None, calling_ae=None)
        except InstanceConflictError:
            log.warning("spool.leftover_conflicts", instance=instance.sop_instance_uid)

    def _accept(
        self,
        draft: Draft,
        identity: Identity,
        digest: str,
        transfer_syntax: str,
        origin: str | None,
        calling_ae: str | None,
    ) -> Accepted:
        target = self._spool.instance_path(identity.study_uid, identity.series_uid, identity.sop_instance_uid)
        instance = _instance(identity, transfer_syntax, target, draft.size, digest)
        placed = not target.exists() and self._spool.place(draft, target)
        while not placed:
            same = self._same_as_placed(instance)
            if same is not None:
                instance = same
                break
            placed = self._spool.place(draft, target)
        try:
            added = self._ledger.add_instance(instance, origin=origin, calling_ae=calling_ae)
        except InstanceConflictError:
            if placed:  # the same UID came before, as part of another series
                target.unlink(missing_ok=True)
            raise
        return Accepted(instance, added)

    def _same_as_placed(self, instance: Instance) -> Instance | None:
        """The file that has the name already, when its data set is the same; None where it is gone.

        A file that the store does not know is a leftover of an arrival that was never acknowledged (the
        database was down): it is removed. Raises InstanceConflictError where other content is known.
        """
        try:
            with instance.path.open("rb") as held:
                # Whoever placed it holds this lock until it is known, or until that has failed.
                fcntl.flock(held, fcntl.LOCK_EX)
                if os.fstat(held.fileno()).st_nlink == 0:
                    return None
                if self._is_same(instance):
                    self._spool.settle(instance.path)
                    return replace(instance, size=instance.path.stat().st_size)
                if not self._ledger.knows(instance.sop_instance_uid):
                    instance.path.unlink()
                    return None
        except FileNotFoundError:
            return None
        raise InstanceConflictError(
            f"SOP instance {instance.sop_instance_uid} is known with other content; the first is kept"
        )

    def _is_same(self, instance: Instance) -> bool:
        try:
            syntax, offset = read_part10_head(instance.path)
        except InputError:
            return False
        return (
            syntax == instance.transfer_syntax_uid and _digest_from(instance.path, offset) == instance.sha256
        )


class QuietWatch:
    """A thread that asks which studies have become quiet: a few times a second, and just when one has.

    Silence counts only while someone listens: after a start the first question is asked one quiet time
    later, so that senders which were cut off can come back. All state is in the store. A study is not silent
    while `arriving` (as `Intake.arriving`) tells that a large object of it is on the wire.
    """

    def __init__(
        self,
        ledger: QuietLedger,
        quiet_seconds: float,
        *,
        arriving: Callable[[float], Collection[str]] = lambda _: (),
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._arriving = arriving
        self._quiet = quiet_seconds
        self._poll = min(poll_seconds, quiet_seconds)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quiet-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it watches."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the watch and wait for its thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        log = structlog.get_logger()
        pause = self._quiet
        while not self._stopping.wait(pause):
            pause = self._poll
            try:
                closed, due = self._ask()
            except Exception as error:  # noqa: BLE001 - the rim: without the watch no study is ever complete
                log.warning("quiet_watch.interrupted", error=describe(error), where=where(error))
                pause = max(1.0, self._poll)
                continue
            if closed:
                log.info("study.complete", studies=closed)
            if due is not None:
                pause = min(self._poll, max(due, SHORTEST_PAUSE))

    def _ask(self) -> tuple[list[str], float | None]:
        margin = self._quiet / 4
        if arriving := self._arriving(margin):
            self._ledger.touch(arriving, margin)
        return self._ledger.close_quiet(self._quiet), self._ledger.next_quiet(self._quiet)


def _study_of(draft: Draft) -> str | None:
    """The study that a file under way belongs to, as far as it has told."""
    try:
        syntax, offset = read_part10_head(draft.path)
        return identify(draft.path, syntax, offset).study_uid
    except (InputError, OSError):
        return None


def _digest_from(path: Path, offset: int) -> str:
    """Hex sha256 of a file from `offset` bytes on."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(offset)
        while data := stream.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def _instance(identity: Identity, syntax: str, path: Path, size: int, digest: str) -> Instance:
    return Instance(
        study_uid=identity.study_uid,
        series_uid=identity.series_uid,
        sop_instance_uid=identity.sop_instance_uid,
        sop_class_uid=identity.sop_class_uid,
        transfer_syntax_uid=syntax,
        path=path,
        size=size,
        sha256=digest,
    )
