"""The statements of `studies.py`, by name. Every change of state names the states that it may start from."""

from __future__ import annotations

ADD_INSTANCE = """
-- One instance and its study in a single round trip. A new instance puts its study back to receiving, unless
-- it is a document; a known one changes nothing, except that an archive's name is added where none was known.
WITH known AS (
    SELECT sha256 FROM instances WHERE sop_instance_uid = %(sop_instance_uid)s
), study AS (
    INSERT INTO studies (study_uid, state, origin)
    SELECT %(study_uid)s, 'receiving', %(origin)s WHERE NOT EXISTS (SELECT 1 FROM known)
    ON CONFLICT (study_uid) DO UPDATE
    SET state = CASE WHEN %(document)s THEN studies.state ELSE 'receiving' END,
        reason = CASE WHEN %(document)s THEN studies.reason END,
        last_received = CASE WHEN %(document)s AND studies.state <> 'receiving'
                             THEN studies.last_received ELSE now() END,
        origin = COALESCE(studies.origin, EXCLUDED.origin)
    RETURNING study_uid
), added AS (
    INSERT INTO instances (sop_instance_uid, study_uid, series_uid, sop_class_uid, transfer_syntax_uid,
                           path, size, sha256, origin, calling_ae)
    SELECT %(sop_instance_uid)s, study.study_uid, %(series_uid)s, %(sop_class_uid)s, %(transfer_syntax_uid)s,
           %(path)s, %(size)s, %(sha256)s, %(origin)s, %(calling_ae)s
    FROM study
    RETURNING 1
)
SELECT (SELECT count(*) FROM added), (SELECT sha256 FROM known)
"""

KNOWN_DIGEST = """
-- Content digest of an instance, where there is one.
SELECT sha256 FROM instances WHERE sop_instance_uid = %s
"""

TOUCH = """
-- Something of these studies is on the wire: they are not silent.
UPDATE studies SET last_received = now()
WHERE study_uid = ANY(%(study_uids)s) AND state = 'receiving'
  AND last_received < now() - make_interval(secs => %(older_than)s)
"""

NAME_ORIGIN = """
-- A re-send by an archive of what came without a name before.
UPDATE studies SET origin = %(origin)s WHERE study_uid = %(study_uid)s AND origin IS NULL
"""

CLOSE_QUIET = """
-- Studies that have been quiet long enough become complete. Several nodes may ask at once.
UPDATE studies
SET state = 'queued', reason = NULL, revision = revision + 1, completed_at = now(), job_created_at = now()
WHERE study_uid IN (
    SELECT study_uid FROM studies
    WHERE state = 'receiving' AND last_received <= now() - make_interval(secs => %s)
      AND NOT is_being_fetched(study_uid)
    ORDER BY last_received LIMIT 100
    FOR UPDATE SKIP LOCKED
)
RETURNING study_uid, revision
"""

NEXT_QUIET = """
-- Seconds until the study that has been silent longest will have been so for long enough.
SELECT extract(epoch FROM min(last_received) + make_interval(secs => %s) - clock_timestamp())::float8
FROM studies WHERE state = 'receiving' AND NOT is_being_fetched(study_uid)
"""

QUEUE_STUDY = """
-- One study becomes complete now: because someone said so, or to be tried again.
UPDATE studies
SET state = 'queued', reason = NULL, revision = revision + 1, completed_at = now(), job_created_at = now()
WHERE study_uid = %(study_uid)s AND state = ANY(%(from)s)
RETURNING study_uid, revision
"""

LOCK_STUDY = """
-- The study's state, which nobody else changes until this transaction ends.
SELECT state, revision, job_created_at, origin FROM studies WHERE study_uid = %s FOR UPDATE
"""

BEGIN_STUDY = """
-- A worker has taken the study.
UPDATE studies SET state = 'processing', begun_at = now() WHERE study_uid = %s
"""

INSTANCES_OF_STUDY = """
-- All instances of a study, in a stable order.
SELECT study_uid, series_uid, sop_instance_uid, sop_class_uid, transfer_syntax_uid, path, size, sha256
FROM instances WHERE study_uid = %s ORDER BY series_uid, sop_instance_uid
"""

PREDECESSORS = """
-- Reports of earlier revisions that reached at least one archive, in the forms that archives were given.
SELECT DISTINCT COALESCE(d.delivered_uid, r.sop_instance_uid), COALESCE(d.delivered_class, r.sop_class_uid),
                r.series_uid, r.study_uid, r.path, r.size, r.sha256, r.revision
FROM reports r JOIN deliveries d ON d.report_uid = r.sop_instance_uid
WHERE r.study_uid = %(study_uid)s AND r.revision < %(revision)s AND d.delivered_at IS NOT NULL
ORDER BY r.revision, 1
"""

ADD_REPORT = """
-- The report, unless one was made of the same instances with the same bundle.
INSERT INTO reports (sop_instance_uid, sop_class_uid, series_uid, study_uid, revision, instance_set,
                     bundle_digest, path, size, sha256)
VALUES (%(sop_instance_uid)s, %(sop_class_uid)s, %(series_uid)s, %(study_uid)s, %(revision)s,
        %(instance_set)s, %(bundle_digest)s, %(path)s, %(size)s, %(sha256)s)
ON CONFLICT DO NOTHING
RETURNING sop_instance_uid
"""

SAME_REPORT = """
-- The report that was made of the same instances with the same bundle.
SELECT sop_instance_uid FROM reports
WHERE study_uid = %(study_uid)s AND instance_set = %(instance_set)s AND bundle_digest = %(bundle_digest)s
"""

ADD_FINDING = """
-- One finding of one revision.
INSERT INTO findings
    (study_uid, revision, ordinal, finding_id, modality, series_uid, probability, presence, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

FINISH_STUDY = """
-- The assessment, and the state that it puts the study into.
UPDATE studies
SET state = %(state)s, reason = %(reason)s, modality = %(modality)s, finished_at = now(),
    bundle_name = %(bundle_name)s, bundle_version = %(bundle_version)s, bundle_digest = %(bundle_digest)s,
    report_uid = COALESCE(%(report_uid)s, report_uid), assessment = %(assessment)s
WHERE study_uid = %(study_uid)s
"""

FAIL_STUDY = """
-- The study failed at this revision; a later one is left alone.
UPDATE studies SET state = 'failed', reason = %(reason)s, finished_at = now()
WHERE study_uid = %(study_uid)s AND revision = %(revision)s AND state = ANY(%(from)s)
RETURNING study_uid
"""

ORPHANED_STUDIES = """
-- Studies that wait for a job which is not on the queue (it was deleted there, or it failed without a word).
SELECT study_uid, revision FROM studies s
WHERE state IN ('queued', 'processing')
  AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs j
                  WHERE j.task_name = 'process_study' AND j.status IN ('todo', 'doing')
                    AND j.lock = 'study:' || s.study_uid
                    AND (j.args->>'revision')::integer = s.revision)
FOR UPDATE SKIP LOCKED
"""

SELECT_STUDY = """
SELECT study_uid, state, reason, modality, origin, revision, first_received, last_received, completed_at,
       job_created_at, finished_at, bundle_name, bundle_version, bundle_digest, report_uid,
       (SELECT count(*) FROM instances i WHERE i.study_uid = s.study_uid)
FROM studies s
"""

LIST_STUDIES = f"""
-- Newest first; `before` continues a list after its last record.
{SELECT_STUDY}
WHERE (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(before)s::timestamptz IS NULL OR last_received < %(before)s)
ORDER BY last_received DESC, study_uid LIMIT %(limit)s
"""

ONE_STUDY = f"""
{SELECT_STUDY}
WHERE study_uid = %s
"""

ASSESSMENT = """
-- The latest assessment as JSON.
SELECT assessment FROM studies WHERE study_uid = %s
"""

NOTICED = """
-- Findings worth a line in a list, of the latest assessments.
SELECT f.study_uid, f.body FROM findings f JOIN studies s USING (study_uid)
WHERE f.study_uid = ANY(%s) AND f.revision = s.revision AND f.presence <> 'absent'
ORDER BY f.study_uid, f.ordinal
"""

COUNTS = """
-- How many studies are in each state.
SELECT state, count(*) FROM studies GROUP BY state
"""
