"""How an Assessment becomes JSON: one form for files, the HTTP interface and the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dicom_node.records import Assessment, Evidence, Finding, Presence, SourceRef

DISCLAIMER = "Not a medical device. For research only."
"""Goes with every result, whatever its form."""


SIDES = {"L": "left", "R": "right", "B": "both sides"}
"""`laterality` in words."""


def finding_name(finding: Mapping[str, Any]) -> str:
    """`Diabetic retinopathy (left)`: a finding in its JSON form, by name and side."""
    side = SIDES.get(finding.get("laterality") or "")
    return f"{finding['name']} ({side})" if side else str(finding["name"])


def source_to_json(source: SourceRef) -> dict[str, Any]:
    """A pointer to an instance and, where there are several, a frame (1-based)."""
    return {
        "sop_class_uid": source.sop_class_uid,
        "sop_instance_uid": source.sop_instance_uid,
        "frame": source.frame,
    }


def evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """Source, and the region in its pixels (column, row) or its seconds."""
    return {
        "source": source_to_json(evidence.source),
        "outline": None
        if evidence.outline is None
        else [[round(x, 1), round(y, 1)] for x, y in evidence.outline],
        "span": None if evidence.span is None else [round(s, 3) for s in evidence.span],
        "share": round(evidence.share, 4),
    }


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """One finding: `present` is null where the model abstains."""
    return {
        "id": finding.id,
        "name": finding.name,
        "code": {
            "value": finding.code.value,
            "scheme": finding.code.scheme,
            "meaning": finding.code.meaning,
        },
        "modality": finding.modality,
        # Neither is rounded: people rank studies by them, and two near 1 must not become equal.
        "probability": finding.probability,
        "threshold": finding.threshold,
        "margin": finding.margin,
        "presence": finding.presence.value,
        "present": None if finding.presence is Presence.UNSURE else finding.presence is Presence.PRESENT,
        "series_uid": finding.series_uid,
        "laterality": finding.laterality,
        "evidence": [evidence_to_json(e) for e in finding.evidence],
    }


def assessment_to_json(assessment: Assessment) -> dict[str, Any]:
    """The whole assessment without vectors. Holds UIDs, no other patient data."""
    return {
        "study_uid": assessment.study_uid,
        "modality": assessment.modality,
        "status": assessment.status.value,
        "reason": assessment.reason,
        "findings": [finding_to_json(f) for f in assessment.findings],
        "views": [
            {
                "modality": view.modality,
                "series_uid": view.series_uid,
                "in_scope": view.in_scope,
                "scope_score": round(view.scope_score, 3),
                "reason": view.reason,
                "laterality": view.laterality,
                "view_position": view.view_position,
                "instances": len({s.sop_instance_uid for s in view.sources}),
                "notes": list(view.notes),
            }
            for view in assessment.views
        ],
        "skipped": [
            {"sop_instance_uid": s.sop_instance_uid, "reason": s.reason, "message": s.message}
            for s in assessment.skipped
        ],
        "bundle": {
            "name": assessment.bundle.name,
            "version": assessment.bundle.version,
            "digest": assessment.bundle.digest,
        },
        "seconds": {part: round(value, 4) for part, value in assessment.seconds.items()},
        "disclaimer": DISCLAIMER,
    }
