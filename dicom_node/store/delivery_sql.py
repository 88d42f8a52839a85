"""The statements of `deliveries.py`, by name."""

from __future__ import annotations

ADD_DELIVERY = """
-- The report has to go to this archive.
INSERT INTO deliveries (report_uid, destination) VALUES (%s, %s)
ON CONFLICT (report_uid, destination) DO UPDATE SET state = 'pending' WHERE deliveries.state = 'superseded'
RETURNING destination
"""

OWE_AGAIN = """
-- It has to go there whether or not it did before, unless it is on its way.
INSERT INTO deliveries (report_uid, destination) VALUES (%s, %s)
ON CONFLICT (report_uid, destination) DO UPDATE SET state = 'pending' WHERE deliveries.state <> 'pending'
RETURNING destination
"""

SUPERSEDE = """
-- A newer report of the study goes to these archives: older ones that are not there yet need not.
UPDATE deliveries d SET state = 'superseded'
FROM reports r
WHERE r.sop_instance_uid = d.report_uid AND r.study_uid = %(study_uid)s AND d.report_uid <> %(report_uid)s
  AND d.destination = ANY(%(destinations)s) AND d.state IN ('pending', 'failed')
"""

IS_SUPERSEDED = """
SELECT state = 'superseded' FROM deliveries WHERE report_uid = %s AND destination = %s
"""

DELIVERED = """
-- The archive has it, as itself or in another form.
UPDATE deliveries
SET state = 'delivered', attempts = attempts + 1, last_error = NULL, delivered_at = now(),
    delivered_uid = NULLIF(%(uid)s::text, report_uid), delivered_class = %(sop_class)s
WHERE report_uid = %(report_uid)s AND destination = %(destination)s AND state <> 'delivered'
RETURNING attempts
"""

NOT_DELIVERED = """
-- The archive has it not yet, or will never.
UPDATE deliveries
SET state = CASE WHEN %(gave_up)s THEN 'failed' ELSE 'pending' END,
    attempts = attempts + 1, last_error = %(error)s
WHERE report_uid = %(report_uid)s AND destination = %(destination)s AND state IN ('pending', 'failed')
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
