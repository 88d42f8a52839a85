"""The report as an object: modules, forms, determinism, bytes."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from highdicom.sr import srread
from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
)

from dicom_node.errors import ReportError, describe, where
from dicom_node.records import SourceRef
from dicom_node.report import codes, document
from dicom_node.report.context import PriorReport, ReportForm, form_uid
from dicom_node.report.document import SOP_CLASSES, build_report, convert_form, encode_part10
from tests.support.assessments import DEVICE, assessment_of, context_of
from tests.support.sources import SOURCES, STUDY, cr, ct, ecg, op
from tests.support.sr import TRACKING_UID, listed_instances, name_of, referenced_instances, reread, walk

EVERY_KIND = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())


def report_of(kind: str, headers: list[Dataset], **changes: object) -> Dataset:
    return build_report(assessment_of(kind, headers), headers, context_of(headers, **changes))


@pytest.mark.parametrize("kind", SOURCES)
def test_the_same_input_gives_the_same_bytes_whatever_the_order(kind: str) -> None:
    first = encode_part10(report_of(kind, SOURCES[kind]()))
    headers = SOURCES[kind]()
    again = build_report(assessment_of(kind, headers), headers[::-1], context_of(headers[::-1]))
    assert encode_part10(again) == first


def test_neither_headers_nor_report_are_altered() -> None:
    headers = cr()
    before = headers[0].to_json()
    report = report_of("cr", headers)
    built = encode_part10(report)
    for form in ReportForm:
        encode_part10(convert_form(report, form))
    assert headers[0].to_json() == before
    assert encode_part10(report) == built


def test_the_file_says_what_it_holds() -> None:
    data = encode_part10(report_of("cr", cr()))
    assert data[:132] == b"\0" * 128 + b"DICM"
    report = reread(data)
    meta = report.file_meta
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.MediaStorageSOPClassUID == report.SOPClassUID == Comprehensive3DSRStorage
    assert meta.MediaStorageSOPInstanceUID == report.SOPInstanceUID == context_of(cr()).uids.sop_instance_uid
    assert len(meta.ImplementationVersionName) <= 16
    assert meta.ImplementationClassUID.is_valid


def test_it_is_complete_preliminary_and_unverified() -> None:
    report = report_of("cr", cr())
    flags = (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag)
    assert flags == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")
    assert "VerifyingObserverSequence" not in report


def test_series_and_equipment_are_those_of_the_context() -> None:
    report = report_of("cr", cr(), series_number=77, instance_number=3, series_description="Our findings")
    assert (report.Modality, report.SeriesNumber, report.InstanceNumber) == ("SR", 77, 3)
    assert report.SeriesDescription == "Our findings"
    assert report.SeriesInstanceUID == context_of(cr()).uids.series_uid
    assert report.Manufacturer == DEVICE.manufacturer
    assert report.ManufacturerModelName == DEVICE.model
    assert report.DeviceSerialNumber == DEVICE.serial_number
    assert report.SoftwareVersions == DEVICE.software_version
    assert report["ReferencedPerformedProcedureStepSequence"].value == []


@EVERY_KIND
def test_the_evidence_is_complete(source: Callable[[], list[Dataset]]) -> None:
    headers = source()
    kind = next(name for name, made in SOURCES.items() if made is source)
    report = report_of(kind, headers)
    listed = listed_instances(report.CurrentRequestedProcedureEvidenceSequence)
    assert listed == {(STUDY, str(h.SeriesInstanceUID), str(h.SOPInstanceUID)) for h in headers}
    assert referenced_instances(report) <= {instance for _, _, instance in listed}
    assert referenced_instances(report)


def test_sources_of_a_view_are_evidence_without_a_header() -> None:
    headers = ct(3)
    assessment = assessment_of("ct", headers, evidence=False)
    report = build_report(assessment, headers[:1], context_of(headers))
    listed = {
        instance for _, _, instance in listed_instances(report.CurrentRequestedProcedureEvidenceSequence)
    }
    assert listed == {str(h.SOPInstanceUID) for h in headers}


def test_predecessors_are_referenced() -> None:
    prior = PriorReport("1.2.1", "1.2.2", str(Comprehensive3DSRStorage), "1.2.3")
    sibling = replace(prior, sop_instance_uid="1.2.4")
    report = report_of("cr", cr(), predecessors=(sibling, prior))
    assert listed_instances(report.PredecessorDocumentsSequence) == {
        ("1.2.1", "1.2.2", "1.2.3"),
        ("1.2.1", "1.2.2", "1.2.4"),
    }
    assert len(report.PredecessorDocumentsSequence) == 1
    assert "PredecessorDocumentsSequence" not in report_of("cr", cr())


def test_dates_are_told_in_the_zone_of_the_sources() -> None:
    created = datetime(2025, 11, 3, 23, 30, 5, 250000, tzinfo=UTC)
    report = report_of("ecg", ecg(), created=created)
    assert report.TimezoneOffsetFromUTC == "+0100"
    assert (report.ContentDate, report.ContentTime) == ("20251104", "003005.250000")
    assert (report.InstanceCreationDate, report.InstanceCreationTime) == ("20251104", "003005.250000")
    assert report.ObservationDateTime == "20251104003005+0100"


def test_without_a_zone_in_the_sources_only_the_observation_tells_one() -> None:
    created = datetime(2025, 11, 3, 23, 30, 5, tzinfo=timezone(timedelta(hours=-5)))
    report = report_of("cr", cr(), created=created)
    assert "TimezoneOffsetFromUTC" not in report
    assert (report.ContentDate, report.ContentTime) == ("20251103", "233005.000000")
    assert report.ObservationDateTime == "20251103233005-0500"


@pytest.mark.parametrize(
    ("form", "sop_class"),
    [(ReportForm.COMPREHENSIVE, ComprehensiveSRStorage), (ReportForm.ENHANCED, EnhancedSRStorage)],
)
def test_another_form_is_another_object_with_the_same_content(form: ReportForm, sop_class: str) -> None:
    original = report_of("op", op())
    converted = reread(encode_part10(convert_form(original, form)))
    assert (
        converted.SOPClassUID == converted.file_meta.MediaStorageSOPClassUID == sop_class == SOP_CLASSES[form]
    )
    assert converted.SOPInstanceUID == converted.file_meta.MediaStorageSOPInstanceUID
    assert converted.SOPInstanceUID == form_uid(str(original.SOPInstanceUID), form) != original.SOPInstanceUID
    assert converted.SeriesInstanceUID == original.SeriesInstanceUID
    assert [i.to_json() for i in converted.ContentSequence] == [i.to_json() for i in original.ContentSequence]


@pytest.mark.parametrize("form", ReportForm)
def test_built_in_a_form_is_converted_to_it(form: ReportForm) -> None:
    assert encode_part10(report_of("op", op(), form=form)) == encode_part10(
        convert_form(report_of("op", op()), form)
    )


def test_a_converted_report_is_not_converted_again() -> None:
    enhanced = convert_form(report_of("cr", cr()), ReportForm.ENHANCED)
    with pytest.raises(ReportError, match="Only a Comprehensive 3D SR"):
        convert_form(enhanced, ReportForm.COMPREHENSIVE)


def test_no_report_uses_coordinates_that_the_other_forms_forbid() -> None:
    for kind, source in SOURCES.items():
        assert not [item for item in walk(report_of(kind, source())) if item.ValueType == "SCOORD3D"]


def test_tracking_uids_are_all_different_for_both_eyes() -> None:
    headers = op()
    assessment = assessment_of("op", headers)
    other_view = replace(
        assessment.views[0], sources=(SourceRef(headers[1].SOPClassUID, headers[1].SOPInstanceUID),)
    )
    both = replace(
        assessment,
        views=(assessment.views[0], other_view),
        findings=(*assessment.findings, *(replace(f, view=1, laterality="L") for f in assessment.findings)),
    )
    report = build_report(both, headers, context_of(headers))
    uids = [item.UID for item in walk(report) if name_of(item) == (TRACKING_UID.value, TRACKING_UID.scheme)]
    assert len(set(uids)) == len(uids) == 6


def test_a_value_that_cannot_be_written_is_a_report_error() -> None:
    report = report_of("cr", cr())
    report.PregnancyStatus = 1
    report["PregnancyStatus"]._value = 70_000  # US holds 65535
    with pytest.raises(ReportError, match="cannot be encoded"):
        encode_part10(report)


SECRET = "DOE^JANE"


def told_of(caught: pytest.ExceptionInfo[ReportError]) -> str:
    """What the log, the record of a failed study and the page show."""
    return describe(caught.value) + where(caught.value)


def test_a_value_of_the_source_is_not_quoted_when_it_cannot_be_written() -> None:
    report = report_of("cr", cr())
    report.PregnancyStatus = 1
    report["PregnancyStatus"]._value = SECRET
    with pytest.raises(ReportError, match="cannot be encoded") as caught:
        encode_part10(report)
    assert SECRET not in told_of(caught)
    assert "encode_part10" in told_of(caught)


def test_a_value_of_the_source_is_not_quoted_when_it_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def quoting(*_: object) -> None:
        raise ValueError(f"Invalid value {SECRET!r}")

    monkeypatch.setattr(document, "measurement_report", quoting)
    with pytest.raises(ReportError, match="cannot be told as a standard SR: ValueError") as caught:
        report_of("cr", cr())
    assert SECRET not in told_of(caught)
    assert "quoting" in told_of(caught)


@pytest.mark.parametrize("kind", sorted(set(SOURCES) - {"ecg"}))
def test_highdicom_finds_the_groups_again(kind: str) -> None:
    headers = SOURCES[kind]()
    assessment = assessment_of(kind, headers)
    read = srread(io.BytesIO(encode_part10(build_report(assessment, headers, context_of(headers)))))
    groups = read.content.get_image_measurement_groups()
    assert len(groups) == 3
    for finding in assessment.findings:
        (group,) = (g for g in groups if g.finding_type.value == finding.code.value)
        assert group.get_measurements()[0].value == round(100 * finding.probability, 2)
        (presence,) = group.get_qualitative_evaluations()
        assert presence.value.value == codes.PRESENCE_VALUES[finding.presence].value
