"""The statements of `deliveries.py`, by name."""

from __future__ import annotations

ADD_DELIVERY = """
-- The report has to go to this archive.
INSERT INTO deliveries (report_uid, destination) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING destination
"""

DELIVERED = """
-- The archive has it.
UPDATE deliveries
SET state = 'delivered', attempts = attempts + 1, last_error = NULL, delivered_at = now()
WHERE report_uid = %(report_uid)s AND destination = %(destination)s AND state <> 'delivered'
RETURNING attempts
"""

NOT_DELIVERED = """
-- The archive has it not yet, or will never.
UPDATE deliveries
SET state = CASE WHEN %(gave_up)s THEN 'failed' ELSE 'pending' END,
    attempts = attempts + 1, last_error = %(error)s
WHERE report_uid = %(report_uid)s AND destination = %(destination)s AND state <> 'delivered'
RETURNING attempts
"""

RETRY_DELIVERY = """
-- Someone asked for another try.
UPDATE deliveries SET state = 'pending'
WHERE report_uid = %(report_uid)s AND destination = %(destination)s AND state = 'failed'
RETURNING attempts
"""

DELIVERIES_OF_STUDY = """
-- Every report of a study and every archive, oldest first.
SELECT d.report_uid, d.destination, d.state, d.attempts, d.last_error, d.created_at, d.delivered_at
FROM deliveries d JOIN reports r ON r.sop_instance_uid = d.report_uid
WHERE r.study_uid = %s ORDER BY r.revision, d.destination
"""

REPORTS_OF_STUDY = """
-- Every report of a study, oldest first.
SELECT sop_instance_uid, sop_class_uid, series_uid, study_uid, path, size, sha256
FROM reports WHERE study_uid = %s ORDER BY revision
"""

ONE_REPORT = """
SELECT sop_instance_uid, sop_class_uid, series_uid, study_uid, path, size, sha256
FROM reports WHERE sop_instance_uid = %s
"""

STUDY_OF_REPORT = """
SELECT study_uid FROM reports WHERE sop_instance_uid = %s
"""
