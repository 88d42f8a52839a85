"""Questions over HTTP, answered from an index in memory by the real search."""

import logging
from datetime import date

import httpx
import pytest

from dicom_node.search.answer import Searcher
from dicom_node.search.service import AskedArchive
from tests.support.questions import TODAY, VOCABULARY, speaker, study
from tests.support.search_index import IndexInMemory
from tests.support.web_node import Node

Line = dict[str, object]


class Trail:
    def __init__(self) -> None:
        self.lines: list[Line] = []

    def note_asked(self, door: str, asker: str, **detail: object) -> None:
        self.lines.append({"door": door, "asker": asker, **detail})


@pytest.fixture
def trail(node: Node) -> Trail:
    index, kept = IndexInMemory(), Trail()
    for number, probability in enumerate((0.9, 0.6, 0.1), start=1):
        index.add(
            study(
                number,
                "xray",
                {"xray.pneumonia": probability},
                shows="pneumonia",
                study_date=date(2026, 10, number),
                sex="F",
                age=61.5,
            )
        )
    node.archive = AskedArchive(Searcher(index, speaker(), VOCABULARY, lambda: TODAY), kept)
    return kept


def test_a_question_is_answered_best_first_and_with_reasons(client: httpx.Client, trail: Trail) -> None:
    answer = client.get("/api/search", params={"q": "pneumonia in women over 60 last month"}).json()
    assert [hit["study_uid"] for hit in answer["answers"]] == ["2.25.1", "2.25.2"]
    best = answer["answers"][0]
    assert (best["study_date"], best["sex"], best["modality"]) == ("2026-10-01", "F", "xray")
    assert best["why"][0]["finding"] == "xray.pneumonia"
    assert (best["why"][0]["probability"], best["why"][0]["presence"]) == (0.9, "present")
    assert best["regions"][0]["finding"] == "xray.pneumonia"
    assert best["regions"][0]["outline"] == [[0.0, 0.0], [9.0, 0.0], [9.0, 9.0]]
    assert answer["question"]["all_of"] == [
        [{"text": "pneumonia", "present": True, "findings": ["xray.pneumonia"], "side": None}]
    ]
    assert answer["question"]["wanted"]["sexes"] == ["F"]
    assert answer["question"]["wanted"]["date"] == {"first": "2026-10-01", "last": "2026-10-31"}
    assert answer["disclaimer"].startswith("Not a medical device")
    assert trail.lines[0]["door"] == "http"


@pytest.mark.parametrize(
    ("params", "numbers"),
    [
        ({"q": "no pneumonia"}, [3]),
        ({"q": "pneumonia", "limit": "1"}, [1]),
        ({"q": "pneumonia", "date": "20261002-"}, [2]),
        ({"q": "pneumonia", "modality": "CR,DX"}, [1, 2]),
        ({"q": "pneumonia", "modality": "ct"}, []),
        ({"modality": "xray", "date": "2026-10"}, [3, 2, 1]),
        ({"similar_to": "2.25.3", "limit": "2"}, [2, 1]),
    ],
)
@pytest.mark.usefixtures("trail")
def test_fields_beside_the_words_narrow_it(
    client: httpx.Client, params: dict[str, str], numbers: list[int]
) -> None:
    answer = client.get("/api/search", params=params)
    assert answer.status_code == 200
    assert [hit["study_uid"] for hit in answer.json()["answers"]] == [f"2.25.{n}" for n in numbers]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({}, "empty-question"),
        ({"q": "pneumonia without pneumonia"}, "contradiction"),
        ({"q": "pneumonia", "date": "the day before"}, "unknown-date"),
        ({"similar_to": "2.25.99"}, "unknown-example"),
    ],
)
@pytest.mark.usefixtures("trail")
def test_what_cannot_be_answered_is_a_problem(
    client: httpx.Client, params: dict[str, str], reason: str
) -> None:
    answer = client.get("/api/search", params=params)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:m3bind-pacs:problem:unusable-question"
    assert answer.json()["reason"] == reason


@pytest.mark.parametrize(
    ("params", "reason", "allowed"),
    [
        ({"sex": "female"}, "unknown-sex", "F, M or O"),
        ({"modality": "foo"}, "unknown-modality", "xray, ct, retina, ecg"),
        ({"modality": "a b"}, "unknown-modality", "such as DX"),
    ],
)
@pytest.mark.usefixtures("trail")
def test_a_field_that_is_not_understood_is_told_what_it_may_hold(
    client: httpx.Client, params: dict[str, str], reason: str, allowed: str
) -> None:
    answer = client.get("/api/search", params={"q": "pneumonia", **params})
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert allowed in answer.json()["detail"]


@pytest.mark.usefixtures("trail")
def test_only_a_scored_finding_has_a_score(client: httpx.Client) -> None:
    known = client.get("/api/search", params={"q": "pneumonia"}).json()["answers"][0]
    unknown = client.get("/api/search", params={"q": "cavity"}).json()
    assert known["score"] > 0.5
    assert known["by_likeness"] is False
    assert [(hit["score"], hit["by_likeness"]) for hit in unknown["answers"]] == [(None, True)] * 3
    assert unknown["notes"][0].startswith("No finding is known by these words")


@pytest.mark.usefixtures("trail")
def test_a_problem_tells_where_in_the_question_it_lies(client: httpx.Client) -> None:
    text = "Smith, pneumonia since 2024-13"
    problem = client.get("/api/search", params={"q": text}).json()
    assert text[slice(*problem["span"])] == "2024-13"
    assert "Smith" not in problem["detail"]


@pytest.mark.parametrize(
    "params",
    [{"q": "x" * 1001}, {"q": "a", "limit": "0"}, {"q": "a", "similar_to": "no uid"}, {"age": "x"}],
)
@pytest.mark.usefixtures("trail")
def test_fields_are_checked(client: httpx.Client, params: dict[str, str]) -> None:
    answer = client.get("/api/search", params=params)
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("invalid-request")


@pytest.mark.usefixtures("trail")
def test_until_the_bundle_is_loaded_nobody_can_read_a_question(client: httpx.Client, node: Node) -> None:
    node.ready = False
    answer = client.get("/api/search", params={"q": "pneumonia"})
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:m3bind-pacs:problem:still-warming")
    assert answer.headers["retry-after"] == "5"


def test_the_words_reach_neither_the_log_nor_the_trail(
    client: httpx.Client, trail: Trail, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="dicom_node")
    client.get("/api/search", params={"q": "Mustermann with pneumonia"})
    client.get("/api/search", params={"q": "Mustermann without pneumonia without pneumonia"})
    out, err = capsys.readouterr()
    assert len(trail.lines) == 2
    assert "mustermann" not in f"{out}{err}{caplog.text}{trail.lines}".lower()


@pytest.mark.usefixtures("trail")
def test_a_foreign_host_name_is_refused(client: httpx.Client) -> None:
    answer = client.get("/api/search", params={"q": "pneumonia"}, headers={"Host": "evil.example"})
    assert answer.status_code == 421
