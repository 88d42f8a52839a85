"""Announced studies and their way in from an archive: one row each, and at most one job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dicom_node.store import audit, fetch_sql
from dicom_node.store.database import Connection, Pool, transaction
from dicom_node.store.deliveries import owe_again
from dicom_node.store.queue import defer_fetch, hasten_fetch
from dicom_node.store.states import FetchRecord, FetchState


def owed_to_sources(connection: Connection, study_uid: str) -> list[str]:
    """The archives that a study was fetched from, in the caller's transaction."""
    return [str(name) for (name,) in connection.execute(fetch_sql.ARCHIVES_THAT_HAVE, (study_uid,))]


def requeue_lost_fetches(connection: Connection) -> None:
    """Give every fetch that waits for a job one where it has none, in the caller's transaction."""
    for archive, resource_id in connection.execute(fetch_sql.LOST_FETCHES).fetchall():
        defer_fetch(connection, archive, resource_id)


class FetchStore:
    """What archives announced, and how far each has come."""

    def __init__(self, pool: Pool, root: Path) -> None:
        self._pool = pool
        self._root = root

    def announce(
        self, archive: str, resource_id: str, *, study_uid: str | None = None, instances: int | None = None
    ) -> bool:
        """Queue the fetching of a study that an archive told of; False when that waits already (then it is
        tried at once). What is announced while it is being fetched is fetched once more.

        While a fetch is under way, the study of that UID does not become complete by being quiet.
        """
        values = {
            "archive": archive,
            "resource_id": resource_id,
            "study_uid": study_uid,
            "instances": instances,
        }
        with transaction(self._pool) as connection:
            new = connection.execute(fetch_sql.ADD_FETCH, values).fetchone() is not None
            state = FetchState.FETCHED if new else self._lock(connection, values)[0]
            if not new:
                connection.execute(fetch_sql.ANNOUNCE_AGAIN, values)
            if state is FetchState.WAITING:
                hasten_fetch(connection, archive, resource_id)
                return False
            if state is not FetchState.FETCHING:
                defer_fetch(connection, archive, resource_id)
            audit.record(connection, "study.announced", study_uid, archive=archive, resource_id=resource_id)
            return True

    def fetch_begun(self, archive: str, resource_id: str) -> None:
        """A worker is at it."""
        with transaction(self._pool) as connection:
            connection.execute(fetch_sql.BEGIN_FETCH, {"archive": archive, "resource_id": resource_id})

    def fetch_succeeded(self, archive: str, resource_id: str) -> None:
        """All of the study was taken in. Where it brought nothing new, the report that there is is owed to
        the archive: it may have lost it, or never had it."""
        key = {"archive": archive, "resource_id": resource_id}
        with transaction(self._pool) as connection:
            _, study_uid, again = self._lock(connection, key)
            self._end(connection, key, FetchState.FETCHED, None, again)
            if again or study_uid is None:
                return
            row = connection.execute(fetch_sql.CURRENT_REPORT, (study_uid,)).fetchone()
            if row is not None:
                owe_again(connection, row[0], archive)

    def fetch_failed(self, archive: str, resource_id: str, error: str, *, gave_up: bool) -> None:
        """It did not come in: `error` is for people; with `gave_up` no further try is made by itself."""
        key = {"archive": archive, "resource_id": resource_id}
        with transaction(self._pool) as connection:
            _, study_uid, again = self._lock(connection, key)
            if gave_up:
                self._end(connection, key, FetchState.FAILED, error, again)
                audit.record(connection, "study.fetch_failed", study_uid, **key, reason=error)
            else:
                self._end(connection, key, FetchState.WAITING, error, False)

    def retry_fetch(self, archive: str, resource_id: str) -> bool:
        """Try at once what was given up, or waits to be tried again; False where it is neither."""
        key = {"archive": archive, "resource_id": resource_id}
        with transaction(self._pool) as connection:
            row = connection.execute(fetch_sql.LOCK_FETCH, key).fetchone()
            if row is None or row[0] not in (FetchState.FAILED, FetchState.WAITING):
                return False
            connection.execute(fetch_sql.RETRY_FETCH, key)
            if row[0] == FetchState.FAILED:
                defer_fetch(connection, archive, resource_id)
            else:
                hasten_fetch(connection, archive, resource_id)
            audit.record(connection, "study.fetch_retried", row[1], **key)
            return True

    def fetch(self, archive: str, resource_id: str) -> FetchRecord | None:
        """One fetch; None where nothing like it was announced."""
        with transaction(self._pool) as connection:
            row = connection.execute(fetch_sql.ONE_FETCH, (archive, resource_id)).fetchone()
        return None if row is None else _fetch_from_row(row)

    def fetches(self, *, state: FetchState | None = None, limit: int = 50) -> list[FetchRecord]:
        """The announced studies, the latest change first."""
        values = {"state": None if state is None else state.value, "limit": limit}
        with transaction(self._pool) as connection:
            return [_fetch_from_row(row) for row in connection.execute(fetch_sql.LIST_FETCHES, values)]

    def troubled_fetches(self, *, limit: int = 50) -> list[FetchRecord]:
        """Those that were given up, or went wrong at their latest try."""
        with transaction(self._pool) as connection:
            rows = connection.execute(fetch_sql.TROUBLED_FETCHES, {"limit": limit})
            return [_fetch_from_row(row) for row in rows]

    def _lock(self, connection: Connection, key: dict[str, Any]) -> tuple[FetchState, str | None, bool]:
        row = connection.execute(fetch_sql.LOCK_FETCH, key).fetchone()
        if row is None:  # its row was deleted by hand while it was on the queue
            return FetchState.FETCHED, None, False
        return FetchState(row[0]), row[1], row[2]

    def _end(
        self, connection: Connection, key: dict[str, str], state: FetchState, error: str | None, again: bool
    ) -> None:
        """`again`: it was announced anew meanwhile, so this end is a new beginning."""
        told = FetchState.WAITING if again else state
        connection.execute(fetch_sql.END_FETCH, {**key, "state": told.value, "error": error})
        if again:
            defer_fetch(connection, key["archive"], key["resource_id"])


def _fetch_from_row(row: Sequence[Any]) -> FetchRecord:
    return FetchRecord(row[0], row[1], row[2], row[3], FetchState(row[4]), *row[5:])
