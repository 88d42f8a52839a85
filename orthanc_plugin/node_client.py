"""The node's HTTP interface, as far as the plugin needs it."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from orthanc_plugin.settings import PluginConfigError, Settings

_REFUSED = frozenset({400, 409, 410, 413, 415, 422})
"""The node read this announcement and will not have it; others may pass. Any other status that is no
success (a wrong path, a wrong token, an error in the node, a proxy in between) would be the same for
every study, so they all wait until it is put right."""


MOST_BYTES = 8 * 1024 * 1024
"""Of an answer; 200 studies with their regions take about 1 MB."""


class NodeUnavailableError(Exception):
    """The node is down, overloaded or not set up for us: the same announcement may pass later."""


class NodeRefusedError(Exception):
    """The node will not have this study."""


@dataclass(frozen=True)
class Announcement:
    """A study is complete for now. What the node is told; it fetches the rest."""

    archive: str
    study: str
    """Orthanc id."""
    study_uid: str
    instances: int
    """How many there are, without those that the node wrote itself."""

    def to_json(self) -> bytes:
        """Body of POST /api/announce."""
        return json.dumps(
            {
                "archive": self.archive,
                "study": self.study,
                "study_uid": self.study_uid,
                "instances": self.instances,
            }
        ).encode("utf-8")


@dataclass(frozen=True)
class NodeAnswer:
    """What the node said to a question."""

    status: int
    document: Mapping[str, Any]
    """JSON; of a problem (RFC 9457) where the status is 400 or above."""


class NodeClient:
    """One connection per request; never through a proxy; redirects are not followed."""

    def __init__(self, settings: Settings) -> None:
        """Raises PluginConfigError where the authorities' file cannot be used."""
        parts = urlsplit(settings.node_url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._root = parts.path.rstrip("/")
        self._timeout = settings.timeout_seconds
        self._ask_timeout = settings.ask_timeout_seconds
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        if settings.token is not None:
            self._headers["Authorization"] = f"Bearer {settings.token}"
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            try:
                self._tls = ssl.create_default_context(cafile=settings.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise PluginConfigError('"M3Bind.CaFile" must name a readable PEM file') from error

    def announce(self, announcement: Announcement) -> None:
        """Return once the node has made a durable note of the study.

        Raises NodeUnavailableError or NodeRefusedError; their messages hold no patient data.
        """
        connection = self._connect(self._timeout)
        path = f"{self._root}/api/announce"
        try:
            connection.request("POST", path, body=announcement.to_json(), headers=self._headers)
            response = connection.getresponse()
            status, detail = response.status, _detail(response)
        except (OSError, http.client.HTTPException) as error:
            raise NodeUnavailableError(f"no answer ({type(error).__name__})") from error
        finally:
            connection.close()
        if status in _REFUSED:
            raise NodeRefusedError(f"status {status}{detail}")
        if not 200 <= status < 300:
            raise NodeUnavailableError(f"status {status}{detail}")

    def ask(self, path: str, query: Mapping[str, str] | None = None) -> NodeAnswer:
        """GET `path`, within AskTimeoutSeconds. Raises NodeUnavailableError where no JSON comes back."""
        until = time.monotonic() + self._ask_timeout
        connection = self._connect(self._ask_timeout)
        target = f"{self._root}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            connection.request("GET", target, headers=self._headers)
            if connection.sock is not None:
                connection.sock.settimeout(max(0.01, until - time.monotonic()))
            response = connection.getresponse()
            document = json.loads(_body(response, until))
        except (OSError, http.client.HTTPException) as error:
            raise NodeUnavailableError(f"no answer ({type(error).__name__})") from error
        except ValueError as error:
            raise NodeUnavailableError(f"status {response.status}, and no JSON") from error
        finally:
            connection.close()
        if not isinstance(document, dict):
            raise NodeUnavailableError(f"status {response.status}, and no JSON object")
        return NodeAnswer(response.status, document)

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)


def _body(response: http.client.HTTPResponse, until: float) -> bytes:
    """All of it, before `until` by time.monotonic(). Raises TimeoutError, HTTPException."""
    parts, length = [], 0
    while part := response.read1(1 << 16):
        parts.append(part)
        length += len(part)
        if length > MOST_BYTES:
            raise http.client.HTTPException("the answer is too long")
        if time.monotonic() > until:
            raise TimeoutError
    return b"".join(parts)


def _detail(response: http.client.HTTPResponse) -> str:
    """`: <detail>` of a problem document (RFC 9457); nothing of any other body, which could be anybody's."""
    body = response.read(65536)
    if response.getheader("Content-Type", "").split(";")[0].strip() != "application/problem+json":
        return ""
    try:
        detail = json.loads(body).get("detail")
    except (ValueError, AttributeError):
        return ""
    return f": {detail[:200]}" if isinstance(detail, str) else ""
