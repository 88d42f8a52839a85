"""Programs of others read our reports and find no error: dciodvfy, PixelMed, dsrdump."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_node.records import Assessment, Skipped, Status
from dicom_node.report.context import PriorReport, ReportForm
from dicom_node.report.document import SOP_CLASSES, build_report, encode_part10
from tests.support.assessments import assessment_of, context_of
from tests.support.sources import SOURCES, code_item, cr
from tests.support.validators import dciodvfy_errors, dsrdump, pixelmed_errors

pytestmark = pytest.mark.peer


def write(folder: Path, assessment: Assessment, headers: list[Dataset], **changes: object) -> Path:
    path = folder / "report.dcm"
    path.write_bytes(encode_part10(build_report(assessment, headers, context_of(headers, **changes))))
    return path


def mixed(kind: str, headers: list[Dataset]) -> Assessment:
    """Two findings with evidence and one without: one file holds every kind of group of its modality."""
    assessment = assessment_of(kind, headers)
    first, second, third = assessment.findings
    return replace(assessment, findings=(first, replace(second, evidence=()), third))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("form", ReportForm)
def test_the_object_is_legal_in_every_form(kind: str, form: ReportForm, tmp_path: Path) -> None:
    headers = SOURCES[kind]()
    assert dciodvfy_errors(write(tmp_path, mixed(kind, headers), headers, form=form)) == []


# A run of PixelMed takes seven seconds: each modality once, the other forms on a second radiograph and below.
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("cr", ReportForm.COMPREHENSIVE_3D),
        ("dx", ReportForm.COMPREHENSIVE),
        ("ct", ReportForm.COMPREHENSIVE_3D),
        ("op", ReportForm.COMPREHENSIVE_3D),
        ("ecg", ReportForm.COMPREHENSIVE_3D),
        ("sm", ReportForm.COMPREHENSIVE_3D),
    ],
)
def test_the_template_is_followed(kind: str, form: ReportForm, tmp_path: Path) -> None:
    headers = SOURCES[kind]()
    assert pixelmed_errors(write(tmp_path, mixed(kind, headers), headers, form=form)) == []


@pytest.mark.parametrize("kind", SOURCES)
def test_dcmtk_reads_it(kind: str, tmp_path: Path) -> None:
    headers = SOURCES[kind]()
    assessment = mixed(kind, headers)
    text = dsrdump(write(tmp_path, assessment, headers))
    assert "Comprehensive 3D SR Document" in text
    for finding in assessment.findings:
        assert f'"{finding.code.meaning}"' in text
        assert f'"Probability")="{100 * finding.probability:.4g}' in text
    assert text.count('"Absent"') == text.count('"Present"') == text.count('"Undetermined"') == 2


@pytest.mark.parametrize("form", ReportForm)
def test_dcmtk_reads_every_form(form: ReportForm, tmp_path: Path) -> None:
    headers = SOURCES["ct"]()
    text = dsrdump(write(tmp_path, mixed("ct", headers), headers, form=form))
    assert text.startswith(SOP_CLASSES[form].name.removesuffix(" Storage"))


def without_identity(header: Dataset) -> None:
    header.PatientIdentityRemoved = "YES"


def without_name_or_accession(header: Dataset) -> None:
    for keyword in (
        "PatientName",
        "AccessionNumber",
        "PatientBirthDate",
        "PatientSex",
        "ReferringPhysicianName",
    ):
        del header[keyword]
    del header.RequestAttributesSequence


def japanese(header: Dataset) -> None:
    header.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    header.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    header.ReferringPhysicianName = ""


def in_a_trial(header: Dataset) -> None:
    header.ClinicalTrialSponsorName = "Sponsor"
    header.ClinicalTrialProtocolID = "CT-1"
    header.ClinicalTrialProtocolName = ""
    header.ClinicalTrialSiteID = ""
    header.ClinicalTrialSiteName = ""
    header.ClinicalTrialSubjectID = "SUBJECT-1"
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethodCodeSequence = [
        code_item("113100", "DCM", "Basic Application Confidentiality Profile")
    ]


ODD = [without_identity, without_name_or_accession, japanese, in_a_trial]


@pytest.mark.parametrize("make_odd", ODD)
def test_odd_patients_make_legal_objects(make_odd: object, tmp_path: Path) -> None:
    assert callable(make_odd)
    headers = cr()
    make_odd(headers[0])
    path = write(tmp_path, mixed("cr", headers), headers)
    assert dciodvfy_errors(path) == []
    assert dsrdump(path)


def test_a_report_with_everything_is_legal(tmp_path: Path) -> None:
    headers = cr()
    headers[0].TimezoneOffsetFromUTC = "-0500"
    assessment = mixed("cr", headers)
    name = "A finding with a name far longer than any coded meaning may be, " * 3
    findings = tuple(replace(f, name=name, code=replace(f.code, meaning=name)) for f in assessment.findings)
    everything = replace(
        assessment, findings=findings, skipped=(Skipped("1.2.3", "localizer", "a localizer"),)
    )
    prior = PriorReport("1.2.1", "1.2.2", str(SOP_CLASSES[ReportForm.ENHANCED]), "1.2.3")
    path = write(tmp_path, everything, headers, predecessors=(prior,), form=ReportForm.ENHANCED)
    assert dciodvfy_errors(path) == []
    assert pixelmed_errors(path) == []
    assert dsrdump(path)


def test_a_report_without_findings_is_legal(tmp_path: Path) -> None:
    headers = cr()
    refused = assessment_of(
        "cr", headers, findings=(), status=Status.OUT_OF_SCOPE, reason="not a chest radiograph"
    )
    path = write(tmp_path, refused, headers)
    assert dciodvfy_errors(path) == []
    assert pixelmed_errors(path) == []
    assert "Not a medical device" in dsrdump(path)


def test_the_validators_do_find_errors(tmp_path: Path) -> None:
    headers = cr()
    report = build_report(assessment_of("cr", headers), headers, context_of(headers))
    del report.Manufacturer
    report.CompletionFlag = "MAYBE"
    procedure = next(i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121058")
    procedure.ConceptCodeSequence[0].CodeValue = "1"
    path = tmp_path / "broken.dcm"
    path.write_bytes(encode_part10(report))
    assert dciodvfy_errors(path)
    assert any("121058" in error for error in pixelmed_errors(path))
