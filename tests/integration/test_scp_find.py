"""C-FIND against real peers: what is matched, what is told, and with which status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from dicom_node.dimse.status import (
    DOES_NOT_MATCH,
    PENDING,
    PENDING_WITHOUT_SOME_KEYS,
    SUCCESS,
    UNABLE_TO_PROCESS,
)
from dicom_node.store.audit import trail
from tests.support.dcmtk import store_scu
from tests.support.find import PATIENT_ROOT, STUDY_ROOT, ask, asked, associate, gather, identifier, studies
from tests.support.find_node import FindNode, finding_node
from tests.support.find_objects import KANJI, study, uid, write
from tests.support.postgres import Databases

RELATIONAL = bytes([1])
COMBINED = bytes([0, 1])
ZONED = bytes([0, 0, 0, 1])
EMPTY_AND_MULTIPLE = bytes([0, 0, 0, 0, 0, 1, 1])


def code(value: str, scheme: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, "Meaning"
    return made


def archive() -> list[Dataset]:
    return [
        *study(1, series=2, instances=3, description="Chest CT", accession="A-1",
               PatientBirthDate="19600301"),
        *study(2, name="Doe^John^^Dr", patient_id="P2", date="20240220", time="235959", modality="CR",
               accession="A-2", ProcedureCodeSequence=[code("X1", "99TEST"), code("X2", "99TEST")]),
        *study(3, name="Müller^Jürgen", patient_id="P3", date="20240315", character_set="ISO_IR 100",
               description="Schädel", TimezoneOffsetFromUTC="+0100", time="003000"),
        *study(4, name=KANJI, patient_id="P4", date="20240401",
               character_set=["", "ISO 2022 IR 87"], description="Thorax"),
        *study(5, name="DOE^JANE", patient_id="P1", date="20231231", accession="A_2", instances=2),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def node(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FindNode]:
    folder = tmp_path_factory.mktemp("find")
    with finding_node(databases, folder) as made:
        made.take(write(folder / "out", archive()))
        yield made


def find(
    node: FindNode, *, extended: bytes | None = None, charset: str | None = None, **keys: object
) -> list[str]:
    return studies(ask(node.port, asked(charset, **keys), extended=extended))


@pytest.fixture(scope="module")
def association(node: FindNode) -> Iterator[Association]:
    made = associate(node.port)
    yield made
    made.release()


ALL = ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ALL),
        ({"PatientName": "*"}, ALL),
        ({"PatientID": "P1"}, ["1", "5"]),
        ({"PatientID": "p1"}, []),
        ({"PatientID": "P?"}, ALL),
        ({"PatientID": "*1"}, ["1", "5"]),
        ({"PatientName": "doe^jane"}, ["1", "5"]),
        ({"PatientName": "DOE^J*"}, ["1", "2", "5"]),
        ({"PatientName": "Doe^John"}, []),
        ({"PatientName": "Doe^John*"}, ["2"]),
        ({"PatientName": "muller*"}, ["3"]),
        ({"PatientName": "Yamada^*"}, ["4"]),
        ({"PatientName": "D?e^*"}, ["1", "2", "5"]),
        ({"AccessionNumber": "A_2"}, ["5"]),
        ({"AccessionNumber": "A?2"}, ["2", "5"]),
        ({"AccessionNumber": "A%"}, []),
        ({"StudyDate": "20240115"}, ["1"]),
        ({"StudyDate": "20240101-20240315"}, ["1", "2", "3"]),
        ({"StudyDate": "20240316-"}, ["4"]),
        ({"StudyDate": "-20231231"}, ["5"]),
        ({"StudyTime": "1015-"}, ["1", "2", "4", "5"]),
        ({"StudyTime": "10"}, ["1", "4", "5"]),
        ({"StudyTime": "-0030"}, ["3"]),
        ({"StudyDate": "20240115-20240220", "StudyTime": "120000-130000"}, []),
        ({"StudyInstanceUID": [uid(1), uid(4), "1.2.3"]}, ["1", "4"]),
        ({"StudyDescription": "Chest*"}, ["1"]),
        ({"StudyDescription": "chest ct"}, []),
        ({"ModalitiesInStudy": "CR"}, ["2"]),
        ({"ModalitiesInStudy": "C?"}, ALL),
        ({"ModalitiesInStudy": "MR"}, []),
        ({"SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.1"}, ["2"]),
        ({"NumberOfStudyRelatedInstances": "6"}, ["1"]),
        ({"PatientBirthDate": "19600301"}, ["1"]),
        ({"PatientSex": "M"}, []),
        ({"ProcedureCodeSequence": [code("X2", "99TEST")]}, ["2"]),
        ({"ProcedureCodeSequence": [code("X2", "OTHER")]}, []),
    ],
)  # fmt: skip
def test_matching(association: Association, keys: dict[str, object], expected: list[str]) -> None:
    assert studies(gather(association, asked(**keys))) == expected


def test_sequences_match_by_one_item_and_tell_what_was_asked(node: FindNode) -> None:
    item = identifier(CodeValue="X2", CodingSchemeDesignator="99TEST")
    keys = identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID="", ProcedureCodeSequence=[item])
    told = ask(node.port, keys)
    assert studies(told) == ["2"]
    items = told.answers[0].ProcedureCodeSequence
    assert [(i.CodeValue, "CodeMeaning" in i) for i in items] == [("X1", False), ("X2", False)]
    item.CodingSchemeDesignator = "OTHER"
    assert find(node, ProcedureCodeSequence=[item]) == []
    whole = ask(
        node.port, identifier(QueryRetrieveLevel="STUDY", ProcedureCodeSequence=[Dataset()], PatientID="P2")
    )
    assert whole.answers[0].ProcedureCodeSequence[0].CodeMeaning == "Meaning"


@pytest.mark.parametrize(
    ("charset", "name", "expected"),
    [
        ("ISO_IR 192", "Müller*", ["3"]),
        ("ISO_IR 100", "MÜLLER^jürgen", ["3"]),
        ("ISO_IR 192", "山田*", ["4"]),
        ("ISO_IR 192", "=山田^*", ["4"]),
        ("ISO_IR 192", "山田^太郎=Yamada*", []),
        ("ISO_IR 192", "*=*=やま*", ["4"]),
    ],
)
def test_names_are_found_in_the_script_of_the_one_who_asks(
    association: Association, charset: str, name: str, expected: list[str]
) -> None:
    assert studies(gather(association, asked(charset, PatientName=name))) == expected


@pytest.mark.parametrize(
    ("charset", "patient", "told_in", "name"),
    [
        (None, "P1", None, "Doe^Jane"),
        (None, "P3", "ISO_IR 192", "Müller^Jürgen"),
        ("ISO_IR 100", "P3", "ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 100", "P4", "ISO_IR 192", KANJI),
        ("ISO_IR 192", "P4", "ISO_IR 192", KANJI),
    ],
)
def test_answers_come_in_a_character_set_that_holds_them(
    association: Association, charset: str | None, patient: str, told_in: str | None, name: str
) -> None:
    keys = asked(charset, PatientID=patient, PatientName="", StudyDate="20240101-")
    (answer,) = gather(association, keys).answers
    assert (answer.get("SpecificCharacterSet"), str(answer.PatientName)) == (told_in, name)


def test_answers_tell_all_that_was_asked_and_nothing_else(node: FindNode) -> None:
    keys = identifier(
        QueryRetrieveLevel="STUDY", StudyInstanceUID=uid(1), PatientName="", StudyDescription="", StudyID="",
        ModalitiesInStudy="", SOPClassesInStudy="", NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="", NumberOfPatientRelatedStudies="",
        NumberOfPatientRelatedInstances="", NumberOfPatientRelatedSeries="", RetrieveAETitle="",
        InstanceAvailability="",
    )  # fmt: skip
    told = ask(node.port, keys)
    (answer,) = told.answers
    assert told.statuses == (PENDING, SUCCESS)
    assert {element.keyword for element in answer} == {element.keyword for element in keys}
    assert answer.StudyID in ("", None)
    assert (answer.NumberOfStudyRelatedSeries, answer.NumberOfStudyRelatedInstances) == (2, 6)
    assert (answer.NumberOfPatientRelatedStudies, answer.NumberOfPatientRelatedSeries) == (2, 3)
    assert answer.NumberOfPatientRelatedInstances == 8
    assert (answer.ModalitiesInStudy, answer.SOPClassesInStudy) == ("CT", "1.2.840.10008.5.1.4.1.1.2")
    assert (answer.InstanceAvailability, answer.RetrieveAETitle) == ("UNAVAILABLE", "")


def test_levels_of_the_study_root(node: FindNode) -> None:
    series = ask(node.port, identifier(
        QueryRetrieveLevel="SERIES", StudyInstanceUID=uid(1), SeriesInstanceUID="", SeriesNumber="2",
        Modality="", NumberOfSeriesRelatedInstances="", PatientName=""))  # fmt: skip
    (answer,) = series.answers
    assert (str(answer.SeriesInstanceUID), answer.NumberOfSeriesRelatedInstances) == (uid(1, 2), 3)
    assert (answer.Modality, str(answer.PatientName)) == ("CT", "Doe^Jane")
    images = ask(node.port, identifier(
        QueryRetrieveLevel="IMAGE", StudyInstanceUID=uid(1), SeriesInstanceUID=uid(1, 2), SOPInstanceUID="",
        InstanceNumber="", SOPClassUID="", Rows="", AvailableTransferSyntaxUID=""))  # fmt: skip
    assert [str(a.SOPInstanceUID) for a in images.answers] == [uid(1, 2, n) for n in (1, 2, 3)]
    assert [(a.InstanceNumber, a.Rows) for a in images.answers] == [(1, 32), (2, 32), (3, 32)]
    assert images.answers[0].AvailableTransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_levels_of_the_patient_root(node: FindNode) -> None:
    patients = ask(
        node.port,
        identifier(
            QueryRetrieveLevel="PATIENT", PatientID="", PatientName="", NumberOfPatientRelatedStudies=""
        ),
        root=PATIENT_ROOT,
    )
    assert [(a.PatientID, a.NumberOfPatientRelatedStudies) for a in patients.answers] == [
        ("P1", 2), ("P2", 1), ("P3", 1), ("P4", 1),
    ]  # fmt: skip
    told = ask(
        node.port,
        identifier(QueryRetrieveLevel="STUDY", PatientID="P1", StudyInstanceUID=""),
        root=PATIENT_ROOT,
    )
    assert studies(told) == ["1", "5"]


@pytest.mark.parametrize(
    ("root", "keys", "comment"),
    [
        (STUDY_ROOT, {"PatientID": "P1"}, "Query/Retrieve Level (0008,0052) is missing"),
        (STUDY_ROOT, {"QueryRetrieveLevel": "PATIENT"}, "Query/Retrieve Level must be STUDY, SERIES, IMAGE"),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "FRAME"},
         "Query/Retrieve Level must be PATIENT, STUDY, SERIES, IMAGE"),
        (STUDY_ROOT, {"QueryRetrieveLevel": "SERIES"},
         "StudyInstanceUID must hold one value at level SERIES"),
        (STUDY_ROOT, {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "1.2"},
         "SeriesInstanceUID must hold one value at level IMAGE"),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "STUDY"}, "PatientID must hold one value at level STUDY"),
        (PATIENT_ROOT, {"QueryRetrieveLevel": "STUDY", "PatientID": "P*"},
         "PatientID must hold one value at level STUDY"),
    ],
)  # fmt: skip
def test_wrong_levels_are_refused_with_a_reason(
    node: FindNode, root: str, keys: dict[str, object], comment: str
) -> None:
    told = ask(node.port, identifier(**keys), root=root)
    assert (told.statuses, told.comment) == ((DOES_NOT_MATCH,), comment)


def test_a_key_that_cannot_be_read_is_told(node: FindNode) -> None:
    told = ask(node.port, asked(StudyDate="yesterday"))
    assert (told.statuses, told.comment) == ((UNABLE_TO_PROCESS,), "StudyDate: its value cannot be read")


def test_keys_that_are_not_supported_are_told_and_not_matched(node: FindNode) -> None:
    told = ask(
        node.port, identifier(QueryRetrieveLevel="STUDY", PatientID="P1", StudyInstanceUID="", KVP="120")
    )
    assert told.statuses == (PENDING_WITHOUT_SOME_KEYS,) * 2 + (SUCCESS,)
    assert all("KVP" not in answer for answer in told.answers)
    private = asked(PatientID="P2")
    private.add_new((0x0099, 0x0010), "LO", "SOMEBODY")
    private.add_new((0x0099, 0x1001), "OB", b"12")
    assert ask(node.port, private).statuses == (PENDING_WITHOUT_SOME_KEYS, SUCCESS)
    lower = ask(node.port, identifier(QueryRetrieveLevel="STUDY", PatientID="P2", Modality="MR"))
    assert lower.statuses == (PENDING_WITHOUT_SOME_KEYS, SUCCESS)


def test_a_list_of_uids_may_be_long(association: Association) -> None:
    many = [f"1.2.826.0.1.3680043.10.1567.999.{n}" for n in range(1500)]
    assert studies(gather(association, asked(StudyInstanceUID=[*many, uid(2)]))) == ["2"]


def test_what_is_negotiated_holds(node: FindNode) -> None:
    series = identifier(QueryRetrieveLevel="SERIES", PatientName="doe*", SeriesInstanceUID="")
    assert len(ask(node.port, series, extended=RELATIONAL).answers) == 4
    evening = {"StudyDate": "20240220-20240315", "StudyTime": "200000-010000"}
    assert find(node, **evening) == []  # apart: no time of day is after 20:00 and before 1:00
    assert find(node, **evening, extended=COMBINED) == ["2", "3"]
    assert find(node, AccessionNumber='""') == []
    assert find(node, AccessionNumber='""', extended=EMPTY_AND_MULTIPLE) == ["3", "4"]
    assert find(node, PatientID=["P2", "P3"], extended=EMPTY_AND_MULTIPLE) == ["2", "3"]
    # Half past midnight at +0100 is half past eleven of the day before in London.
    zoned = {"StudyDate": "20240314", "StudyTime": "2330", "TimezoneOffsetFromUTC": "+0000"}
    assert find(node, **zoned) == []
    assert find(node, **zoned, extended=ZONED) == ["3"]
    accepted = associate(node.port, extended=bytes([1] * 7))
    granted = accepted.acceptor.sop_class_extended
    accepted.release()
    assert set(granted.values()) == {bytes([1, 1, 0, 1, 0, 1, 1])}


def test_every_question_is_in_the_audit_trail_without_a_value(node: FindNode) -> None:
    ask(
        node.port,
        identifier(QueryRetrieveLevel="STUDY", PatientName="Secret^*", StudyDate="2024"),
        called="M3BIND",
    )
    ask(node.port, identifier(QueryRetrieveLevel="STUDY", PatientName="Doe^*"))
    newest = trail(node.pool, limit=1)[0]
    assert newest.event == "query.answered"
    assert newest.detail == {
        "calling_ae": "FINDER", "root": "study", "level": "STUDY", "keys": ["PatientName"], "answers": 3,
        "status": "0000",
    }  # fmt: skip
    assert "Secret" not in str(trail(node.pool))


@pytest.mark.peer
def test_what_was_stored_is_found_at_once(node: FindNode, tmp_path: Path) -> None:
    store_scu(write(tmp_path / "out", study(77, patient_id="NEW")), node.port, called="M3BIND")
    assert find(node, PatientID="NEW") == ["77"]
