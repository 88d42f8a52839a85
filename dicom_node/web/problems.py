"""Errors as problem documents (RFC 9457): the one place of `web` that knows an HTTP status.

A problem never holds patient data, a path of this machine or a traceback. What the sender can mend (4xx) is
told in words; what only the administrator can mend (5xx) is told in general here and in full in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from dicom_node.errors import (
    ArchiveRefusedError,
    ArchiveUnavailableError,
    DatabaseUnavailableError,
    InferenceUnavailableError,
    InputError,
    InstanceConflictError,
    M3BindError,
    OutOfScopeError,
    QuestionError,
    StorageFullError,
    UnsupportedObjectError,
    describe,
    where,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:m3bind-pacs:problem:"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document before it is written (RFC 9457 section 3.1)."""

    status: int
    slug: str
    """Last part of `type`: short and stable, for programs."""
    detail: str
    """For people: what happened, and what to do."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Extension members (section 3.2)."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name of the HTTP status, e.g. `Not Found`."""
        return HTTPStatus(self.status).phrase

    def document(self) -> dict[str, Any]:
        """The members of the JSON object."""
        return {
            **self.extra,
            "type": TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }


class ProblemError(M3BindError):
    """Raised by a route of `web` when the answer is a problem and no error of a lower floor says it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def log_failure(route: str, error: Exception) -> None:
    """Log what failed and where; of an error that is not of our tree not its words, which may quote data."""
    _log.error(
        "request failed", route=route, kind=type(error).__name__, error=describe(error), where=where(error)
    )


Page = Callable[[Request, Problem], Response]
"""Draws a problem for people who came with a browser."""

_RETRY_SOON = {"Retry-After": "5"}

# Error class -> status, slug, words, headers. None as words: the error's own message, meant for the sender.
_TABLE: dict[type[M3BindError], tuple[int, str, str | None, Mapping[str, str]]] = {
    UnsupportedObjectError: (415, "unsupported-object", None, {}),
    OutOfScopeError: (422, "out-of-scope", None, {}),
    QuestionError: (422, "unusable-question", None, {}),
    InputError: (422, "unusable-object", None, {}),
    InstanceConflictError: (409, "instance-conflict", None, {}),
    StorageFullError: (507, "storage-full", "No room is left in the spool: make room, then send again.", {}),
    DatabaseUnavailableError: (
        503,
        "database-unavailable",
        "The database does not answer. Try again shortly; if it lasts, look into the node's log.",
        _RETRY_SOON,
    ),
    InferenceUnavailableError: (
        503,
        "model-server-unavailable",
        "The server that runs the encoders does not answer. Try again shortly.",
        _RETRY_SOON,
    ),
    ArchiveUnavailableError: (
        503,
        "archive-unavailable",
        "The archive does not answer. Try again shortly.",
        _RETRY_SOON,
    ),
    ArchiveRefusedError: (
        502,
        "archive-refused",
        "The archive refused; its reason is in the node's log.",
        {},
    ),
    M3BindError: (500, "internal", "The node could not do this; the reason is in its log.", {}),
}


def problem_of(error: M3BindError) -> Problem:
    """The problem that an error of the tree becomes: that of its nearest ancestor in the table."""
    if isinstance(error, ProblemError):
        return error.problem
    status, slug, words, headers = next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)
    extra: dict[str, Any] = {"reason": error.reason} if isinstance(error, InputError) else {}
    if isinstance(error, QuestionError):
        extra["span"] = None if error.span is None else list(error.span)
    return Problem(status, slug, str(error) if words is None else words, extra, headers)


def problem_response(problem: Problem) -> Response:
    """The problem as application/problem+json."""
    return JSONResponse(
        problem.document(), status_code=problem.status, media_type=MEDIA_TYPE, headers=dict(problem.headers)
    )


def install(app: FastAPI, page: Page, is_page: Callable[[Request], bool]) -> None:
    """Answer every error that `app` knows by a problem: drawn by `page` where `is_page`, else as JSON.

    What it does not know, a bug, is answered by `guard.LastResort`.
    """

    def answer(request: Request, problem: Problem) -> Response:
        return page(request, problem) if is_page(request) else problem_response(problem)

    def on_tree(request: Request, error: Exception) -> Response:
        assert isinstance(error, M3BindError)  # noqa: S101 - registered for this class alone
        problem = problem_of(error)
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log_failure(_route(request), error)
        return answer(request, problem)

    def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - likewise
        return answer(request, _validation_problem(error))

    def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - likewise
        return answer(request, _http_problem(error))

    app.add_exception_handler(M3BindError, on_tree)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


def _validation_problem(error: RequestValidationError) -> Problem:
    # The values that were sent are left out: they may be anything.
    faults = [
        {"where": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
        for fault in error.errors()
    ]
    told = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
    return Problem(422, "invalid-request", f"The request is not understood: {told}", {"faults": faults})


def _http_problem(error: HTTPException) -> Problem:
    words = {
        HTTPStatus.NOT_FOUND: "There is no such address here; /openapi.json lists those there are.",
        HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take that method.",
    }
    detail = words.get(HTTPStatus(error.status_code), HTTPStatus(error.status_code).phrase)
    slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return Problem(error.status_code, slug, detail, headers=error.headers or {})


def _route(request: Request) -> str:
    route = request.scope.get("route")
    return str(getattr(route, "path", "unknown"))
