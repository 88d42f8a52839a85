"""The pages as a reader without script meets them."""

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from dicom_node.store.states import FetchState, StudyState
from tests.support.studies import fetch, record
from tests.support.web_node import ARRIVING, CHEST, ECG, FAILED, FOOT, REFUSED, Node


class Reader(HTMLParser):
    """The visible words of a page, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self._words))


def test_the_list_shows_each_study_with_state_modality_and_findings(client: httpx.Client) -> None:
    page = Reader(client.get("/").text)
    for uid in (CHEST, ECG, FAILED, FOOT, ARRIVING, REFUSED):
        assert ("a", {"class": "uid", "href": f"/studies/{uid}"}) in page.tags
    assert "Pneumonia 87 %" in page.text
    assert "Cardiomegaly (left) 46 % unsure" in page.text
    assert "Atrial fibrillation > 99 %" in page.text
    assert "Atelectasis" not in page.text
    assert "12-lead ECG" in page.text
    assert "not a chest radiograph" in page.text
    assert "out of scope 1" in page.text
    assert "Not a medical device. For research only." in page.text
    assert "2026-11-22 12:30:00 UTC" in page.text


def test_the_list_is_filtered_and_paged(client: httpx.Client) -> None:
    page = Reader(client.get("/?state=reported&limit=1").text)
    assert CHEST in page.text
    assert FAILED not in page.text
    [following] = [attrs["href"] for tag, attrs in page.tags if tag == "a" and attrs.get("rel") == "next"]
    after = Reader(client.get(str(following)).text)
    assert ECG in after.text
    assert CHEST not in after.text
    assert ("a", {"href": "/?state=reported"}) in after.tags


def test_an_empty_node_says_what_to_do(client: httpx.Client, node: Node) -> None:
    node.studies.records.clear()
    assert "No study has come in yet" in Reader(client.get("/").text).text
    assert "No study here" in Reader(client.get("/?state=failed").text).text


def test_a_reported_study_without_findings_says_so(client: httpx.Client, node: Node) -> None:
    node.studies.assessments[ECG]["findings"] = []
    assert "no finding present" in Reader(client.get("/").text).text


def test_a_study_page_tells_all_that_is_known(client: httpx.Client) -> None:
    text = Reader(client.get(f"/studies/{CHEST}").text).text
    assert "233604007 SCT: Pneumonia" in text
    assert "at or above the bundle's threshold of 50 %: reported as present" in text
    assert "too close to call, the model abstains" in text
    assert "Cardiomegaly (left)" in text
    where = "columns 120 to 330, rows 300 to 481 of instance 1.2.826.0.1.3680043.9.1.1"
    assert f"{where}; carries 63 % of the positive evidence" in text
    assert "no reader for Encapsulated PDF Storage" in text
    assert "no-reader" in text
    assert "no view position is given; taken as frontal" in text
    assert "A700 Out of Resources" in text
    assert "m3bind-mini 0.1.0" in text
    assert "5e" * 32 in text
    assert "Not a medical device" in text
    assert text.index("Pneumonia") < text.index("Cardiomegaly") < text.index("Atelectasis")


def test_an_ecg_tells_seconds(client: httpx.Client) -> None:
    assert "2.1 s to 4.5 s of instance" in Reader(client.get(f"/studies/{ECG}").text).text


@pytest.mark.parametrize(("uid", "buttons"), [(FAILED, 1), (REFUSED, 1), (FOOT, 0), (ARRIVING, 0)])
def test_only_what_failed_or_was_refused_can_be_tried_again(
    client: httpx.Client, uid: str, buttons: int
) -> None:
    page = Reader(client.get(f"/studies/{uid}").text)
    found = [attrs["data-post"] for tag, attrs in page.tags if tag == "button" and "data-post" in attrs]
    assert found == [f"/api/studies/{uid}/retry"] * buttons


def test_a_delivery_that_was_given_up_can_be_sent_again(client: httpx.Client) -> None:
    page = Reader(client.get(f"/studies/{CHEST}").text)
    found = [attrs["data-post"] for tag, attrs in page.tags if tag == "button" and "data-post" in attrs]
    assert found == [f"/api/studies/{CHEST}/deliveries/second/retry"]


def test_words_from_outside_are_escaped(client: httpx.Client, node: Node) -> None:
    hostile = "\"><img src=x onerror=alert(1)><script>alert('x')</script>"
    node.studies.add(record("1.2.9", StudyState.FAILED, 50, reason=hostile, origin=hostile, modality=hostile))
    node.studies.assessments[CHEST]["findings"][0]["name"] = hostile
    node.studies.assessments[CHEST]["skipped"][0]["message"] = hostile
    for path in ("/", "/studies/1.2.9", f"/studies/{CHEST}"):
        page = Reader(client.get(path).text)
        assert [attrs for tag, attrs in page.tags if tag == "script"] == [
            {"src": "/static/refresh.js", "defer": None},
            {"src": "/static/search.js", "defer": None},
        ]
        assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
        assert "alert(1)" in page.text


def test_an_unknown_study_is_told_as_a_page(client: httpx.Client) -> None:
    answer = client.get("/studies/1.2.3")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "The node knows no study 1.2.3." in Reader(answer.text).text


def test_while_warming_the_page_says_so_and_keeps_looking(client: httpx.Client, node: Node) -> None:
    node.ready, node.database_up = False, False
    answer = client.get("/")
    page = Reader(answer.text)
    assert answer.status_code == 503
    assert "The node is not ready: the bundle's self-test is running" in page.text
    assert [attrs["data-refresh"] for tag, attrs in page.tags if tag == "main"] == ["3"]


def test_the_keyboard_reaches_everything(client: httpx.Client) -> None:
    page = Reader(client.get(f"/studies/{CHEST}").text)
    assert page.tags[[tag for tag, _ in page.tags].index("body") + 1] == (
        "a",
        {"class": "skip", "href": "#main"},
    )
    scrollers = [attrs for tag, attrs in page.tags if tag == "div" and attrs.get("class") == "scroll"]
    assert scrollers
    assert all(attrs["tabindex"] == "0" and attrs["role"] == "region" for attrs in scrollers)


def test_studies_that_could_not_be_fetched_stand_on_the_first_page(client: httpx.Client, node: Node) -> None:
    assert "Announced, but not here" not in client.get("/").text
    node.studies.announced = [
        fetch("abc", FetchState.FAILED, study_uid="1.2.3", last_error="no such study"),
        fetch("def", FetchState.WAITING, study_uid="1.2.4", last_error="HTTP 401; check the password"),
        fetch("ghi", FetchState.WAITING, study_uid="1.2.5"),
    ]
    text = client.get("/").text
    for told in ("1.2.3", "no such study", "1.2.4", "HTTP 401", 'data-post="/api/fetches/main/abc/retry"'):
        assert told in text
    assert "1.2.5" not in text


def test_the_list_asks_once_for_all_findings(client: httpx.Client, node: Node) -> None:
    asked: list[Sequence[str]] = []
    found = node.studies.noticed

    def counted(study_uids: Sequence[str]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        asked.append(study_uids)
        return found(study_uids)

    def never(study_uid: str) -> Mapping[str, Any] | None:
        raise AssertionError(study_uid)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node.studies, "noticed", counted)
        patch.setattr(node.studies, "assessment", never)
        assert "Pneumonia" in client.get("/").text
    assert asked == [[CHEST, ECG]]
