-- Announced studies on their way in, failures of jobs, and in which form a report was delivered.

CREATE TABLE fetches (
    archive       text NOT NULL,
    resource_id   text NOT NULL,                 -- the archive's own identifier of the study
    study_uid     text,                          -- as announced; NULL where the announcement did not tell
    instances     integer,                       -- as announced: how many objects the archive holds
    state         text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'fetching', 'fetched', 'failed')),
    again         boolean NOT NULL DEFAULT false, -- announced anew while it was being fetched
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    failing_since timestamptz,                   -- first failure since it was announced
    announced_at  timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (archive, resource_id)
);
CREATE INDEX fetches_of_study ON fetches (study_uid);
CREATE INDEX fetches_newest ON fetches (changed_at DESC);

-- Such a study does not become complete by being quiet. After 15 minutes of failures what has come is worth a
-- report: the rest may never come.
CREATE FUNCTION is_being_fetched(study text) RETURNS boolean STABLE LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT 1 FROM fetches
        WHERE study_uid = study
          AND (state = 'fetching'
               OR (state = 'waiting'
                   AND (failing_since IS NULL OR failing_since > now() - interval '15 minutes'))))
$$;

-- procrastinate counts how often a job was put back, not why.
CREATE TABLE job_failures (
    job_id     bigint PRIMARY KEY REFERENCES procrastinate_jobs ON DELETE CASCADE,
    patient    integer NOT NULL,                 -- something was away or full
    unexpected integer NOT NULL,
    attempts   integer NOT NULL                  -- the queue's own count at the latest failure
);

ALTER TABLE deliveries
    ADD delivered_uid text,                      -- NULL: the report's own; another form of it has its own UID
    ADD delivered_class text,
    DROP CONSTRAINT deliveries_state_check,
    ADD CONSTRAINT deliveries_state_check CHECK (state IN ('pending', 'delivered', 'failed', 'superseded'));

-- What is on the queue from before.
UPDATE procrastinate_jobs SET queueing_lock = NULL, queue_name = 'dicom-node-fetches'
WHERE task_name = 'fetch_study';
UPDATE procrastinate_jobs SET queue_name = 'dicom-node-deliveries' WHERE task_name = 'deliver_report';
INSERT INTO fetches (archive, resource_id)
SELECT DISTINCT args->>'archive', args->>'resource_id' FROM procrastinate_jobs
WHERE task_name = 'fetch_study' AND status IN ('todo', 'doing');
