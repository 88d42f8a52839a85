"""How often a job went wrong, by kind: the queue itself only counts how often it was put back."""

from __future__ import annotations

from dicom_node.store.database import Pool, transaction
from dicom_node.store.queue import COUNT_FAILURE, COUNTED_UNTIL


class JobTries:
    """Failures of jobs. `attempts` is procrastinate's count: how often the job was put back before."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def count_failure(self, job_id: int, attempts: int, *, patient: bool) -> int:
        """Record a failure; how many of its kind this job has had by now. `patient`: something was away or
        full, and waiting helps."""
        with transaction(self._pool) as connection:
            values = {"job": job_id, "attempts": attempts, "patient": int(patient)}
            row = connection.execute(COUNT_FAILURE, values).fetchone()
        return 1 if row is None else int(row[0])

    def crashes(self, job_id: int, attempts: int) -> int:
        """How often in a row the job was begun and put back without a word: its worker died over it."""
        with transaction(self._pool) as connection:
            row = connection.execute(COUNTED_UNTIL, (job_id,)).fetchone()
        return attempts if row is None else attempts - int(row[0]) - 1
