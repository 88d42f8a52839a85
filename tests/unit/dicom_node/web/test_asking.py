"""The search page, its pictures and its files as a reader without script meets them."""

import logging

import httpx
import pytest

from dicom_node.search.vocabulary import Years
from dicom_node.web.form import Form, request_of, years_of
from dicom_node.web.thumbnails import Shelf
from tests.support.web_archive import SAMPLES, Trail, archived
from tests.support.web_node import HOSTILE, Node
from tests.unit.dicom_node.web.test_pages import Reader

DICOM = {"Content-Type": "application/dicom"}


@pytest.fixture
def trail(node: Node) -> Trail:
    return archived(node)


def test_an_answer_tells_who_when_what_and_why(client: httpx.Client, trail: Trail) -> None:
    html = client.get("/search", params={"q": "pneumonia, no effusion"}).text
    text = Reader(html).text
    assert "1 study answers" in text
    assert "<h6>Muster</h6>, <script>broken()</script> · P1 · Thorax & Herz" in text
    assert "<h6>" not in html
    assert "2026-10-01 · Radiograph · female, 61 years" in text
    assert "Pneumonia 92 %" in text
    assert "pneumonia : Pneumonia present, 92 %" in text
    assert "no effusion : Pleural effusion absent, 8 %" in text
    assert 'points="0,0 9,0 9,9"' in html
    assert "/search?q=Pneumonia&amp;modality=ct&amp;modality=retina&amp;modality=ecg" in html
    assert 'href="/search?similar_to=2.25.1"' in html
    assert trail.lines[0]["door"] == "web"


@pytest.mark.usefixtures("trail")
def test_likeness_of_words_is_given_no_percentage(client: httpx.Client) -> None:
    text = Reader(client.get("/search", params={"q": "cavity, pneumonai"}).text).text
    assert "3 studies, by likeness of words alone" in text
    assert "that all of it is so" not in text
    assert "Did you mean pneumonia?" in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=&modality=xray", [2, 1]),
        ("modality=xray,ct", [3, 2, 1]),
        ("modality=xray&modality=ct&sex=F", [3, 1]),
        ("sex=F&age_from=62", [3]),
        ("age_from=61&age_to=62", [2, 1]),
        ("since=2026-10-02&until=2026-10-02", [2]),
        ("q=no+pneumonia", [2]),
        ("similar_to=2.25.1&modality=ct", [3]),
    ],
)
@pytest.mark.usefixtures("trail")
def test_filters_narrow_it(client: httpx.Client, query: str, found: list[int]) -> None:
    page = Reader(client.get(f"/search?{query}").text)
    shown = [attrs["href"] for tag, attrs in page.tags if tag == "a" and attrs.get("class") == "study"]
    assert shown == [f"/studies/2.25.{n}" for n in found]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("q=pneumonia+since+2024-13", "This date is not understood"),
        ("since=gestern", "2024-01-31"),
        ("since=2026-02-01&until=2026-01-01", "Exchange them"),
        ("age_from=old", "whole number"),
        ("age_from=70&age_to=60", "Exchange them"),
        ("age_to=٣", "whole number"),
        ("sex=X", "female, male or other"),
        ("modality=a%20b", "short word"),
        ("similar_to=1.2.x", "not a UID"),
        ("similar_to=2.25.999", "not in the index"),
    ],
)
@pytest.mark.usefixtures("trail")
def test_what_is_not_understood_is_told_in_words_and_the_form_stays(
    client: httpx.Client, query: str, words: str
) -> None:
    answer = client.get(f"/search?{query}")
    page = Reader(answer.text)
    assert answer.status_code == 422
    assert words in page.text
    assert [attrs for tag, attrs in page.tags if attrs.get("role") == "alert"]


@pytest.mark.usefixtures("trail")
def test_the_trouble_is_marked_in_the_question(client: httpx.Client) -> None:
    html = client.get("/search", params={"q": f"{HOSTILE} pneumonia since 2024-13"}).text
    assert "<mark>2024-13</mark>" in html
    assert HOSTILE not in html


@pytest.mark.usefixtures("trail")
def test_empty_states_say_what_to_do(client: httpx.Client) -> None:
    assert "pleural effusion, no pneumothorax" in Reader(client.get("/search").text).text
    text = Reader(client.get("/search?q=retinopathy").text).text
    assert "No study answers" in text
    assert "Take a filter away" in text


@pytest.mark.usefixtures("trail")
def test_until_the_bundle_is_loaded_the_page_says_so(client: httpx.Client, node: Node) -> None:
    node.ready = False
    answer = client.get("/search?q=pneumonia")
    assert answer.status_code == 503
    assert "not loaded yet" in Reader(answer.text).text


def test_no_word_of_a_question_is_logged(
    client: httpx.Client, trail: Trail, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="dicom_node")
    client.get("/search", params={"q": "Mustermann with pneumonia"})
    client.get("/search", params={"q": "Mustermann since 2024-13"})
    out, err = capsys.readouterr()
    assert "mustermann" not in f"{out}{err}{caplog.text}{trail.lines}".lower()


@pytest.mark.usefixtures("trail")
def test_a_picture_is_small_and_kept(client: httpx.Client, node: Node) -> None:
    address = "/studies/2.25.1/thumbnail?series=2.25.1.1"
    answer = client.get(address)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:3] == b"\xff\xd8\xff"
    assert len(answer.content) < 60_000
    assert answer.headers["cache-control"] == "no-store"
    node.studies.files["2.25.1"] = [*node.studies.files["2.25.1"]]
    assert client.get(address).content == answer.content


@pytest.mark.parametrize(
    ("query", "words"),
    [("series=2.25.2.1", "no longer holds"), ("instance=1.2.3", "does not hold"), ("series=9.9", "not hold")],
)
@pytest.mark.usefixtures("trail")
def test_a_picture_that_cannot_be_made_says_why(client: httpx.Client, query: str, words: str) -> None:
    answer = client.get(f"/studies/2.25.2/thumbnail?{query}")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert words in Reader(answer.text).text


@pytest.mark.usefixtures("trail")
def test_pictures_of_unknown_studies_and_odd_names_are_refused(client: httpx.Client) -> None:
    assert client.get("/studies/1.2.3/thumbnail").status_code == 404
    assert client.get("/studies/2.25.1/thumbnail?series=../../etc").status_code == 422


def test_the_shelf_drops_what_nobody_looked_at() -> None:
    shelf = Shelf(room=10)
    for number in range(3):
        shelf.put((str(number), None), b"1234")
        shelf.get(("0", None))
    assert [shelf.get((str(n), None)) is None for n in range(3)] == [False, True, False]
    shelf.put(("large", None), b"x" * 11)
    assert shelf.get(("large", None)) is None


def test_a_file_is_searched_by_and_not_kept(client: httpx.Client, node: Node, trail: Trail) -> None:
    content = (SAMPLES / "xray" / "chest-pa.dcm").read_bytes()
    page = Reader(client.post("/search", content=content, headers=DICOM).text)
    assert "Like the file that was sent" in page.text
    shown = [attrs["href"] for tag, attrs in page.tags if tag == "a" and attrs.get("class") == "study"]
    assert shown[0] == "/studies/2.25.1"
    found = client.post("/api/search", params={"modality": "ct"}, content=content, headers=DICOM).json()
    assert [hit["study_uid"] for hit in found["answers"]] == ["2.25.3"]
    assert node.looked == [len(content)] * 2
    assert [line["door"] for line in trail.lines] == ["web", "http"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "slug"),
    [
        (b"no DICOM", DICOM, 422, "unusable-object"),
        (b"", DICOM, 422, "no-object"),
        (b"{}", {"Content-Type": "application/json"}, 415, "not-dicom"),
        (b"x", {**DICOM, "Origin": "http://evil.example"}, 403, "cross-site"),
    ],
)
@pytest.mark.usefixtures("trail")
def test_what_is_no_object_is_refused(
    client: httpx.Client, content: bytes, headers: dict[str, str], status: int, slug: str
) -> None:
    answer = client.post("/api/search", content=content, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:m3bind-pacs:problem:{slug}")


def test_ages_of_the_form_are_whole_years() -> None:
    assert years_of("60", "60") == Years(60, 61)
    assert years_of("", "17") == Years(None, 18)
    assert request_of(Form(sex="F")).sexes == ("F",)


def test_sex_and_age_are_fields_of_the_interface_too(client: httpx.Client, trail: Trail) -> None:
    found = client.get("/api/search", params={"sex": "F", "age": "62-"}).json()
    assert [hit["study_uid"] for hit in found["answers"]] == ["2.25.3"]
    assert trail.lines
    assert client.get("/api/search", params={"age": "x"}).status_code == 422
