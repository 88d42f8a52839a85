-- The index: one row per study, view and region, with what can be filtered by.

-- A space holds the vectors of one modality at one level as one bundle made them, with a graph of its own.
-- Modalities lie apart: in one graph for all, who asks for those of another modality than the question resembles
-- would be led through everything else first. Distances of different bundles mean nothing to each other.
CREATE TABLE search_spaces (
    space          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bundle_digest  text NOT NULL,
    bundle_name    text NOT NULL,
    bundle_version text NOT NULL,
    dimension      integer NOT NULL,
    level          text NOT NULL CHECK (level IN ('study', 'series', 'region')),
    modality       text NOT NULL,
    UNIQUE (bundle_digest, level, modality)
);

-- Where each finding stands in search_rows.probabilities. Places are given out once and never again.
CREATE TABLE search_findings (
    place      integer PRIMARY KEY,
    finding_id text NOT NULL UNIQUE
);

-- Every study is in the index under one bundle: the one that looked at it last.
CREATE TABLE search_studies (
    study_uid     text PRIMARY KEY REFERENCES studies ON DELETE CASCADE,
    bundle_digest text NOT NULL,
    edition       smallint NOT NULL,             -- of what a row holds, see vectors.py; 0: from before this file
    stuck_with    text,                          -- the bundle that was to embed it again, and could not
    indexed_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX search_studies_by_bundle ON search_studies (bundle_digest, edition);

CREATE TABLE search_rows (
    space         integer NOT NULL,
    row_id        bigint GENERATED ALWAYS AS IDENTITY,
    study_uid     text NOT NULL REFERENCES studies ON DELETE CASCADE,
    series_uid    text,                          -- NULL for a study
    view          integer,                       -- index into the assessment's views; NULL for a study
    modality      text NOT NULL,
    in_scope      boolean NOT NULL,
    study_date    date,
    sex           text,
    age           real,                          -- years at the study
    birth_year    integer,
    body_part     text,
    laterality    text,
    patient_id    text,
    probabilities real[] NOT NULL,               -- by search_findings.place; NULL: nobody looked for it
    finding_id    text,                          -- of a region
    region        jsonb,                         -- of a region: facts.evidence_to_json
    embedding     vector NOT NULL                -- unit norm; the graph holds a copy in half precision
) PARTITION BY LIST (space);

-- A vector stays in its row (up to some 1,900 dimensions, which fill a page) instead of being fetched from
-- elsewhere for every comparison; toast_tuple_target, set for each space, has a part in that.
ALTER TABLE search_rows ALTER embedding SET STORAGE MAIN;

-- Each finding with the tenth that its probability lies in, 16 numbers apart: what the index below can find.
CREATE FUNCTION finding_marks(probabilities real[]) RETURNS integer[]
IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
    SELECT array_agg((place * 16 + least(floor(p * 10), 9))::integer)
    FROM unnest(probabilities) WITH ORDINALITY AS scored (p, place)
    WHERE p IS NOT NULL
$$;

CREATE INDEX ON search_rows (study_uid, series_uid);
CREATE INDEX ON search_rows (study_date);
CREATE INDEX ON search_rows (patient_id);
CREATE INDEX ON search_rows (body_part);
CREATE INDEX ON search_rows (laterality);
CREATE INDEX ON search_rows (age);
CREATE INDEX ON search_rows (birth_year);
CREATE INDEX ON search_rows USING gin (finding_marks(probabilities)) WITH (fastupdate = off);

-- The space of a bundle, a level and a modality, made where there is none yet. HNSW holds at most 4,000 dimensions of
-- halfvec; what is wider is searched without it. m and ef_construction: docs/SEARCH.md tells the choice.
CREATE FUNCTION search_space(digest text, name text, version text, wanted text, kind text, width integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    number integer;
    leaf text;
BEGIN
    SELECT space INTO number FROM search_spaces WHERE bundle_digest = digest AND level = wanted AND modality = kind;
    IF FOUND THEN
        RETURN number;
    END IF;
    PERFORM pg_advisory_xact_lock(x'4D335350'::integer);  -- "M3SP": one at a time makes a space
    INSERT INTO search_spaces (bundle_digest, bundle_name, bundle_version, dimension, level, modality)
    VALUES (digest, name, version, width, wanted, kind)
    ON CONFLICT DO NOTHING RETURNING space INTO number;
    IF NOT FOUND THEN
        SELECT space INTO number FROM search_spaces WHERE bundle_digest = digest AND level = wanted AND modality = kind;
        RETURN number;
    END IF;
    leaf := format('search_rows_%s', number);
    EXECUTE format('CREATE TABLE %I PARTITION OF search_rows FOR VALUES IN (%s)', leaf, number);
    EXECUTE format('ALTER TABLE %I SET (toast_tuple_target = 8160)', leaf);
    IF width <= 4000 THEN
        EXECUTE format(
            'CREATE INDEX %I ON %I USING hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops) '
            'WITH (m = 16, ef_construction = 64)', leaf || '_hnsw', leaf, width);
    END IF;
    RETURN number;
END
$$;

-- What the index held before: views alone, without demographics. Findings are those of the latest revision
-- where the same bundle made both. Edition 0 has them embedded again, which brings what is missing.
INSERT INTO search_findings (place, finding_id)
SELECT row_number() OVER (ORDER BY finding_id), finding_id FROM (SELECT DISTINCT finding_id FROM findings) f;

CREATE TEMPORARY TABLE kept ON COMMIT DROP AS
SELECT v.*, s.bundle_name, s.bundle_version,
       COALESCE((SELECT array_agg(p.probability ORDER BY known.place)
                 FROM search_findings known
                 LEFT JOIN (SELECT finding_id, max(probability) AS probability FROM findings
                            WHERE study_uid = v.study_uid AND revision = s.revision
                            GROUP BY finding_id) p USING (finding_id)), '{}') AS probabilities
FROM vectors v JOIN studies s USING (study_uid, bundle_digest);

SELECT search_space(bundle_digest, bundle_name, bundle_version, level, modality, width)
FROM (SELECT DISTINCT bundle_digest, bundle_name, bundle_version, modality, vector_dims(embedding) AS width
      FROM kept) bundles,
     unnest(ARRAY['study', 'series']) AS level;

INSERT INTO search_rows (space, study_uid, series_uid, view, modality, in_scope, probabilities, embedding)
SELECT p.space, study_uid, series_uid, view, k.modality, in_scope, probabilities, embedding
FROM kept k JOIN search_spaces p USING (bundle_digest, modality) WHERE p.level = 'series' ORDER BY study_uid, view;

INSERT INTO search_rows (space, study_uid, modality, in_scope, probabilities, embedding)
SELECT p.space, study_uid, modality, in_scope, probabilities, mean
FROM (SELECT study_uid, bundle_digest, min(modality) AS modality, in_scope, probabilities,
             l2_normalize(avg(embedding)) AS mean
      FROM kept k
      WHERE in_scope = (SELECT bool_or(in_scope) FROM kept WHERE study_uid = k.study_uid)
      GROUP BY study_uid, bundle_digest, in_scope, probabilities) means
JOIN search_spaces p USING (bundle_digest, modality) WHERE p.level = 'study' ORDER BY study_uid;

INSERT INTO search_studies (study_uid, bundle_digest, edition)
SELECT DISTINCT study_uid, bundle_digest, 0 FROM kept;

DROP TABLE vectors;
