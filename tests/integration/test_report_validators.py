"""Programs of others read our reports and find no error: dciodvfy, PixelMed, dsrdump."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_node.records import Assessment, Skipped, Status
from dicom_node.report.context import PriorReport, ReportForm
from dicom_node.report.document import SOP_CLASSES, build_report, encode_part10
from tests.support.assessments import assessment_of, context_of
from tests.support.sources import SOURCES, code_item, cr
from tests.support.validators import dciodvfy_errors, dsrdump, pixelmed_errors_of

pytestmark = pytest.mark.peer


def write(folder: Path, assessment: Assessment, headers: list[Dataset], **changes: object) -> Path:
    path = folder / "report.dcm"
    path.write_bytes(encode_part10(build_report(assessment, headers, context_of(headers, **changes))))
    return path


def mixed(kind: str, headers: list[Dataset]) -> Assessment:
    """As it is in practice: the present finding has its evidence, the unsure and the absent one have none."""
    assessment = assessment_of(kind, headers)
    first, *others = assessment.findings
    return replace(assessment, findings=(first, *(replace(finding, evidence=()) for finding in others)))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("form", ReportForm)
def test_the_object_is_legal_in_every_form(kind: str, form: ReportForm, tmp_path: Path) -> None:
    headers = SOURCES[kind]()
    assert dciodvfy_errors(write(tmp_path, mixed(kind, headers), headers, form=form)) == []


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


def an_animal(header: Dataset) -> None:
    header.PatientSpeciesDescription = "Dog"
    header.ResponsiblePerson = "Owner^An"
    header.ResponsiblePersonRole = "OWNER"


def without_character_set(header: Dataset) -> None:
    del header.SpecificCharacterSet
    header.PatientName = "Plain^Name"
    header.ReferringPhysicianName = "Plain^Doctor"


ODD = [an_animal, without_character_set, without_identity, without_name_or_accession, japanese, in_a_trial]


@pytest.mark.parametrize("make_odd", ODD)
def test_odd_patients_make_legal_objects(make_odd: Callable[[Dataset], None], tmp_path: Path) -> None:
    headers = cr()
    make_odd(headers[0])
    path = write(tmp_path, mixed("cr", headers), headers)
    assert dciodvfy_errors(path) == []
    assert dsrdump(path)


def with_everything(headers: list[Dataset], folder: Path) -> Path:
    """Long names, a zone, a predecessor, an instance not used; as Enhanced SR."""
    headers[0].TimezoneOffsetFromUTC = "-0500"
    assessment = mixed("cr", headers)
    name = "A finding with a name far longer than any coded meaning may be, " * 3
    findings = tuple(replace(f, name=name, code=replace(f.code, meaning=name)) for f in assessment.findings)
    everything = replace(
        assessment, findings=findings, skipped=(Skipped("1.2.3", "localizer", "a localizer"),)
    )
    prior = PriorReport("1.2.1", "1.2.2", str(SOP_CLASSES[ReportForm.ENHANCED]), "1.2.3")
    return write(folder, everything, headers, predecessors=(prior,), form=ReportForm.ENHANCED)


def without_findings(headers: list[Dataset], folder: Path) -> Path:
    reason = "not a chest radiograph"
    refused = assessment_of("cr", headers, findings=(), status=Status.OUT_OF_SCOPE, reason=reason)
    return write(folder, refused, headers)


def broken(headers: list[Dataset], folder: Path) -> Path:
    """Wrong in ways that the validators must see, lest they pass whatever they are given."""
    report = build_report(assessment_of("cr", headers), headers, context_of(headers))
    del report.Manufacturer
    report.CompletionFlag = "MAYBE"
    procedure = next(i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121058")
    procedure.ConceptCodeSequence[0].CodeValue = "1"
    path = folder / "report.dcm"
    path.write_bytes(encode_part10(report))
    return path


SPECIAL = {"with everything": with_everything, "without findings": without_findings, "broken": broken}


@pytest.fixture(scope="module")
def pixelmed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Errors of PixelMed by report: every kind of source (one of them as Comprehensive SR), and SPECIAL."""
    paths = {}
    for kind, source in SOURCES.items():
        form = ReportForm.COMPREHENSIVE if kind == "dx" else ReportForm.COMPREHENSIVE_3D
        headers = source()
        paths[kind] = write(tmp_path_factory.mktemp(kind), mixed(kind, headers), headers, form=form)
    for number, (name, make) in enumerate(SPECIAL.items()):
        paths[name] = make(cr(), tmp_path_factory.mktemp(f"special{number}"))
    return pixelmed_errors_of(paths)


@pytest.mark.parametrize("kind", [*SOURCES, "with everything", "without findings"])
def test_the_template_is_followed(kind: str, pixelmed: dict[str, list[str]]) -> None:
    assert pixelmed[kind] == []


@pytest.mark.parametrize("make", [with_everything, without_findings])
def test_special_reports_are_legal_and_readable(
    make: Callable[[list[Dataset], Path], Path], tmp_path: Path
) -> None:
    path = make(cr(), tmp_path)
    assert dciodvfy_errors(path) == []
    assert "Not a medical device" in dsrdump(path)


def test_the_validators_do_find_errors(pixelmed: dict[str, list[str]], tmp_path: Path) -> None:
    assert dciodvfy_errors(broken(cr(), tmp_path))
    assert any("121058" in error for error in pixelmed["broken"])
