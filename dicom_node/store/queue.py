"""Putting jobs on procrastinate's queues from within the store's own transactions.

A job that is deferred on the connection of a transaction exists exactly when the rest of the transaction
does. The names and arguments here are the contract with `jobs/tasks.py`.

Each kind has a queue of its own, because what waits for one archive must not hold up what needs none. There
are no queueing locks: they are unique among waiting jobs, so that a job which has one cannot be put back once
another waits.
"""

from __future__ import annotations

import psycopg
import structlog
from procrastinate.jobs import Job as QueuedJob
from procrastinate.manager import JobManager
from procrastinate.sync_psycopg_connector import SyncPsycopgConnector

from dicom_node.store.database import Connection

STUDIES = "dicom-node"
DELIVERIES = "dicom-node-deliveries"
FETCHES = "dicom-node-fetches"
"""The queues."""
PROCESS_STUDY = "process_study"
DELIVER_REPORT = "deliver_report"
FETCH_STUDY = "fetch_study"
REEMBED_STUDY = "reembed_study"
"""The kinds of job."""
BACKGROUND = -10
"""Priority of what can wait for everything else on its queue (procrastinate's default is 0)."""

ABANDONED_JOBS = """
-- Nobody is left who could be working: whatever counts as running was abandoned.
SELECT id FROM procrastinate_jobs WHERE status = 'doing' ORDER BY id FOR UPDATE
"""

PUT_BACK = """
-- One running job is put back on its queue.
SELECT procrastinate_retry_job_v2(%s, now(), NULL, NULL, NULL)
"""

HASTEN = """
-- A job that waits for its next try is due now.
UPDATE procrastinate_jobs SET scheduled_at = now()
WHERE lock = %s AND status = 'todo' AND scheduled_at > now()
"""

HASTEN_DELIVERIES = """
-- So are all that go to one archive.
UPDATE procrastinate_jobs SET scheduled_at = now()
WHERE id IN (SELECT id FROM procrastinate_jobs
             WHERE task_name = 'deliver_report' AND status = 'todo' AND scheduled_at > now()
               AND args->>'destination' = %s
             FOR UPDATE SKIP LOCKED)
"""

COUNT_FAILURE = """
-- One more failure of its kind; how many there are now.
INSERT INTO job_failures AS known (job_id, patient, unexpected, attempts)
VALUES (%(job)s, %(patient)s::integer, 1 - %(patient)s::integer, %(attempts)s)
ON CONFLICT (job_id) DO UPDATE
SET patient = known.patient + EXCLUDED.patient, unexpected = known.unexpected + EXCLUDED.unexpected,
    attempts = EXCLUDED.attempts
RETURNING CASE WHEN %(patient)s::integer = 1 THEN patient ELSE unexpected END
"""

COUNTED_UNTIL = """
-- The queue's own count of attempts when the job last failed in a way that could be recorded.
SELECT attempts FROM job_failures WHERE job_id = %s
"""


def defer_processing(connection: Connection, studies: list[tuple[str, int]]) -> None:
    """One job for each (study UID, revision). Jobs of one study never run at the same time."""
    _defer(
        connection,
        [
            QueuedJob(
                queue=STUDIES,
                lock=f"study:{study_uid}",
                queueing_lock=None,
                task_name=PROCESS_STUDY,
                task_kwargs={"study_uid": study_uid, "revision": revision},
            )
            for study_uid, revision in studies
        ],
    )


def defer_delivery(connection: Connection, report_uid: str, destinations: list[str]) -> None:
    """One job for each destination."""
    _defer(
        connection,
        [
            QueuedJob(
                queue=DELIVERIES,
                lock=f"delivery:{destination}:{report_uid}",
                queueing_lock=None,
                task_name=DELIVER_REPORT,
                task_kwargs={"report_uid": report_uid, "destination": destination},
            )
            for destination in destinations
        ],
    )


def defer_fetch(connection: Connection, archive: str, resource_id: str) -> None:
    """A job that fetches a study; the caller sees to it that no other one waits."""
    job = QueuedJob(
        queue=FETCHES,
        lock=_fetch_lock(archive, resource_id),
        queueing_lock=None,
        task_name=FETCH_STUDY,
        task_kwargs={"archive": archive, "resource_id": resource_id},
    )
    _defer(connection, [job])


def defer_reembedding(connection: Connection, study_uids: list[str], bundle_digest: str) -> None:
    """One job for each study, behind all studies that have just come; never while the study is processed."""
    _defer(
        connection,
        [
            QueuedJob(
                queue=STUDIES,
                lock=f"study:{study_uid}",
                queueing_lock=None,
                task_name=REEMBED_STUDY,
                priority=BACKGROUND,
                task_kwargs={"study_uid": study_uid, "bundle_digest": bundle_digest},
            )
            for study_uid in study_uids
        ],
    )


def hasten_fetch(connection: Connection, archive: str, resource_id: str) -> None:
    """Let a fetch that waits for its next try be due now."""
    connection.execute(HASTEN, (_fetch_lock(archive, resource_id),))


def put_back_abandoned(connection: Connection) -> None:
    """Put every running job back on its queue, one by one: one that cannot be does not keep the others."""
    for (job,) in connection.execute(ABANDONED_JOBS).fetchall():
        try:
            with connection.transaction():
                connection.execute(PUT_BACK, (job,))
        except (psycopg.IntegrityError, psycopg.errors.RaiseException) as error:
            log = structlog.get_logger().bind(room="store")
            log.warning("jobs.not_put_back", job_id=job, error=type(error).__name__)


def _fetch_lock(archive: str, resource_id: str) -> str:
    return f"fetch:{archive}:{resource_id}"


def _defer(connection: Connection, jobs: list[QueuedJob]) -> None:
    if jobs:
        # The connector is never opened: with a connection given, it only runs the statement on it.
        JobManager(SyncPsycopgConnector()).batch_defer_jobs(jobs, connection=connection)
