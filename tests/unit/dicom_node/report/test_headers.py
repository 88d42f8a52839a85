"""What a report takes over from its sources, for ordinary patients and odd ones."""

import io
from datetime import timedelta, timezone

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.errors import ReportError
from dicom_node.records import Code
from dicom_node.report import headers as sources
from dicom_node.report.document import build_report, encode_part10
from tests.support.assessments import assessment_of, context_of
from tests.support.sources import STUDY, code_item, cr, ct, ecg, op, sm
from tests.support.sr import reread


def as_received(header: Dataset) -> Dataset:
    """The header as a reader gets it from a file: values still as bytes, decoded when asked for."""
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return dcmread(io.BytesIO(buffer.getvalue()), stop_before_pixels=True)


def reported(*headers: Dataset) -> Dataset:
    """The report of these headers after writing and reading."""
    assessment = assessment_of("cr", headers)
    return reread(encode_part10(build_report(assessment, headers, context_of(headers))))


def test_patient_and_study_are_those_of_the_source() -> None:
    header = as_received(cr()[0])
    report = reported(header)
    kept = (*sources.TYPE_2, "IssuerOfPatientID", "PatientAge", "StudyInstanceUID", "StudyDescription")
    for keyword in (*kept, "SpecificCharacterSet"):
        assert report[keyword].value == header[keyword].value, keyword
    assert report.ProcedureCodeSequence[0].CodeValue == header.ProcedureCodeSequence[0].CodeValue


def test_attributes_of_the_image_are_not_taken_over() -> None:
    report = reported(cr()[0])
    for keyword in (
        "Rows",
        "ViewPosition",
        "BodyPartExamined",
        "ImagerPixelSpacing",
        "RequestAttributesSequence",
    ):
        assert keyword not in report


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 144", "Люкceмбypг"),
        (None, "Plain^Name"),
    ],
    ids=str,
)
def test_names_keep_their_character_set_and_their_bytes(
    character_set: str | list[str] | None, name: str
) -> None:
    header = cr()[0]
    header.SpecificCharacterSet = character_set
    header.ReferringPhysicianName = "Plain^Doctor"
    header.PatientName = name
    header = as_received(header)
    original = bytes(header.get_item("PatientName").value)
    report = reported(header)
    assert bytes(report.get_item("PatientName").value) == original
    assert str(report.PatientName) == name
    assert report.get("SpecificCharacterSet") == character_set
    assert ("SpecificCharacterSet" in report) == (character_set is not None)


def test_sources_of_several_character_sets_become_utf_8() -> None:
    latin, japanese = op()
    japanese.SeriesInstanceUID += ".1"
    japanese.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    japanese.PatientName, japanese.ReferringPhysicianName = "Yamada^Tarou=山田^太郎", ""
    report = reported(as_received(latin), as_received(japanese))
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == "Müller^Jörg"


def test_text_of_ours_beyond_ascii_becomes_utf_8() -> None:
    header = as_received(cr()[0])
    context = context_of([header], series_description="Befunde, nur Forschung – kein Medizinprodukt")
    report = reread(encode_part10(build_report(assessment_of("cr", [header]), [header], context)))
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert report.SeriesDescription == "Befunde, nur Forschung – kein Medizinprodukt"
    assert str(report.PatientName) == "Müller^Jörg"


def test_text_in_nested_items_is_recoded_too() -> None:
    first, second = op()
    second.SeriesInstanceUID += ".1"
    second.SpecificCharacterSet = "ISO_IR 192"
    first.ProcedureCodeSequence = [code_item("1", "99LOCAL", "Röntgen")]
    report = reported(as_received(first), as_received(second))
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert report.ProcedureCodeSequence[0].CodeMeaning == "Röntgen"


def test_an_unknown_character_set_becomes_utf_8() -> None:
    header = cr()[0]
    header.SpecificCharacterSet = "MY OWN SET"
    assert sources.character_set([header], []) == "ISO_IR 192"


def test_a_patient_without_anything_still_has_every_required_attribute() -> None:
    header = cr()[0]
    for keyword in sources.TYPE_2:
        del header[keyword]
    del header.RequestAttributesSequence
    report = reported(header)
    for keyword in sources.TYPE_2:
        assert not report[keyword].value
    assert "ReferencedRequestSequence" not in report


def test_a_broken_attribute_of_the_source_is_left_out() -> None:
    header = as_received(cr()[0])
    tag = Tag("PregnancyStatus")
    header._dict[tag] = RawDataElement(tag, "US", 3, b"\x01\x00\x00", 0, False, True)  # US has two bytes
    report = reported(header)
    assert "PregnancyStatus" not in report
    assert report.PatientAge == "075Y"


def test_what_one_series_leaves_empty_another_tells() -> None:
    first, second = op()
    second.SeriesInstanceUID += ".1"
    first.PatientBirthDate = ""
    del first.PatientSex
    told = sources.patient_and_study(sources.representatives([second, first], STUDY))
    assert told.PatientBirthDate == "19500317"
    assert told.PatientSex == "M"


def test_a_removed_identity_needs_a_method() -> None:
    header = cr()[0]
    header.PatientIdentityRemoved = "YES"
    assert reported(header).DeidentificationMethod == sources.METHOD_NOT_STATED
    header.DeidentificationMethod = "Our profile"
    assert reported(header).DeidentificationMethod == "Our profile"
    del header.DeidentificationMethod
    header.DeidentificationMethodCodeSequence = [
        code_item("113100", "DCM", "Basic Application Confidentiality Profile")
    ]
    assert "DeidentificationMethod" not in reported(header)
    header.PatientIdentityRemoved = "NO"
    assert "DeidentificationMethod" not in reported(header)


def test_an_animal_has_the_attributes_of_an_animal() -> None:
    header = cr()[0]
    header.PatientSpeciesDescription = "Dog"
    report = reported(header)
    for keyword in sources.ANIMAL_TYPE_2:
        assert not report[keyword].value
    assert "PatientBreedDescription" not in reported(cr()[0])


def test_the_request_is_kept() -> None:
    (request,) = reported(cr()[0]).ReferencedRequestSequence
    assert request.RequestedProcedureID == "RP-9"
    assert request.RequestedProcedureDescription == "Chest"
    assert request.RequestedProcedureCodeSequence[0].CodeValue == "399208008"
    assert request.StudyInstanceUID == STUDY
    assert request.AccessionNumber == "A-4711"
    for keyword in sources.REQUEST_TYPE_2:
        assert keyword in request


def test_without_request_attributes_the_accession_number_is_the_request() -> None:
    (request,) = sources.requests(ct()[:1], STUDY)
    assert request.AccessionNumber == "A-4711"
    assert request.RequestedProcedureID is None


def test_the_same_request_in_two_series_is_kept_once() -> None:
    first, second = cr()[0], cr()[0]
    second.SeriesInstanceUID += ".1"
    assert len(sources.requests([first, second], STUDY)) == 1
    second.RequestAttributesSequence[0].RequestedProcedureID = "RP-10"
    assert [r.RequestedProcedureID for r in sources.requests([first, second], STUDY)] == ["RP-10", "RP-9"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("+0100", timezone(timedelta(hours=1))),
        ("-0330", timezone(-timedelta(hours=3, minutes=30))),
        ("", None),
        ("0100", None),
        ("+01:00", None),
        ("+9900", None),
    ],
)
def test_time_zones(value: str, expected: timezone | None) -> None:
    header = ecg()[0]
    header.TimezoneOffsetFromUTC = value
    assert sources.time_zone([header]) == expected


def test_time_zones_that_differ_are_none() -> None:
    assert sources.time_zone([ecg()[0], cr()[0]]) is None


def test_headers_of_another_study_are_refused() -> None:
    header = cr()[0]
    header.StudyInstanceUID = "1.2.3"
    with pytest.raises(ReportError, match="one study at a time"):
        sources.representatives([cr()[0], header], STUDY)


def test_no_headers_are_refused() -> None:
    with pytest.raises(ReportError, match="none were given"):
        sources.representatives([], STUDY)


def test_one_header_stands_for_its_series_whatever_the_order() -> None:
    headers = ct(5)
    assert (
        sources.representatives(headers, STUDY)
        == sources.representatives(headers[::-1], STUDY)
        == headers[:1]
    )


def test_the_site_of_a_slide_is_that_of_its_specimen() -> None:
    header = sm()[0]
    assert sources.specimen_site(header) == Code("39607008", "SCT", "Lung")
    other = Dataset()
    other.PrimaryAnatomicStructureSequence = [code_item("71854001", "SCT", "Colon")]
    header.SpecimenDescriptionSequence.append(other)
    assert sources.specimen_site(header) is None
    assert sources.specimen_site(cr()[0]) is None


def test_an_incomplete_code_is_no_code() -> None:
    assert sources.coded(code_item("39607008", "SCT", "")) is None
    assert sources.coded(Dataset()) is None
