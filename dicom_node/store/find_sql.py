"""The statements of `find_index.py`, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dicom_node.store.find_facts import Rows

UNREAD = """
-- Instances whose header is not in the register, the newest first; each is read by one process.
SELECT sop_instance_uid, study_uid, series_uid, path FROM instances
WHERE header IS NULL ORDER BY received_at DESC LIMIT %s
FOR UPDATE SKIP LOCKED
"""

ANY_UNREAD = """
-- Whether some are left.
SELECT EXISTS (SELECT 1 FROM instances WHERE header IS NULL)
"""

ADD_STUDY = """
-- The first object speaks for the study; what it lacks is filled in by later ones.
INSERT INTO find_studies AS held
    (study_uid, patient_id, patient_name, study_date, accession_number, attributes)
VALUES (%(study_uid)s, %(patient_id)s, %(patient_name)s, %(study_date)s, %(accession_number)s, %(study)s)
ON CONFLICT (study_uid) DO UPDATE
SET patient_id = COALESCE(NULLIF(held.patient_id, ''), EXCLUDED.patient_id),
    patient_name = COALESCE(NULLIF(held.patient_name, ''), EXCLUDED.patient_name),
    study_date = COALESCE(NULLIF(held.study_date, ''), EXCLUDED.study_date),
    accession_number = COALESCE(NULLIF(held.accession_number, ''), EXCLUDED.accession_number),
    attributes = EXCLUDED.attributes || held.attributes
WHERE NOT held.attributes ?& ARRAY(SELECT jsonb_object_keys(EXCLUDED.attributes))
"""

ADD_SERIES = """
-- Likewise for the series.
INSERT INTO find_series AS held (study_uid, series_uid, modality, attributes)
VALUES (%(study_uid)s, %(series_uid)s, %(modality)s, %(series)s)
ON CONFLICT (study_uid, series_uid) DO UPDATE
SET modality = COALESCE(NULLIF(held.modality, ''), EXCLUDED.modality),
    attributes = EXCLUDED.attributes || held.attributes
WHERE NOT held.attributes ?& ARRAY(SELECT jsonb_object_keys(EXCLUDED.attributes))
"""

SET_HEADER = """
-- The instance is read.
UPDATE instances SET header = %(image)s WHERE sop_instance_uid = %(sop_instance_uid)s
"""

READ_ALL = """
-- Plan for all rows: PostgreSQL takes it that a cursor is read for a tenth, and would go through the whole
-- archive by date in search of one name.
SET LOCAL cursor_tuple_fraction = 1
"""

READ_FIRST = """
-- Plan for the first rows: whoever asks for all that there is shall see the newest at once.
SET LOCAL cursor_tuple_fraction = 0.01
"""

FROM: Mapping[Rows, str] = MappingProxyType(
    {
        Rows.STUDIES_BY_PATIENT: """
SELECT s.study_uid, NULL, NULL, t.origin, s.attributes
{computed}
FROM find_studies s JOIN studies t USING (study_uid)
{conditions}
ORDER BY s.patient_id USING ~<~, s.study_uid
""",
        Rows.STUDIES: """
SELECT s.study_uid, NULL, NULL, t.origin, s.attributes
{computed}
FROM find_studies s JOIN studies t USING (study_uid)
{conditions}
ORDER BY s.study_date DESC, s.study_uid
""",
        Rows.SERIES: """
SELECT s.study_uid, e.series_uid, NULL, t.origin, s.attributes || e.attributes
{computed}
FROM find_studies s JOIN studies t USING (study_uid) JOIN find_series e USING (study_uid)
{conditions}
ORDER BY s.study_date DESC, s.study_uid, e.series_uid
""",
        Rows.INSTANCES: """
SELECT s.study_uid, e.series_uid, i.sop_instance_uid, t.origin, s.attributes || e.attributes || i.header
{computed}
FROM find_studies s JOIN studies t USING (study_uid) JOIN find_series e USING (study_uid)
     JOIN instances i USING (study_uid, series_uid)
{conditions}
ORDER BY s.study_date DESC, s.study_uid, e.series_uid, i.sop_instance_uid
""",
    }
)
"""Where rows come from. An instance is there when its header is not NULL: see CONDITIONS."""

CONDITIONS: Mapping[str, str] = MappingProxyType(
    {
        "patient_ids": "s.patient_id = ANY(%(patient_ids)s)",
        "patient_id_like": "s.patient_id LIKE %(patient_id_like)s",
        "accession_numbers": "s.accession_number = ANY(%(accession_numbers)s)",
        "accession_number_like": "s.accession_number LIKE %(accession_number_like)s",
        "from_date": "s.study_date >= %(from_date)s",
        "until_date": "s.study_date <= %(until_date)s AND s.study_date <> ''",
        "study_uids": "s.study_uid = ANY(%(study_uids)s)",
        "series_uids": "e.series_uid = ANY(%(series_uids)s)",
        "sop_instance_uids": "i.sop_instance_uid = ANY(%(sop_instance_uids)s)",
        "sop_class_uids": """EXISTS (SELECT 1 FROM instances k WHERE k.study_uid = s.study_uid
                              AND k.sop_class_uid = ANY(%(sop_class_uids)s))""",
        "modality_like": "e.modality LIKE ANY(%(modality_like)s)",
        "modalities_in_study_like": """EXISTS (SELECT 1 FROM find_series m WHERE m.study_uid = s.study_uid
                                        AND m.modality LIKE ANY(%(modalities_in_study_like)s))""",
    }
)
"""By field of `Narrowing`. Those of series and instance go with rows that have one."""

NAME_CONDITION = """({firsts} OR (strpos(s.patient_name, '=') > 0
     AND '=' || s.patient_name || '=' LIKE ANY(%(names_within)s)))"""
"""`firsts` compares the whole name, which an index can do; of several component groups each counts."""

INSTANCE_CONDITION = "i.header IS NOT NULL"

SAME_PATIENT = """
p.patient_id = s.patient_id AND (s.patient_id <> '' OR p.study_uid = s.study_uid)
"""
"""Studies without a Patient ID are nobody knows whose: each is a patient of its own."""

COMPUTED: Mapping[str, str] = MappingProxyType(
    {
        # Number of Patient Related Studies, Series, Instances
        "00201200": f"(SELECT count(*) FROM find_studies p WHERE {SAME_PATIENT})",  # noqa: S608 - no input
        "00201202": f"""(SELECT count(*) FROM find_series x JOIN find_studies p USING (study_uid)
                         WHERE {SAME_PATIENT})""",  # noqa: S608
        "00201204": f"""(SELECT count(*) FROM instances x JOIN find_studies p USING (study_uid)
                         WHERE {SAME_PATIENT})""",  # noqa: S608
        # Number of Study Related Series, Instances
        "00201206": "(SELECT count(*) FROM find_series x WHERE x.study_uid = s.study_uid)",
        "00201208": "(SELECT count(*) FROM instances x WHERE x.study_uid = s.study_uid)",
        # Number of Series Related Instances
        "00201209": """(SELECT count(*) FROM instances x
                        WHERE x.study_uid = s.study_uid AND x.series_uid = e.series_uid)""",
        # Modalities in Study, SOP Classes in Study
        "00080061": """(SELECT array_agg(DISTINCT x.modality ORDER BY x.modality) FROM find_series x
                        WHERE x.study_uid = s.study_uid AND x.modality <> '')""",
        "00080062": """(SELECT array_agg(DISTINCT x.sop_class_uid ORDER BY x.sop_class_uid) FROM instances x
                        WHERE x.study_uid = s.study_uid)""",
        # Available Transfer Syntax UID
        "00083002": "ARRAY[i.transfer_syntax_uid]",
    }
)
"""By tag."""
