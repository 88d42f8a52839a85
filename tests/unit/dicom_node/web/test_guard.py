"""The doors that stay shut: foreign host names, cross-site writes, large bodies, framing."""

import httpx
import pytest

from dicom_node.store.states import StudyState
from dicom_node.web.app import create_app
from dicom_node.web.server import WebServer
from tests.support.web_node import CHEST, FAILED, Node

RETRY = f"/api/studies/{FAILED}/retry"


@pytest.mark.parametrize(
    "path", ["/", f"/studies/{CHEST}", "/api/studies", "/health", "/static/style.css", "/nowhere"]
)
def test_every_answer_carries_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8043", "127.0.0.1.evil.example", "[::2]", ""])
def test_a_foreign_host_name_is_refused(client: httpx.Client, host: str) -> None:
    answer = client.get("/api/studies", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["type"] == "urn:m3bind-pacs:problem:unknown-host"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:8043"])
def test_names_of_this_machine_are_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("allowed", "status"), [(["pacs.example"], 200), (["*"], 200), (["other.example"], 421)]
)
def test_allowed_hosts_can_be_set(node: Node, allowed: list[str], status: int) -> None:
    with WebServer(create_app(node.ports(), allowed), "127.0.0.1", 0) as server:
        answer = httpx.get(f"{server.url}/health", headers={"Host": "pacs.example:8043"}, trust_env=False)
    assert answer.status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_a_write_that_another_site_started_is_not_carried_out(
    client: httpx.Client, node: Node, headers: dict[str, str]
) -> None:
    answer = client.post(RETRY, headers=headers)
    assert answer.status_code == 403
    assert node.studies.records[FAILED].state is StudyState.FAILED


def test_the_own_pages_and_programs_may_write(client: httpx.Client, node: Node) -> None:
    origin = str(client.base_url).rstrip("/")
    own: list[dict[str, str]] = [
        {},
        {"Origin": origin},
        {"Sec-Fetch-Site": "same-origin", "Origin": origin},
        {"Sec-Fetch-Site": "none"},
    ]
    for headers in own:
        assert client.post(RETRY, headers=headers).status_code in {202, 409}
    assert node.studies.records[FAILED].state is StudyState.QUEUED


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_an_announcement_must_be_json(client: httpx.Client, node: Node, content_type: str | None) -> None:
    body = b'{"archive": "main", "study": "x", "study_uid": "1.2.3"}'
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert client.post("/api/announce", content=body, headers=headers).status_code == 415
    assert node.announced == []


def test_json_may_name_its_charset(client: httpx.Client, node: Node) -> None:
    body = b'{"archive": "main", "study": "x", "study_uid": "1.2.3"}'
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/api/announce", content=body, headers=headers).status_code == 202
    assert node.announced == [("main", "x", "1.2.3", None)]


def test_a_large_body_is_refused_before_it_is_read(client: httpx.Client) -> None:
    answer = client.post("/api/announce", content=b" " * (64 * 1024 + 1))
    assert answer.status_code == 413


def test_a_body_without_length_is_refused(client: httpx.Client) -> None:
    answer = client.post("/api/announce", content=iter([b"{}"]))
    assert answer.status_code == 411


def test_no_page_or_file_of_ours_loads_from_elsewhere(client: httpx.Client) -> None:
    for path in ["/", f"/studies/{CHEST}", "/static/style.css", "/static/refresh.js"]:
        text = client.get(path).text
        assert "http://" not in text
        assert "https://" not in text
        assert "//cdn" not in text
