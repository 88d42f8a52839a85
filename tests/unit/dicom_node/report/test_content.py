"""The content tree holds what TID 1500 requires, in every kind of report."""

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from dicom_node.records import Presence, Skipped, Status
from dicom_node.report import codes
from dicom_node.report.content import (
    HOW_TO_READ,
    NOT_DETECTED,
    PREVALENCE,
    STANDING,
    comments,
    in_reading_order,
)
from dicom_node.report.document import build_report, encode_part10
from tests.support.assessments import BUNDLE, DEVICE, DIGEST, assessment_of, context_of
from tests.support.sources import SOURCES, sm
from tests.support.sr import FINDING_SITE, MEASUREMENT_GROUP, children, only, reread, value_of, walk


@pytest.fixture(
    scope="module", params=[(kind, evidence) for kind in SOURCES for evidence in (True, False)], ids=str
)
def report(request: pytest.FixtureRequest) -> Dataset:
    kind, evidence = request.param
    headers = SOURCES[kind]()
    assessment = assessment_of(kind, headers, evidence=evidence)
    return reread(encode_part10(build_report(assessment, headers, context_of(headers))))


def test_the_root_is_a_measurement_report(report: Dataset) -> None:
    assert report.ConceptNameCodeSequence[0].CodeValue == codes.IMAGING_MEASUREMENT_REPORT.value
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert report.ContentTemplateSequence[0].MappingResource == "DCMR"


def test_the_language_is_told(report: Dataset) -> None:
    item = report.ContentSequence[0]
    assert item.RelationshipType == "HAS CONCEPT MOD"
    assert value_of(item) == ("en-US", "RFC5646")


def test_the_procedure_reported_is_told_from_cid_100(report: Dataset) -> None:
    item = only(report, codes.PROCEDURE_REPORTED)
    assert item.RelationshipType == "HAS CONCEPT MOD"
    assert value_of(item) in {("25045-6", "LN"), ("363679005", "SCT")}


def test_the_observer_is_the_device(report: Dataset) -> None:
    told = {item.ConceptNameCodeSequence[0].CodeValue: item for item in report.ContentSequence}
    assert value_of(told["121005"]) == ("121007", "DCM")
    assert value_of(told["121012"]) == DEVICE.uid
    assert value_of(told["121013"]) == DEVICE.name
    assert value_of(told["121014"]) == DEVICE.manufacturer
    assert value_of(told["121015"]) == DEVICE.model
    assert value_of(told["121016"]) == DEVICE.serial_number
    assert {told[code].RelationshipType for code in ("121005", "121012", "121013")} == {"HAS OBS CONTEXT"}


def test_every_finding_has_a_group_present_first(report: Dataset) -> None:
    groups = children(only(report, codes.IMAGING_MEASUREMENTS), MEASUREMENT_GROUP)
    told = [value_of(only(group, codes.PRESENCE)) for group in groups]
    assert told == [(c.value, c.scheme) for c in (codes.PRESENT, codes.UNDETERMINED, codes.ABSENT)]


def test_the_bundle_is_told_with_its_digest(report: Dataset) -> None:
    container = only(report, codes.IMAGING_MEASUREMENTS)
    told = {
        i.ConceptNameCodeSequence[0].CodeValue: i for i in container.ContentSequence if i.ValueType == "TEXT"
    }
    assert value_of(told["111001"]) == BUNDLE.name
    assert value_of(told["111003"]) == BUNDLE.version
    assert DIGEST in str(value_of(told["111002"]))


def test_it_says_that_it_is_no_medical_device(report: Dataset) -> None:
    texts = [value_of(i) for i in children(only(report, codes.QUALITATIVE_EVALUATIONS), codes.COMMENT)]
    assert texts[0] == STANDING
    assert any("window taken from the object" in str(text) for text in texts)


def test_it_says_what_its_words_and_numbers_are_worth(report: Dataset) -> None:
    texts = [value_of(i) for i in children(only(report, codes.QUALITATIVE_EVALUATIONS), codes.COMMENT)]
    assert texts[1:4] == [HOW_TO_READ, NOT_DETECTED, PREVALENCE]
    assert NOT_DETECTED == "Absent means not detected: it rules nothing out."
    assert "as frequent as in the data that it was calibrated on" in PREVALENCE


def test_every_item_below_the_root_has_a_relationship(report: Dataset) -> None:
    assert all(item.get("RelationshipType") for item in list(walk(report))[1:])


def test_no_item_is_without_a_value(report: Dataset) -> None:
    for item in walk(report):
        if item.ValueType in {"CODE", "NUM", "TEXT", "UIDREF"}:
            assert value_of(item)


def test_equally_probable_findings_have_one_order() -> None:
    findings = assessment_of("cr", SOURCES["cr"]()).findings
    same = [replace(f, probability=0.7, presence=Presence.PRESENT) for f in findings]
    assert [f.id for f in in_reading_order(same)] == [f.id for f in in_reading_order(same[::-1])]


def test_a_slide_names_its_specimen() -> None:
    headers = sm()
    report = build_report(assessment_of("sm", headers), headers, context_of(headers))
    told = {item.ConceptNameCodeSequence[0].CodeValue: item for item in report.ContentSequence}
    assert value_of(told["121024"]) == ("121027", "DCM")
    assert value_of(told["121039"]) == headers[0].SpecimenDescriptionSequence[0].SpecimenUID
    assert value_of(told["111700"]) == "SLIDE-1"


def test_two_specimens_are_not_taken_for_one() -> None:
    headers = sm()
    other = Dataset()
    other.SpecimenUID, other.SpecimenIdentifier = "1.2.3.4", "B"
    headers[0].SpecimenDescriptionSequence.append(other)
    report = build_report(assessment_of("sm", headers), headers, context_of(headers))
    assert "121024" not in {item.ConceptNameCodeSequence[0].CodeValue for item in report.ContentSequence}


def test_what_was_left_out_is_told_by_reason() -> None:
    headers = SOURCES["cr"]()
    skipped = tuple(Skipped(f"1.2.{n}", "localizer", "a localizer") for n in range(3))
    texts = comments(
        assessment_of("cr", headers, skipped=(*skipped, Skipped("1.9", "no-pixel-data", "no pixels")))
    )
    assert "Instances not used: 3 (localizer)" in texts
    assert "Instances not used: 1 (no-pixel-data)" in texts


def test_a_report_without_findings_says_why() -> None:
    headers = SOURCES["cr"]()
    assessment = assessment_of("cr", headers)
    view = replace(assessment.views[0], in_scope=False, reason="not a chest radiograph")
    refused = replace(
        assessment, findings=(), status=Status.OUT_OF_SCOPE, reason="not a chest radiograph", views=(view,)
    )
    report = build_report(refused, headers, context_of(headers))
    assert not children(report, codes.IMAGING_MEASUREMENTS)
    texts = [value_of(i) for i in children(only(report, codes.QUALITATIVE_EVALUATIONS), codes.COMMENT)]
    assert texts[0] == STANDING
    assert "Nothing was reported: not a chest radiograph" in texts
    assert "A view of modality xray was out of scope: not a chest radiograph" in texts


def test_an_unknown_modality_is_an_imaging_procedure_without_site() -> None:
    headers = SOURCES["cr"]()
    assessment = assessment_of("cr", headers, modality="ultrasound")
    findings = tuple(replace(f, modality="ultrasound") for f in assessment.findings)
    report = build_report(replace(assessment, findings=findings), headers, context_of(headers))
    assert value_of(only(report, codes.PROCEDURE_REPORTED)) == ("363679005", "SCT")
    group = children(only(report, codes.IMAGING_MEASUREMENTS), MEASUREMENT_GROUP)[0]
    assert not children(group, FINDING_SITE)
