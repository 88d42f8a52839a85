"""Studies: what arrived, where each stands, what was found. Every public method is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from dicom_node.errors import InstanceConflictError, ReportError
from dicom_node.facts import assessment_to_json, finding_to_json
from dicom_node.records import Assessment, Instance, Status, StoredReport
from dicom_node.store import audit, study_sql
from dicom_node.store.database import Connection, Pool, transaction
from dicom_node.store.deliveries import DeliveryStore, add_deliveries, report_from_row, supersede
from dicom_node.store.documents import is_document
from dicom_node.store.fetches import FetchStore, owed_to_sources, requeue_lost_fetches
from dicom_node.store.queue import defer_processing, put_back_abandoned
from dicom_node.store.reembedding import ReembeddingStore
from dicom_node.store.states import Added, Finished, Job, StudyRecord, StudyState, sources_of
from dicom_node.store.tries import JobTries
from dicom_node.store.vectors import make_room, replace_rows

STATE_AFTER: dict[Status, StudyState] = {
    Status.REPORTED: StudyState.REPORTED,
    Status.OUT_OF_SCOPE: StudyState.OUT_OF_SCOPE,
    Status.REFUSED: StudyState.REFUSED,
}


class StudyStore(DeliveryStore, FetchStore, ReembeddingStore, JobTries):
    """The node's memory of studies. `root` is the spool's folder: the paths of instances and reports are
    kept relative to it, and given absolute.

    Methods raise DatabaseUnavailableError; each may then be called again.
    """

    def __init__(self, pool: Pool, root: Path) -> None:
        self._pool = pool
        self._root = root

    # -- arriving ---------------------------------------------------------------------------------

    def add_instance(self, instance: Instance, *, origin: str | None, calling_ae: str | None) -> Added:
        """Make a durable file known. Its study is put back to `receiving` unless it was known already, or is
        a document (`documents.py`), which changes no finding.

        Raises InstanceConflictError when the same SOP Instance UID is known with other content.
        """
        values = {
            "study_uid": instance.study_uid,
            "series_uid": instance.series_uid,
            "sop_instance_uid": instance.sop_instance_uid,
            "sop_class_uid": instance.sop_class_uid,
            "transfer_syntax_uid": instance.transfer_syntax_uid,
            "path": str(instance.path.relative_to(self._root)),
            "size": instance.size,
            "sha256": instance.sha256,
            "origin": origin,
            "calling_ae": calling_ae,
            "document": is_document(instance.sop_class_uid),
        }
        with transaction(self._pool) as connection:
            try:
                with connection.transaction():
                    row = connection.execute(study_sql.ADD_INSTANCE, values).fetchone()
                added, known = row if row is not None else (0, None)
            except psycopg.errors.UniqueViolation:
                # Another association brought the same instance at the same moment, and was first.
                found = connection.execute(study_sql.KNOWN_DIGEST, (instance.sop_instance_uid,)).fetchone()
                added, known = 0, None if found is None else found[0]
            if added:
                return Added.NEW
            if known != instance.sha256:
                raise InstanceConflictError(
                    f"SOP instance {instance.sop_instance_uid} is known with other content; the first is kept"
                )
            if origin is not None:
                connection.execute(study_sql.NAME_ORIGIN, {"origin": origin, "study_uid": instance.study_uid})
            return Added.ALREADY_THERE

    def knows(self, sop_instance_uid: str) -> bool:
        """Whether an instance of that UID was made known."""
        with transaction(self._pool) as connection:
            return connection.execute(study_sql.KNOWN_DIGEST, (sop_instance_uid,)).fetchone() is not None

    def touch(self, study_uids: Collection[str], older_than: float) -> None:
        """Something of these studies is on the wire: where the last object came more than `older_than`
        seconds ago, the quiet time begins anew."""
        with transaction(self._pool) as connection:
            values = {"study_uids": list(study_uids), "older_than": older_than}
            connection.execute(study_sql.TOUCH, values)

    # -- becoming complete ------------------------------------------------------------------------

    def close_quiet(self, quiet_seconds: float) -> list[str]:
        """Queue every study whose last instance came longer ago than that, and that is not being fetched;
        returns their UIDs."""
        with transaction(self._pool) as connection:
            closed = connection.execute(study_sql.CLOSE_QUIET, (quiet_seconds,)).fetchall()
            self._queued(connection, closed)
        return [str(row[0]) for row in closed]

    def next_quiet(self, quiet_seconds: float) -> float | None:
        """Seconds until `close_quiet` finds the next study (0 or less: now); None where none is received."""
        with transaction(self._pool) as connection:
            row = connection.execute(study_sql.NEXT_QUIET, (quiet_seconds,)).fetchone()
        return None if row is None else row[0]

    def complete_now(self, study_uid: str) -> bool:
        """Queue a study that someone knows to be complete; False when it is not `receiving`."""
        return self._queue_one(study_uid, [StudyState.RECEIVING])

    def retry(self, study_uid: str) -> bool:
        """Queue a failed or refused study again; False when it is neither."""
        return self._queue_one(study_uid, [StudyState.FAILED, StudyState.REFUSED])

    def recover(self, *, alone: bool) -> list[str]:
        """To be called once at start. Gives everything that waits for a job one where it has none.

        `alone`: no other process works on this database, so jobs that count as running are taken back at
        once instead of after the time-out of their worker's heartbeat. Returns the UIDs of studies that got a
        new job.
        """
        with transaction(self._pool) as connection:
            if alone:
                put_back_abandoned(connection)
            requeue_lost_fetches(connection)
            orphans = connection.execute(study_sql.ORPHANED_STUDIES).fetchall()
            self._queued(connection, orphans)
        return [str(row[0]) for row in orphans]

    # -- being processed --------------------------------------------------------------------------

    def begin(self, study_uid: str, revision: int | None = None) -> Job | None:
        """Take a queued study, or take it up again where a worker died over it.

        None when there is nothing to do: it is unknown, finished, receiving again, or (where `revision` is
        given) at another revision.
        """
        with transaction(self._pool) as connection:
            row = connection.execute(study_sql.LOCK_STUDY, (study_uid,)).fetchone()
            if row is None:
                return None
            state, current, created_at, origin = row
            if state not in sources_of(StudyState.PROCESSING) or revision not in (None, current):
                return None
            connection.execute(study_sql.BEGIN_STUDY, (study_uid,))
            instances = self._instances(connection, study_uid)
            earlier = connection.execute(
                study_sql.PREDECESSORS, {"study_uid": study_uid, "revision": current}
            ).fetchall()
            predecessors = tuple(report_from_row(found[:7], self._root) for found in earlier)
            return Job(study_uid, current, created_at, instances, predecessors, origin)

    def finish(
        self, job: Job, assessment: Assessment, report: StoredReport | None, destinations: Sequence[str]
    ) -> Finished:
        """Keep all that a job found: findings, vectors, report, state, audit, and one delivery job for each
        destination; all or nothing. A repeat changes nothing, and makes no second report or delivery.

        Raises ReportError when the assessment says `reported` and no report is given, or the reverse.
        """
        if (assessment.status is Status.REPORTED) != (report is not None):
            raise ReportError(f"a report goes with `reported` and only with it; here: {assessment.status}")
        with transaction(self._pool) as connection:
            make_room(connection, assessment)
        with transaction(self._pool) as connection:
            row = connection.execute(study_sql.LOCK_STUDY, (job.study_uid,)).fetchone()
            if row is None or row[1] != job.revision or row[0] == StudyState.RECEIVING:
                audit.record(connection, "study.superseded", job.study_uid, revision=job.revision)
                return Finished.SUPERSEDED
            if row[0] != StudyState.PROCESSING:
                return Finished.REPEATED
            report_uid = None if report is None else self._keep_report(connection, job, assessment, report)
            self._keep_assessment(connection, job, assessment, report_uid)
            if report is not None and report_uid == report.sop_instance_uid:
                owed = [*destinations, *owed_to_sources(connection, job.study_uid)]
                supersede(connection, job.study_uid, report_uid, owed)
                add_deliveries(connection, report_uid, owed)
            audit.record(
                connection,
                f"study.{assessment.status.value}",
                job.study_uid,
                revision=job.revision,
                bundle=assessment.bundle.digest,
                report_uid=report_uid,
            )
            return Finished.STORED

    def fail(self, study_uid: str, revision: int, reason: str) -> bool:
        """Put a study that cannot be processed into the failed state, with a reason for people; False when
        it has moved on since."""
        with transaction(self._pool) as connection:
            values = {
                "study_uid": study_uid,
                "revision": revision,
                "reason": reason,
                "from": sources_of(StudyState.FAILED),
            }
            if connection.execute(study_sql.FAIL_STUDY, values).fetchone() is None:
                return False
            audit.record(connection, "study.failed", study_uid, revision=revision, reason=reason)
            return True

    # -- being read -------------------------------------------------------------------------------

    def study(self, study_uid: str) -> StudyRecord | None:
        """One study."""
        with transaction(self._pool) as connection:
            row = connection.execute(study_sql.ONE_STUDY, (study_uid,)).fetchone()
        return None if row is None else _study_from_row(row)

    def list_studies(
        self, *, state: StudyState | None = None, limit: int = 50, before: datetime | None = None
    ) -> list[StudyRecord]:
        """Studies by their last arrival, newest first; `before` is the `last_received` to continue from."""
        with transaction(self._pool) as connection:
            values = {"state": None if state is None else state.value, "limit": limit, "before": before}
            rows = connection.execute(study_sql.LIST_STUDIES, values).fetchall()
        return [_study_from_row(row) for row in rows]

    def assessment(self, study_uid: str) -> dict[str, Any] | None:
        """The latest assessment, as `facts.assessment_to_json` made it."""
        with transaction(self._pool) as connection:
            row = connection.execute(study_sql.ASSESSMENT, (study_uid,)).fetchone()
        return None if row is None else row[0]

    def noticed(self, study_uids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Findings of the latest assessments that are not absent, as `facts.finding_to_json` made them, by
        study; a study without any has no entry."""
        found: dict[str, list[dict[str, Any]]] = {}
        with transaction(self._pool) as connection:
            for study_uid, body in connection.execute(study_sql.NOTICED, (list(study_uids),)):
                found.setdefault(study_uid, []).append(body)
        return found

    def counts(self) -> dict[StudyState, int]:
        """How many studies are in each state; every state has an entry."""
        with transaction(self._pool) as connection:
            found = {StudyState(state): int(n) for state, n in connection.execute(study_sql.COUNTS)}
        return {state: found.get(state, 0) for state in StudyState}

    def instances(self, study_uid: str) -> list[Instance]:
        """The instances of a study, ordered by series and SOP Instance UID."""
        with transaction(self._pool) as connection:
            return list(self._instances(connection, study_uid))

    # -- shared -----------------------------------------------------------------------------------

    def _queue_one(self, study_uid: str, states: list[StudyState]) -> bool:
        with transaction(self._pool) as connection:
            values = {"study_uid": study_uid, "from": [state.value for state in states]}
            row = connection.execute(study_sql.QUEUE_STUDY, values).fetchone()
            self._queued(connection, [] if row is None else [row])
        return row is not None

    def _queued(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        defer_processing(connection, [(str(study_uid), int(revision)) for study_uid, revision in rows])
        for study_uid, revision in rows:
            audit.record(connection, "study.queued", study_uid, revision=revision)

    def _keep_report(
        self, connection: Connection, job: Job, assessment: Assessment, report: StoredReport
    ) -> str:
        values = {
            "sop_instance_uid": report.sop_instance_uid,
            "sop_class_uid": report.sop_class_uid,
            "series_uid": report.series_uid,
            "study_uid": job.study_uid,
            "revision": job.revision,
            "instance_set": job.instance_set,
            "bundle_digest": assessment.bundle.digest,
            "path": str(report.path.relative_to(self._root)),
            "size": report.size,
            "sha256": report.sha256,
        }
        row = connection.execute(study_sql.ADD_REPORT, values).fetchone()
        if row is None:
            row = connection.execute(study_sql.SAME_REPORT, values).fetchone()
        if row is None:
            raise ReportError(f"report {report.sop_instance_uid} exists for other instances; make a new UID")
        return str(row[0])

    def _keep_assessment(
        self, connection: Connection, job: Job, assessment: Assessment, report_uid: str | None
    ) -> None:
        rows = [
            (
                job.study_uid,
                job.revision,
                ordinal,
                finding.id,
                finding.modality,
                finding.series_uid,
                finding.probability,
                finding.presence.value,
                Jsonb(finding_to_json(finding)),
            )
            for ordinal, finding in enumerate(assessment.findings)
        ]
        with connection.cursor() as cursor:
            cursor.executemany(study_sql.ADD_FINDING, rows)
        replace_rows(connection, assessment)
        values = {
            "study_uid": job.study_uid,
            "state": STATE_AFTER[assessment.status].value,
            "reason": assessment.reason,
            "modality": assessment.modality,
            "bundle_name": assessment.bundle.name,
            "bundle_version": assessment.bundle.version,
            "bundle_digest": assessment.bundle.digest,
            "report_uid": report_uid,
            "assessment": Jsonb(assessment_to_json(assessment)),
        }
        connection.execute(study_sql.FINISH_STUDY, values)


def _study_from_row(row: Sequence[Any]) -> StudyRecord:
    return StudyRecord(row[0], StudyState(row[1]), *row[2:])
