"""The same objects and the same questions, put to Orthanc and to the node by dcmtk's findscu.

Where the two find different entities the question tells why. What both tell of an entity is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.support.find import FindScu, find_scu
from tests.support.find_node import FindNode, finding_node
from tests.support.find_objects import KANJI, study, uid, write
from tests.support.orthanc import OrthancServer, running_orthanc
from tests.support.postgres import Databases
from tests.support.samples import MODALITIES, sample_files, sample_uid

pytestmark = pytest.mark.peer

CT = sample_uid("ct")
STUDY_KEYS = {
    "StudyInstanceUID": "", "PatientName": "", "PatientID": "", "PatientSex": "", "PatientBirthDate": "",
    "StudyDate": "", "StudyTime": "", "StudyID": "", "StudyDescription": "", "AccessionNumber": "",
    "ReferringPhysicianName": "", "ModalitiesInStudy": "", "NumberOfStudyRelatedSeries": "",
    "NumberOfStudyRelatedInstances": "",
}  # fmt: skip
SERIES_KEYS = {
    "SeriesInstanceUID": "", "SeriesNumber": "", "Modality": "", "SeriesDescription": "",
    "BodyPartExamined": "", "Manufacturer": "", "NumberOfSeriesRelatedInstances": "",
}  # fmt: skip
IMAGE_KEYS = {"SOPInstanceUID": "", "SOPClassUID": "", "InstanceNumber": "", "Rows": "", "Columns": ""}
UTF8 = {"SpecificCharacterSet": "ISO_IR 192"}


@dataclass(frozen=True, slots=True)
class Question:
    """What findscu is given."""

    name: str
    level: str
    keys: Mapping[str, str]
    model: str = "-S"
    differs: str = ""
    """Why the two find different entities; empty where they find the same."""

    @property
    def unique(self) -> str:
        """The keyword that tells entities apart."""
        return {
            "PATIENT": "PatientID",
            "STUDY": "StudyInstanceUID",
            "SERIES": "SeriesInstanceUID",
            "IMAGE": "SOPInstanceUID",
        }[self.level]


def of_studies(name: str, differs: str = "", **keys: str) -> Question:
    return Question(name, "STUDY", {**STUDY_KEYS, **keys}, differs=differs)


QUESTIONS = [
    of_studies("all"),
    of_studies("patient", PatientID="M3B-DEMO-CT"),
    of_studies("patient-wild", PatientID="M3B-*"),
    of_studies("patient-mark", PatientID="P?"),
    of_studies("name-case", PatientName="doe^jane"),
    of_studies("name-wild", PatientName="D?E^*"),
    of_studies("name-umlaut", PatientName="Müller*", **UTF8),
    of_studies("name-ideographic", PatientName="*山田*", **UTF8),
    of_studies("day", StudyDate="20240229"),
    of_studies("days", StudyDate="20240101-20240301"),
    of_studies("until", StudyDate="-20240131"),
    of_studies("since", StudyDate="20240301-"),
    of_studies("hours", StudyTime="110000-130000"),
    of_studies("uids", StudyInstanceUID=f"{CT}\\{uid(1)}\\1.2.3"),
    of_studies("modality", ModalitiesInStudy="CT"),
    of_studies(
        "modalities", ModalitiesInStudy="CR\\SM", differs="a list that is not of UIDs must be negotiated"
    ),
    of_studies("accession-wild", AccessionNumber="DEMO-*"),
    of_studies("description", StudyDescription="*demonstration"),
    of_studies("accent", PatientName="muller*", differs="the node compares names without accents"),
    of_studies(
        "short-time", StudyTime="10", differs="a TM of two digits is an hour; Orthanc compares strings"
    ),
    of_studies("nothing", PatientID="NOBODY"),
    Question("series", "SERIES", {**SERIES_KEYS, "StudyInstanceUID": uid(1)}),
    Question("series-modality", "SERIES", {**SERIES_KEYS, "StudyInstanceUID": CT, "Modality": "C?"}),
    Question("images", "IMAGE", {**IMAGE_KEYS, "StudyInstanceUID": uid(1), "SeriesInstanceUID": uid(1, 2)}),
    Question("patients", "PATIENT", {"PatientID": "", "PatientName": "", "PatientSex": ""}, "-P"),
    Question("patients-of-name", "PATIENT", {"PatientID": "", "PatientName": "DOE*"}, "-P"),
    Question("studies-of-patient", "STUDY", {**STUDY_KEYS, "PatientID": "P1"}, "-P"),
]

NOT_COMPARED = {
    "SpecificCharacterSet": "the node answers as it was asked, in ASCII where that will do",
    "RetrieveAETitle": "Orthanc names itself; the node has no C-MOVE and names the archive",
    "QueryRetrieveLevel": "Orthanc pads it",
}


def objects() -> list[Dataset]:
    return [
        *study(1, series=2, instances=3, description="Chest CT", accession="A-1"),
        *study(2, name="Doe^John^^Dr", patient_id="P2", date="20240220", time="235959", modality="CR"),
        *study(3, name="Müller^Jürgen", patient_id="P3", date="20240315", character_set="ISO_IR 100",
               description="Schädel"),
        *study(4, name=KANJI, patient_id="P4", date="20240401", character_set=["", "ISO 2022 IR 87"]),
        *study(5, name="DOE^JANE", patient_id="P1", date="20231231", instances=2),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = write(tmp_path_factory.mktemp("objects"), objects())
    return [*made, *(path for modality in MODALITIES for path in sample_files(modality))]


@pytest.fixture(scope="module")
def orthanc(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    settings = {"DicomAlwaysAllowFind": True, "DicomCheckCalledAet": False}
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), settings=settings) as server:
        for path in files:
            server.upload(path.read_bytes())
        yield server


@pytest.fixture(scope="module")
def node(
    files: list[Path], databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FindNode]:
    with finding_node(databases, tmp_path_factory.mktemp("node")) as made:
        made.take(files)
        yield made


@dataclass(frozen=True, slots=True)
class Both:
    """What the two said."""

    orthanc: FindScu
    node: FindScu


@pytest.fixture(scope="module")
def asked(
    orthanc: OrthancServer, node: FindNode, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Both]:
    folder = tmp_path_factory.mktemp("answers")

    def put(question: Question) -> Both:
        keys = {"QueryRetrieveLevel": question.level, **question.keys}
        ports = (("orthanc", orthanc.dicom_port, "ORTHANC"), ("node", node.port, "M3BIND"))
        return Both(*(
            find_scu(folder / name / question.name, port, keys, called=called, model=question.model)
            for name, port, called in ports
        ))  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((q.name for q in QUESTIONS), pool.map(put, QUESTIONS), strict=True))


def by_unique_key(answers: tuple[Dataset, ...], question: Question) -> dict[str, Dataset]:
    return {str(answer[question.unique].value): answer for answer in answers}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_the_same_is_found(asked: dict[str, Both], question: Question) -> None:
    both = asked[question.name]
    orthanc, node = (by_unique_key(side.answers, question) for side in (both.orthanc, both.node))
    assert both.node.final == "0x0000"
    assert len(node) == len(both.node.answers)
    if question.differs:
        assert set(orthanc) != set(node), "they agree now: take the difference off the list"
        return
    assert set(orthanc) == set(node)
    assert bool(node) != (question.name == "nothing")


def test_the_same_is_told(asked: dict[str, Both]) -> None:
    compared, different, missing = 0, {}, set()
    for question in QUESTIONS:
        both = asked[question.name]
        orthanc, node = (by_unique_key(side.answers, question) for side in (both.orthanc, both.node))
        for name in orthanc.keys() & node.keys():
            for element in orthanc[name]:
                if element.tag not in node[name]:
                    missing.add(element.keyword)
                elif element.keyword not in NOT_COMPARED:
                    compared += 1
                    told = as_told(element.value), as_told(node[name][element.tag].value)
                    if told[0] != told[1]:
                        different[question.name, name, element.keyword] = told
    assert not different
    assert missing <= set(NOT_COMPARED)
    assert compared > 500


def as_told(value: object) -> str:
    """Padding, the order of several values, and the empty rest of a name tell nothing."""
    values = value if isinstance(value, list) or hasattr(value, "append") else [value]
    return "\\".join(sorted(str(one or "").strip().rstrip("^= ") for one in values))  # type: ignore[attr-defined]
