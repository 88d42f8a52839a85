"""Fetching studies from a real Orthanc that asks for a password."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage, generate_uid

from dicom_node.archive.orthanc import OrthancArchive
from dicom_node.errors import ArchiveRefusedError
from tests.support.objects import image, report
from tests.support.orthanc import OrthancServer, running_orthanc

pytestmark = pytest.mark.peer

USER, PASSWORD = "node", "s3cret"
AUTH = (USER, PASSWORD)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    settings = {"AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}}
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), settings=settings, auth=AUTH) as orthanc:
        yield orthanc


@pytest.fixture
def archive(server: OrthancServer) -> Iterator[OrthancArchive]:
    orthanc = OrthancArchive("guarded", server.url, username=USER, password=PASSWORD, timeout=10.0)
    yield orthanc
    orthanc.close()


@pytest.mark.parametrize("by", ["orthanc id", "study instance uid"])
def test_a_study_comes_out_as_it_went_in_without_our_own_report(
    server: OrthancServer, archive: OrthancArchive, tmp_path: Path, by: str
) -> None:
    uid = generate_uid()
    sent = [image(uid, side=side) for side in (4, 8, 16)] + [report(uid, manufacturer="Somebody else")]
    for content in [*sent, report(uid), image(generate_uid())]:
        server.upload(content)

    study = server.study_id(uid) if by == "orthanc id" else uid
    assert study is not None
    paths = list(archive.fetch_study(study, tmp_path))

    assert sorted(paths) == sorted(tmp_path.iterdir())
    fetched = {dcmread(path).SOPInstanceUID: path.read_bytes() for path in paths}
    assert fetched == {dcmread(BytesIO(content)).SOPInstanceUID: content for content in sent}


def test_a_large_instance_is_never_whole_in_memory(
    server: OrthancServer, archive: OrthancArchive, tmp_path: Path
) -> None:
    uid = generate_uid()
    server.upload(image(uid, side=5000))
    tracemalloc.start()
    try:
        (path,) = archive.fetch_study(uid, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 25_000_000
    assert peak < 5_000_000


@pytest.mark.parametrize("study", ["1.2.3.4.5.6", "00000000-00000000-00000000-00000000-00000000"])
def test_a_study_that_is_not_there_is_refused(archive: OrthancArchive, tmp_path: Path, study: str) -> None:
    with pytest.raises(ArchiveRefusedError, match=f"has no study {study}"):
        list(archive.fetch_study(study, tmp_path))


def test_a_wrong_password_is_refused_and_not_told(server: OrthancServer) -> None:
    archive = OrthancArchive("guarded", server.url, username=USER, password="wr0ng")
    uid = generate_uid()
    with pytest.raises(ArchiveRefusedError, match="check the user, password or token") as caught:
        archive.deliver(report(generate_uid(), sop_uid=uid), uid, ComprehensiveSRStorage)
    archive.close()
    assert "wr0ng" not in str(caught.value)


def test_something_that_is_not_dicom_is_refused(archive: OrthancArchive) -> None:
    with pytest.raises(ArchiveRefusedError, match="answered 400"):
        archive.deliver(b"not a Part 10 file", "1.2", ComprehensiveSRStorage)
