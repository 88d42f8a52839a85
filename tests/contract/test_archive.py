"""What every ReportArchive must do, over the three protocols and five real peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, generate_uid

from dicom_node.archive.dicomweb import StowArchive
from dicom_node.archive.dimse import CStoreArchive
from dicom_node.archive.orthanc import OrthancArchive
from dicom_node.archive.protocol import ReportArchive
from dicom_node.errors import ArchiveUnavailableError
from tests.support.dcmtk import running_store_scp
from tests.support.objects import report
from tests.support.orthanc import OrthancServer, running_orthanc
from tests.support.waiting import free_port

pytestmark = pytest.mark.peer

PEERS = ("orthanc-rest", "orthanc-stow", "orthanc-cstore", "dcmtk-cstore")


@dataclass
class Peer:
    """An archive to test, and a way to look into the peer behind it."""

    archive: ReportArchive
    stored: Callable[[str], list[bytes]]
    """The Part 10 files that the peer holds under a SOP Instance UID."""
    tells_repeats: bool


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), dicomweb=True) as server:
        yield server


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peer]:
    with ExitStack() as stack:
        if request.param == "dcmtk-cstore":
            scp = stack.enter_context(running_store_scp(tmp_path / "scp", ae_title="PACS"))
            archive: ReportArchive = CStoreArchive(
                "pacs", "127.0.0.1", scp.port, ae_title="PACS", calling_ae_title="M3BIND", timeout=10.0
            )

            def stored(uid: str) -> list[bytes]:
                return [path.read_bytes() for path in scp.files() if path.name.endswith(uid)]

            yield Peer(archive, stored, tells_repeats=False)
            return
        server: OrthancServer = request.getfixturevalue("orthanc")

        def in_orthanc(uid: str) -> list[bytes]:
            found = [
                i for i in server.get("/instances?expand") if i["MainDicomTags"]["SOPInstanceUID"] == uid
            ]
            return [server.file(instance["ID"]) for instance in found]

        archive = _over_orthanc(request.param, server)
        stack.callback(archive.close)
        yield Peer(archive, in_orthanc, tells_repeats=request.param == "orthanc-rest")


def _over_orthanc(kind: str, server: OrthancServer) -> ReportArchive:
    if kind == "orthanc-rest":
        return OrthancArchive("orthanc", server.url, timeout=10.0)
    if kind == "orthanc-stow":
        return StowArchive("orthanc", server.url + "/dicom-web", timeout=10.0)
    return CStoreArchive(
        "orthanc",
        "127.0.0.1",
        server.dicom_port,
        ae_title=server.ae_title,
        calling_ae_title="M3BIND",
        timeout=10.0,
    )


@pytest.mark.parametrize("sop_class", [Comprehensive3DSRStorage, ComprehensiveSRStorage])
def test_a_delivered_report_is_in_the_archive_as_it_was_sent(peer: Peer, sop_class: str) -> None:
    study, uid = generate_uid(), generate_uid()
    sent = report(study, sop_uid=uid, sop_class_uid=sop_class)

    receipt = peer.archive.deliver(sent, uid, sop_class)

    assert (receipt.archive, receipt.sop_instance_uid) == (peer.archive.name, uid)
    assert not receipt.already_there
    (held,) = peer.stored(uid)
    assert dcmread(BytesIO(held)) == dcmread(BytesIO(sent))


def test_a_repeat_is_harmless(peer: Peer) -> None:
    uid = generate_uid()
    sent = report(generate_uid(), sop_uid=uid)
    peer.archive.deliver(sent, uid, ComprehensiveSRStorage)

    again = peer.archive.deliver(sent, uid, ComprehensiveSRStorage)

    assert again.already_there == peer.tells_repeats
    assert len(peer.stored(uid)) == 1


# pynetdicom leaves a socket that never connected to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["rest", "stow", "cstore"])
def test_nobody_listening_is_worth_another_try(kind: str) -> None:
    port = free_port()
    archives: dict[str, ReportArchive] = {
        "rest": OrthancArchive("gone", f"http://127.0.0.1:{port}", timeout=2.0),
        "stow": StowArchive("gone", f"http://127.0.0.1:{port}/dicom-web", timeout=2.0),
        "cstore": CStoreArchive(
            "gone", "127.0.0.1", port, ae_title="GONE", calling_ae_title="M3BIND", timeout=2.0
        ),
    }
    uid = generate_uid()

    with pytest.raises(ArchiveUnavailableError, match="'gone'"):
        archives[kind].deliver(report(generate_uid(), sop_uid=uid), uid, ComprehensiveSRStorage)
    for archive in archives.values():
        archive.close()
