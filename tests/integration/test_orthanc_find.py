"""C-FIND in Orthanc with the plugin answering: ordinary queries compared with Orthanc's own answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from tests.support.find import FindScu, find_scu
from tests.support.find_objects import KANJI, study, uid, write
from tests.support.orthanc import PLUGIN_SCRIPT, OrthancServer, running_orthanc
from tests.support.samples import MODALITIES, sample_files
from tests.support.waiting import free_port

pytestmark = pytest.mark.peer

STUDY = ("StudyInstanceUID", "PatientName", "PatientID", "StudyDate", "StudyDescription", "AccessionNumber")
COUNTS = (
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
    "SOPClassesInStudy",
)
SERIES = (
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "SeriesNumber",
    "Modality",
    "NumberOfSeriesRelatedInstances",
)
IMAGE = ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "SeriesInstanceUID", "StudyInstanceUID")


@dataclass(frozen=True, slots=True)
class Question:
    """What findscu is given."""

    name: str
    level: str | None
    keys: Mapping[str, str]
    model: str = "-S"
    options: tuple[str, ...] = ()
    fails: bool = False


def ask(
    name: str, level: str | None, *empty: str, model: str = "-S", options: tuple[str, ...] = (),
    fails: bool = False, **keys: str,
) -> Question:  # fmt: skip
    return Question(name, level, {**dict.fromkeys(empty, ""), **keys}, model, options, fails)


QUESTIONS = [
    ask("all", "STUDY", *STUDY),
    ask("counts", "STUDY", *STUDY, *COUNTS),
    ask("nothing-asked", "STUDY"),
    ask("every-kept-key", "STUDY", *STUDY, "StudyTime", "StudyID", "InstitutionName",
        "ReferringPhysicianName",
        "RequestedProcedureDescription", "RequestingPhysician", "PatientBirthDate", "PatientSex",
        "0010,1000"),
    ask("keys-of-series", "STUDY", *STUDY, "Modality", "SeriesDescription", "Manufacturer"),
    ask("keys-of-header", "STUDY", *STUDY, "Modality", "SeriesNumber", "PatientAge", "Rows",
        "SliceThickness"),
    ask("unknown-keys", "STUDY", *STUDY, "TimezoneOffsetFromUTC", "IssuerOfPatientID", "StudyComments"),
    ask("name", "STUDY", *STUDY, PatientName="doe^jane"),
    ask("name-wild", "STUDY", *STUDY, PatientName="d?e^*"),
    ask("name-umlaut", "STUDY", *STUDY, PatientName="m\u00fcller*", SpecificCharacterSet="ISO_IR 192"),
    ask("name-ideographic", "STUDY", *STUDY, PatientName="*\u5c71\u7530*", SpecificCharacterSet="ISO_IR 192"),
    ask("name-and-id", "STUDY", *STUDY, PatientName="doe*", PatientID="P1"),
    ask("name-and-other-case", "STUDY", *STUDY, PatientName="doe*", PatientID="p1"),
    ask("id-wild", "STUDY", *STUDY, PatientID="P?"),
    ask("id-list", "STUDY", *STUDY, PatientID="P2\\P3"),
    ask("description", "STUDY", *STUDY, StudyDescription="*CT"),
    ask("description-case", "STUDY", *STUDY, StudyDescription="chest ct"),
    ask("day", "STUDY", *STUDY, StudyDate="20240229"),
    ask("days", "STUDY", *STUDY, StudyDate="20240101-20240301"),
    ask("until", "STUDY", *STUDY, StudyDate="-20240131"),
    ask("since", "STUDY", *STUDY, StudyDate="20240301-"),
    ask("hours", "STUDY", *STUDY, "StudyTime", StudyTime="110000-130000"),
    ask("uids", "STUDY", *STUDY, StudyInstanceUID=f"{uid(1)}\\{uid(4)}\\1.2.3"),
    ask("modality", "STUDY", *STUDY, ModalitiesInStudy="CT"),
    ask("modalities", "STUDY", *STUDY, "NumberOfStudyRelatedSeries", ModalitiesInStudy="CR\\SM\\CT"),
    ask("modality-wild", "STUDY", *STUDY, ModalitiesInStudy="C*"),
    ask("modality-name", "STUDY", *STUDY, ModalitiesInStudy="CT", PatientName="doe*"),
    ask("modality-header", "STUDY", *STUDY, "SeriesInstanceUID", "Rows", ModalitiesInStudy="CR"),
    ask("header-value", "STUDY", *STUDY, Rows="32"),
    ask("header-text", "STUDY", *STUDY, PatientComments="*left*"),
    ask("of-series", "STUDY", *STUDY, Modality="CR"),
    ask("sequence", "STUDY", *STUDY, "RequestAttributesSequence", "ReferencedStudySequence"),
    ask("sequence-item", "SERIES", *SERIES, options=("-k", "(0040,0275)[0].(0040,1001)")),
    ask("nobody", "STUDY", *STUDY, PatientID="NOBODY"),
    ask("series", "SERIES", *SERIES, "SeriesDescription", "BodyPartExamined", "Manufacturer", "StationName"),
    ask("series-of-study", "SERIES", *SERIES, "PatientName", StudyInstanceUID=uid(1)),
    ask("series-modality", "SERIES", *SERIES, Modality="C?"),
    ask("series-number", "SERIES", *SERIES, SeriesNumber="2"),
    ask("series-header", "SERIES", *SERIES, "Rows", "InstanceNumber", "FrameOfReferenceUID"),
    ask("images", "IMAGE", *IMAGE, StudyInstanceUID=uid(1), SeriesInstanceUID=uid(1, 2)),
    ask("images-header", "IMAGE", *IMAGE, "Rows", "Columns", "PatientName", "ImageType",
        StudyInstanceUID=uid(1)),
    ask("images-kept", "IMAGE", "SOPInstanceUID", "InstanceNumber", "NumberOfFrames", "PatientID",
        "Modality"),
    ask("patients", "PATIENT", "PatientID", "PatientName", "PatientSex", "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances", model="-P"),
    ask("patients-of-name", "PATIENT", "PatientID", model="-P", PatientName="DOE*"),
    ask("patients-header", "PATIENT", "PatientID", "PatientAge", "StudyDate", model="-P"),
    ask("studies-of-patient", "STUDY", *STUDY, model="-P", PatientID="P1"),
    ask("implicit", "STUDY", *STUDY, *COUNTS, options=("-xi",)),
    ask("no-level", None, *STUDY, fails=True),
    ask("wrong-level", "WARD", *STUDY, fails=True),
]  # fmt: skip


EMPTY = ("nobody", "name-and-other-case", "description-case", "of-series")
"""What nothing answers to."""


def objects() -> list[Dataset]:
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepDescription = "R-7", "Thorax"
    return [
        *study(1, series=2, instances=3, description="Chest CT", accession="A-1", PatientAge="061Y",
               RequestAttributesSequence=Items([request]), InstitutionName="St. Nobody"),
        *study(2, name="Doe^John^^Dr", patient_id="P2", date="20240220", time="235959", modality="CR",
               PatientComments="the left one", OtherPatientIDs=["O1", "O2"]),
        *study(3, name="M\u00fcller^J\u00fcrgen", patient_id="P3", date="20240315",
               character_set="ISO_IR 100", description="Sch\u00e4del", PatientComments="x" * 400),
        *study(4, name=KANJI, patient_id="P4", date="20240401", character_set=["", "ISO 2022 IR 87"]),
        *study(5, name="DOE^JANE", patient_id="P1", date="20231231", instances=2, OperatorsName="Op^A"),
        # One instance speaks for a patient, and which one is Orthanc's affair: several chances to differ.
        *(one for n in range(10, 18)
          for one in study(n, name=f"Spelling^{n}", patient_id=f"Q{n // 2}", PatientAge=f"0{n}Y")),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = write(tmp_path_factory.mktemp("objects"), objects())
    return [*made, *(path for modality in MODALITIES for path in sample_files(modality))]


def settings(**section: Any) -> dict[str, Any]:
    nowhere = f"http://127.0.0.1:{free_port()}"
    return {
        "DicomAlwaysAllowFind": True,
        "DicomCheckCalledAet": False,
        "M3Bind": {"NodeUrl": nowhere, "Find": True, **section},
    }


@pytest.fixture(scope="module")
def alone(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """Without any plugin."""
    with running_orthanc(tmp_path_factory.mktemp("alone"), settings=settings()) as server:
        for path in files:
            server.upload(path.read_bytes())
        yield server


@pytest.fixture(scope="module")
def plugged(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """With the plugin, whose node is down."""
    folder = tmp_path_factory.mktemp("plugged")
    with running_orthanc(folder, script=PLUGIN_SCRIPT, settings=settings()) as server:
        for path in files:
            server.upload(path.read_bytes())
        assert "M3Bind: C-FIND is answered by this plugin" in server.log_text()
        yield server


@dataclass(frozen=True, slots=True)
class Both:
    """What the two said."""

    alone: FindScu
    plugged: FindScu


@pytest.fixture(scope="module")
def asked(
    alone: OrthancServer, plugged: OrthancServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Both]:
    folder = tmp_path_factory.mktemp("answers")

    def put(question: Question) -> Both:
        level = {} if question.level is None else {"QueryRetrieveLevel": question.level}
        return Both(*(
            find_scu(folder / name / question.name, server.dicom_port, {**level, **question.keys},
                     called="ORTHANC", model=question.model, options=question.options)
            for name, server in (("alone", alone), ("plugged", plugged))
        ))  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((q.name for q in QUESTIONS), pool.map(put, QUESTIONS), strict=True))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_an_ordinary_query_is_answered_as_without_the_plugin(
    asked: dict[str, Both], question: Question
) -> None:
    both = asked[question.name]
    assert both.plugged.final == both.alone.final
    assert (both.alone.final == "0xc000") == question.fails
    assert bool(both.alone.answers) != (question.fails or question.name in EMPTY)
    assert [as_json(one) for one in both.plugged.answers] == [as_json(one) for one in both.alone.answers]


def as_json(answer: Dataset) -> str:
    """Every attribute in its order, with VR and value as they came."""
    return json.dumps([(str(e.tag), e.VR, str(e.value)) for e in answer.iterall()], ensure_ascii=False)
