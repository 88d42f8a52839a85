"""The node's HTTP interface, as far as the plugin needs it."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from orthanc_plugin.settings import PluginConfigError, Settings

_REFUSED = frozenset({400, 409, 410, 413, 415, 422})
"""The node read this announcement and will not have it; others may pass. Any other status that is no
success (a wrong path, a wrong token, an error in the node, a proxy in between) would be the same for
every study, so they all wait until it is put right."""


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


class NodeClient:
    """One connection per announcement; never through a proxy; redirects are not followed."""

    def __init__(self, settings: Settings) -> None:
        """Raises PluginConfigError where the authorities' file cannot be used."""
        parts = urlsplit(settings.node_url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._path = f"{parts.path.rstrip('/')}/api/announce"
        self._timeout = settings.timeout_seconds
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
        connection = self._connect()
        try:
            connection.request("POST", self._path, body=announcement.to_json(), headers=self._headers)
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

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)


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
