from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.uid import ComprehensiveSRStorage

from dicom_node import pipeline
from dicom_node.archive.orthanc import OrthancArchive
from dicom_node.archive.protocol import OWN_MANUFACTURER, StudyGoneError, StudySource
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError
from orthanc_plugin import events
from tests.support import objects
from tests.support.canned_http import Answer, Request, canned_http

STUDY = "0123abcd-0123abcd-0123abcd-0123abcd-0123abcd"


def test_everybody_means_the_same_by_our_own_objects() -> None:
    assert (
        pipeline.this_device("x", "y").manufacturer
        == OWN_MANUFACTURER
        == events.OWN_MANUFACTURER
        == objects.MANUFACTURER
    )


def test_it_gives_studies_too() -> None:
    archive = OrthancArchive("o", "http://127.0.0.1:1")
    assert isinstance(archive, StudySource)
    archive.close()


@pytest.mark.parametrize("body", [b'{"Status": "FilteredOut"}', b"{}", b"[]", b"<html>"])
def test_anything_but_stored_is_refused(body: bytes) -> None:
    with canned_http(Answer(200, body)) as server:
        archive = OrthancArchive("o", server.url)
        with pytest.raises(ArchiveRefusedError):
            archive.deliver(b"part 10", "1.2", ComprehensiveSRStorage)
        archive.close()


def test_an_instance_lost_half_way_leaves_no_file_and_is_worth_another_try(tmp_path: Path) -> None:
    def answer(request: Request) -> Answer:
        if request.path.endswith("/series"):
            return Answer(body=json.dumps([{"MainDicomTags": {}, "Instances": ["one", "two"]}]).encode())
        if request.path == "/instances/one/file":
            return Answer(body=b"whole")
        return Answer(body=b"half", announced_length=100)

    with canned_http(answer) as server:
        archive = OrthancArchive("o", server.url)
        fetched = archive.fetch_study(STUDY, tmp_path)
        assert next(fetched).read_bytes() == b"whole"
        with pytest.raises(ArchiveUnavailableError):
            next(fetched)
        archive.close()
    assert [path.name for path in tmp_path.iterdir()] == ["one.dcm"]


def test_an_instance_deleted_meanwhile_is_worth_another_try(tmp_path: Path) -> None:
    def answer(request: Request) -> Answer:
        if request.path.endswith("/series"):
            return Answer(body=json.dumps([{"MainDicomTags": {}, "Instances": ["one"]}]).encode())
        return Answer(404)

    with canned_http(answer) as server:
        archive = OrthancArchive("o", server.url)
        with pytest.raises(ArchiveUnavailableError, match="lost an instance"):
            list(archive.fetch_study(STUDY, tmp_path))
        archive.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "gone"), [(404, True), (401, False), (403, False)])
def test_a_study_that_is_gone_is_told_from_a_wrong_password(tmp_path: Path, status: int, gone: bool) -> None:
    with canned_http(Answer(status)) as server:
        archive = OrthancArchive("o", server.url)
        with pytest.raises(ArchiveRefusedError) as caught:
            next(archive.fetch_study(STUDY, tmp_path))
        archive.close()
    assert isinstance(caught.value, StudyGoneError) is gone


def test_nothing_is_downloaded_before_it_is_asked_for(tmp_path: Path) -> None:
    def answer(request: Request) -> Answer:
        if request.path.endswith("/series"):
            return Answer(body=json.dumps([{"MainDicomTags": {}, "Instances": ["one", "two"]}]).encode())
        return Answer(body=b"x")

    with canned_http(answer) as server:
        archive = OrthancArchive("o", server.url)
        next(archive.fetch_study(STUDY, tmp_path))
        assert [request.path for request in server.requests] == [
            f"/studies/{STUDY}/series",
            "/instances/one/file",
        ]
        assert server.requests[1].headers["accept-encoding"] == "identity"
        archive.close()
