"""Who did what to which study, and when: written in the transaction that did it, never changed.

Holds UIDs, names of archives and AE titles, and no other patient data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from dicom_node.store.database import Connection, Pool, transaction

RECORD = """
-- One line of the audit trail.
INSERT INTO audit (event, study_uid, detail) VALUES (%(event)s, %(study_uid)s, %(detail)s)
"""

TRAIL = """
-- The trail of one study, or of all, newest first.
SELECT at, event, study_uid, detail FROM audit
WHERE %(study_uid)s::text IS NULL OR study_uid = %(study_uid)s
ORDER BY id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the trail."""

    at: datetime
    event: str
    """Dotted, noun first: `study.queued`, `report.delivered`."""
    study_uid: str | None
    detail: dict[str, Any]


def record(connection: Connection, event: str, study_uid: str | None = None, **detail: Any) -> None:
    """Add a line in the caller's transaction."""
    connection.execute(RECORD, {"event": event, "study_uid": study_uid, "detail": Jsonb(detail)})


def trail(pool: Pool, study_uid: str | None = None, *, limit: int = 100) -> list[AuditEntry]:
    """The newest `limit` lines of one study, or of all."""
    with transaction(pool) as connection:
        rows = connection.execute(TRAIL, {"study_uid": study_uid, "limit": limit})
        return [AuditEntry(*row) for row in rows]
