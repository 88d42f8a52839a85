"""One HTTP peer: its address, its credentials, its time-outs, and what its answers mean as errors.

No message holds credentials or a response's body (which may hold patient data).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import httpx

from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError, ConfigError

CONNECT_SECONDS = 10.0
"""A host that does not even shake hands in this time is down, however long answers may take."""

KEEP_SECONDS = 0.5
"""An idle connection is used again only this long: Orthanc closes its own after a second or so."""

_TRY_AGAIN = frozenset({408, 429})


class HttpPeer:
    """A small client: requests relative to `url`, ArchiveErrors instead of httpx's. Safe for threads."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        timeout: float = 30.0,
        ca_file: str | None = None,
    ) -> None:
        """`timeout` in seconds holds for every single read and write, not for a whole transfer.

        `ca_file` is a PEM file of the authorities to trust instead of the usual ones. Raises ConfigError
        for an address that is no http(s) URL or carries credentials (they would end up in logs), and for
        credentials of both kinds.
        """
        self.name = name
        self._client = httpx.Client(
            base_url=_checked(name, url),
            auth=_basic(name, username, password, token),
            headers={"Authorization": f"Bearer {token}"} if token is not None else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            limits=httpx.Limits(keepalive_expiry=KEEP_SECONDS),
            verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
            # The environment's proxies and .netrc are for browsing, not for patient data.
            trust_env=False,
        )

    def __str__(self) -> str:
        """For messages: the archive's name and where it is."""
        return f"archive '{self.name}' at {self._client.base_url.host}:{self._port}"

    @property
    def _port(self) -> int:
        url = self._client.base_url
        return url.port or (443 if url.scheme == "https" else 80)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        allow: frozenset[int] = frozenset(),
    ) -> httpx.Response:
        """One request with its whole response. Statuses of 300 and above are errors unless in `allow`.

        Only for requests that may be repeated: a peer may close an idle connection at the very moment that
        it is used again, which says nothing about the peer, so such a request is sent a second time.
        """
        with self._as_archive_errors(method, path):
            try:
                response = self._client.request(method, path, content=content, headers=headers)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                response = self._client.request(method, path, content=content, headers=headers)
        self._check(method, path, response.status_code, allow)
        return response

    @contextmanager
    def stream(self, path: str, *, headers: Mapping[str, str] | None = None) -> Iterator[Iterator[bytes]]:
        """A response's body in chunks, as it comes; a body cut short is ArchiveUnavailableError."""
        with (
            self._as_archive_errors("GET", path),
            self._client.stream("GET", path, headers=headers) as response,
        ):
            self._check("GET", path, response.status_code, frozenset())
            yield response.iter_bytes()

    @contextmanager
    def _as_archive_errors(self, method: str, path: str) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise ArchiveUnavailableError(
                f"{self} did not answer {method} /{path} in time; it is tried again later"
            ) from error
        except httpx.TransportError as error:
            raise ArchiveUnavailableError(
                f"{self} could not be reached for {method} /{path} ({type(error).__name__}); "
                "check that it runs and that the address is right"
            ) from error

    def _check(self, method: str, path: str, status: int, allow: frozenset[int]) -> None:
        if status < 300 or status in allow:
            return
        text = f"{self} answered {status} to {method} /{path}"
        if status >= 500 or status in _TRY_AGAIN:
            raise ArchiveUnavailableError(f"{text}; it is tried again later")
        if status in (401, 403):
            raise ArchiveRefusedError(f"{text}; check the user, password or token of this archive")
        if status < 400:
            raise ArchiveRefusedError(f"{text}, a redirect; write the final address into this archive's url")
        raise ArchiveRefusedError(f"{text}; the peer's own log says why")


def _checked(name: str, url: str) -> str:
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"archive '{name}': url must look like https://host:port/path")
    if parsed.userinfo:
        raise ConfigError(f"archive '{name}': url holds credentials; write them as username and password")
    return url.rstrip("/") + "/"


def _basic(
    name: str, username: str | None, password: str | None, token: str | None
) -> httpx.BasicAuth | None:
    if username is None and password is None:
        return None
    if token is not None:
        raise ConfigError(f"archive '{name}': give either username and password or token, not both")
    if username is None:
        raise ConfigError(f"archive '{name}': password without username")
    return httpx.BasicAuth(username, password or "")
