"""The statements of `fetches.py`, by name."""

from __future__ import annotations

ADD_FETCH = """
-- A study that was not announced before.
INSERT INTO fetches (archive, resource_id, study_uid, instances)
VALUES (%(archive)s, %(resource_id)s, %(study_uid)s, %(instances)s)
ON CONFLICT DO NOTHING
RETURNING state
"""

LOCK_FETCH = """
-- Where it stands; nobody else changes it until this transaction ends.
SELECT state, study_uid, again FROM fetches
WHERE archive = %(archive)s AND resource_id = %(resource_id)s FOR UPDATE
"""

ANNOUNCE_AGAIN = """
-- One that was announced before. While it is being fetched it stays so, and is fetched once more afterwards.
UPDATE fetches
SET study_uid = COALESCE(%(study_uid)s, study_uid), instances = COALESCE(%(instances)s, instances),
    announced_at = now(), changed_at = now(), failing_since = NULL, last_error = NULL,
    again = (state = 'fetching'), state = CASE state WHEN 'fetching' THEN 'fetching' ELSE 'waiting' END
WHERE archive = %(archive)s AND resource_id = %(resource_id)s
"""

BEGIN_FETCH = """
-- A worker is at it: whatever was announced up to now is covered.
UPDATE fetches SET state = 'fetching', again = false, attempts = attempts + 1, changed_at = now()
WHERE archive = %(archive)s AND resource_id = %(resource_id)s
"""

END_FETCH = """
-- The end of a fetch, or of a try.
UPDATE fetches
SET state = %(state)s, again = false, changed_at = now(), last_error = %(error)s,
    failing_since = CASE WHEN %(error)s::text IS NULL THEN NULL ELSE COALESCE(failing_since, now()) END
WHERE archive = %(archive)s AND resource_id = %(resource_id)s
"""

RETRY_FETCH = """
-- Someone asked for another try.
UPDATE fetches SET state = 'waiting', failing_since = NULL, changed_at = now()
WHERE archive = %(archive)s AND resource_id = %(resource_id)s
"""

LOST_FETCHES = """
-- Fetches that wait for a job which is not on the queue.
UPDATE fetches f SET state = 'waiting', again = false
WHERE state IN ('waiting', 'fetching')
  AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs j
                  WHERE j.task_name = 'fetch_study' AND j.status IN ('todo', 'doing')
                    AND j.args->>'archive' = f.archive AND j.args->>'resource_id' = f.resource_id)
RETURNING archive, resource_id
"""

CURRENT_REPORT = """
-- The report that tells of all instances of the study, where there is one.
SELECT report_uid FROM studies WHERE study_uid = %s AND state = 'reported' AND report_uid IS NOT NULL
FOR UPDATE
"""

ARCHIVES_THAT_HAVE = """
-- Every archive that the study was fetched from.
SELECT DISTINCT archive FROM fetches WHERE study_uid = %s AND state = 'fetched' ORDER BY archive
"""

SELECT_FETCH = """
SELECT archive, resource_id, study_uid, instances, state, attempts, last_error, announced_at, changed_at
FROM fetches
"""

ONE_FETCH = f"""
{SELECT_FETCH}
WHERE archive = %s AND resource_id = %s
"""

LIST_FETCHES = f"""
-- The latest change first.
{SELECT_FETCH}
WHERE %(state)s::text IS NULL OR state = %(state)s
ORDER BY changed_at DESC, archive, resource_id LIMIT %(limit)s
"""

TROUBLED_FETCHES = f"""
-- Those that went wrong the last time.
{SELECT_FETCH}
WHERE state = 'failed' OR (state = 'waiting' AND last_error IS NOT NULL)
ORDER BY changed_at DESC, archive, resource_id LIMIT %(limit)s
"""
