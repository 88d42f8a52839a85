"""A thread that asks the database every second whether it is there, so that everybody else knows at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import structlog

from dicom_node.errors import describe, where

EVERY_SECONDS = 1.0
PATIENCE_SECONDS = 2.0
"""Of silence, before the embedded server is started again: a restart by hand takes less."""
ANSWER_SECONDS = 3
"""For a connection, and for the network to carry a question."""
GONE = "the database does not answer; check that PostgreSQL runs"
READ_ONLY = "the database takes no changes; check that it is the primary server and its disk is not full"


class DatabaseWatch:
    """Keeps the last known state of the database at `url`, and calls `revive` where it stays silent.

    Order of calls: `start`, `stop`. `revive` is None for a server that is not ours to start.
    """

    def __init__(
        self,
        url: str,
        revive: Callable[[], None] | None,
        *,
        every_seconds: float = EVERY_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._url = url
        self._revive = revive
        self._every = every_seconds
        self._patience = patience_seconds
        self._trouble = ""
        self._connection: psycopg.Connection[tuple[str]] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-watch", daemon=True)

    @property
    def trouble(self) -> str:
        """Why the database could not be used when it was last asked; empty where it could. Never blocks."""
        return self._trouble

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch, unless it is just bringing the server up: that ends by itself."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2 * ANSWER_SECONDS)

    def _run(self) -> None:
        log = structlog.get_logger().bind(room="store")
        silent_since: float | None = None
        while not self._stopping.wait(self._every):
            trouble = self._ask()
            if trouble != self._trouble:
                log.warning("database.trouble", reason=trouble) if trouble else log.info("database.back")
            self._trouble = trouble
            if trouble != GONE:
                silent_since = None
                continue
            silent_since = time.monotonic() if silent_since is None else silent_since
            if self._revive is not None and time.monotonic() - silent_since >= self._patience:
                try:
                    self._revive()
                    log.warning("database.started_again")
                except Exception as error:  # noqa: BLE001 - the rim of the watch: it must try again
                    log.error("database.start", error=describe(error), where=where(error))
        self._drop()

    def _ask(self) -> str:
        """Over a connection of its own: those of the pool may all be busy, which is no trouble."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=ANSWER_SECONDS,
                    tcp_user_timeout=ANSWER_SECONDS * 1000,
                    application_name="dicom-node watch",
                )
            row = self._connection.execute("SELECT current_setting('transaction_read_only')").fetchone()
        except psycopg.Error:
            self._drop()
            return GONE
        return READ_ONLY if row is None or row[0] != "off" else ""

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
