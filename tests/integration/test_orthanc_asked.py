"""Questions put to Orthanc (C-FIND, HTTP, its own pages), answered by a node's real search behind HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.search.answer import Searcher
from dicom_node.search.service import AskedArchive
from dicom_node.store.states import StudyState
from dicom_node.web.app import create_app
from dicom_node.web.server import WebServer
from tests.support.browser import Page, open_page
from tests.support.canned_http import Answer, canned_http
from tests.support.find import STUDY_ROOT, FindScu, find_scu
from tests.support.find_objects import study, write
from tests.support.orthanc import PLUGIN_SCRIPT, OrthancServer, running_orthanc
from tests.support.questions import TODAY, VOCABULARY, archive, speaker
from tests.support.search_index import IndexInMemory
from tests.support.studies import StudiesInMemory, record
from tests.support.waiting import free_port
from tests.support.web_node import Node

pytestmark = pytest.mark.peer

GROUP = 0x4D33
HERE = (1, 2, 3, 4, 6, 8, 9)
"""Of the node's studies, those that Orthanc holds."""
KEYS = {
    "QueryRetrieveLevel": "STUDY",
    "StudyInstanceUID": "",
    "PatientName": "",
    "StudyDescription": "",
    "ModalitiesInStudy": "",
}
HOSTILE = "<img src=x onerror=window.harmed=1>"


class Trail:
    """Keeps who asked."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str]] = []

    def note_asked(self, door: str, asker: str, **_: Any) -> None:
        self.noted.append((door, asker))


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """Its address."""
    index, studies = IndexInMemory(), StudiesInMemory()
    for assessment in archive():
        index.add(assessment)
        studies.add(record(assessment.study_uid, StudyState.REPORTED, 1), assessment)
    searcher = Searcher(index, speaker(), VOCABULARY, lambda: TODAY)
    told = Node(studies, archive=AskedArchive(searcher, Trail()))
    with WebServer(create_app(told.ports()), "127.0.0.1", 0) as server:
        yield server.url


def objects() -> list[Dataset]:
    return [
        one
        for number in HERE
        for one in study(
            number,
            name=f"Doe^{number}",
            modality="CT" if number == 6 else "CR",
            description="Follow-up",
            StudyInstanceUID=f"2.25.{number}",
            SeriesInstanceUID=f"2.25.{number}.1",
        )
    ]


def settings(node_url: str, **section: Any) -> dict[str, Any]:
    return {
        "DicomAlwaysAllowFind": True,
        "DicomCheckCalledAet": False,
        "M3Bind": {"NodeUrl": node_url, "Find": True, **section},
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("objects"), objects())


@pytest.fixture(scope="module")
def server(node: str, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    folder = tmp_path_factory.mktemp("orthanc")
    with running_orthanc(folder, script=PLUGIN_SCRIPT, settings=settings(node)) as running:
        for path in files:
            running.upload(path.read_bytes())
        yield running


def question(folder: Path, text: str = "", similar_to: str = "", **keys: str) -> Path:
    """A query file: the private block with some standard keys."""
    asked = Dataset()
    for keyword, value in {**KEYS, **keys}.items():
        setattr(asked, keyword, value)
    asked.SpecificCharacterSet = "ISO_IR 192"
    block = asked.private_block(GROUP, "M3BIND", create=True)
    block.add_new(0x01, "LT", text)
    block.add_new(0x02, "FD", None)
    block.add_new(0x03, "LO", "")
    if similar_to:
        block.add_new(0x04, "UI", similar_to)
    block.add_new(0x05, "LO", "")
    asked.file_meta = FileMetaDataset()
    asked.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    asked.file_meta.MediaStorageSOPClassUID = UID(STUDY_ROOT)
    asked.file_meta.MediaStorageSOPInstanceUID = UID("2.25.77")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "query.dcm"
    asked.save_as(path, enforce_file_format=True)
    return path


def found(told: FindScu) -> list[str]:
    assert told.final == "0x0000"
    return [str(answer.StudyInstanceUID) for answer in told.answers]


def by_words(
    server: OrthancServer, folder: Path, text: str = "", similar_to: str = "", **keys: str
) -> FindScu:
    path = question(folder / "query", text, similar_to, **keys)
    return find_scu(folder / "answers", server.dicom_port, {}, called="ORTHANC", files=[path])


def test_a_question_in_implicit_vr_is_understood(server: OrthancServer, tmp_path: Path) -> None:
    path = question(tmp_path / "query", "pneumonia")
    told = find_scu(
        tmp_path / "answers", server.dicom_port, {}, called="ORTHANC", files=[path], options=["-xi"]
    )
    assert told.final == "0x0000"
    assert str(told.answers[0].StudyInstanceUID) == "2.25.1"
    assert len(told.answers) < len(HERE), "it was answered as an ordinary query"


def expected(node: str, **params: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{node}/api/search", params=params, trust_env=False).raise_for_status().json()
    return [one for one in answer["answers"] if one["study_uid"] in {f"2.25.{n}" for n in HERE}]


@pytest.mark.parametrize("text", ["pneumonia", "no pneumonia", "lung cancer or diabetic retinopathy"])
def test_a_question_in_the_private_block_is_answered_best_first(
    server: OrthancServer, node: str, tmp_path: Path, text: str
) -> None:
    told = by_words(server, tmp_path, text)
    wanted = expected(node, q=text, limit="200")
    assert wanted
    assert found(told) == [one["study_uid"] for one in wanted]
    for answer, one in zip(told.answers, wanted, strict=True):
        block = answer.private_block(GROUP, "M3BIND")
        assert block[0x01].value == text
        assert block[0x02].VR == "FD"
        assert block[0x02].value == pytest.approx(one["score"])
        names = [why["name"] for why in one["why"] if why["probability"] is not None]
        assert all(name in str(block[0x03].value) for name in names)
        assert block[0x05].value == "m3bind-mini 0.1.0"
        assert str(answer.PatientName) == f"Doe^{str(answer.StudyInstanceUID).split('.')[-1]}"
        assert answer.RetrieveAETitle == "ORTHANC"


def test_an_example_and_the_other_keys_are_heeded(server: OrthancServer, node: str, tmp_path: Path) -> None:
    like = by_words(server, tmp_path / "like", similar_to="2.25.1")
    assert found(like) == [one["study_uid"] for one in expected(node, similar_to="2.25.1", limit="200")]
    some = by_words(server, tmp_path / "some", "pneumonia", PatientName="doe^1")
    assert found(some) == ["2.25.1"]
    listed = by_words(server, tmp_path / "listed", "pneumonia", StudyInstanceUID="2.25.2\\2.25.6")
    assert found(listed) == ["2.25.2"]
    scans = by_words(server, tmp_path / "scans", "pneumonia", ModalitiesInStudy="CT")
    assert found(scans) == [one["study_uid"] for one in expected(node, q="pneumonia", modality="CT")]


def test_the_ae_title_makes_a_question_of_the_study_description(
    server: OrthancServer, node: str, tmp_path: Path
) -> None:
    keys = {**KEYS, "StudyDescription": "*no pneumonia*"}
    asked = find_scu(tmp_path / "asked", server.dicom_port, keys, called="M3BIND_FIND")
    assert found(asked) == [one["study_uid"] for one in expected(node, q="no pneumonia", limit="200")]
    assert {str(answer.StudyDescription) for answer in asked.answers} == {"Follow-up"}
    assert not any(element.tag.group == GROUP for answer in asked.answers for element in answer)
    plain = find_scu(tmp_path / "plain", server.dicom_port, keys, called="ORTHANC")
    assert found(plain) == []


def test_series_are_found_and_patients_are_not(server: OrthancServer, node: str, tmp_path: Path) -> None:
    series = by_words(
        server,
        tmp_path / "series",
        "pneumonia",
        QueryRetrieveLevel="SERIES",
        SeriesInstanceUID="",
        Modality="",
    )
    wanted = [one["series_uid"] for one in expected(node, q="pneumonia", limit="200")]
    assert [str(answer.SeriesInstanceUID) for answer in series.answers] == wanted
    patients = by_words(
        server, tmp_path / "patients", "pneumonia", QueryRetrieveLevel="PATIENT", PatientID=""
    )
    assert (patients.final, patients.answers) == ("0xc000", ())


def test_a_question_that_the_node_cannot_use_fails_and_is_not_logged(
    server: OrthancServer, tmp_path: Path
) -> None:
    told = by_words(server, tmp_path, "pneumonia since 2024-13")
    assert (told.final, told.answers) == ("0xc000", ())
    assert "the node cannot use it: unknown-date" in server.log_text()
    assert "2024-13" not in server.log_text()


def test_the_routes_answer_as_the_node_and_know_orthancs_own_ids(server: OrthancServer, node: str) -> None:
    answer = server.get(f"/m3bind/search?{urlencode({'q': 'pneumonia or lung cancer', 'limit': 10})}")
    plain = httpx.get(
        f"{node}/api/search", params={"q": "pneumonia or lung cancer", "limit": 10}, trust_env=False
    )
    ids = [one.pop("orthanc_id") for one in answer["answers"]]
    assert answer == plain.json()
    assert ids == [server.study_id(one["study_uid"]) for one in answer["answers"]]
    assert ids

    study = server.study_id("2.25.1")
    similar = server.get(f"/m3bind/studies/{study}/similar?limit=5")["answers"]
    assert similar
    assert "2.25.1" not in {one["study_uid"] for one in similar}
    assert {one["study_uid"] for one in similar if one["orthanc_id"] is None} <= {"2.25.7"}
    told = server.get(f"/m3bind/studies/{study}/findings")
    assert told["study_uid"] == "2.25.1"
    assert {"Pneumonia", "Pleural effusion"} == {one["name"] for one in told["findings"]}


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/m3bind/search?q=", 422, "question"),
        ("/m3bind/search?q=pneumonia&limit=500", 400, "limit"),
        ("/m3bind/search?q=pneumonia&password=x", 400, "Ask with"),
        (f"/m3bind/search?q={'x' * 3000}", 400, "2000"),
        ("/m3bind/studies/0-0-0-0-0/findings", 404, "no such study"),
    ],
)
def test_what_cannot_be_asked_is_told(server: OrthancServer, path: str, status: int, says: str) -> None:
    answer = httpx.get(f"{server.url}{path}", trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert says.lower() in answer.json()["detail"].lower()


def test_nothing_is_posted_through_the_routes(server: OrthancServer) -> None:
    assert httpx.post(f"{server.url}/m3bind/search", trust_env=False).status_code == 405


def test_a_node_that_is_away_or_hangs_leaves_the_archive_as_it_is(files: list[Path], tmp_path: Path) -> None:
    port = free_port()
    section = settings(f"http://127.0.0.1:{port}", AskTimeoutSeconds=2, AnnounceExisting=False)
    with running_orthanc(tmp_path / "orthanc", script=PLUGIN_SCRIPT, settings=section) as server:
        server.upload(files[0].read_bytes())
        with canned_http(Answer(200, b"{}", after=30.0), port=port) as peer, ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            asked = pool.submit(
                httpx.get, f"{server.url}/m3bind/search?q=pneumonia", trust_env=False, timeout=20
            )
            # While that one waits for the node, Python's lock is free and other routes answer.
            status = server.get("/m3bind/status")
            assert status["active"] is True
            assert not asked.done()
            assert asked.result().status_code == 503
            assert 1.9 < time.monotonic() - began < 10

            for turn in ("first", "again"):
                told = by_words(server, tmp_path / turn, "pneumonia")
                assert told.final == "0xc000"
            # One by the route and one by C-FIND: it was just found away, and nobody waits for it again.
            assert len([one for one in peer.requests if one.path.startswith("/api/search")]) == 2
        assert found(find_scu(tmp_path / "plain", server.dicom_port, KEYS, called="ORTHANC")) == ["2.25.1"]
        assert httpx.get(f"{server.url}/m3bind/search?q=x", trust_env=False).status_code == 503
        assert "is not answered: the node" in server.log_text()


def test_the_button_in_orthanc_explorer_shows_findings_and_leads_to_similar_studies(
    server: OrthancServer,
) -> None:
    study = server.study_id("2.25.1")
    with open_page() as page:
        page.open(f"{server.url}/app/explorer.html#study?uuid={study}")
        page.wait_for("document.querySelector('#study .m3bind-panel button')")
        press(page, "#study", "Findings of this study")
        page.wait_for("document.querySelector('#study .m3bind-answer li')")
        assert "Pneumonia: present, 95 %" in page.evaluate(text_of("#study"))

        press(page, "#study", "Similar studies")
        page.wait_for("document.querySelector('#study .m3bind-answer a')")
        link = page.evaluate("document.querySelector('#study .m3bind-answer a').getAttribute('href')")
        assert link.startswith("#study?uuid=")
        page.evaluate("window.before = true")
        page.evaluate("document.querySelector('#study .m3bind-answer a').click()")
        page.wait_for("window.before === undefined && window.$ && $.mobile")
        page.wait_for(f"$.mobile.pageData && $.mobile.pageData.uuid === '{link.split('=')[1]}'")
        page.wait_for("document.querySelector('#study .m3bind-answer').textContent === ''")
        shown = server.get(f"/studies/{link.split('=')[1]}")["MainDicomTags"]["StudyInstanceUID"]
        page.wait_for(f"document.querySelector('#study').textContent.includes({json.dumps(shown)})")

        page.evaluate(f"document.querySelector('#study input[type=search]').value = {json.dumps(HOSTILE)}")
        press(page, "#study", "Search")
        page.wait_for("document.querySelector('#study .m3bind-answer').textContent.length > 12")
        assert page.evaluate("document.querySelectorAll('#study .m3bind-answer img').length") == 0
        assert page.evaluate("window.harmed === undefined")


def press(page: Page, where: str, label: str) -> None:
    """Click the button of that name."""
    page.evaluate(
        f"[...document.querySelectorAll('{where} .m3bind-panel button')]"
        f".find(one => one.textContent === {json.dumps(label)}).click()"
    )


def text_of(where: str) -> str:
    return f"document.querySelector('{where} .m3bind-answer').textContent"
