"""QIDO-RS as programs meet it."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tests.support.web_archive import Trail, archived
from tests.support.web_node import Node

Results = list[dict[str, dict[str, Any]]]


@pytest.fixture
def trail(node: Node) -> Trail:
    return archived(node)


def uids(results: Results, tag: str = "0020000D") -> list[str]:
    return [result[tag]["Value"][0] for result in results]


def asked(client: httpx.Client, path: str, *fields: tuple[str, str]) -> Results:
    answer = client.get(f"/dicom-web{path}", params=list(fields))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return list(answer.json())


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], [1, 2, 3]),
        ([("PatientID", "P2")], [2]),
        ([("00100020", "P2")], [2]),
        ([("PatientID", "P*")], [1, 2, 3]),
        ([("PatientName", "muller^jorg")], [2, 3]),
        ([("StudyDate", "20261002-")], [2, 3]),
        ([("StudyDate", "20261001-20261002")], [1, 2]),
        ([("StudyInstanceUID", "2.25.1,2.25.3")], [1, 3]),
        ([("ModalitiesInStudy", "CT,MR")], [3]),
        ([("PatientID", "P?"), ("ModalitiesInStudy", "DX")], [1, 2]),
        ([("PatientID", "nobody")], []),
        ([("limit", "2")], [1, 2]),
        ([("limit", "2"), ("offset", "2")], [3]),
    ],
)
@pytest.mark.usefixtures("trail")
def test_studies_by_their_attributes(
    client: httpx.Client, fields: Sequence[tuple[str, str]], found: list[int]
) -> None:
    assert sorted(uids(asked(client, "/studies", *fields))) == [f"2.25.{n}" for n in found]


@pytest.mark.usefixtures("trail")
def test_a_result_is_dicom_json_with_what_the_standard_asks_for(client: httpx.Client) -> None:
    (study,) = asked(client, "/studies", ("PatientID", "P2"))
    assert study["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]}
    assert study["00080020"] == {"vr": "DA", "Value": ["20261002"]}
    assert study["00080061"] == {"vr": "CS", "Value": ["DX"]}
    assert study["00080050"] == {"vr": "SH"}
    assert study["00080054"] == {"vr": "AE", "Value": ["ORTHANC"]}
    assert study["00080005"]["Value"] == ["ISO_IR 192"]
    assert "00080060" not in study
    (announced,) = asked(client, "/studies", ("PatientID", "P1"))
    assert announced["00080054"]["Value"] == ["MAIN"]


@pytest.mark.usefixtures("trail")
def test_series_and_instances_lie_below(client: httpx.Client) -> None:
    (series,) = asked(client, "/studies/2.25.3/series")
    assert series["0020000E"]["Value"] == ["2.25.3.1"]
    assert series["00080060"]["Value"] == ["CT"]
    assert "00100010" not in series
    (instance,) = asked(client, "/studies/2.25.3/series/2.25.3.1/instances")
    assert instance["00080018"]["Value"] == ["2.25.3.1.1"]
    assert instance["00280010"]["Value"] == [12]
    assert uids(asked(client, "/series", ("Modality", "DX")), "0020000E") == ["2.25.1.1", "2.25.2.1"]
    assert len(asked(client, "/instances")) == 3
    assert len(asked(client, "/studies/2.25.1/instances")) == 1


@pytest.mark.usefixtures("trail")
def test_more_fields_are_told_when_asked_for(client: httpx.Client) -> None:
    (plain,) = asked(client, "/studies", ("PatientID", "P2"))
    assert "00101010" not in plain
    (more,) = asked(client, "/studies", ("PatientID", "P2"), ("includefield", "PatientAge,00081030"))
    assert more["00101010"] == {"vr": "AS"}
    assert more["00081030"]["Value"] == ["Thorax & Herz"]
    (whole,) = asked(client, "/studies", ("PatientID", "P2"), ("includefield", "all"))
    assert set(more) <= set(whole)


@pytest.mark.usefixtures("trail")
def test_what_is_not_done_is_said(client: httpx.Client) -> None:
    answer = client.get("/dicom-web/studies", params={"fuzzymatching": "true", "limit": "1"})
    assert "Only literal matching has been performed" in answer.headers["warning"]
    assert "additional results" in answer.headers["warning"]
    assert "warning" not in client.get("/dicom-web/studies").headers
    told = client.get("/dicom-web/studies", params={"PixelSpacing": "1"}).headers["warning"]
    assert "00280030" in told


def test_a_question_in_words_goes_best_first_with_score_and_reasons(
    client: httpx.Client, trail: Trail
) -> None:
    found = asked(client, "/studies", ("4D330010", "M3BIND"), ("4D331001", "pneumonia"))
    assert uids(found) == ["2.25.1"]
    (best,) = found
    assert best["4D330010"] == {"vr": "LO", "Value": ["M3BIND"]}
    assert best["4D331001"] == {"vr": "LT", "Value": ["pneumonia"]}
    assert best["4D331002"]["vr"] == "FD"
    assert 0.5 < best["4D331002"]["Value"][0] <= 1.0
    assert best["4D331003"]["Value"] == ["Pneumonia: present 0.92"]
    assert best["4D331005"]["Value"] == ["m3bind-mini 0.1.0"]
    assert trail.lines[0]["door"] == "qido"
    assert "pneumonia" not in str({**trail.lines[0], "present": ()})


@pytest.mark.usefixtures("trail")
def test_words_and_attributes_filter_together(client: httpx.Client) -> None:
    words = ("4D332001", "no pneumonia")
    assert uids(asked(client, "/studies", words)) == ["2.25.2"]
    assert "4D332002" in asked(client, "/studies", words)[0]
    assert asked(client, "/studies", words, ("PatientID", "P1")) == []
    assert asked(client, "/studies", words, ("StudyDate", "20261003-")) == []
    (series,) = asked(client, "/series", words)
    assert series["0020000E"]["Value"] == ["2.25.2.1"]


@pytest.mark.usefixtures("trail")
def test_studies_like_another(client: httpx.Client) -> None:
    found = asked(client, "/studies", ("4D331004", "2.25.1"))
    assert set(uids(found)) == {"2.25.2", "2.25.3"}
    assert found[0]["4D331003"]["Value"][0].startswith("similarity ")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/studies", "NoSuchKeyword=1"),
        ("/studies", "limit=-1"),
        ("/studies", "offset=x"),
        ("/studies", "fuzzymatching=perhaps"),
        ("/studies", "StudyDate=yesterday"),
        ("/studies", "4D331004=abc"),
        ("/studies", "4D331001=no+no+pneumonia+without"),
        ("/instances", "4D331001=pneumonia"),
        ("/studies", "PatientID.PatientName=x"),
    ],
)
@pytest.mark.usefixtures("trail")
def test_what_cannot_be_read_is_400(client: httpx.Client, path: str, query: str) -> None:
    answer = client.get(f"/dicom-web{path}?{query}")
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:m3bind-pacs:problem:unfit-query"


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/dicom+json", 200), ("application/json;q=0.9", 200), ("*/*", 200), ("text/html", 406)],
)
@pytest.mark.usefixtures("trail")
def test_results_are_json_alone(client: httpx.Client, accept: str, status: int) -> None:
    assert client.get("/dicom-web/studies", headers={"Accept": accept}).status_code == status


@pytest.mark.usefixtures("trail")
def test_who_asked_for_what_is_noted_without_values(client: httpx.Client, node: Node) -> None:
    asked(client, "/studies", ("PatientName", "Müller*"))
    (line,) = node.records.noted
    assert (line["event"], line["door"], line["keys"], line["answers"]) == (
        "query.answered",
        "qido",
        ["PatientName"],
        2,
    )
    assert "ller" not in str(line)


@pytest.mark.usefixtures("trail")
def test_a_foreign_host_name_is_refused(client: httpx.Client) -> None:
    assert client.get("/dicom-web/studies", headers={"Host": "evil.example"}).status_code == 421
