"""The vectors of assessed views: kept for search, one set per study and bundle."""

from __future__ import annotations

from dicom_node.records import Assessment
from dicom_node.store.database import Connection

FORGET = """
-- The vectors that an earlier revision of the study gave with the same bundle.
DELETE FROM vectors WHERE study_uid = %s AND bundle_digest = %s
"""

KEEP = """
-- One view of one study.
INSERT INTO vectors (study_uid, bundle_digest, view, series_uid, modality, in_scope, embedding)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


def replace_vectors(connection: Connection, assessment: Assessment) -> None:
    """Keep the (D,) embedding of every view, instead of what this bundle said of the study before."""
    digest = assessment.bundle.digest
    connection.execute(FORGET, (assessment.study_uid, digest))
    with connection.cursor() as cursor:
        cursor.executemany(
            KEEP,
            [
                (
                    assessment.study_uid,
                    digest,
                    index,
                    view.series_uid,
                    view.modality,
                    view.in_scope,
                    view.embedding,
                )
                for index, view in enumerate(assessment.views)
            ],
        )
