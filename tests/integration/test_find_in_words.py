"""Questions in words and by example through C-FIND: the private block, and the AE title for questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE

from dicom_node.dimse.find_scp import FindSettings
from dicom_node.dimse.status import DOES_NOT_MATCH, OUT_OF_RESOURCES, PENDING, SUCCESS, UNABLE_TO_PROCESS
from dicom_node.search.answer import Searcher
from dicom_node.search.service import AskedArchive
from dicom_node.store.audit import trail
from dicom_node.store.database import Pool, transaction
from dicom_node.store.search_sample import AskedIndex
from dicom_node.store.vectors import replace_rows
from tests.support.find import STUDY_ROOT, Told, ask, find_scu, gather, identifier
from tests.support.find_node import FindNode, finding_node
from tests.support.find_objects import study, write
from tests.support.postgres import Databases
from tests.support.questions import TODAY, VOCABULARY, archive, speaker

GROUP = 0x4D33
MODALITIES = {"xray": "CR", "ct": "CT", "retina": "OP"}


def searching(pool: Pool) -> AskedArchive:
    index = AskedIndex(pool)
    return AskedArchive(Searcher(index, speaker(), VOCABULARY, lambda: TODAY), index)


@pytest.fixture(scope="module")
def node(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FindNode]:
    """The studies of `questions.archive()`, each one object, received and indexed."""
    folder = tmp_path_factory.mktemp("words")
    settings = FindSettings(retrieve_ae_title="PACS")
    with finding_node(databases, folder, settings=settings, search=searching) as made:
        for number, assessment in enumerate(archive(), start=1):
            (one,) = study(number, patient_id=f"P{number}", modality=MODALITIES[str(assessment.modality)],
                           description=f"Study {number}")  # fmt: skip
            one.StudyInstanceUID = assessment.study_uid
            one.SeriesInstanceUID = assessment.views[0].series_uid
            one.SOPInstanceUID = f"{assessment.study_uid}.1.1"
            if told := assessment.views[0].traits.study_date:
                one.StudyDate = f"{told:%Y%m%d}"
            one.PatientSex = assessment.views[0].traits.sex or "O"
            made.take(write(folder / "out", [one]))
            with transaction(made.pool) as connection:
                replace_rows(connection, assessment)
        yield made


def in_words(text: str = "", *, like: str = "", block: int = 0x10, **keys: object) -> Dataset:
    """A query with the private block."""
    asked = identifier(**{"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", **keys})
    asked.add_new((GROUP, block), "LO", "M3BIND")
    asked.add_new((GROUP, block << 8 | 1), "LT", text)
    for element, vr in ((2, "FD"), (3, "LO")):
        asked.add_new((GROUP, block << 8 | element), vr, None)
    asked.add_new((GROUP, block << 8 | 4), "UI", like)
    asked.add_new((GROUP, block << 8 | 5), "LO", None)
    return asked


def numbers(told: Told) -> list[str]:
    assert told.statuses == (PENDING,) * len(told.answers) + (SUCCESS,), told
    return [str(answer.StudyInstanceUID).removeprefix("2.25.") for answer in told.answers]


def test_the_best_comes_first_and_says_why(node: FindNode) -> None:
    told = ask(node.port, in_words("pneumonia", PatientID="", StudyDescription=""))
    assert numbers(told) == ["1", "2", "3"]
    best = told.answers[0]
    assert best[GROUP, 0x0010].value == "M3BIND"
    scores = [answer[GROUP, 0x1002].value for answer in told.answers]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9
    assert best[GROUP, 0x1003].value == "Pneumonia: present 0.95"
    assert best[GROUP, 0x1005].value == "tiny 1"
    assert (best.PatientID, best.StudyDescription, best.RetrieveAETitle) == ("P1", "Study 1", "PACS")


def test_what_is_denied_is_absent(node: FindNode) -> None:
    assert numbers(ask(node.port, in_words("no pneumonia"))) == ["4"]
    told = ask(node.port, in_words("effusion, no pneumonia"))
    assert told.answers[0][GROUP, 0x1003].value == [
        "Pleural effusion: present 0.90",
        "Pneumonia: absent 0.05",
    ]


def test_other_keys_filter(node: FindNode) -> None:
    assert numbers(ask(node.port, in_words("pneumonia", PatientSex="M"))) == ["2"]
    assert numbers(ask(node.port, in_words("pneumonia", StudyDate="20261002-"))) == ["2", "3"]
    assert numbers(ask(node.port, in_words("pneumonia", PatientID="P3"))) == ["3"]
    assert numbers(ask(node.port, in_words("lung cancer or effusion", ModalitiesInStudy="CT")))[0] == "6"
    assert numbers(ask(node.port, in_words("lung cancer", StudyDescription="Study 7"))) == []
    assert numbers(ask(node.port, in_words("pneumonia", ModalitiesInStudy="MR"))) == []


def test_the_block_may_lie_elsewhere(node: FindNode) -> None:
    told = ask(node.port, in_words("lung cancer", block=0x42))
    assert numbers(told) == ["6"]
    assert told.answers[0][GROUP, 0x4203].value.startswith("Lung cancer: present")


def test_studies_like_another(node: FindNode) -> None:
    told = ask(node.port, in_words(like="2.25.1", ModalitiesInStudy="CR"))
    assert numbers(told)[0] == "2"
    assert "1" not in numbers(told)
    assert str(told.answers[0][GROUP, 0x1003].value).startswith("similarity ")


def test_series_are_asked_without_their_study(node: FindNode) -> None:
    told = ask(
        node.port, in_words("lung cancer", QueryRetrieveLevel="SERIES", SeriesInstanceUID="", Modality="")
    )
    (answer,) = told.answers
    assert (str(answer.SeriesInstanceUID), answer.Modality) == ("2.25.6.1", "CT")


def test_implicit_vr_hides_the_vr_of_private_keys(node: FindNode) -> None:
    entity = AE("IMPLICIT")
    entity.add_requested_context(STUDY_ROOT, ImplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.port, ae_title="M3BIND")
    told = gather(association, in_words("pneumonia", PatientSex="F"))
    association.release()
    assert numbers(told) == ["1", "3"]


@pytest.mark.parametrize("text", ["pneumonia", "*pneumonia*", "PNEUMONIA*"])
def test_by_its_other_name_the_node_takes_the_description_for_a_question(node: FindNode, text: str) -> None:
    keys = identifier(
        QueryRetrieveLevel="STUDY", StudyInstanceUID="", StudyDescription=text, PatientSex="", PatientID=""
    )
    told = ask(node.port, keys, called="M3BIND_FIND")
    assert numbers(told) == ["1", "2", "3"]
    assert told.answers[0].StudyDescription == "Study 1"
    assert all(element.tag.group != GROUP for element in told.answers[0])
    assert numbers(ask(node.port, keys)) == []


def test_by_its_other_name_it_answers_ordinary_questions_too(node: FindNode) -> None:
    keys = identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID="", StudyDescription="*", PatientID="P7")
    assert numbers(ask(node.port, keys, called="M3BIND_FIND")) == ["7"]


@pytest.mark.parametrize(
    ("keys", "status", "comment"),
    [
        (in_words("pneumonia", QueryRetrieveLevel="IMAGE"), DOES_NOT_MATCH, "ask in words at level STUDY"),
        (in_words(like="1.2.3.4"), UNABLE_TO_PROCESS, "The example is not in the index"),
        (in_words("no"), UNABLE_TO_PROCESS, ""),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_told(node: FindNode, keys: Dataset, status: int, comment: str) -> None:
    told = ask(node.port, keys)
    assert told.statuses == (status,)
    assert told.comment.startswith(comment)
    assert told.comment


def test_who_asked_is_kept_and_not_what_was_said(node: FindNode) -> None:
    ask(node.port, in_words("pneumonia of Mustermann"))
    newest = trail(node.pool)[0]
    assert (newest.event, newest.detail["door"], newest.detail["asker"]) == (
        "search.asked",
        "dimse",
        "FINDER",
    )
    assert "ustermann" not in str(trail(node.pool))


@pytest.mark.peer
def test_findscu_asks_with_a_query_file(node: FindNode, tmp_path: Path) -> None:
    query = in_words("retinopathy of the left eye", PatientID="")
    query.file_meta = FileMetaDataset()
    query.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = tmp_path / "query.dcm"
    query.save_as(path, enforce_file_format=False)
    told = find_scu(tmp_path / "answers", node.port, {}, called="M3BIND", files=[path])
    assert told.final == "0x0000"
    (answer,) = told.answers
    assert (answer.PatientID, answer[GROUP, 0x1003].value) == ("P8", "Diabetic retinopathy: present 0.90")
    plain = find_scu(
        tmp_path / "plain", node.port, {"QueryRetrieveLevel": "STUDY", "StudyDescription": "lung cancer*"},
        called="M3BIND_FIND",
    )  # fmt: skip
    assert [a.StudyDescription for a in plain.answers] == ["Study 6"]


def test_without_a_bundle_only_ordinary_questions_are_answered(databases: Databases, tmp_path: Path) -> None:
    with finding_node(databases, tmp_path) as node:
        node.take(write(tmp_path / "out", study(1)))
        told = ask(node.port, in_words("pneumonia"))
        assert (told.statuses, told.comment) == (
            (OUT_OF_RESOURCES,),
            "the bundle that reads questions is not loaded yet",
        )
        ordinary = ask(node.port, identifier(QueryRetrieveLevel="STUDY", PatientID="P1"))
        assert ordinary.statuses == (PENDING, SUCCESS)
