"""Keeps the register of headers complete: a thread that reads what arrived, and catches up before a question.

Objects are not read while they are received: a sender shall not wait for what nobody may ever ask. The
thread reads them soon after, and whoever asks waits for those that are left: what was answered with Success
is found.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import structlog

from dicom_node.errors import InputError, describe, where
from dicom_node.matching.headers import header_of, identity_alone, read_header
from dicom_node.store.find_facts import Header, Unread

BATCH = 100
"""Headers per transaction; a few milliseconds each."""
POLL_SECONDS = 1.0


class HeaderStore(Protocol):
    """What is kept; `store.find_index.FindIndex` is one."""

    def any_unread(self) -> bool:
        """Whether headers are left to be read."""

    def reading(self, most: int) -> AbstractContextManager[tuple[Sequence[Unread], list[Header]]]:
        """Instances to read, and the list to put their headers into."""


class Register:
    """Order of calls: `start`, `stop`; `catch_up` at any time, from any thread."""

    def __init__(self, store: HeaderStore, poll_seconds: float = POLL_SECONDS) -> None:
        self._store = store
        self._poll = poll_seconds
        self._stopping = threading.Event()
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="register", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether what arrives is read."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to read what arrives."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def catch_up(self, unless: Callable[[], bool] = lambda: False) -> None:
        """Read all that has arrived, or until `unless` says to leave it.

        Raises DatabaseUnavailableError. What another process is just reading is left to it.
        """
        while self._store.any_unread() and not unless():
            with self._reading:
                if not self._read_some():
                    return

    def _read_some(self) -> int:
        with self._store.reading(BATCH) as (unread, headers):
            headers += [_header(item) for item in unread]
            return len(unread)

    def _run(self) -> None:
        log = structlog.get_logger().bind(room="matching")
        while not self._stopping.wait(self._poll):
            try:
                self.catch_up(self._stopping.is_set)
            except Exception as error:  # noqa: BLE001 - the rim: without this thread nothing new is found
                log.warning("register.interrupted", error=describe(error), where=where(error))


def _header(unread: Unread) -> Header:
    try:
        attributes = read_header(unread.path)
    except InputError as error:
        _warn(unread, error.reason)
        attributes = {}
    except OSError as error:
        _warn(unread, f"OSError {error.errno}")
        attributes = {}
    # The store's UIDs are those that the object was taken in under: they are the truth.
    return header_of(unread, {**attributes, **identity_alone(unread)})


def _warn(unread: Unread, reason: str) -> None:
    structlog.get_logger().warning("register.unreadable", instance=unread.sop_instance_uid, reason=reason)
