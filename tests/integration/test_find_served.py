"""`dicom-node serve` answers C-FIND as configured, in words too once it has looked at what came."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dcmtk import store_scu
from tests.support.find import find_scu
from tests.support.node_process import NodeProcess
from tests.support.samples import AS_IT_IS, MODALITIES, SAMPLES, sample_uid
from tests.support.waiting import wait_until

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """A node that has reported the sample studies."""
    with tempfile.TemporaryDirectory(prefix="m3find", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # root's PostgreSQL is another user
        settings = {
            "study": {"quiet_seconds": 0.5},
            "spool": {"min_free_bytes": 0},
        }
        environment = {
            "M3BIND__DIMSE__QUESTION_AE_TITLE": "ASK",
            "M3BIND__DIMSE__RETRIEVE_AE_TITLE": "PACS",
            "M3BIND__DIMSE__FIND_LIMIT": "4",
        }
        with NodeProcess(Path(folder) / "node", settings=settings, environment=environment) as started:
            started.start()
            store_scu(
                [SAMPLES / "xray", SAMPLES / "ct", SAMPLES / "ecg"], started.dicom_port, called="M3BIND"
            )
            store_scu([SAMPLES / "retina", SAMPLES / "pathology"], started.dicom_port, called="M3BIND",
                      options=AS_IT_IS)  # fmt: skip
            yield started


def test_what_was_sent_is_found_before_it_is_reported(node: NodeProcess, tmp_path: Path) -> None:
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "PatientID": "M3B-DEMO-C*"}
    told = find_scu(tmp_path, node.dicom_port, keys, called="M3BIND")
    assert [a.StudyInstanceUID for a in told.answers] == [sample_uid("ct")]
    assert told.answers[0].RetrieveAETitle == "PACS"


def test_the_limit_is_that_of_the_configuration(node: NodeProcess, tmp_path: Path) -> None:
    told = find_scu(
        tmp_path, node.dicom_port, {"QueryRetrieveLevel": "STUDY", "StudyDate": ""}, called="M3BIND"
    )
    assert (len(told.answers), told.final) == (4, "0xa700")
    assert "more than 4 matches: narrow the query" in told.output


def test_questions_in_words_are_answered_by_what_was_found(node: NodeProcess, tmp_path: Path) -> None:
    def reported() -> bool:
        states = [node.study(sample_uid(modality)) for modality in MODALITIES]
        return all(state is not None and state["state"] == "reported" for state in states)

    wait_until(reported, "report of every sample", 90)
    keys = {
        "QueryRetrieveLevel": "STUDY",
        "StudyInstanceUID": "",
        "StudyDescription": "ECG",
        "ModalitiesInStudy": "",
    }
    told = find_scu(tmp_path, node.dicom_port, keys, called="ASK")
    assert [a.StudyInstanceUID for a in told.answers] == [sample_uid("ecg")]
    assert told.answers[0].StudyDescription == "Resting 12-lead ECG"
