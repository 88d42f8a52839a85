-- The register: what the headers of the objects tell, for queries by attributes (C-FIND, QIDO-RS).

-- Patient and study: of the first object that was read, completed by later ones.
CREATE TABLE find_studies (
    study_uid        text PRIMARY KEY REFERENCES studies ON DELETE CASCADE,
    patient_id       text NOT NULL,
    patient_name     text NOT NULL,              -- folded: no case, no accents
    study_date       text NOT NULL,              -- YYYYMMDD, or empty
    accession_number text NOT NULL,
    attributes       jsonb NOT NULL              -- DICOM JSON model
);
CREATE INDEX find_studies_by_patient ON find_studies (patient_id text_pattern_ops, study_uid);
CREATE INDEX find_studies_by_name ON find_studies (patient_name text_pattern_ops);
CREATE INDEX find_studies_of_several_names ON find_studies (study_uid) WHERE strpos(patient_name, '=') > 0;
CREATE INDEX find_studies_newest ON find_studies (study_date DESC, study_uid);
CREATE INDEX find_studies_by_accession ON find_studies (accession_number text_pattern_ops);

CREATE TABLE find_series (
    study_uid  text NOT NULL REFERENCES find_studies ON DELETE CASCADE,
    series_uid text NOT NULL,
    modality   text NOT NULL,
    attributes jsonb NOT NULL,
    PRIMARY KEY (study_uid, series_uid)
);
CREATE INDEX find_series_by_uid ON find_series (series_uid);

-- NULL: not read yet. Empty: cannot be read, so that nobody tries again.
ALTER TABLE instances ADD header jsonb;
CREATE INDEX instances_unread ON instances (received_at) WHERE header IS NULL;
