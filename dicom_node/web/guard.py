"""What stands before every route: who may ask, how much, and what a browser may do with the answer.

    headers -> last resort -> host -> same origin -> size and type -> routes

The node has no log-in; it relies on where it listens. A browser on the same machine or network can be
made to send requests by any web page, so three doors are kept shut: names that do not belong to the node
(DNS rebinding), state-changing requests that another site started (CSRF), and framing by another site.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.errors import M3BindError
from dicom_node.web.problems import Problem, log_failure, problem_of, problem_response

MAX_BODY = 64 * 1024
"""Bytes. The largest legitimate body of JSON is an announcement, under 1 KiB."""
MAX_OBJECT = 64 * 1024 * 1024
"""Bytes of a DICOM file that is searched by: a radiograph of 5,000 x 5,000 pixels, uncompressed."""
JSON = "application/json"
DICOM = "application/dicom"
TAKES_OBJECTS = frozenset({"/search", "/api/search"})
"""Where an object may be sent. A form of another site can send neither type without asking first (Fetch,
CORS-safelisted request headers)."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""RFC 9110 section 9.2.1; TRACE has no route here."""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer. Framing is left to the node's own origin."""


class SecurityHeaders:
    """Adds SECURITY_HEADERS to every answer, and forbids caching of all but static files."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class LastResort:
    """Answers what no handler caught, and logs it. Inside SecurityHeaders: this answer has them too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            route = getattr(scope.get("route"), "path", "unknown")
            log_failure(route, error)
            await problem_response(problem_of(M3BindError(type(error).__name__)))(scope, receive, send)


class Doorkeeper:
    """Refuses foreign host names, cross-site writes, and bodies that are large or of another type.

    `allowed_hosts` are names without port, `[::1]` in brackets; `*` allows all (behind a proxy that checks).
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            problem = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
            if problem is not None:
                await problem_response(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, path: str, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        if "*" not in self._hosts and _name(host) not in self._hosts:
            return Problem(
                421,
                "unknown-host",
                "The node does not answer to this host name; add it to http.allowed_hosts to change that.",
            )
        if method in SAFE_METHODS:
            return None
        if not _same_origin(headers, host):
            return Problem(
                403, "cross-site", "Another web site started this request; it was not carried out."
            )
        if "transfer-encoding" in headers:
            return Problem(411, "length-required", "Send a Content-Length; chunked bodies are not taken.")
        return _unfit_body(path, headers)


def _unfit_body(path: str, headers: Headers) -> Problem | None:
    wanted, most = (DICOM, MAX_OBJECT) if path in TAKES_OBJECTS else (JSON, MAX_BODY)
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        return Problem(413, "too-large", f"At most {most} bytes are taken.")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if int(length) > 0 and media_type != wanted:
        slug = "not-json" if wanted == JSON else "not-dicom"
        return Problem(415, slug, f"Send the body as {wanted}.")
    return None


def _name(host: str) -> str:
    """The name in a Host header without its port, lower case; IPv6 keeps its brackets."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether the request came from the node's own pages, or from a program that is no browser.

    Browsers send Sec-Fetch-Site to trustworthy origins (Fetch Metadata, W3C) and Origin with every POST;
    a page cannot leave them out or change them.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()
