-- Studies, instances, findings, vectors, reports, deliveries, audit.
-- Times are timestamptz; UIDs are text as in PS3.5 section 9; paths are relative to the spool.

CREATE TABLE studies (
    study_uid       text PRIMARY KEY,
    state           text NOT NULL CHECK (state IN
                        ('receiving', 'queued', 'processing', 'reported', 'out_of_scope', 'refused', 'failed')),
    reason          text,                        -- for people: why nothing was reported
    modality        text,                        -- modality id of the bundle, once assessed
    origin          text,                        -- name of the archive that announced it; NULL: it was sent here
    revision        integer NOT NULL DEFAULT 0,  -- counts the times it was complete; 0: never yet
    first_received  timestamptz NOT NULL DEFAULT now(),
    last_received   timestamptz NOT NULL DEFAULT now(),
    completed_at    timestamptz,                 -- of this revision
    job_created_at  timestamptz,                 -- of this revision; the report's UIDs and dates derive from it
    begun_at        timestamptz,                 -- when a worker last took it up
    finished_at     timestamptz,
    bundle_name     text,
    bundle_version  text,
    bundle_digest   text,
    report_uid      text,                        -- SOP Instance UID of the latest report
    assessment      jsonb                        -- facts.assessment_to_json of the latest assessment, whole
);
CREATE INDEX studies_quiet ON studies (last_received) WHERE state = 'receiving';
CREATE INDEX studies_newest ON studies (last_received DESC, study_uid);
CREATE INDEX studies_by_state ON studies (state, last_received DESC);

CREATE TABLE instances (
    sop_instance_uid    text PRIMARY KEY,
    study_uid           text NOT NULL REFERENCES studies ON DELETE CASCADE,
    series_uid          text NOT NULL,
    sop_class_uid       text NOT NULL,
    transfer_syntax_uid text NOT NULL,
    path                text NOT NULL,
    size                bigint NOT NULL,         -- bytes of the Part 10 file
    sha256              text NOT NULL,           -- of the data set as sent
    received_at         timestamptz NOT NULL DEFAULT now(),
    origin              text,
    calling_ae          text
);
CREATE INDEX instances_of_study ON instances (study_uid, series_uid);

CREATE TABLE findings (
    study_uid   text NOT NULL REFERENCES studies ON DELETE CASCADE,
    revision    integer NOT NULL,
    ordinal     integer NOT NULL,                -- place within the assessment
    finding_id  text NOT NULL,
    modality    text NOT NULL,
    series_uid  text NOT NULL,
    probability real NOT NULL,
    presence    text NOT NULL,
    body        jsonb NOT NULL,                  -- facts.finding_to_json
    PRIMARY KEY (study_uid, revision, ordinal)
);
CREATE INDEX findings_by_id ON findings (finding_id, probability DESC);

CREATE TABLE vectors (
    study_uid     text NOT NULL REFERENCES studies ON DELETE CASCADE,
    bundle_digest text NOT NULL,
    view          integer NOT NULL,              -- index into the assessment's views
    series_uid    text NOT NULL,
    modality      text NOT NULL,
    in_scope      boolean NOT NULL,
    embedding     vector NOT NULL,               -- unit norm; its dimension is the bundle's
    PRIMARY KEY (study_uid, bundle_digest, view)
);

CREATE TABLE reports (
    sop_instance_uid text PRIMARY KEY,
    sop_class_uid    text NOT NULL,
    series_uid       text NOT NULL,
    study_uid        text NOT NULL REFERENCES studies ON DELETE CASCADE,
    revision         integer NOT NULL,
    instance_set     text NOT NULL,              -- digest over the instances it tells of
    bundle_digest    text NOT NULL,
    path             text NOT NULL,
    size             bigint NOT NULL,
    sha256           text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (study_uid, instance_set, bundle_digest),
    UNIQUE (study_uid, revision)
);

CREATE TABLE deliveries (
    report_uid   text NOT NULL REFERENCES reports ON DELETE CASCADE,
    destination  text NOT NULL,                  -- name of an archive
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    PRIMARY KEY (report_uid, destination)
);
CREATE INDEX deliveries_open ON deliveries (state) WHERE state <> 'delivered';

CREATE TABLE audit (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now(),
    event     text NOT NULL,
    study_uid text,
    detail    jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_of_study ON audit (study_uid, id);
CREATE INDEX audit_by_time ON audit (at);
