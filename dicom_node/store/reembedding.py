"""Embedding again in the background what another bundle, or an earlier edition of the index, had embedded.

    plan --> a batch of jobs, one per study, newest first --> begin --> finish | give up --> the next batch

The jobs stand behind all others on the queue of studies. Until its turn a study stays answered for by the
bundle that looked at it before. Reports are not made again: what an archive was sent stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_node.records import Assessment, BundleIdentity, Instance
from dicom_node.store import audit, search_sql, study_sql
from dicom_node.store.database import Connection, Pool, transaction
from dicom_node.store.queue import REEMBED_STUDY, defer_reembedding
from dicom_node.store.vectors import EDITION, make_room, replace_rows

BATCH = 200
"""Jobs that wait at a time: enough for many workers, and a queue that can still be read."""


@dataclass(frozen=True, slots=True)
class Reembedding:
    """One study that is to be embedded again."""

    study_uid: str
    revision: int
    instances: tuple[Instance, ...]
    """Ordered by series and SOP Instance UID."""


class ReembeddingStore:
    """What the index owes to the current bundle. `root` is the spool's folder."""

    def __init__(self, pool: Pool, root: Path) -> None:
        self._pool = pool
        self._root = root

    def plan_reembedding(self, bundle: BundleIdentity) -> int:
        """Queue the next batch for this bundle, unless one waits; how many studies that are. To be called at
        the start of a worker: from then on, each batch calls for the next."""
        with transaction(self._pool) as connection:
            return _plan(connection, bundle.digest)

    def begin_reembedding(self, study_uid: str, bundle_digest: str) -> Reembedding | None:
        """What is to be embedded; None where it has been, or where the study is on its way through the node
        anyway."""
        with transaction(self._pool) as connection:
            names = {"study_uid": study_uid, "bundle": bundle_digest, "edition": EDITION}
            row = connection.execute(search_sql.DUE, names).fetchone()
            if row is None:
                _plan(connection, bundle_digest)
                return None
            return Reembedding(study_uid, int(row[0]), self._instances(connection, study_uid))

    def finish_reembedding(self, job: Reembedding, assessment: Assessment) -> bool:
        """Put the new rows in the place of the old; False, and nothing changes, where the study has grown
        meanwhile."""
        with transaction(self._pool) as connection:
            make_room(connection, assessment)
        with transaction(self._pool) as connection:
            names = {"study_uid": job.study_uid, "bundle": assessment.bundle.digest, "edition": EDITION}
            connection.execute(study_sql.LOCK_STUDY, (job.study_uid,))
            row = connection.execute(search_sql.DUE, names).fetchone()
            done = row is not None and int(row[0]) == job.revision
            if done:
                replace_rows(connection, assessment)
                audit.record(
                    connection,
                    "study.embedded_again",
                    job.study_uid,
                    revision=job.revision,
                    bundle=assessment.bundle.digest,
                )
            _plan(connection, assessment.bundle.digest)
            return done

    def reembedding_failed(self, study_uid: str, bundle_digest: str, reason: str) -> None:
        """Leave a study to the bundle that looked at it before; this one does not try again. `reason` is for
        people."""
        with transaction(self._pool) as connection:
            connection.execute(search_sql.STUCK, {"study_uid": study_uid, "bundle": bundle_digest})
            audit.record(
                connection, "study.not_embedded_again", study_uid, bundle=bundle_digest, reason=reason
            )
            _plan(connection, bundle_digest)

    def _instances(self, connection: Connection, study_uid: str) -> tuple[Instance, ...]:
        rows = connection.execute(study_sql.INSTANCES_OF_STUDY, (study_uid,)).fetchall()
        return tuple(_instance_from_row(row, self._root) for row in rows)


def _instance_from_row(row: Sequence[Any], root: Path) -> Instance:
    study, series, sop_instance, sop_class, syntax, path, size, sha256 = row
    return Instance(study, series, sop_instance, sop_class, syntax, root / path, size, sha256)


def _plan(connection: Connection, bundle_digest: str) -> int:
    """The next batch, in the caller's transaction, once the last one has been taken up."""
    connection.execute(search_sql.ONE_PLANS)
    waiting = connection.execute(search_sql.BATCH_WAITS, (REEMBED_STUDY,)).fetchone()
    if waiting is not None:
        return 0
    values = {"bundle": bundle_digest, "edition": EDITION, "limit": BATCH, "task": REEMBED_STUDY}
    studies = [str(row[0]) for row in connection.execute(search_sql.NEXT_BATCH, values)]
    defer_reembedding(connection, studies, bundle_digest)
    return len(studies)
