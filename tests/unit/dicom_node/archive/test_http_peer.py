from __future__ import annotations

import pytest

from dicom_node.archive.http_peer import HttpPeer
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError, ConfigError
from tests.support.canned_http import Answer, canned_http


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507])
def test_an_overloaded_peer_is_tried_again(status: int) -> None:
    with (
        canned_http(Answer(status)) as server,
        HttpPeer("a", server.url) as peer,
        pytest.raises(ArchiveUnavailableError, match=f"answered {status} to GET /x"),
    ):
        peer.send("GET", "x")


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 409, 413, 415])
def test_a_peer_that_says_no_is_not(status: int) -> None:
    with (
        canned_http(Answer(status, headers={"Location": "/elsewhere"})) as server,
        HttpPeer("a", server.url) as peer,
    ):
        with pytest.raises(ArchiveRefusedError, match=f"answered {status} to GET /x"):
            peer.send("GET", "x")
        assert len(server.requests) == 1


def test_a_status_that_the_caller_understands_is_no_error() -> None:
    with canned_http(Answer(409, b"why")) as server, HttpPeer("a", server.url) as peer:
        assert peer.send("GET", "x", allow=frozenset({409})).content == b"why"


def test_a_peer_that_never_answers_is_given_up() -> None:
    with (
        canned_http(Answer(after=30.0)) as server,
        HttpPeer("a", server.url, timeout=0.2) as peer,
        pytest.raises(ArchiveUnavailableError, match="in time"),
    ):
        peer.send("GET", "x")


def test_a_body_cut_short_is_noticed() -> None:
    def read_all(peer: HttpPeer) -> bytes:
        with peer.stream("x") as chunks:
            return b"".join(chunks)

    with (
        canned_http(Answer(body=b"half", announced_length=8)) as server,
        HttpPeer("a", server.url) as peer,
        pytest.raises(ArchiveUnavailableError),
    ):
        read_all(peer)


def test_credentials_are_sent_and_never_told() -> None:
    with canned_http(Answer(401, b"s3cret")) as server:
        with (
            HttpPeer("a", server.url, username="u", password="s3cret") as peer,
            pytest.raises(ArchiveRefusedError) as caught,
        ):
            peer.send("GET", "x")
        with (
            HttpPeer("a", server.url, token="t0ken") as peer,
            pytest.raises(ArchiveRefusedError) as again,
        ):
            peer.send("GET", "x")
        sent = [request.headers["authorization"] for request in server.requests]

    assert sent == ["Basic dTpzM2NyZXQ=", "Bearer t0ken"]
    assert "s3cret" not in str(caught.value)
    assert "t0ken" not in str(again.value)


@pytest.mark.parametrize(
    ("url", "credentials", "says"),
    [
        ("127.0.0.1:8042", {}, "url must look like"),
        ("ftp://host/", {}, "url must look like"),
        ("http://u:s3cret@host/", {}, "url holds credentials"),
        ("http://host/", {"password": "s3cret"}, "password without username"),
        ("http://host/", {"username": "u", "password": "s3cret", "token": "t"}, "not both"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(
    url: str, credentials: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        HttpPeer("a", url, **credentials)  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


def test_paths_are_relative_to_the_whole_url() -> None:
    with canned_http(Answer()) as server:
        for url in (server.url + "/root/dicom-web", server.url + "/root/dicom-web/"):
            with HttpPeer("a", url) as peer:
                peer.send("GET", "studies")
        assert [request.path for request in server.requests] == ["/root/dicom-web/studies"] * 2


def test_the_environments_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with canned_http(Answer()) as server, HttpPeer("a", server.url) as peer:
        assert peer.send("GET", "x").status_code == 200


def test_a_connection_that_the_peer_closes_while_it_is_used_again_does_no_harm() -> None:
    answers = iter([Answer(200, b"first"), Answer(hang_up=True), Answer(200, b"second")])
    with canned_http(lambda _request: next(answers)) as server, HttpPeer("a", server.url) as peer:
        assert peer.send("GET", "x").content == b"first"
        assert peer.send("GET", "x").content == b"second"


def test_a_peer_that_hangs_up_every_time_is_tried_again_later() -> None:
    with canned_http(Answer(hang_up=True)) as server, HttpPeer("a", server.url) as peer:
        with pytest.raises(ArchiveUnavailableError, match="could not be reached"):
            peer.send("GET", "x")
        assert len(server.requests) == 2
