"""The content tree of a report: TID 1500 Measurement Report (part16/sect_TID_1500.html) of an assessment.

126000 Imaging Measurement Report
├── language, device observer, specimen where there is one, procedure reported
├── Image Library (library.py)
├── Imaging Measurements
│   ├── algorithm: bundle, version, digest
│   └── Measurement Group, one for each finding: groups.py
└── Qualitative Evaluations: comments (not a medical device; what was assumed and left out)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    SubjectContext,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dcm_codes

from dicom_node.facts import DISCLAIMER
from dicom_node.records import Assessment, Finding, Presence, Status
from dicom_node.report import codes
from dicom_node.report.concepts import concept
from dicom_node.report.context import ReportContext
from dicom_node.report.groups import finding_group
from dicom_node.report.library import image_library

CONTAINS = RelationshipTypeValues.CONTAINS

STANDING = f"{DISCLAIMER} Computed by software and not verified by a person."
HOW_TO_READ = (
    "Present: the probability is at or above the decision threshold of the finding. Undetermined: the "
    "software abstains; the probability lies between the lower and the decision threshold of the finding, "
    "which stand with its algorithm, or above both while a finding that excludes it lies further above its "
    "own. Absent: it lies below."
)
NOT_DETECTED = "Absent means not detected: it rules nothing out."
PREVALENCE = (
    "A probability holds where a finding is as frequent as in the data that it was calibrated on, which is "
    "far more frequent than in most practices. Where it is rarer, the true probability is lower."
)

RANK = {Presence.PRESENT: 0, Presence.UNSURE: 1, Presence.ABSENT: 2}


def in_reading_order(findings: Sequence[Finding]) -> list[Finding]:
    """Present, unsure, absent; the most probable first; equals by id, so that the order never varies."""
    return sorted(findings, key=lambda f: (RANK[f.presence], -f.probability, f.id, f.series_uid, f.view))


def measurement_report(
    assessment: Assessment, by_uid: Mapping[str, Dataset], told: Sequence[Dataset], context: ReportContext
) -> ContainerContentItem:
    """TID 1500 row 1. `by_uid`: source headers by SOP Instance UID; `told`: one header of each series.

    An assessment without findings has no Imaging Measurements: TID 1500 asks for at least one of its three
    containers, and Qualitative Evaluations, with the reason as a comment, is always there.
    """
    root = ContainerContentItem(name=concept(codes.IMAGING_MEASUREMENT_REPORT), template_id="1500")
    items: list[ContentItem] = [
        *LanguageOfContentItemAndDescendants(concept(codes.ENGLISH)),
        *_observation_context(told, context),
        _procedure(assessment),
    ]
    library = image_library(_sources_read(assessment, by_uid))
    if library is not None:
        items.append(library)
    if assessment.findings:
        items.append(_imaging_measurements(assessment, by_uid, context))
    items.append(_comments(assessment))
    root.ContentSequence = ContentSequence(items)
    return root


def algorithm(assessment: Assessment, context: ReportContext, *parameters: str) -> AlgorithmIdentification:
    """TID 4019 Algorithm Identification (part16/sect_TID_4019.html): the bundle that spoke."""
    return AlgorithmIdentification(
        name=assessment.bundle.name,
        version=context.algorithm_version or assessment.bundle.version,
        parameters=parameters or None,
    )


def _observation_context(told: Sequence[Dataset], context: ReportContext) -> ObservationContext:
    """TID 1001: the observer is a device (TID 1002, 1004); the subject is the patient, of whom nothing need
    be said, or the specimen of a slide (TID 1006, 1009) where all sources show the same one."""
    device = context.device
    observer = ObserverContext(
        observer_type=dcm_codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=device.uid,
            name=device.name,
            manufacturer_name=device.manufacturer,
            model_name=device.model,
            serial_number=device.serial_number,
        ),
    )
    return ObservationContext(observer_device_context=observer, subject_context=_specimen(told))


def _specimen(told: Sequence[Dataset]) -> SubjectContext | None:
    """TID 1009, from the Specimen module (PS3.3 C.7.6.22)."""
    specimens = {
        str(item.get("SpecimenUID"))
        for header in told
        for item in header.get("SpecimenDescriptionSequence") or ()
    }
    if len(specimens) != 1 or any(not header.get("SpecimenDescriptionSequence") for header in told):
        return None
    return SubjectContext.from_image(told[0])


def _procedure(assessment: Assessment) -> CodeContentItem:
    """TID 1500 row 4, of CID 100 (part16/sect_CID_100.html)."""
    return CodeContentItem(
        name=concept(codes.PROCEDURE_REPORTED),
        value=concept(codes.PROCEDURES.get(assessment.modality or "", codes.IMAGING_PROCEDURE)),
        relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
    )


def _sources_read(assessment: Assessment, by_uid: Mapping[str, Dataset]) -> list[Dataset]:
    """Headers, as far as they were given, of the instances that the views were made of, each once, in the
    order of the views."""
    read = dict.fromkeys(s.sop_instance_uid for view in assessment.views for s in view.sources)
    return [by_uid[uid] for uid in read if uid in by_uid]


def _imaging_measurements(
    assessment: Assessment, by_uid: Mapping[str, Dataset], context: ReportContext
) -> ContainerContentItem:
    """TID 1500 row 6: the algorithm once for all (row 6b), then one group for each finding (rows 7 and 9)."""
    container = ContainerContentItem(name=concept(codes.IMAGING_MEASUREMENTS), relationship_type=CONTAINS)
    items: list[ContentItem] = [*algorithm(assessment, context, f"bundle sha256 {assessment.bundle.digest}")]
    for finding in in_reading_order(assessment.findings):
        threshold = _thresholds(finding)
        items.append(
            finding_group(
                finding,
                assessment,
                by_uid,
                context.uids.sop_instance_uid,
                algorithm(assessment, context, threshold),
            )
        )
    container.ContentSequence = ContentSequence(items)
    return container


def _thresholds(finding: Finding) -> str:
    """What decides between present, undetermined and absent."""
    decision = f"decision threshold {100 * finding.threshold:.2f} %"
    if finding.unsure_from is None:
        return decision
    return f"{decision}, lower threshold {100 * finding.unsure_from:.2f} %"


def comments(assessment: Assessment) -> list[str]:
    """What a reader must know beside the findings. No patient data."""
    texts = [STANDING]
    if assessment.findings:
        texts += [HOW_TO_READ, NOT_DETECTED, PREVALENCE]
    if assessment.status is not Status.REPORTED:
        texts.append(f"Nothing was reported: {assessment.reason or assessment.status.value}")
    for view in assessment.views:
        if not view.in_scope:
            texts.append(
                f"A view of modality {view.modality} was out of scope: {view.reason or 'no reason given'}"
            )
        texts.extend(f"{view.modality}: {note}" for note in view.notes)
    for reason, count in sorted(Counter(skipped.reason for skipped in assessment.skipped).items()):
        texts.append(f"Instances not used: {count} ({reason})")
    return list(dict.fromkeys(texts))


def _comments(assessment: Assessment) -> ContainerContentItem:
    """TID 1500 row 12 with TEXT of row 14: the one place of the template for words about the whole report."""
    container = ContainerContentItem(name=concept(codes.QUALITATIVE_EVALUATIONS), relationship_type=CONTAINS)
    container.ContentSequence = ContentSequence(
        [
            TextContentItem(name=concept(codes.COMMENT), value=text, relationship_type=CONTAINS)
            for text in comments(assessment)
        ]
    )
    return container
