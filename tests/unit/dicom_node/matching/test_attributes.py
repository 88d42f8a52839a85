"""Data sets as text and back: what pydicom would refuse or change is kept as it lies there."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.errors import UnreadableObjectError
from dicom_node.matching.attributes import VALUE_LIMIT, texts, to_dataset, to_json
from dicom_node.matching.headers import header_of, read_header
from dicom_node.matching.keys import COMPUTED, KEPT, KEYS, UNIQUE, Level, tag_of
from dicom_node.pixels.quiet import quiet
from dicom_node.store.find_facts import Unread
from tests.support.find_objects import KANJI, study, uid
from tests.support.small_dicom import write_file


def on_the_wire(dataset: Dataset, *, implicit: bool = False) -> Dataset:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    return read_dataset(BytesIO(buffer.getvalue()), implicit, True)


def odd(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        element = DataElement(
            int(tag_of(keyword), 16), KEYS[tag_of(keyword)].vr, "", validation_mode=config.IGNORE
        )
        element._value = value
        made.add(element)
    return made


@pytest.mark.parametrize("implicit", [False, True])
def test_odd_values_stay_what_they_are(implicit: bool) -> None:
    sent = on_the_wire(odd(StudyDate="2024-", SeriesNumber="1*", PatientID="  P 1 "), implicit=implicit)
    held = to_json(sent)
    assert held["00080020"] == {"vr": "DA", "Value": ["2024-"]}
    assert held["00200011"] == {"vr": "IS", "Value": ["1*"]}
    assert held["00100020"] == {"vr": "LO", "Value": ["P 1"]}
    assert texts(to_json(on_the_wire(to_dataset(held), implicit=implicit))["00200011"]) == ["1*"]


def test_an_empty_attribute_has_no_value() -> None:
    held = to_json(on_the_wire(odd(PatientID="", StudyDescription=None)))
    assert held == {"00100020": {"vr": "LO"}, "00081030": {"vr": "LO"}}


def test_what_is_set_by_program_reads_as_what_was_sent() -> None:
    (made,) = study(1, name=KANJI, character_set=["", "ISO 2022 IR 87"])
    del made.PixelData
    assert to_json(made) == to_json(on_the_wire(made))


def test_names_and_numbers_in_their_json_form() -> None:
    (made,) = study(1, name=KANJI, character_set=["", "ISO 2022 IR 87"], PixelSpacing=[0.5, 0.25])
    held = to_json(on_the_wire(made))
    assert held["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    assert held["00280010"] == {"vr": "US", "Value": [32]}
    assert texts(held["00280030"]) == ["0.5", "0.25"]
    assert "7FE00010" not in held
    back = to_dataset({tag: held[tag] for tag in ("00100010", "00280010", "00280030")})
    assert (str(back.PatientName), back.Rows) == (KANJI, 32)


def test_sequences_keep_their_items_character_set() -> None:
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 100"
    item.CodeMeaning = "Schädel"
    outer = Dataset()
    outer.SpecificCharacterSet = "ISO_IR 192"
    outer.StudyDescription = "Schädel"
    outer.ProcedureCodeSequence = [item]
    held = to_json(on_the_wire(outer))
    assert texts(held["00081032"]["Value"][0]["00080104"]) == texts(held["00081030"]) == ["Schädel"]


def test_what_is_absurdly_long_is_left_out() -> None:
    sent = on_the_wire(odd(PatientComments="x" * (VALUE_LIMIT + 2), PatientID="P\0"), implicit=True)
    assert to_json(sent) == {"00100020": {"vr": "LO", "Value": ["P"]}}


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_headers_are_read_in_every_syntax(tmp_path: Path, syntax: UID) -> None:
    (made,) = study(1, name="Müller^J", character_set="ISO_IR 100", accession="A1", description="d" * 64)
    path = write_file(tmp_path / "one.dcm", made, syntax)
    held = read_header(path)
    header = header_of(Unread(uid(1, 1, 1), uid(1), uid(1, 1), path), held)
    assert (header.patient_name, header.patient_id, header.modality) == ("muller^j", "P1", "CT")
    assert (header.study_date, header.accession_number) == ("20240115", "A1")
    assert header.image["00280010"] == {"vr": "US", "Value": [32]}
    assert set(header.series) >= {"00080060", "0020000E", "00200011"}
    assert set(header.study) & set(header.series) == set()


def test_no_identifier_is_longer_than_an_index_can_hold(tmp_path: Path) -> None:
    (made,) = study(1)
    with quiet:
        made.PatientID = "ﷺ" * 300
        made.SpecificCharacterSet = "ISO_IR 192"
        path = write_file(tmp_path / "one.dcm", made)
    header = header_of(Unread(uid(1, 1, 1), uid(1), uid(1, 1), path), read_header(path))
    assert header.patient_id == ""
    assert "00100020" not in header.study


def test_a_file_that_is_no_header_is_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "one.dcm", study(1)[0])
    path.write_bytes(path.read_bytes()[:140])
    with pytest.raises(UnreadableObjectError):
        read_header(path)


def test_every_key_has_one_level_and_a_known_vr() -> None:
    words = [word for table in (KEPT, COMPUTED) for level in Level for word in table[level].split()]
    assert len(words) == len(set(words)) == len(KEYS)
    assert {key.vr for key in KEYS.values()} <= {
        "AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "SQ", "ST", "TM", "UI", "UL", "US",
    }  # fmt: skip
    assert all(KEYS[tag].level is level for level, tag in UNIQUE.items())
