"""Assessments of the sources of `sources.py`: present, unsure and absent findings, with evidence or not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.records import (
    CT,
    ECG,
    PATHOLOGY,
    RETINA,
    XRAY,
    Assessment,
    BundleIdentity,
    Code,
    Evidence,
    Finding,
    Presence,
    SourceRef,
    Status,
    ViewSummary,
)
from dicom_node.report.context import DeviceObserver, ReportContext, report_uids

DIGEST = "ab" * 32
BUNDLE = BundleIdentity("m3bind-mini", "0.1.0", DIGEST)
DEVICE = DeviceObserver("reading-room-1", "2.25.1234567", "M3Bind", "dicom-node", "SN-1", "0.1.0")
CREATED = datetime(2025, 11, 3, 14, 30, 5, 250000, tzinfo=UTC)

KINDS: dict[str, tuple[str, tuple[Code, Code, Code]]] = {
    "cr": (
        XRAY,
        (
            Code("233604007", "SCT", "Pneumonia"),
            Code("60046008", "SCT", "Pleural effusion"),
            Code("8186001", "SCT", "Cardiomegaly"),
        ),
    ),
    "dx": (
        XRAY,
        (
            Code("36118008", "SCT", "Pneumothorax"),
            Code("46621007", "SCT", "Atelectasis"),
            Code("87433001", "SCT", "Pulmonary emphysema"),
        ),
    ),
    "ct": (
        CT,
        (
            Code("363358000", "SCT", "Malignant tumor of lung"),
            Code("427359005", "SCT", "Solitary nodule of lung"),
            Code("87433001", "SCT", "Pulmonary emphysema"),
        ),
    ),
    "op": (
        RETINA,
        (
            Code("4855003", "SCT", "Diabetic retinopathy"),
            Code("312912001", "SCT", "Macular edema due to diabetes mellitus"),
            Code("23986001", "SCT", "Glaucoma"),
        ),
    ),
    "ecg": (
        ECG,
        (
            Code("49436004", "SCT", "Atrial fibrillation"),
            Code("63467002", "SCT", "Left bundle branch block"),
            Code("22298006", "SCT", "Myocardial infarction"),
        ),
    ),
    "sm": (
        PATHOLOGY,
        (
            Code("35917007", "SCT", "Adenocarcinoma"),
            Code("28899001", "SCT", "Squamous cell carcinoma"),
            Code("17621005", "SCT", "Normal"),
        ),
    ),
}
"""Modality id and three findings for each kind of source."""

LEVELS = ((0.31, Presence.ABSENT), (0.9234, Presence.PRESENT), (0.5, Presence.UNSURE))


def ref(header: Dataset, frame: int | None = None) -> SourceRef:
    """A pointer to a source."""
    return SourceRef(str(header.SOPClassUID), str(header.SOPInstanceUID), frame)


def evidence_of(kind: str, headers: Sequence[Dataset]) -> tuple[Evidence, ...]:
    """What the model would have used: a span of an ECG, two slices of a CT, one outline elsewhere."""
    if kind == "ecg":
        return (Evidence(ref(headers[0]), span=(2.5, 5.0), share=0.4),)
    square = ((10.0, 20.0), (110.0, 20.0), (110.0, 150.5), (10.0, 150.5))
    if kind == "ct":
        return tuple(
            Evidence(ref(h), outline=square, share=0.2 + 0.1 * n) for n, h in enumerate(headers[1:3])
        )
    frame = 7 if kind == "sm" else 1 if kind == "op" else None
    return (Evidence(ref(headers[0], frame), outline=square, share=0.6),)


def assessment_of(
    kind: str, headers: Sequence[Dataset], *, evidence: bool = True, **changes: Any
) -> Assessment:
    """One absent, one present, one unsure finding; `changes` replace fields of the Assessment."""
    modality, codes = KINDS[kind]
    series = str(headers[0].SeriesInstanceUID)
    findings = tuple(
        Finding(
            id=f"{modality}.finding{number}",
            name=code.meaning,
            code=code,
            modality=modality,
            probability=probability,
            margin=0.01 * number,
            threshold=0.6,
            presence=presence,
            series_uid=series,
            view=0,
            evidence=evidence_of(kind, headers) if evidence else (),
            laterality=headers[0].get("ImageLaterality"),
        )
        for number, (code, (probability, presence)) in enumerate(zip(codes, LEVELS, strict=True))
    )
    view = ViewSummary(
        modality=modality,
        series_uid=series,
        sources=tuple(ref(header) for header in headers),
        embedding=np.full(4, 0.5, dtype=np.float32),
        in_scope=True,
        scope_score=1.5,
        notes=("window taken from the object",),
    )
    fields: dict[str, Any] = {
        "study_uid": str(headers[0].StudyInstanceUID),
        "modality": modality,
        "status": Status.REPORTED,
        "reason": None,
        "findings": findings,
        "views": (view,),
        "skipped": (),
        "bundle": BUNDLE,
        "seconds": {},
    }
    return Assessment(**{**fields, **changes})


def context_of(headers: Sequence[Dataset], **changes: Any) -> ReportContext:
    """The context that a job would give; `changes` replace fields."""
    instances = [str(header.SOPInstanceUID) for header in headers]
    uids = report_uids(str(headers[0].StudyInstanceUID), DIGEST, instances, DEVICE)
    return ReportContext(**{"uids": uids, "created": CREATED, "device": DEVICE, **changes})
