"""The report as a DICOM object: modules around the content tree, other forms of it, and its bytes.

The SR IODs are PS3.3 A.35.2 (Enhanced), A.35.3 (Comprehensive) and A.35.13 (Comprehensive 3D). highdicom
builds the content tree; the document is put together here, because its SR classes ask the clock, refuse
waveform references, and raise on sources that lack an empty attribute.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
)

from dicom_node.errors import ReportError
from dicom_node.records import Assessment
from dicom_node.report import headers as sources
from dicom_node.report.content import measurement_report
from dicom_node.report.context import PriorReport, ReportContext, ReportForm, derived_uid, form_uid

SOP_CLASSES: Mapping[ReportForm, UID] = MappingProxyType(
    {
        ReportForm.COMPREHENSIVE_3D: Comprehensive3DSRStorage,
        ReportForm.COMPREHENSIVE: ComprehensiveSRStorage,
        ReportForm.ENHANCED: EnhancedSRStorage,
    }
)

IMPLEMENTATION_CLASS_UID = derived_uid("implementation")
"""(0002,0012)."""
IMPLEMENTATION_VERSION_NAME = "M3BIND_NODE_1"
"""(0002,0013), SH."""


def build_report(assessment: Assessment, headers: Sequence[Dataset], context: ReportContext) -> Dataset:
    """The SR of an assessment, complete with file meta information, for Explicit VR Little Endian.

    `headers` are the data sets of the sources without pixel or waveform data, in any order; every instance
    that is evidence must be among them, and one of every series. The same input gives the same bytes. Its
    SOP Instance UID is that of `context.uids` for the Comprehensive 3D form, `form_uid` of it for another.

    An assessment without findings gives a valid report that says why, as a comment (TID 1500 allows it);
    whether such a report is made at all is for the caller to decide.

    Raises ReportError for no headers, headers of another study, evidence without a header, and facts that
    DICOM cannot hold.
    """
    told = sources.representatives(headers, assessment.study_uid)
    by_uid = {str(header.SOPInstanceUID): header for header in headers}
    try:
        root = measurement_report(assessment, by_uid, told, context)
        report = _document(assessment, headers, told, root, context)
    except (ValueError, TypeError) as error:
        raise ReportError(
            f"The assessment cannot be told as a standard SR: {type(error).__name__} (the log tells where)"
        ) from error
    return convert_form(report, context.form)


def convert_form(report: Dataset, form: ReportForm) -> Dataset:
    """The same Comprehensive 3D report as another IOD, for a peer that refuses it. `report` is not altered.

    Its content is legal in all three, because regions are SCOORD, never SCOORD3D. It is another instance with
    a UID of its own (`form_uid`); the tracking UIDs stay, because what they track is the same.
    Raises ReportError when `report` is no Comprehensive 3D SR.
    """
    if report.get("SOPClassUID") != Comprehensive3DSRStorage:
        raise ReportError("Only a Comprehensive 3D SR can be converted to another form")
    if form is ReportForm.COMPREHENSIVE_3D:
        return report
    converted = deepcopy(report)
    converted.SOPClassUID = SOP_CLASSES[form]
    converted.SOPInstanceUID = form_uid(str(report.SOPInstanceUID), form)
    converted.file_meta = _file_meta(converted)
    return converted


def encode_part10(dataset: Dataset) -> bytes:
    """The report as a Part 10 file (PS3.10 section 7): preamble, file meta information, data set.

    Raises ReportError when a value copied from a source cannot be written.
    """
    buffer = io.BytesIO()
    try:
        dataset.save_as(buffer, enforce_file_format=True)
    except (ValueError, TypeError, OSError) as error:
        raise ReportError(
            f"The report cannot be encoded: {type(error).__name__} (the log tells where)"
        ) from error
    return buffer.getvalue()


def _document(
    assessment: Assessment,
    headers: Sequence[Dataset],
    told: Sequence[Dataset],
    root: Dataset,
    context: ReportContext,
) -> Dataset:
    """All modules of the IOD (PS3.3 table A.35.13-1), in the order of that table."""
    report = Dataset()
    report.SOPClassUID = Comprehensive3DSRStorage
    report.SOPInstanceUID = context.uids.sop_instance_uid
    report.update(sources.patient_and_study(told))
    report.StudyInstanceUID = assessment.study_uid
    _series_and_equipment(report, context)
    _general(report, assessment, headers, told, context)
    report.update(root)
    character_set = sources.character_set(told, _texts(root, context))
    if character_set is not None:
        report.SpecificCharacterSet = character_set
    report.file_meta = _file_meta(report)
    return report


def _series_and_equipment(report: Dataset, context: ReportContext) -> None:
    """SR Document Series (PS3.3 C.17.1), General and Enhanced General Equipment (C.7.5.1, C.7.5.2)."""
    report.Modality = "SR"
    report.SeriesInstanceUID = context.uids.series_uid
    report.SeriesNumber = context.series_number
    report.SeriesDescription = context.series_description
    report.ReferencedPerformedProcedureStepSequence = []
    report.Manufacturer = context.device.manufacturer
    report.ManufacturerModelName = context.device.model
    report.DeviceSerialNumber = context.device.serial_number
    report.SoftwareVersions = context.device.software_version


def _general(
    report: Dataset,
    assessment: Assessment,
    headers: Sequence[Dataset],
    told: Sequence[Dataset],
    context: ReportContext,
) -> None:
    """SR Document General (PS3.3 C.17.2) and the dates of SOP Common (C.12.1).

    COMPLETE, because nothing will be added; PRELIMINARY and UNVERIFIED, because no person answers for it.
    The zone of the sources holds for every date in the object; where they tell none, none is claimed, and the
    Observation DateTime of the root, which carries its own offset, says when the report was made.
    """
    zone = sources.time_zone(told)
    created = context.created if zone is None else context.created.astimezone(zone)
    if zone is not None:
        report.TimezoneOffsetFromUTC = created.strftime("%z")
    report.InstanceNumber = context.instance_number
    report.InstanceCreationDate = report.ContentDate = created.strftime("%Y%m%d")
    report.InstanceCreationTime = report.ContentTime = created.strftime("%H%M%S.%f")
    report.ObservationDateTime = created.strftime("%Y%m%d%H%M%S%z")
    report.CompletionFlag = "COMPLETE"
    report.VerificationFlag = "UNVERIFIED"
    report.PreliminaryFlag = "PRELIMINARY"
    report.PerformedProcedureCodeSequence = deepcopy(list(report.get("ProcedureCodeSequence") or ()))
    requests = sources.requests(told, assessment.study_uid)
    if requests:
        report.ReferencedRequestSequence = requests
    if context.predecessors:
        report.PredecessorDocumentsSequence = _hierarchy(
            _predecessor(prior) for prior in context.predecessors
        )
    report.CurrentRequestedProcedureEvidenceSequence = _hierarchy(_evidence(assessment, headers))


Reference = tuple[str, str, str, str]
"""Study, series, SOP class and SOP instance UID."""


def _predecessor(prior: PriorReport) -> Reference:
    return prior.study_uid, prior.series_uid, prior.sop_class_uid, prior.sop_instance_uid


def _evidence(assessment: Assessment, headers: Sequence[Dataset]) -> Iterator[Reference]:
    """Every instance that was given or read: the headers, and the sources of the views."""
    for header in headers:
        series, sop_class = str(header.SeriesInstanceUID), str(header.SOPClassUID)
        yield assessment.study_uid, series, sop_class, str(header.SOPInstanceUID)
    for view in assessment.views:
        for source in view.sources:
            yield assessment.study_uid, view.series_uid, source.sop_class_uid, source.sop_instance_uid


def _hierarchy(references: Iterator[Reference]) -> list[Dataset]:
    """Hierarchical SOP Instance Reference macro (PS3.3 C.17.2.1): studies, their series, their instances,
    each once and in the order of their UIDs."""
    studies: dict[str, dict[str, list[Dataset]]] = {}
    for study_uid, series_uid, sop_class_uid, sop_instance_uid in sorted(set(references)):
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        studies.setdefault(study_uid, {}).setdefault(series_uid, []).append(item)
    return [_study_item(study_uid, by_series) for study_uid, by_series in studies.items()]


def _study_item(study_uid: str, by_series: Mapping[str, list[Dataset]]) -> Dataset:
    study = Dataset()
    study.StudyInstanceUID = study_uid
    study.ReferencedSeriesSequence = []
    for series_uid, instances in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID = series_uid
        series.ReferencedSOPSequence = instances
        study.ReferencedSeriesSequence.append(series)
    return study


def _texts(root: Dataset, context: ReportContext) -> Iterator[str]:
    """Every text that is ours, to see whether the character set of the sources can hold it."""
    device = context.device
    yield from (device.manufacturer, device.model, device.serial_number, device.software_version)
    yield context.series_description
    for element in root.iterall():
        if isinstance(element.value, str):
            yield element.value


def _file_meta(report: Dataset) -> FileMetaDataset:
    """File Meta Information (PS3.10 section 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = report.SOPClassUID
    meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
