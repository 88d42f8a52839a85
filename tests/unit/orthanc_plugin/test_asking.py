"""Questions to the node: what it says comes back, in time or not at all."""

import json
import time
from collections.abc import Mapping

import pytest

from orthanc_plugin.find_semantic import tags_of
from orthanc_plugin.node_client import NodeClient, NodeUnavailableError
from orthanc_plugin.settings import PluginConfigError, parse_settings
from tests.support.canned_http import Answer, canned_http


def client(url: str, **section: object) -> NodeClient:
    return NodeClient(parse_settings({"NodeUrl": url, "AskTimeoutSeconds": 0.3, **section}))


def test_the_question_and_the_token_arrive_and_the_answer_comes_back() -> None:
    with canned_http(Answer(422, b'{"reason": "unknown-date"}')) as server:
        answer = client(f"{server.url}/behind", Token="t").ask("/api/search", {"q": "a&b c"})
    assert (answer.status, answer.document) == (422, {"reason": "unknown-date"})
    assert server.requests[0].path == "/behind/api/search?q=a%26b+c"
    assert server.requests[0].headers["authorization"] == "Bearer t"


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"\xff"])
def test_what_is_no_json_object_is_no_answer(body: bytes) -> None:
    with canned_http(Answer(200, body)) as server, pytest.raises(NodeUnavailableError, match="no JSON"):
        client(server.url).ask("/health")


def test_a_node_that_hangs_is_waited_for_no_longer_than_said() -> None:
    began = time.monotonic()
    with canned_http(Answer(200, b"{}", after=20)) as server, pytest.raises(NodeUnavailableError):
        client(server.url).ask("/health")
    assert time.monotonic() - began < 10


def test_an_answer_without_end_is_not_kept() -> None:
    body = json.dumps({"answers": "x" * (9 << 20)}).encode()
    settings = {"AskTimeoutSeconds": 20}
    with canned_http(Answer(200, body)) as server, pytest.raises(NodeUnavailableError, match="HTTPException"):
        client(server.url, **settings).ask("/health")


def test_nobody_waits_for_long() -> None:
    with pytest.raises(PluginConfigError, match="at most 30"):
        parse_settings({"AskTimeoutSeconds": 31})


@pytest.mark.parametrize(
    ("hit", "told"),
    [
        ({"similarity": 0.831, "why": []}, ["similarity 0.83"]),
        (
            {"similarity": None, "why": [{"name": "Mass", "probability": 0.02, "presence": "absent"}]},
            ["Mass: absent 0.02"],
        ),
        (
            {"why": [{"statement": "a\\b", "probability": None, "presence": None, "likeness": 1.26}]},
            ["a/b: likeness +1.3"],
        ),
    ],
)
def test_an_answer_tells_what_speaks_for_it(hit: Mapping[str, object], told: list[str]) -> None:
    assert tags_of(hit) == told
