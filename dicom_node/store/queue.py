"""Putting jobs on procrastinate's queue from within the store's own transactions.

A job that is deferred on the connection of a transaction exists exactly when the rest of the transaction
does. The names and arguments here are the contract with `jobs/tasks.py`.
"""

from __future__ import annotations

from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Job as QueuedJob
from procrastinate.manager import JobManager
from procrastinate.sync_psycopg_connector import SyncPsycopgConnector

from dicom_node.store.database import Connection

QUEUE = "dicom-node"
PROCESS_STUDY = "process_study"
DELIVER_REPORT = "deliver_report"
FETCH_STUDY = "fetch_study"


def defer_processing(connection: Connection, studies: list[tuple[str, int]]) -> None:
    """One job for each (study UID, revision). Jobs of one study never run at the same time."""
    _defer(
        connection,
        [
            QueuedJob(
                queue=QUEUE,
                lock=f"study:{study_uid}",
                queueing_lock=None,
                task_name=PROCESS_STUDY,
                task_kwargs={"study_uid": study_uid, "revision": revision},
            )
            for study_uid, revision in studies
        ],
    )


def defer_delivery(connection: Connection, report_uid: str, destinations: list[str]) -> None:
    """One job for each destination; deliveries go before new studies (they are short)."""
    _defer(
        connection,
        [
            QueuedJob(
                queue=QUEUE,
                priority=10,
                lock=f"delivery:{destination}:{report_uid}",
                queueing_lock=None,
                task_name=DELIVER_REPORT,
                task_kwargs={"report_uid": report_uid, "destination": destination},
            )
            for destination in destinations
        ],
    )


def defer_fetch(connection: Connection, archive: str, resource_id: str) -> bool:
    """A job that fetches a study; False when one is waiting already."""
    key = f"fetch:{archive}:{resource_id}"
    job = QueuedJob(
        queue=QUEUE,
        lock=key,
        queueing_lock=key,
        task_name=FETCH_STUDY,
        task_kwargs={"archive": archive, "resource_id": resource_id},
    )
    try:
        with connection.transaction():
            _defer(connection, [job])
    except AlreadyEnqueued:
        return False
    return True


def _defer(connection: Connection, jobs: list[QueuedJob]) -> None:
    if jobs:
        # The connector is never opened: with a connection given, it only runs the statement on it.
        JobManager(SyncPsycopgConnector()).batch_defer_jobs(jobs, connection=connection)
