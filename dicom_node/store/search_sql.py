"""The statements of `vectors.py` and `search_index.py`, by name."""

from __future__ import annotations

FORGET = """
-- Whatever the index holds of a study, of every bundle.
DELETE FROM search_rows WHERE study_uid = %s
"""

FORGET_STUDY = """
-- And that it holds anything.
DELETE FROM search_studies WHERE study_uid = %s
"""

SPACE = """
-- The space of a bundle, a level and a modality, made where there is none yet.
SELECT search_space(%s, %s, %s, %s, %s, %s)
"""

PLACES = """
-- Where these findings stand among the probabilities.
SELECT finding_id, place FROM search_findings WHERE finding_id = ANY(%s)
"""

ONE_AT_A_TIME = """
-- Two that meet the same new finding do not give it two places.
SELECT pg_advisory_xact_lock(x'4D335350'::integer)
"""

ONE_PLANS = """
-- One at a time queues the next batch. Not the lock above: who plans may have touched rows already.
SELECT pg_advisory_xact_lock(x'4D33504C'::integer)
"""

ADD_PLACE = """
-- The next free place.
INSERT INTO search_findings (place, finding_id)
SELECT COALESCE(max(place), 0) + 1, %s FROM search_findings
ON CONFLICT (finding_id) DO NOTHING
"""

KEEP = """
-- One row of the index.
INSERT INTO search_rows (space, study_uid, series_uid, view, modality, in_scope, study_date, sex, age,
                         birth_year, body_part, laterality, patient_id, probabilities, finding_id, region,
                         embedding)
VALUES (%(space)s, %(study_uid)s, %(series_uid)s, %(view)s, %(modality)s, %(in_scope)s, %(study_date)s,
        %(sex)s, %(age)s, %(birth_year)s, %(body_part)s, %(laterality)s, %(patient_id)s,
        %(probabilities)s::real[], %(finding_id)s, %(region)s, %(embedding)s)
"""

KEEP_STUDY = """
-- Which bundle answers for the study now.
INSERT INTO search_studies (study_uid, bundle_digest, edition) VALUES (%s, %s, %s)
ON CONFLICT (study_uid) DO UPDATE
SET bundle_digest = EXCLUDED.bundle_digest, edition = EXCLUDED.edition, stuck_with = NULL, indexed_at = now()
"""

OPEN_SPACES = """
-- The spaces that are asked, with how many rows each is thought to hold, and where every finding stands among
-- the probabilities. And, for this transaction: plans for the very values, pages that are in memory, and no
-- compiling for milliseconds.
WITH asked AS (
    SELECT space, dimension,
           (SELECT greatest(reltuples, 0) FROM pg_class
            WHERE oid = format('search_rows_%%s', space)::regclass) AS rows
    FROM search_spaces
    WHERE bundle_digest = %(bundle)s AND level = %(level)s
      AND (%(modalities)s::text[] IS NULL OR modality = ANY(%(modalities)s))
)
SELECT (SELECT COALESCE(json_agg(json_build_array(space, dimension, rows) ORDER BY space), '[]') FROM asked),
       (SELECT COALESCE(json_object_agg(finding_id, place), '{}') FROM search_findings),
       set_config('plan_cache_mode', 'force_custom_plan', true), set_config('random_page_cost', '1.1', true),
       set_config('jit', 'off', true), set_config('max_parallel_workers_per_gather', '0', true),
       set_config('hnsw.ef_search',
                  CASE WHEN (SELECT count(*) FROM asked) = 1 THEN %(ef_search)s::text
                       ELSE %(ef_search_of_many)s::text END, true),
       set_config('hnsw.iterative_scan', 'relaxed_order', true),
       set_config('hnsw.max_scan_tuples', %(most_visited)s::text, true)
"""

ESTIMATE = """
-- How many rows fulfil the filters, as far as the planner's statistics tell; nothing is read.
EXPLAIN (FORMAT JSON) SELECT 1 FROM search_rows WHERE {where}
"""

COUNT = """
-- How many rows do, up to a limit.
SELECT count(*) FROM (SELECT 1 FROM search_rows WHERE {where} LIMIT %(most)s) AS counted
"""

ANSWER = """
       study_uid, series_uid, view, modality, study_date, sex, age, body_part, laterality, patient_id,
       probabilities, finding_id, region
"""
"""What is told of a row; stands for `{answer}` below."""

NEAREST = """
-- What the spaces found, each in its own way, ranked in full precision.
SELECT 1 + (embedding <#> %(vector)s::vector) AS distance, {answer}
FROM ({drawn}) AS drawn ORDER BY distance, row_id LIMIT %(limit)s
"""

BY_GRAPH = """
-- Near rows by a space's graph, which is walked on until enough of them fulfil the filters.
(SELECT * FROM search_rows_{space} WHERE {where}
 ORDER BY embedding::halfvec({width}) <=> %(vector)s::vector::halfvec({width}) LIMIT %(drawn)s)
"""

BY_FILTER = """
-- The nearest of all rows of a space that fulfil the filters.
(SELECT * FROM search_rows_{space} WHERE {where}
 ORDER BY embedding <#> %(vector)s::vector LIMIT %(limit)s)
"""

NEWEST = """
-- By date, without a vector.
SELECT NULL, {answer}
FROM search_rows WHERE {where} ORDER BY study_date DESC NULLS LAST, row_id DESC LIMIT %(limit)s
"""

BY_PROBABILITY = """
-- By the probability of one finding, without a vector.
SELECT NULL, {answer}
FROM search_rows WHERE {where} AND probabilities[%(place)s] IS NOT NULL
ORDER BY probabilities[%(place)s] {order}, row_id DESC LIMIT %(limit)s
"""

VECTORS_OF = """
-- What is kept of a study, or of one series of it.
SELECT embedding FROM search_rows
WHERE space = ANY(%(spaces)s) AND study_uid = %(study_uid)s
  AND (%(series_uid)s::text IS NULL OR series_uid = %(series_uid)s)
ORDER BY view, row_id
"""

COVERAGE = """
-- How many studies each bundle answers for, and how many of them the current one is to take over.
SELECT b.bundle_name, b.bundle_version, b.bundle_digest, b.dimension, count(*),
       count(*) FILTER (WHERE due AND stuck_with IS DISTINCT FROM %(current)s),
       count(*) FILTER (WHERE due AND stuck_with = %(current)s)
FROM (SELECT bundle_digest, stuck_with,
             %(current)s::text IS NOT NULL AND (bundle_digest <> %(current)s OR edition < %(edition)s) AS due
      FROM search_studies) s
JOIN (SELECT DISTINCT bundle_digest, bundle_name, bundle_version, dimension FROM search_spaces) b
     USING (bundle_digest)
GROUP BY 1, 2, 3, 4 ORDER BY count(*) DESC, b.bundle_digest
"""

BATCH_WAITS = """
-- Whether a study waits to be embedded again.
SELECT 1 FROM procrastinate_jobs WHERE task_name = %s AND status = 'todo' LIMIT 1
"""

NEXT_BATCH = """
-- Finished studies, newest first, that the current bundle has not embedded; but for those in hand.
SELECT i.study_uid FROM search_studies i JOIN studies s USING (study_uid)
WHERE (i.bundle_digest <> %(bundle)s OR i.edition < %(edition)s) AND i.stuck_with IS DISTINCT FROM %(bundle)s
  AND s.state IN ('reported', 'out_of_scope', 'refused', 'failed')
  AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs j
                  WHERE j.task_name = %(task)s AND j.status = 'doing' AND j.args->>'study_uid' = i.study_uid)
ORDER BY s.last_received DESC, i.study_uid LIMIT %(limit)s
"""

DUE = """
-- The revision of a finished study that the current bundle has not embedded.
SELECT s.revision FROM search_studies i JOIN studies s USING (study_uid)
WHERE i.study_uid = %(study_uid)s AND (i.bundle_digest <> %(bundle)s OR i.edition < %(edition)s)
  AND s.state IN ('reported', 'out_of_scope', 'refused', 'failed')
"""

STUCK = """
-- The current bundle cannot embed it.
UPDATE search_studies SET stuck_with = %(bundle)s WHERE study_uid = %(study_uid)s
"""
