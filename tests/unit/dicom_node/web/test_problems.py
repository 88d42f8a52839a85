"""Errors of the tree become problem documents, and tell neither paths nor tracebacks."""

import inspect

import httpx
import pytest
from structlog.testing import capture_logs

from dicom_node import errors
from dicom_node.errors import (
    ArchiveRefusedError,
    ArchiveUnavailableError,
    BundleSelfTestError,
    DatabaseUnavailableError,
    InputError,
    InstanceConflictError,
    M3BindError,
    NotDicomError,
    OutOfScopeError,
    StorageError,
    StorageFullError,
    UnsupportedObjectError,
)
from dicom_node.web.problems import problem_of
from tests.support.web_node import Node

SECRET = "postgresql://node:hunter2@db/m3bind at /var/lib/m3bind"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotDicomError("not-dicom", "not a DICOM file"), 422),
        (UnsupportedObjectError("no-reader", "no reader for PDF"), 415),
        (OutOfScopeError("far", "not a chest radiograph"), 422),
        (InstanceConflictError("known with other content"), 409),
        (StorageFullError(SECRET), 507),
        (DatabaseUnavailableError(SECRET), 503),
        (StorageError(SECRET), 500),
        (ArchiveUnavailableError(SECRET), 503),
        (ArchiveRefusedError(SECRET), 502),
        (BundleSelfTestError(SECRET), 500),
        (M3BindError(SECRET), 500),
    ],
)
def test_each_error_has_its_status_and_keeps_its_secrets(error: M3BindError, status: int) -> None:
    document = problem_of(error).document()
    assert document["status"] == status
    assert {"type", "title", "status", "detail"} <= set(document)
    assert "hunter2" not in str(document)
    assert "/var/lib" not in str(document)


def test_an_input_error_tells_its_reason_and_message() -> None:
    document = problem_of(NotDicomError("not-dicom", "not a DICOM file")).document()
    assert (document["reason"], document["detail"]) == ("not-dicom", "not a DICOM file")


def test_every_error_of_the_tree_becomes_a_problem() -> None:
    classes = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, M3BindError)
    ]
    assert len(classes) > 15
    for kind in classes:
        error = kind("slug", "words") if issubclass(kind, InputError) else kind("words")
        assert 400 <= problem_of(error).status < 600


def test_a_database_that_is_down_is_503_over_http(client: httpx.Client, node: Node) -> None:
    node.database_up = False
    answer = client.get("/api/studies")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "PGSQL" not in answer.text
    assert int(answer.headers["retry-after"]) > 0


def test_a_bug_is_told_without_its_traceback(
    client: httpx.Client, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(node.studies, "counts", broken)
    answer = client.get("/api/studies")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert client.get("/").status_code == 500


class OtherError(M3BindError):
    """One that has no words for the sender."""


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_log_tells_where_and_quotes_no_data(
    client: httpx.Client, node: Node, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    patient = "^".join(("DOE", "JANE"))  # in parts, as a traceback shows lines of this file

    def quoting() -> None:
        try:
            raise ValueError(f"Invalid value for VR PN: {patient}")
        except ValueError as error:
            if not wrapped:
                raise
            raise OtherError("the studies cannot be counted") from error

    monkeypatch.setattr(node.studies, "counts", quoting)
    with capture_logs() as logs:
        assert client.get("/api/studies").status_code == 500
    (told,) = (entry for entry in logs if entry["event"] == "request failed")
    assert patient not in str(told)
    assert told["kind"] == ("OtherError" if wrapped else "ValueError")
    assert "in quoting" in told["where"]
    assert ("cannot be counted" in told["error"]) is wrapped


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/api/nowhere", 404), ("DELETE", "/api/studies", 405)]
)
def test_wrong_addresses_and_methods_are_problems_too(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
