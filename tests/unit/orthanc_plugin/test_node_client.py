from __future__ import annotations

import json

import pytest

from orthanc_plugin.node_client import Announcement, NodeClient, NodeRefusedError, NodeUnavailableError
from orthanc_plugin.settings import PluginConfigError, Settings
from tests.support.canned_http import Answer, canned_http
from tests.support.waiting import free_port

STUDY = Announcement("pacs", "0123", "1.2.3", 4)
PROBLEM = {"Content-Type": "application/problem+json; charset=utf-8"}


def test_an_announcement_is_one_post_with_the_token() -> None:
    with canned_http(Answer(202)) as server:
        NodeClient(Settings(node_url=server.url + "/sub", token="t0ken")).announce(STUDY)
    (request,) = server.requests

    assert (request.method, request.path) == ("POST", "/sub/api/announce")
    assert request.headers["authorization"] == "Bearer t0ken"
    assert json.loads(request.body) == {
        "archive": "pacs",
        "study": "0123",
        "study_uid": "1.2.3",
        "instances": 4,
    }


@pytest.mark.parametrize("status", [400, 409, 410, 413, 415, 422])
def test_a_study_that_the_node_will_not_have_is_refused(status: int) -> None:
    answer = Answer(status, b'{"detail": "because"}', PROBLEM)
    with canned_http(answer) as server, pytest.raises(NodeRefusedError, match=f"status {status}: because"):
        NodeClient(Settings(node_url=server.url)).announce(STUDY)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 408, 429, 500, 502, 503])
def test_what_would_befall_every_study_makes_them_all_wait(status: int) -> None:
    answer = Answer(status, headers={"Location": "/api/announce"})
    with (
        canned_http(answer) as server,
        pytest.raises(NodeUnavailableError, match=f"status {status}$"),
    ):
        NodeClient(Settings(node_url=server.url)).announce(STUDY)


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"<b>Name^Patient</b>", {"Content-Type": "text/html"}), (b"[]", PROBLEM), (b"{", PROBLEM)],
)
def test_bodies_that_are_no_problem_document_are_not_repeated(body: bytes, headers: dict[str, str]) -> None:
    with canned_http(Answer(422, body, headers)) as server, pytest.raises(NodeRefusedError) as caught:
        NodeClient(Settings(node_url=server.url)).announce(STUDY)
    assert str(caught.value) == "status 422"


def test_nobody_listening_and_no_answer_are_unavailable() -> None:
    with pytest.raises(NodeUnavailableError, match="ConnectionRefusedError"):
        NodeClient(Settings(node_url=f"http://127.0.0.1:{free_port()}")).announce(STUDY)
    with canned_http(Answer(after=30.0)) as server, pytest.raises(NodeUnavailableError, match="TimeoutError"):
        NodeClient(Settings(node_url=server.url, timeout_seconds=0.2)).announce(STUDY)


def test_something_that_is_not_http_is_unavailable() -> None:
    with canned_http(Answer()) as server, pytest.raises(NodeUnavailableError, match="SSL"):
        NodeClient(Settings(node_url=server.url.replace("http:", "https:"))).announce(STUDY)


def test_an_authorities_file_that_cannot_be_read_is_told_at_once() -> None:
    with pytest.raises(PluginConfigError, match="CaFile"):
        NodeClient(Settings(node_url="https://node", ca_file="/nowhere.pem"))
