"""Reports and their way to the archives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString

from dicom_node.records import StoredReport
from dicom_node.store import audit
from dicom_node.store.database import Connection, Pool, transaction
from dicom_node.store.delivery_sql import (
    ADD_DELIVERY,
    DELIVERED,
    DELIVERIES_OF_STUDY,
    IS_SUPERSEDED,
    NOT_DELIVERED,
    ONE_REPORT,
    OWE_AGAIN,
    REPORTS_OF_STUDY,
    RETRY_DELIVERY,
    STUDY_OF_REPORT,
    SUPERSEDE,
)
from dicom_node.store.queue import HASTEN_DELIVERIES, defer_delivery
from dicom_node.store.states import DeliveredAs, DeliveryRecord, DeliveryState


def add_deliveries(connection: Connection, report_uid: str, destinations: Sequence[str]) -> None:
    """Owe a report to each destination, with one job each, in the caller's transaction."""
    owed = [
        name
        for name in dict.fromkeys(destinations)
        if connection.execute(ADD_DELIVERY, (report_uid, name)).fetchone() is not None
    ]
    defer_delivery(connection, report_uid, owed)


def owe_again(connection: Connection, report_uid: str, destination: str) -> None:
    """Owe a report to an archive that may have lost it, in the caller's transaction. Delivering what is
    there already is harmless."""
    if connection.execute(OWE_AGAIN, (report_uid, destination)).fetchone() is not None:
        defer_delivery(connection, report_uid, [destination])


def supersede(connection: Connection, study_uid: str, report_uid: str, destinations: Sequence[str]) -> None:
    """Older reports of the study that are not there yet are owed no longer, in the caller's transaction."""
    values = {"study_uid": study_uid, "report_uid": report_uid, "destinations": list(destinations)}
    connection.execute(SUPERSEDE, values)


def report_from_row(row: Sequence[Any], root: Path) -> StoredReport:
    """A row of `reports` (as ONE_REPORT orders it) with its path made absolute."""
    sop_instance_uid, sop_class_uid, series_uid, study_uid, path, size, sha256 = row
    return StoredReport(sop_instance_uid, sop_class_uid, series_uid, study_uid, root / path, size, sha256)


class DeliveryStore:
    """What was sent where, and what is still owed. `root` is the spool's folder."""

    def __init__(self, pool: Pool, root: Path) -> None:
        self._pool = pool
        self._root = root

    def delivery_succeeded(
        self, report_uid: str, destination: str, delivered: DeliveredAs | None = None
    ) -> None:
        """The archive has the report, in the form that `delivered` names where that is another. Saying it
        twice is harmless."""
        uid, sop_class = (
            (None, None) if delivered is None else (delivered.sop_instance_uid, delivered.sop_class_uid)
        )
        self._mark(DELIVERED, "report.delivered", report_uid, destination, uid=uid, sop_class=sop_class)

    def is_superseded(self, report_uid: str, destination: str) -> bool:
        """Whether a later report of the study goes to that archive instead."""
        with transaction(self._pool) as connection:
            row = connection.execute(IS_SUPERSEDED, (report_uid, destination)).fetchone()
        return row is not None and bool(row[0])

    def hasten_deliveries(self, destination: str) -> None:
        """An archive answers again: what waits for its next try there is due now."""
        with transaction(self._pool) as connection:
            connection.execute(HASTEN_DELIVERIES, (destination,))

    def delivery_failed(
        self, report_uid: str, destination: str, error: str, *, gave_up: bool = False
    ) -> None:
        """It did not get there: `error` is for people; with `gave_up` no further try is made by itself."""
        event = "report.delivery_given_up" if gave_up else "report.delivery_failed"
        self._mark(NOT_DELIVERED, event, report_uid, destination, error=error, gave_up=gave_up)

    def retry_delivery(self, report_uid: str, destination: str) -> bool:
        """Queue a delivery that was given up; False when it was not."""
        with transaction(self._pool) as connection:
            names = {"report_uid": report_uid, "destination": destination}
            if connection.execute(RETRY_DELIVERY, names).fetchone() is None:
                return False
            defer_delivery(connection, report_uid, [destination])
            self._note(connection, "report.delivery_retried", report_uid, destination)
            return True

    def report(self, report_uid: str) -> StoredReport | None:
        """A report by its SOP Instance UID."""
        with transaction(self._pool) as connection:
            row = connection.execute(ONE_REPORT, (report_uid,)).fetchone()
        return None if row is None else report_from_row(row, self._root)

    def reports(self, study_uid: str) -> list[StoredReport]:
        """All reports of a study, oldest first."""
        with transaction(self._pool) as connection:
            rows = connection.execute(REPORTS_OF_STUDY, (study_uid,)).fetchall()
        return [report_from_row(row, self._root) for row in rows]

    def deliveries(self, study_uid: str) -> list[DeliveryRecord]:
        """All deliveries of a study's reports, oldest report first."""
        with transaction(self._pool) as connection:
            rows = connection.execute(DELIVERIES_OF_STUDY, (study_uid,)).fetchall()
        return [DeliveryRecord(row[0], row[1], DeliveryState(row[2]), *row[3:]) for row in rows]

    def _mark(
        self, statement: LiteralString, event: str, report_uid: str, destination: str, **values: Any
    ) -> None:
        with transaction(self._pool) as connection:
            names = {"report_uid": report_uid, "destination": destination, **values}
            row = connection.execute(statement, names).fetchone()
            if row is not None:
                told = {name: value for name, value in values.items() if value is not None}
                self._note(connection, event, report_uid, destination, attempts=row[0], **told)

    def _note(
        self, connection: Connection, event: str, report_uid: str, destination: str, **detail: Any
    ) -> None:
        row = connection.execute(STUDY_OF_REPORT, (report_uid,)).fetchone()
        study_uid = None if row is None else str(row[0])
        audit.record(connection, event, study_uid, report_uid=report_uid, destination=destination, **detail)
